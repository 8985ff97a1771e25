"""Slash commands: `/sentiment I loved it.`, `/translate fr: Good morning.`, `/summarize --length short`."""

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
"""The commands that are not tasks."""

_COMMAND = re.compile(r"\s*/([A-Za-z][\w-]*)(?:\s+|$)")
_ARGUMENT = re.compile(r"--([A-Za-z][\w-]*)(?:=|\s+)(?:\"([^\"]*)\"|(\S+))\s*")
_HEAD = re.compile(r"\s*(\S[^\s:]{1,19}):\s+(?=\S)")


@dataclass(frozen=True)
class Command:
    """A message that begins with a slash: the name after it, `--name value` pairs, and the text that follows."""

    name: str
    text: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def parse(message: str) -> Command | None:
    """The command in a message; None if the message is not a command (`/etc/hosts` is not).

    A value is parsed as JSON if it is valid JSON, else it is a string, as with `-o KEY VALUE` on the command line.
    """
    match = _COMMAND.match(message)
    if not match:
        return None
    arguments: dict[str, Any] = {}
    end = match.end()
    while pair := _ARGUMENT.match(message, end):
        arguments[pair[1].replace("-", "_")] = _value(pair[2] if pair[2] is not None else pair[3])
        end = pair.end()
    return Command(match[1].lower(), message[end:].strip(), arguments)


def find(plugins: Plugins, name: str) -> AnyTask:
    """The task of a command, by its name or an alias, ignoring case and the difference between - and _.

    Raises:
        UnknownNameError: there is no such command; names the nearest one.
    """
    known: dict[str, str] = {}
    for task in plugins.tasks.values():
        known |= {_key(alias): task.name for alias in (task.name, *task.aliases)}
    if _key(name) not in known:
        usual = [f"/{word}" for word in (*plugins.tasks, *_verbs(plugins), CHAT, HELP)]
        raise UnknownNameError("command", f"/{name}", usual)
    return plugins.task(known[_key(name)])


def fields_of(task: AnyTask, text: str, document: Document | None) -> dict[str, Any]:
    """The fields of a task's input, from the text of a command and the attached document.

    A task with one text field takes the text, else the document. A task with two (a question and its context) takes
    the first line, and the lines below it or else the document. If the task has a field with choices, such as a
    language, `fr: ` before the text sets it.

    Raises:
        InvalidInputError: a text is missing; says where to write it.
    """
    names = text_fields(task)
    choices: dict[str, Any] = {}
    choice = choice_field(task)
    if choice and (head := _HEAD.match(text)):
        choices[choice] = head[1]
        text = text[head.end() :]
    text = text.strip()
    if len(names) == 1:
        return {names[0]: text or _text_of(task, names[0], document), **choices}
    first, _, rest = text.partition("\n")
    if not first:
        raise InvalidInputError(
            f"{task.name} needs a {names[0]}",
            [f"expected a {names[0]}, found none: write the {names[0]} after the command"],
        )
    second: Any = rest.strip() or _text_of(task, names[1], document)
    if _format(task.input_type.model_fields[names[1]]) == "lines":
        second = [line.strip() for line in second.splitlines() if line.strip()]
    return {names[0]: first, names[1]: second, **choices}


def text_fields(task: AnyTask) -> list[str]:
    """The required fields of a task that are texts or lines of text, at most two; its first field if none is."""
    fields = task.input_type.model_fields
    texts = {name for name, info in fields.items() if info.annotation is str or _format(info) == "lines"}
    required = [name for name, info in fields.items() if info.is_required() and name in texts]
    return required[:2] or [next(iter(fields))]


def choice_field(task: AnyTask) -> str | None:
    """The first optional input field with a list of choices, such as a language."""
    for name, info in task.input_type.model_fields.items():
        if info.examples and not info.is_required() and str in (info.annotation, *get_args(info.annotation)):
            return name
    return None


def labels_of(task: AnyTask, text: str) -> tuple[dict[str, str], str]:
    """The option that names the labels of a task, from the words before a colon, and the rest of the text.

    `billing, bug: My invoice is wrong.` names two labels; without a colon, or for other tasks, there is no option.
    """
    fields = task.options_type.model_fields.items()
    option = next((name for name, info in fields if _format(info) == "names"), None)
    head, colon, rest = text.partition(":")
    if option is None or not colon or "\n" in head.strip() or not head.strip():
        return {}, text
    return {option: head.strip()}, rest.strip()


def _format(info: Any) -> Any:
    return info.json_schema_extra.get("format") if isinstance(info.json_schema_extra, dict) else None


def help_text(plugins: Plugins) -> str:
    """A list of all commands, in Markdown."""
    lines = [f"- `{_usage(task)}`: {task.summary}" for task in plugins.tasks.values()]
    return "\n".join(
        [
            "Write a message in plain words, or start with a command:",
            "",
            *lines,
            f"- `/{CHAT} text`: Ask the language model, without choosing a task.",
            f"- `/{HELP}`: Show this list.",
            "",
            "Without text, a command reads the document that was attached last. Options go before the text: "
            "`/summarize --length short`. The button in the message box attaches a document (.txt, .md, .pdf, .docx).",
        ]
    )


def _usage(task: AnyTask) -> str:
    verbs = [alias for alias in task.aliases if "-" not in alias]
    choice = choice_field(task)
    default = f"{_example(task, choice)}: " if choice else ""
    if any(_format(info) == "names" for info in task.options_type.model_fields.values()):
        default = "label, label: "
    return f"/{(verbs or [task.name])[0]} {default}{' + '.join(text_fields(task))}"


def _example(task: AnyTask, name: str) -> str:
    """A field's value in the first example of the task that has one, else its default."""
    values = (example.get(name) for example in task.examples if isinstance(example, Mapping))
    return str(next(filter(None, values), task.input_type.model_fields[name].default))


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
    return "after the command" if name == names[0] else f"on the lines below the {names[0]}"


def _key(name: str) -> str:
    return name.lower().replace("_", "-")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
