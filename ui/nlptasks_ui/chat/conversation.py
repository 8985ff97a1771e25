"""A conversation: its turns, what is done to them, what a model is given of them, and how it is kept."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nlptasks import Message

BROWSER_ROOM = 2_000_000
"""Characters of JSON that are kept in the browser, which has room for five million; each turn sends them to the app."""

_TITLE = 48


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Document(_Frozen):
    """The text of an attached file."""

    name: str
    text: str


class Turn(_Frozen):
    """What a person said, and what was answered. `wanted` is the task that the person chose for it by a click."""

    said: str
    documents: tuple[Document, ...] = ()
    wanted: str = ""
    tries: int = 0
    task: str = Field(default="", description="The task that answered.")
    answer: str = Field(default="", description="The answer as text.")
    inputs: dict[str, Any] | None = Field(default=None, description="What a task was given.")
    result: dict[str, Any] | None = Field(default=None, description="What a task answered.")
    notes: tuple[str, ...] = Field(default=(), description="What to know of the answer.")
    error: str = ""
    seconds: float | None = None
    others: tuple[str, ...] = Field(default=(), description="Tasks that could answer instead.")
    aside: bool = Field(default=False, description="Not part of what the language model reads: help, errors.")
    done: bool = False

    def fresh(self, **changes: Any) -> Turn:
        """The same words without an answer."""
        return Turn.model_validate({"said": self.said, "documents": self.documents, "wanted": self.wanted, **changes})


def _new_id() -> str:
    return uuid.uuid4().hex[:12]


class Conversation(_Frozen):
    """Turns in order; every change gives a new conversation. `adapters` are `TASK/NAME`, one a task."""

    id: str = Field(default_factory=_new_id)
    saved: int = Field(default=0, description="When it was last kept, in microseconds; 0 if it never was.")
    system: str = ""
    adapters: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()

    @property
    def title(self) -> str:
        """The first words that were said."""
        if not self.turns:
            return "New conversation"
        first = self.turns[0]
        words = " ".join(first.said.split()) or ", ".join(document.name for document in first.documents)
        return words if len(words) <= _TITLE else f"{words[: _TITLE - 1]}…"

    @property
    def waiting(self) -> bool:
        """Whether the last turn has no answer yet."""
        return bool(self.turns) and not self.turns[-1].done

    @property
    def document(self) -> Document | None:
        """The document that was attached last."""
        return next((turn.documents[-1] for turn in reversed(self.turns) if turn.documents), None)

    def adapter(self, task: str) -> str | None:
        """The adapter that was picked for a task."""
        picked = [name.partition("/")[2] for name in self.adapters if name.startswith(f"{task}/")]
        return picked[-1] if picked else None

    def ask(self, said: str, documents: Iterable[Document] = ()) -> Conversation:
        """With a new turn that waits for its answer."""
        return self._with([*self.turns, Turn(said=said, documents=tuple(documents))])

    def answered(self, turn: Turn) -> Conversation:
        """With this as the last turn."""
        return self._with([*self.turns[:-1], turn])

    def retry(self) -> Conversation:
        """With the last turn asked once more."""
        return self.answered(self.turns[-1].fresh(tries=self.turns[-1].tries + 1)) if self.turns else self

    def choose(self, task: str) -> Conversation:
        """With the last turn asked of another task."""
        return self.answered(self.turns[-1].fresh(wanted=task)) if self.turns else self

    def undo(self) -> tuple[Conversation, Turn | None]:
        """Without the last turn, and that turn."""
        return self._with(self.turns[:-1]), self.turns[-1] if self.turns else None

    def edit(self, place: int, said: str) -> Conversation:
        """With other words in one turn; the turns behind it are gone, for they answered to the old ones."""
        turn = self.turns[place].fresh(said=said, wanted="")
        return self._with([*self.turns[:place], turn])

    def beside(self, stored: Iterable[Conversation]) -> Conversation:
        """As it is to be kept now: under a new id if another tab has kept a version since this one was read."""
        other = any(one.id == self.id and one.saved != self.saved for one in stored)
        now = {"saved": time.time_ns() // 1000}
        return self.model_copy(update={**now, "id": _new_id()} if other else now)

    def _with(self, turns: Sequence[Turn]) -> Conversation:
        return self.model_copy(update={"turns": tuple(turns)})


def messages(conversation: Conversation) -> list[Message]:
    """What a language model is given: the system message, and all turns to the last question.

    A document stands behind the words that it came with.
    """
    found = [Message(role="system", content=conversation.system.strip())] if conversation.system.strip() else []
    *past, last = conversation.turns
    for turn in past:
        if turn.answer and not turn.aside:
            found += [Message(role="user", content=_content(turn)), Message(role="assistant", content=turn.answer)]
    return [*found, Message(role="user", content=_content(last))]


def fit(given: Sequence[Message], sizes: Sequence[int], room: int) -> tuple[list[Message], int]:
    """The messages that fit into `room` tokens, and how many were left out; `sizes` are their tokens.

    The system message and the last question stay, whatever their size; of the others the oldest go first, a question
    together with its answer.
    """
    first = 1 if given[0].role == "system" else 0
    used = sum(sizes[:first]) + sizes[-1]
    start = len(given) - 1
    while start - 2 >= first and used + sum(sizes[start - 2 : start]) <= room:
        used += sum(sizes[start - 2 : start])
        start -= 2
    return [*given[:first], *given[start:]], start - first


def as_markdown(conversation: Conversation) -> str:
    """The conversation to read."""
    parts = [f"# {conversation.title}"]
    if conversation.system.strip():
        parts.append(f"**System**\n\n{conversation.system.strip()}")
    for turn in conversation.turns:
        files = "".join(f"\n\n*Attached: {document.name}*" for document in turn.documents)
        parts.append(f"**You**\n\n{turn.said}{files}")
        who = f"nlptasks ({turn.task})" if turn.task else "nlptasks"
        notes = "".join(f"\n\n*{note}*" for note in turn.notes)
        parts.append(f"**{who}**\n\n{turn.error or turn.answer}{notes}")
    return "\n\n".join(parts) + "\n"


def as_json(conversation: Conversation) -> str:
    """The whole conversation for programs, its `messages` in the shape that chats are trained on."""
    pairs = [(turn.said, turn.answer) for turn in conversation.turns if turn.answer and not turn.aside]
    system = conversation.system.strip()
    shown = [{"role": "system", "content": system}] if system else []
    for said, answer in pairs:
        shown += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": shown, **conversation.model_dump(mode="json")}, ensure_ascii=False, indent=2)


def pack(conversations: Sequence[Conversation], room: int = BROWSER_ROOM) -> tuple[list[dict[str, Any]], int]:
    """Conversations for the browser, the newest first, and how many of the oldest did not fit."""
    packed: list[dict[str, Any]] = []
    for conversation in conversations:
        one = conversation.model_dump(mode="json", exclude_defaults=True) | {"id": conversation.id}
        room -= len(json.dumps(one, ensure_ascii=False))
        if room < 0:
            break
        packed.append(one)
    return packed, len(conversations) - len(packed)


def unpack(stored: Any) -> list[Conversation]:
    """What `pack` made, the newest first; what cannot be read any more is left out."""
    found = []
    for one in stored if isinstance(stored, list) else []:
        if isinstance(one, Mapping):
            try:
                found.append(Conversation.model_validate(one))
            except ValidationError:
                continue
    return sorted(found, key=lambda one: one.saved, reverse=True)


def _content(turn: Turn) -> str:
    return "\n\n".join([turn.said, *(f"{document.name}:\n{document.text}" for document in turn.documents)]).strip()
