"""Every error a user can act on: what was expected, what was found, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class NlptasksError(Exception):
    """Base of all errors raised on purpose; the command line shows its text and exits with 1."""


class UnknownNameError(NlptasksError):
    """A task, base model, adapter or option that nobody registered."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        parts = [f"Unknown {kind} {name!r}."]
        near = difflib.get_close_matches(name, names, n=1)
        if near:
            parts.append(f"Did you mean {near[0]!r}?")
        parts.append(f"Available: {', '.join(names) or 'none'}.")
        if hint:
            parts.append(hint)
        self.name = name
        super().__init__(" ".join(parts))


class InvalidInputError(NlptasksError):
    """One or more inputs or options do not fit the task; `problems` has a line for each."""

    def __init__(self, what: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{what}:" + "".join(f"\n  {problem}" for problem in problems))


class OverflowRefusedError(NlptasksError):
    """A text is longer than the model's window and `on_overflow="error"` was asked for."""


class UnparsableOutputError(NlptasksError):
    """A model's answer that the task's parser cannot read; `completion` holds the raw text."""

    def __init__(self, task: str, expected: str, completion: str) -> None:
        self.completion = completion
        super().__init__(f"{task}: expected {expected}, the model answered {completion!r}.")


class DownloadError(NlptasksError):
    """A base model that no source could deliver."""


class OfflineError(DownloadError):
    """A base model that is not in the cache while the network is off or unreachable."""


class IntegrityError(DownloadError):
    """Bytes whose SHA-256 is not the pinned one; they are removed before this is raised."""


class UnsafeWeightsError(NlptasksError):
    """Weights in a pickle format, or a model that needs remote code without the explicit flag."""


class AdapterError(NlptasksError):
    """An adapter folder that is incomplete, unreadable or of the wrong task."""


class AdapterMismatchError(AdapterError):
    """An adapter that was trained on another base than the one it is asked to run on."""


class UnsupportedModelError(NlptasksError):
    """A base model that cannot do what the task needs (no head, no generation, ...)."""


class DataError(NlptasksError):
    """Training or evaluation data with faults; `problems` has a line for each bad row."""

    def __init__(self, what: str, problems: Sequence[str] = (), *, shown: int = 20) -> None:
        self.problems = tuple(problems)
        lines = [what, *(f"  {problem}" for problem in self.problems[:shown])]
        if len(self.problems) > shown:
            lines.append(f"  ... and {len(self.problems) - shown} more")
        super().__init__("\n".join(lines))


class TrainingError(NlptasksError):
    """A training that cannot give a usable adapter."""


class GateError(TrainingError):
    """The reloaded adapter does not give the logits that training gave (law: what was trained is what is served)."""


class PluginError(NlptasksError):
    """A plugin that breaks the contract; raised with NLPTASKS_STRICT=1 and by `Plugins.register`."""


class MissingExtraError(NlptasksError):
    """An optional dependency that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed: pip install 'nlptasks[{extra}]'.")


class CancelledError(NlptasksError):
    """The caller cancelled the request; no result exists."""
