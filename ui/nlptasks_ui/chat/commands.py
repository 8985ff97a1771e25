"""What stands behind a slash: `/sentiment I loved it.`, `/translate fr: Good morning.`, `/summarize --length short`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from nlptasks import InvalidInputError, Plugins, UnknownNameError
from nlptasks_ui.chat.conversation import Document

if TYPE_CHECKING:
    from nlptasks import AnyTask

CHAT, HELP = "chat", "help"
"""The commands that are no tasks."""

_COMMAND = re.compile(r"\s*/([A-Za-z][\w-]*)(?:\s+|$)")
_ARGUMENT = re.compile(r"--([A-Za-z][\w-]*)(?:=|\s+)(?:\"([^\"]*)\"|(\S+))\s*")
_HEAD = re.compile(r"\s*(\S[^\s:]{1,19}):\s+(?=\S)")


@dataclass(frozen=True)
class Command:
    """A message that begins with a slash: the name behind it, `--name value` pairs, and the rest."""

    name: str
    text: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def parse(message: str) -> Command | None:
    """The command in a message; None where it begins with none (`/etc/hosts` is none).

    A value that is JSON is read as JSON, else it is a text, as `-o KEY VALUE` of the command line does.
    """
    begin = _COMMAND.match(message)
    if not begin:
        return None
    arguments: dict[str, Any] = {}
    place = begin.end()
    while pair := _ARGUMENT.match(message, place):
        arguments[pair[1].replace("-", "_")] = _value(pair[2] if pair[2] is not None else pair[3])
        place = pair.end()
    return Command(begin[1].lower(), message[place:].strip(), arguments)


def find(plugins: Plugins, name: str) -> AnyTask:
    """The task of a command, by its name or an alias; case, - and _ do not matter.

    Raises:
        UnknownNameError: no such command; names the near miss.
    """
    known: dict[str, str] = {}
    for task in plugins.tasks.values():
        known |= {_key(alias): task.name for alias in (task.name, *task.aliases)}
    if _key(name) not in known:
        usual = [f"/{word}" for word in (*plugins.tasks, *_verbs(plugins), CHAT, HELP)]
        raise UnknownNameError("command", f"/{name}", usual)
    return plugins.task(known[_key(name)])


def fields_of(task: AnyTask, text: str, document: Document | None) -> dict[str, Any]:
    """The fields of a task's input in what was written and in the document that is attached.

    A task of one text reads what was written, else the document. A task of two texts (a question and its context)
    reads the first line and the lines below it, else the document. Where the task has a field with choices, as a
    language, `fr: ` before the text sets it.

    Raises:
        InvalidInputError: a text is missing, and how to give it.
    """
    names = text_fields(task)
    found: dict[str, Any] = {}
    choice = choice_field(task)
    if choice and (head := _HEAD.match(text)):
        found[choice] = head[1]
        text = text[head.end() :]
    text = text.strip()
    if len(names) == 1:
        return {names[0]: text or _text_of(task, names[0], document), **found}
    first, _, rest = text.partition("\n")
    if not first:
        raise InvalidInputError(f"{task.name} needs a {names[0]}", [f"write the {names[0]} behind the command"])
    return {names[0]: first, names[1]: rest.strip() or _text_of(task, names[1], document), **found}


def text_fields(task: AnyTask) -> list[str]:
    """The texts that a task needs, two at most; the first field where it needs none in particular."""
    fields = task.input_type.model_fields
    needed = [name for name, info in fields.items() if info.is_required() and info.annotation is str]
    return needed[:2] or [next(iter(fields))]


def choice_field(task: AnyTask) -> str | None:
    """The first field of an input that is a word among several, as a language."""
    for name, info in task.input_type.model_fields.items():
        if info.examples and not info.is_required() and str in (info.annotation, *get_args(info.annotation)):
            return name
    return None


def help_text(plugins: Plugins) -> str:
    """All commands, as Markdown."""
    lines = [f"- `{_usage(task)}`: {task.summary}" for task in plugins.tasks.values()]
    return "\n".join(
        [
            "Write in plain words, or begin with a command:",
            "",
            *lines,
            f"- `/{CHAT} text`: The language model answers, whatever the words are.",
            f"- `/{HELP}`: This list.",
            "",
            "Without a text a command reads the document that was attached last. Options stand before the text: "
            "`/summarize --length short`. A document (.txt, .md, .pdf, .docx) comes by the clip beside the text box.",
        ]
    )


def _usage(task: AnyTask) -> str:
    verbs = [alias for alias in task.aliases if "-" not in alias]
    choice = choice_field(task)
    default = f"{_example(task, choice)}: " if choice else ""
    return f"/{(verbs or [task.name])[0]} {default}{' + '.join(text_fields(task))}"


def _example(task: AnyTask, name: str) -> str:
    """What an example of the task has in a field."""
    given = (example.get(name) for example in task.examples if isinstance(example, Mapping))
    return str(next(filter(None, given), task.input_type.model_fields[name].default))


def _verbs(plugins: Plugins) -> list[str]:
    return [alias for task in plugins.tasks.values() for alias in task.aliases if "-" not in alias]


def _text_of(task: AnyTask, name: str, document: Document | None) -> str:
    if document is None:
        raise InvalidInputError(
            f"{task.name} needs a {name}",
            [f"expected a {name}, found none: attach a document, or write the {name} {_where(task, name)}"],
        )
    return document.text


def _where(task: AnyTask, name: str) -> str:
    names = text_fields(task)
    return "behind the command" if name == names[0] else f"on the lines below the {names[0]}"


def _key(name: str) -> str:
    return name.lower().replace("_", "-")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
