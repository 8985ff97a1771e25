"""What went wrong, in words for a person."""

from __future__ import annotations

import logging

from nlptasks import CancelledError, InvalidInputError, NlptasksError

_log = logging.getLogger(__name__)

REFUSED = "Too many requests are waiting, so this one was not taken. Try again in a minute."
"""What a page says where its request did not get into the queue."""


def sentence(error: BaseException) -> str:
    """An error as one sentence; one that nobody foresaw goes to the log with its traceback."""
    if isinstance(error, CancelledError):
        return "Stopped."
    if isinstance(error, InvalidInputError):
        return _as_sentence(" ".join(_as_sentence(problem) for problem in error.problems))
    if isinstance(error, NlptasksError):
        return _as_sentence(" ".join(str(error).split()))
    _log.error("a page failed", exc_info=error)
    told = " ".join(str(error).split())
    return _as_sentence(f"This failed inside the program ({type(error).__name__}{f': {told}' if told else ''})")


def _as_sentence(text: str) -> str:
    first = text.partition(" ")[0].rstrip(".:,")
    # The names of files, options and columns keep their spelling.
    if not any(mark in first for mark in "._/"):
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."
