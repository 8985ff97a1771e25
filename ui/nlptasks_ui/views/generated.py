"""Text from a language model, while it is written and when it is complete."""

from __future__ import annotations

from typing import Any

from nlptasks import GeneratedText
from nlptasks_ui.html import box, element, text

_ENDS = {"length": "Stopped at the limit of new tokens.", "cancelled": "Stopped."}
"""Notes on why a text ended, by finish reason."""


def view(result: GeneratedText, _: Any) -> str:
    """The prompt in a lighter colour followed by the new text, or the messages of a chat."""
    if result.messages:
        body = "".join(
            box(f"turn nlp-{turn.role}", element("span", turn.role, class_="nlp-role"), box("text", text(turn.content)))
            for turn in result.messages
        )
    else:
        body = box("text", element("span", text(result.prompt or ""), class_="nlp-prompt"), text(result.text))
    end = _ENDS.get(result.finish_reason, "")
    return body + (element("p", end, class_="nlp-note") if end else "")


def draft(words: str, *, finished: bool = False) -> str:
    """A text that is still being written, with a caret at its end, or the part of one that was stopped."""
    caret = "" if finished else element("span", class_="nlp-caret", aria_hidden="true")
    return box("result", box("text", text(words), caret))
