"""Chats, instructions and plain text in the shapes that training data comes in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nlptasks import Message

_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant"}
"""ShareGPT's names for who speaks."""

_PROMPTS = ("instruction", "question", "prompt", "query", "input")
_CONTEXTS = ("input", "context")
_ANSWERS = ("output", "response", "answer", "completion", "chosen")

ChatOrText = str | tuple[Message, ...]


def training_pairs(row: Mapping[str, Any]) -> Iterator[tuple[ChatOrText, str]]:
    """(prompt, the answer to learn) for each example of a row.

    `messages` (role, content) and ShareGPT's `conversations` (from, value) teach every turn of the assistant, after
    all turns before it. An instruction with an answer (Alpaca, Dolly) is a chat of one turn; a `prompt` with a
    `completion` and a `text` alone are plain text. Columns `system` and `history` (pairs of a question and its answer)
    come before the turns of a chat.

    Raises:
        ValueError: none of these, or a turn that is none.
    """
    turns = row.get("messages") or row.get("conversations")
    before = list(_before(row))
    if turns:
        chat = [_turn(number, turn) for number, turn in enumerate(_listed("messages", turns), start=1)]
        # A chat that brings its own system turn keeps it.
        yield from _of_chat([*(before if chat[0].role != "system" else []), *chat])
        return
    prompt = next((name for name in _PROMPTS if _is_text(row.get(name))), None)
    answer = next((name for name in _ANSWERS if _is_text(row.get(name))), None)
    if prompt == "prompt" and answer == "completion":
        yield row["prompt"], row["completion"]
    elif prompt and answer:
        context = next((row[name] for name in _CONTEXTS if name != prompt and _is_text(row.get(name))), None)
        content = row[prompt] if context is None else f"{row[prompt]}\n\n{context}"
        turns = (Message(role="user", content=content), Message(role="assistant", content=row[answer]))
        yield from _of_chat([*before, *turns])
    elif _is_text(row.get("text")):
        yield "", row["text"]
    else:
        raise ValueError(
            "expected messages, conversations, an instruction with an output, a prompt with a completion, or a text; "
            f"found {', '.join(row) or 'nothing'}"
        )


def _before(row: Mapping[str, Any]) -> Iterator[Message]:
    """The turns that the columns `system` and `history` put before a row's own."""
    if _is_text(row.get("system")):
        yield Message(role="system", content=row["system"])
    for number, pair in enumerate(_listed("history", row.get("history") or ()), start=1):
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(map(_is_text, pair)):
            raise ValueError(f"history: expected pairs of a question and its answer, found {pair!r} as pair {number}")
        yield from (Message(role="user", content=pair[0]), Message(role="assistant", content=pair[1]))


def _listed(name: str, value: Any) -> Sequence[Any]:
    """A list, or one as JSON, as a CSV file has it."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(f"{name}: expected a list, in a CSV file as JSON, found {value[:40]!r}") from None
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name}: expected a list, found {str(value)[:40]!r}")
    return value


def _of_chat(turns: list[Message]) -> Iterator[tuple[ChatOrText, str]]:
    answers = [place for place, turn in enumerate(turns) if turn.role == "assistant" and place > 0]
    if not answers:
        raise ValueError("expected a turn of the assistant behind another one, found none")
    for place in answers:
        yield tuple(turns[:place]), turns[place].content


def _turn(number: int, turn: Any) -> Message:
    if not isinstance(turn, Mapping):
        raise ValueError(f"turn {number}: expected role and content, found {turn!r}")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    role = _ROLES.get(str(role), role)
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        raise ValueError(
            f"turn {number}: expected a role (system, user, assistant) and a text, found {role!r} and {content!r}"
        )
    return Message.model_validate({"role": role, "content": content})


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
