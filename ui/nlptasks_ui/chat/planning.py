"""Choosing the task that answers a turn, and building its input."""

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
"""The most tokens of an answer of the language model."""

RETRY = {"temperature": 0.7, "top_p": 0.9}
"""Options of a retry: greedy decoding would write the same answer again."""

TURN_TOKENS = 8
"""The most tokens that the chat template of any model in the catalog adds to a message."""


@dataclass(frozen=True)
class Request:
    """The request of a turn: a task, its input, options and adapter; `others` are tasks that could answer instead."""

    task: AnyTask
    fields: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    adapter: str | None = None
    notes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class Planner:
    """Interprets commands and plain words, and fits a conversation into the language model's context window."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._router = routing.Router(engine)

    def plan(self, conversation: Conversation, cancel: CancelToken) -> Request:
        """The request that answers the last turn; may wait for a base to load.

        Raises:
            NlptasksError: there is no such command, or a text is missing.
        """
        cancel.raise_if_cancelled()
        turn = conversation.turns[-1]
        command = commands.parse(turn.message)
        document = conversation.document
        if turn.wanted:
            if turn.wanted == commands.CHAT:
                message = command.text if command else None
                return self._chat(conversation, cancel, message=message, others=self._tasks())
            task = self._engine.plugins.task(turn.wanted)
            text = command.text if command else turn.message
            return self._of_task(conversation, task, self._fields(task, text, document), {}, ())
        if command and command.name == commands.CHAT:
            return self._chat(conversation, cancel, message=command.text)
        if command:
            task = commands.find(self._engine.plugins, command.name)
            labels, text = commands.labels_of(task, command.text)
            fields = commands.fields_of(task, text, document)
            inputs = {name: value for name, value in command.arguments.items() if name in task.input_type.model_fields}
            options = {name: value for name, value in command.arguments.items() if name not in inputs}
            return self._of_task(conversation, task, {**fields, **inputs}, {**labels, **options}, ())
        return self._routed(conversation, cancel)

    def _routed(self, conversation: Conversation, cancel: CancelToken) -> Request:
        """The request for a message in plain words: the task that it asks for, or the chat."""
        turn = conversation.turns[-1]
        message = routing.split(turn.message)
        if message is None and conversation.document:
            message = routing.TextRequest(turn.message, conversation.document.text)
        if message is None or not message.request.strip():
            return self._chat(conversation, cancel)
        try:
            route, nearest = self._router.route(message, cancel)
        except CancelledError:
            raise
        except NlptasksError as error:
            return self._chat(conversation, cancel, notes=(f"No task could be chosen: {sentence(error)}",))
        if route is None or route.task == chat_task(self._engine):
            return self._chat(conversation, cancel, notes=self._why_chat(nearest), others=self._tasks())
        task = self._engine.plugins.task(route.task)
        why = "a question about a text" if route.score is None else f"similarity {route.score:.2f}"
        fields = self._fields(task, turn.message, conversation.document)
        return self._of_task(conversation, task, fields, {}, (f"Chosen task: {task.name} ({why}).",))

    def _fields(self, task: AnyTask, message: str, document: Document | None) -> dict[str, Any]:
        """A task's input from a message in plain words: its text, its question, and a choice such as a language."""
        parts = routing.split(message)
        names = commands.text_fields(task)
        request = parts.request if parts else message
        text = parts.text if parts else message if document is None else document.text
        fields: dict[str, Any] = {names[0]: text}
        if len(names) == 2:
            if parts is None and document is None:
                raise InvalidInputError(
                    f"{task.name} needs a {names[1]}",
                    [f"expected a {names[1]}, found none: attach a document, or write it on the lines below"],
                )
            fields = {names[0]: request, names[1]: text}
        choice = commands.choice_field(task)
        if choice and (parts or document):
            # Short words may be language codes by accident: "to" is Tongan.
            for word in reversed(re.findall(r"[\w-]{4,}", request)):
                if _is_choice(task, choice, {**fields, choice: word}):
                    return {**fields, choice: word}
        return fields

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
        message: str | None = None,
        notes: tuple[str, ...] = (),
        others: tuple[str, ...] = (),
    ) -> Request:
        """The request to the language model, with as much of the conversation as its context window holds."""
        task = self._engine.plugins.task(chat_task(self._engine))
        adapter = conversation.adapter(task.name)
        turn = conversation.turns[-1]
        if message is not None:
            conversation = conversation.answered(turn.model_copy(update={"message": message}))
        history, cuts = self._fitting(task, adapter, messages(conversation), cancel)
        options: dict[str, Any] = {"max_new_tokens": MAX_NEW_TOKENS, **(RETRY if turn.tries else {})}
        return Request(task, {"messages": history}, options, adapter, (*notes, *cuts), others)

    def _fitting(
        self, task: AnyTask, adapter: str | None, history: list[Message], cancel: CancelToken
    ) -> tuple[list[dict[str, str]], tuple[str, ...]]:
        """The messages that fit into the model's context window, and notes on what was left out."""
        notes: list[str] = []
        with self._engine.bind(task, adapter, cancel=cancel) as model:
            room = model.info.max_tokens - min(MAX_NEW_TOKENS, model.info.max_tokens // 2)
            tokens = model.offsets([message.content for message in history])
            sizes = [len(offsets.spans) + TURN_TOKENS for offsets in tokens]
        fitting, dropped = fit(history, sizes, room)
        if dropped:
            notes.append(f"The {dropped} oldest messages exceed the model's context window and were left out.")
        fixed = sum(sizes[:1]) if history[0].role == "system" else 0
        left = max(1, room - fixed - TURN_TOKENS)
        if sizes[-1] - TURN_TOKENS > left:
            end = tokens[-1].spans[left - 1][1]
            fitting[-1] = fitting[-1].model_copy(update={"content": fitting[-1].content[:end]})
            notes.append(f"Only the first {end:,} characters of this message fit into the model's context window.")
        return [message.model_dump() for message in fitting], tuple(notes)

    def _why_chat(self, nearest: routing.Route | None) -> tuple[str, ...]:
        """A note on why the language model answers a request; none if the chat is itself the nearest task."""
        if nearest is None or nearest.score is None or nearest.task == chat_task(self._engine):
            return ()
        why = f"the closest, {nearest.task}, has similarity {nearest.score:.2f}"
        return (f"Answered as chat: no task is similar enough ({why}).",)

    def _tasks(self) -> tuple[str, ...]:
        """The tasks that can answer a message instead of the chat: not those whose answers are vectors."""
        chat = chat_task(self._engine)
        tasks = self._engine.plugins.tasks.items()
        return tuple(name for name, task in tasks if name != chat and task.family != "vectors")


def _is_choice(task: AnyTask, name: str, fields: Mapping[str, Any]) -> bool:
    """Whether the task recognizes a field's value as one of its choices: French is fr."""
    try:
        [inputs] = task.validate([dict(fields)])
    except InvalidInputError:
        return False
    return getattr(inputs, name) in (task.input_type.model_fields[name].examples or ())
