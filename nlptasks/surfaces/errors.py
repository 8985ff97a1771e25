"""Errors as sentences for people."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nlptasks import CancelledError, InvalidInputError, NlptasksError, PluginError

if TYPE_CHECKING:
    from pydantic import ValidationError

_log = logging.getLogger(__name__)


def sentence(error: BaseException) -> str:
    """An error in one line of whole sentences; an unexpected one goes to the log with its traceback."""
    if isinstance(error, CancelledError):
        return "Stopped."
    if isinstance(error, InvalidInputError):
        return " ".join(map(as_sentence, error.problems))
    text = " ".join(str(error).split())
    if isinstance(error, PluginError) and error.__cause__:
        _log.error("a plugin failed", exc_info=error.__cause__)
    if isinstance(error, NlptasksError):
        return as_sentence(text)
    _log.error("a request failed", exc_info=error)
    return as_sentence(f"This failed inside the program ({type(error).__name__}{f': {text}' if text else ''})")


def message(error: NlptasksError) -> str:
    """An error for a terminal: one sentence, or a heading with a line for each problem."""
    text = str(error)
    return text if "\n" in text else as_sentence(text)


def as_sentence(text: str) -> str:
    """A text with a capital first and a full stop last; the names of files, options and columns keep their spelling."""
    first = text.partition(" ")[0].rstrip(".:,")
    if not any(mark in first for mark in "._/"):
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def invalid(error: ValidationError) -> str:
    """What is wrong with a request, in one line: each field with what was expected and found."""
    faults = []
    for fault in error.errors():
        where = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            faults.append(f"{where}: this parameter is not served")
        else:
            value = "nothing" if fault["type"] == "missing" else repr(fault["input"])[:60]
            faults.append(f"{where}: {fault['msg'][:1].lower()}{fault['msg'][1:]}, found {value}")
    return f"{'; '.join(faults)}."
