"""The errors that a user can act on: what was expected, what was found, what to do."""

from __future__ import annotations

import copyreg
import difflib
from collections.abc import Iterable, Sequence
from typing import Any


def clip(text: str, width: int = 60) -> str:
    """A text of at most `width` characters, for a message."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


class NlptasksError(Exception):
    """Base of all errors raised on purpose; the command line prints the message and exits with 1."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own would call the class with the message alone.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class UnknownNameError(NlptasksError):
    """A task, base model, adapter or option of this name does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        self.name = name
        available = f"Available: {', '.join(names)}." if names else f"There are no {kind}s."
        super().__init__(f"Unknown {kind} {name!r}.{guess} {available}{f' {hint}' if hint else ''}")


class InvalidInputError(NlptasksError):
    """Inputs or options that the task does not accept; `problems` has a line for each fault."""

    def __init__(self, what: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{what}:" + "".join(f"\n  {problem}" for problem in problems))


class OverflowRefusedError(NlptasksError):
    """A text is longer than the model's window, and `on_overflow` is "error"."""


class UnparsableOutputError(NlptasksError):
    """A model's answer that the task cannot parse; `completion` is the raw text."""

    def __init__(self, task: str, expected: str, completion: str) -> None:
        self.completion = completion
        super().__init__(f"{task}: expected {expected}, the model answered {completion!r}.")


class DownloadError(NlptasksError):
    """A base model that could not be downloaded from any source."""


class OfflineError(DownloadError):
    """A base model that is not in the cache while the network is off or unreachable."""


class IntegrityError(DownloadError):
    """A download whose SHA-256 is not the pinned one; it is deleted before this is raised."""


class UnsafeWeightsError(NlptasksError):
    """Weights in a pickle format, or a model that needs remote code without the explicit flag."""


class AdapterError(NlptasksError):
    """An adapter folder that is incomplete, unreadable or of the wrong task."""


class AdapterMismatchError(AdapterError):
    """An adapter that was trained on another base than the one it should run on."""


class UnsupportedModelError(NlptasksError):
    """A base model that cannot do what the task needs (no head, no generation, ...)."""


class DataError(NlptasksError):
    """Data with faults; `problems` has a line for each, of which the message lists the first `limit`."""

    def __init__(self, what: str, problems: Sequence[str] = (), *, limit: int = 20) -> None:
        self.problems = tuple(problems)
        lines = [what, *(f"  {problem}" for problem in self.problems[:limit])]
        if len(self.problems) > limit:
            lines.append(f"  ... and {len(self.problems) - limit} more")
        super().__init__("\n".join(lines))


class TrainingError(NlptasksError):
    """A training that cannot produce a usable adapter."""


class GateError(TrainingError):
    """The reloaded adapter does not give the logits of the trained one: what was trained is what is served."""


class RemoteServerError(NlptasksError):
    """A server that answers no request: it is not there, refuses the key or lacks the model; `status` is HTTP's."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RemoteAnswerError(NlptasksError):
    """A request that a server did not answer, also when it was repeated; others may be answered."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class PluginError(NlptasksError):
    """A plugin that failed in its task, or, with NLPTASKS_STRICT=1 and in `Plugins.register`, while it was loaded."""


class MissingExtraError(NlptasksError):
    """An optional dependency that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed: pip install 'nlptasks[{extra}]'.")


class CancelledError(NlptasksError):
    """The caller cancelled the request; there is no result."""
