"""Conversations: their turns, the messages for the language model, export, and storage in the browser."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nlptasks import Message

BROWSER_ROOM = 2_000_000
"""The most characters of JSON to store in the browser. It holds about five million, but each turn sends all of them."""

_TITLE = 48
_RENAMED = {"said": "message", "done": "finished"}
"""Fields of a turn by their names in conversations that earlier versions stored in the browser."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Document(_Frozen):
    """The text of an attached file."""

    name: str
    text: str


class ChatTurn(_Frozen):
    """A message of the user and its answer. `wanted` is the task that the user selected for it with a button."""

    message: str
    documents: tuple[Document, ...] = ()
    wanted: str = ""
    tries: int = 0
    task: str = Field(default="", description="The task that answered.")
    answer: str = Field(default="", description="The answer as text.")
    inputs: dict[str, Any] | None = Field(default=None, description="The input of the task.")
    result: dict[str, Any] | None = Field(default=None, description="The result of the task.")
    notes: tuple[str, ...] = Field(default=(), description="Remarks on the answer.")
    error: str = ""
    seconds: float | None = None
    others: tuple[str, ...] = Field(default=(), description="Tasks that could answer instead.")
    earlier: tuple[str, ...] = Field(default=(), description="Answers of earlier tries, as text.")
    aside: bool = Field(default=False, description="Not for the language model to read: help, errors.")
    finished: bool = False

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {_RENAMED.get(name, name): value for name, value in values.items()}

    def unanswered(self, **changes: Any) -> ChatTurn:
        """The same message without an answer, which becomes an earlier one."""
        earlier = (*self.earlier, self.answer) if self.answer and not self.error else self.earlier
        values = {"message": self.message, "documents": self.documents, "wanted": self.wanted, "earlier": earlier}
        return ChatTurn.model_validate(values | changes)


def _new_id() -> str:
    return uuid.uuid4().hex[:12]


class Conversation(_Frozen):
    """Turns in order; every change returns a new conversation. `adapters` are `TASK/NAME`, one per task."""

    id: str = Field(default_factory=_new_id)
    saved: int = Field(default=0, description="When it was last saved, in microseconds since 1970; 0 for never.")
    system: str = ""
    adapters: tuple[str, ...] = ()
    turns: tuple[ChatTurn, ...] = ()

    @property
    def title(self) -> str:
        """The beginning of the first message."""
        if not self.turns:
            return "New conversation"
        first = self.turns[0]
        words = " ".join(first.message.split()) or ", ".join(document.name for document in first.documents)
        return words if len(words) <= _TITLE else f"{words[: _TITLE - 1]}…"

    @property
    def waiting(self) -> bool:
        """Whether the last turn has no answer yet."""
        return bool(self.turns) and not self.turns[-1].finished

    @property
    def document(self) -> Document | None:
        """The document that was attached last."""
        return next((turn.documents[-1] for turn in reversed(self.turns) if turn.documents), None)

    def adapter(self, task: str) -> str | None:
        """The adapter that the user selected for a task."""
        selected = [name.partition("/")[2] for name in self.adapters if name.startswith(f"{task}/")]
        return selected[-1] if selected else None

    def ask(self, message: str, documents: Iterable[Document] = ()) -> Conversation:
        """The conversation with a new turn, which waits for its answer."""
        return self._with([*self.turns, ChatTurn(message=message, documents=tuple(documents))])

    def answered(self, turn: ChatTurn) -> Conversation:
        """The conversation with its last turn replaced."""
        return self._with([*self.turns[:-1], turn])

    def retry(self) -> Conversation:
        """The conversation with its last turn to be answered again."""
        return self.answered(self.turns[-1].unanswered(tries=self.turns[-1].tries + 1)) if self.turns else self

    def choose(self, task: str) -> Conversation:
        """The conversation with its last turn to be answered by another task."""
        return self.answered(self.turns[-1].unanswered(wanted=task)) if self.turns else self

    def undo(self) -> tuple[Conversation, ChatTurn | None]:
        """The conversation without its last turn, and that turn."""
        return self._with(self.turns[:-1]), self.turns[-1] if self.turns else None

    def edit(self, place: int, message: str) -> Conversation:
        """A new conversation: this one up to a turn with another message. This one stays as it is."""
        turn = self.turns[place].unanswered(message=message, wanted="", earlier=())
        return self._with([*self.turns[:place], turn]).model_copy(update={"id": _new_id(), "saved": 0})

    def to_save(self, stored: Iterable[Conversation]) -> Conversation:
        """The version to save now: with a new id if another tab has saved the conversation since this tab read it.

        An older version in `stored` is this tab's: it was read before the browser had written the last one.
        """
        conflict = any(one.id == self.id and one.saved > self.saved for one in stored)
        now = {"saved": time.time_ns() // 1000}
        return self.model_copy(update={**now, "id": _new_id()} if conflict else now)

    def _with(self, turns: Sequence[ChatTurn]) -> Conversation:
        return self.model_copy(update={"turns": tuple(turns)})


def messages(conversation: Conversation) -> list[Message]:
    """The messages for the language model: the system message, the earlier turns and the last question.

    A document follows the message that it was attached to.
    """
    history = [Message(role="system", content=conversation.system.strip())] if conversation.system.strip() else []
    *past, last = conversation.turns
    for turn in past:
        if turn.answer and not turn.aside:
            history += [Message(role="user", content=_content(turn)), Message(role="assistant", content=turn.answer)]
    return [*history, Message(role="user", content=_content(last))]


def fit(history: Sequence[Message], sizes: Sequence[int], room: int) -> tuple[list[Message], int]:
    """The messages that fit into `room` tokens, and the number of those left out; `sizes` are their tokens.

    The system message and the last question stay, whatever their size; the oldest of the others go first, each question
    together with its answer.
    """
    first = 1 if history[0].role == "system" else 0
    used = sum(sizes[:first]) + sizes[-1]
    start = len(history) - 1
    while start - 2 >= first and used + sum(sizes[start - 2 : start]) <= room:
        used += sum(sizes[start - 2 : start])
        start -= 2
    return [*history[:first], *history[start:]], start - first


def as_markdown(conversation: Conversation) -> str:
    """The conversation as a Markdown document."""
    parts = [f"# {conversation.title}"]
    if conversation.system.strip():
        parts.append(f"**System**\n\n{conversation.system.strip()}")
    for turn in conversation.turns:
        files = "".join(f"\n\n*Attached: {document.name}*" for document in turn.documents)
        parts.append(f"**You**\n\n{turn.message}{files}")
        who = f"nlptasks ({turn.task})" if turn.task else "nlptasks"
        notes = "".join(f"\n\n*{note}*" for note in turn.notes)
        parts += [f"**{who}, earlier**\n\n{answer}" for answer in turn.earlier]
        parts.append(f"**{who}**\n\n{turn.error or turn.answer}{notes}")
    return "\n\n".join(parts) + "\n"


def as_json(conversation: Conversation) -> str:
    """The whole conversation as JSON, with `messages` in the usual format of chat data sets."""
    pairs = [(turn.message, turn.answer) for turn in conversation.turns if turn.answer and not turn.aside]
    system = conversation.system.strip()
    chat = [{"role": "system", "content": system}] if system else []
    for message, answer in pairs:
        chat += [{"role": "user", "content": message}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": chat, **conversation.model_dump(mode="json")}, ensure_ascii=False, indent=2)


def as_file(conversation: Conversation, kind: str) -> dict[str, str]:
    """The conversation as a file for the browser to download; `kind` is `md` or `json`."""
    write, media = {"md": (as_markdown, "text/markdown"), "json": (as_json, "application/json")}[kind]
    return {"name": f"conversation.{kind}", "type": media, "text": write(conversation)}


def pack(conversations: Sequence[Conversation], room: int = BROWSER_ROOM) -> tuple[list[dict[str, Any]], int]:
    """Conversations as JSON values for the browser, in order, and the number of those at the end that do not fit."""
    packed: list[dict[str, Any]] = []
    for conversation in conversations:
        one = conversation.model_dump(mode="json", exclude_defaults=True) | {"id": conversation.id}
        room -= len(json.dumps(one, ensure_ascii=False))
        if room < 0:
            break
        packed.append(one)
    return packed, len(conversations) - len(packed)


def unpack(stored: Any) -> list[Conversation]:
    """The conversations that `pack` returned, the newest first; invalid ones are skipped."""
    conversations = []
    for one in stored if isinstance(stored, list) else []:
        if isinstance(one, Mapping):
            try:
                conversations.append(Conversation.model_validate(one))
            except ValidationError:
                continue
    return sorted(conversations, key=lambda one: one.saved, reverse=True)


def _content(turn: ChatTurn) -> str:
    return "\n\n".join([turn.message, *(f"{document.name}:\n{document.text}" for document in turn.documents)]).strip()
