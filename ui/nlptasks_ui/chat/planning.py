"""Who answers a turn, and what they are given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nlptasks import CancelledError, CancelToken, InvalidInputError, Message, NlptasksError
from nlptasks.surfaces import chat_task, sentence
from nlptasks_ui.chat import commands, routing
from nlptasks_ui.chat.conversation import Conversation, Document, fit, messages

if TYPE_CHECKING:
    from nlptasks import AnyTask, Engine

MAX_NEW_TOKENS = 400
"""Most tokens of an answer in plain chat."""

RETRY = {"temperature": 0.7, "top_p": 0.9}
"""A second try draws its words: the likeliest ones would be the same again."""

TURN_TOKENS = 8
"""Tokens that a chat template adds to a message, at most, with those of the models in the catalog."""


@dataclass(frozen=True)
class Request:
    """What a turn asks of a task."""

    task: AnyTask
    fields: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    adapter: str | None = None
    notes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class Planner:
    """Reads commands and plain words, and fits a conversation into the language model's window."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._router = routing.Router(engine)

    def plan(self, conversation: Conversation, cancel: CancelToken) -> Request:
        """Who answers the last turn, and with what; may wait for a base to load.

        Raises:
            NlptasksError: no such command, or the task's input is not there.
        """
        cancel.raise_if_cancelled()
        turn = conversation.turns[-1]
        command = commands.parse(turn.said)
        document = conversation.document
        if turn.wanted:
            if turn.wanted == commands.CHAT:
                said = command.text if command else None
                return self._chat(conversation, cancel, said=said, others=self._tasks())
            task = self._engine.plugins.task(turn.wanted)
            text = command.text if command else turn.said
            return self._of_task(conversation, task, self._fields(task, text, document), {}, ())
        if command and command.name == commands.CHAT:
            return self._chat(conversation, cancel, said=command.text)
        if command:
            task = commands.find(self._engine.plugins, command.name)
            fields = commands.fields_of(task, command.text, document)
            own = {name: value for name, value in command.arguments.items() if name in task.input_type.model_fields}
            options = {name: value for name, value in command.arguments.items() if name not in own}
            return self._of_task(conversation, task, {**fields, **own}, options, ())
        return self._routed(conversation, cancel)

    def _routed(self, conversation: Conversation, cancel: CancelToken) -> Request:
        """The task that plain words ask for, or the chat."""
        turn = conversation.turns[-1]
        asked = routing.split(turn.said)
        if asked is None and conversation.document:
            asked = routing.Asked(turn.said, conversation.document.text)
        if asked is None or not asked.request.strip():
            return self._chat(conversation, cancel)
        try:
            taken, nearest = self._router.route(asked, cancel)
        except CancelledError:
            raise
        except NlptasksError as error:
            return self._chat(conversation, cancel, notes=(f"No task could be looked for: {sentence(error)}",))
        if taken is None or taken.task == chat_task(self._engine):
            return self._chat(conversation, cancel, notes=self._why_chat(nearest), others=self._tasks())
        task = self._engine.plugins.task(taken.task)
        why = "a question about a text" if taken.score is None else f"similarity {taken.score:.2f}"
        fields = self._fields(task, turn.said, conversation.document)
        return self._of_task(conversation, task, fields, {}, (f"Taken as {task.name}: {why}.",))

    def _fields(self, task: AnyTask, said: str, document: Document | None) -> dict[str, Any]:
        """A task's input in plain words: the text that is asked about, the question, the choice that is named."""
        asked = routing.split(said)
        names = commands.text_fields(task)
        text = asked.text if asked else said if document is None else document.text
        found: dict[str, Any] = {names[0]: text}
        if len(names) == 2:
            if asked is None and document is None:
                raise InvalidInputError(
                    f"{task.name} needs a {names[1]}",
                    [f"expected a {names[1]}, found none: attach a document, or write it on the lines below"],
                )
            found = {names[0]: asked.request if asked else said, names[1]: text}
        choice = commands.choice_field(task)
        if choice and (asked or document):
            # Short words are codes of languages by chance: "to" is Tongan.
            for word in reversed(re.findall(r"[\w-]{4,}", asked.request if asked else said)):
                if _is_choice(task, choice, {**found, choice: word}):
                    return {**found, choice: word}
        return found

    def _of_task(
        self,
        conversation: Conversation,
        task: AnyTask,
        fields: Mapping[str, Any],
        options: Mapping[str, Any],
        notes: tuple[str, ...],
    ) -> Request:
        others = (commands.CHAT, *(name for name in self._tasks() if name != task.name))
        return Request(task, fields, options, conversation.adapter(task.name), notes, others)

    def _chat(
        self,
        conversation: Conversation,
        cancel: CancelToken,
        *,
        said: str | None = None,
        notes: tuple[str, ...] = (),
        others: tuple[str, ...] = (),
    ) -> Request:
        """The conversation for the language model, as far as its window holds it."""
        task = self._engine.plugins.task(chat_task(self._engine))
        adapter = conversation.adapter(task.name)
        turn = conversation.turns[-1]
        if said is not None:
            conversation = conversation.answered(turn.model_copy(update={"said": said}))
        given, told = self._fitting(task, adapter, messages(conversation), cancel)
        options: dict[str, Any] = {"max_new_tokens": MAX_NEW_TOKENS, **(RETRY if turn.tries else {})}
        return Request(task, {"messages": given}, options, adapter, (*notes, *told), others)

    def _fitting(
        self, task: AnyTask, adapter: str | None, given: list[Message], cancel: CancelToken
    ) -> tuple[list[dict[str, str]], tuple[str, ...]]:
        """The messages that fit into the model's window, and what to say of the others."""
        notes: list[str] = []
        with self._engine.bind(task, adapter, cancel=cancel) as model:
            room = model.info.max_tokens - min(MAX_NEW_TOKENS, model.info.max_tokens // 2)
            tokens = model.offsets([message.content for message in given])
            sizes = [len(offsets.spans) + TURN_TOKENS for offsets in tokens]
        kept, dropped = fit(given, sizes, room)
        if dropped:
            notes.append(f"The oldest {dropped} messages no longer fit into the model's window and were left out.")
        fixed = sum(sizes[:1]) if given[0].role == "system" else 0
        left = max(1, room - fixed - TURN_TOKENS)
        if sizes[-1] - TURN_TOKENS > left:
            end = tokens[-1].spans[left - 1][1]
            kept[-1] = kept[-1].model_copy(update={"content": kept[-1].content[:end]})
            notes.append(f"Only the first {end:,} characters of this message fit into the model's window.")
        return [message.model_dump() for message in kept], tuple(notes)

    def _why_chat(self, nearest: routing.Route | None) -> tuple[str, ...]:
        """What to say of a request that is left to the chat; nothing where it sounds like chat."""
        if nearest is None or nearest.score is None or nearest.task == chat_task(self._engine):
            return ()
        return (f"Answered as chat: no task was near enough (the nearest, {nearest.task}: {nearest.score:.2f}).",)

    def _tasks(self) -> tuple[str, ...]:
        """The tasks that a click may choose."""
        chat = chat_task(self._engine)
        return tuple(name for name in self._engine.plugins.tasks if name != chat)


def _is_choice(task: AnyTask, name: str, fields: Mapping[str, Any]) -> bool:
    """Whether a field's word is one of its choices, as the task reads it: French is fr."""
    try:
        [inputs] = task.validate([dict(fields)])
    except InvalidInputError:
        return False
    return getattr(inputs, name) in (task.input_type.model_fields[name].examples or ())
