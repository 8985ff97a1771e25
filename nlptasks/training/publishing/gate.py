"""The gate: what was trained is what is served.

A fresh process loads the saved folder through the serving runtime and must give the logits that the
trained model gave.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.errors import GateError
from nlptasks.training import subprocesses
from nlptasks.training.families.writing import served_logprobs

if TYPE_CHECKING:
    from nlptasks.store.download import BaseFolder

TOLERANCE = 1e-3
"""Largest difference allowed, as a share of the largest logit; folding LoRA in float32 differs by about 1e-6."""

SERVE: dict[str, Callable[[Any, list[Any]], list[list[float]]]] = {
    "classify": lambda model, texts: [list(answer.values) for answer in model.classify(texts)],
    "tag": lambda model, texts: [[value for row in answer.values for value in row] for answer in model.tag(texts)],
    "extract": lambda model, pairs: [
        [*answer.starts, *answer.ends, answer.null] for answer in model.extract([tuple(pair) for pair in pairs])
    ],
    "embed": lambda model, texts: [list(vector.values) for vector in model.embed(texts)],
    "generate": lambda model, requests: model.submit(functools.partial(served_logprobs, requests=requests)),
}
"""A flat list of numbers for each request, as `FamilyTrainer.served` gives it."""


def evenly(rows: Sequence[Any], count: int) -> list[Any]:
    """`count` rows at even distances, the first and the last among them; all where there are fewer."""
    if len(rows) <= count:
        return list(rows)
    return [rows[round(index * (len(rows) - 1) / (count - 1))] for index in range(count)]


def serve_again(
    base: BaseFolder,
    adapter: Path | None,
    verb: str,
    requests: Sequence[Any],
    *,
    device: str,
    trust_remote_code: bool = False,
) -> list[list[float]]:
    """The logits of a fresh process that serves the folder in float32.

    Raises:
        GateError: the process fails; its own words are in the error.
    """
    request = {
        "base": {**asdict(base), "path": str(base.path)},
        "adapter": str(adapter) if adapter else None,
        "verb": verb,
        "requests": list(requests),
        "device": device,
        "trust_remote_code": trust_remote_code,
    }
    try:
        logits: list[list[float]] = subprocesses.call(serve, request)
    except subprocesses.ProcessError as error:
        raise GateError(f"The saved folder cannot be served: {error} It was not published.") from error
    return logits


def serve(
    base: dict[str, Any],
    adapter: str | None,
    verb: str,
    requests: list[Any],
    device: str,
    trust_remote_code: bool = False,
) -> list[list[float]]:
    """What `serve_again` asks of its process, in JSON values."""
    from nlptasks.runtime.resident import ResidentModel
    from nlptasks.store.adapters import open_adapter
    from nlptasks.store.download import BaseFolder

    folder = BaseFolder(**{**base, "path": Path(base["path"])})
    opened = open_adapter(Path(adapter)) if adapter else None
    resident = ResidentModel(folder, device, "float32", trust_remote_code=trust_remote_code)
    try:
        return SERVE[verb](resident.bind(opened), requests)
    finally:
        resident.close()


def compare(expected: Sequence[Sequence[float]], served: Sequence[Sequence[float]]) -> float:
    """The largest difference, as a share of the largest expected logit.

    Raises:
        GateError: it is above the tolerance, or the shapes differ.
    """
    if [len(row) for row in expected] != [len(row) for row in served]:
        shapes = [f"{len(rows)} rows of {sorted({len(row) for row in rows})}" for rows in (expected, served)]
        raise GateError(f"The saved folder answers {shapes[1]}, training gave {shapes[0]}. It was not published.")
    pairs = [(e, s) for left, right in zip(expected, served, strict=True) for e, s in zip(left, right, strict=True)]
    scale = max((abs(e) for e, _ in pairs), default=0.0)
    difference = max((abs(e - s) for e, s in pairs), default=0.0) / max(scale, 1e-6)
    # "not <=" and not ">": NaN must not pass.
    if not difference <= TOLERANCE:
        raise GateError(
            f"The saved folder does not give the logits that training gave: expected a difference of at most "
            f"{TOLERANCE:g} of the largest logit, found {difference:.3g}. It was not published; please report this "
            "with the name of the base model."
        )
    return difference
