"""Text that a language model writes, while it comes and when it is there."""

from __future__ import annotations

from typing import Any

from nlptasks import GeneratedText
from nlptasks_ui.html import box, element, text

_ENDS = {"length": "It ended at the limit of new tokens.", "cancelled": "It was stopped."}


def view(result: GeneratedText, _: Any) -> str:
    """The prompt in a lighter colour with the new text behind it, or the turns of a chat."""
    if result.messages:
        body = "".join(
            box(f"turn nlp-{turn.role}", element("span", turn.role, class_="nlp-role"), box("text", text(turn.content)))
            for turn in result.messages
        )
    else:
        body = box("text", element("span", text(result.prompt or ""), class_="nlp-given"), text(result.text))
    end = _ENDS.get(result.finish_reason, "")
    return body + (element("p", end, class_="nlp-note") if end else "")


def draft(words: str) -> str:
    """A text that is still being written."""
    return box("result", box("text", text(words), element("span", class_="nlp-caret", aria_hidden="true")))
