"""The gate: what was trained is what is served.

A fresh process loads the saved folder through the serving runtime and must give the logits that the
trained model gave.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.backends import BUILT_IN, BackendOptions, Backends
from nlptasks.errors import GateError
from nlptasks.model import GENERATE, CancelToken, Head, Logits, Model, SpanLogits, TokenLogits
from nlptasks.training import subprocesses
from nlptasks.training.families.writing import served_logprobs

if TYPE_CHECKING:
    from nlptasks.store.download import BaseFolder


def serve(model: Model, verb: str, requests: Sequence[Any]) -> list[list[float]]:
    """A flat list of numbers for each request, as `FamilyTrainer.serving_logits` gives it."""
    if verb == GENERATE.verb:
        written: list[list[float]] = model.submit(functools.partial(served_logprobs, requests=requests))
        return written
    if verb == "embed":
        return [list(vector.values) for vector in model.embed(requests)]
    # JSON turns a pair into a list.
    items = [tuple(request) if isinstance(request, list) else request for request in requests]
    return [numbers(answer) for answer in model.apply(verb, items)]


def numbers(answer: Logits | TokenLogits | SpanLogits) -> list[float]:
    """All raw scores of an answer."""
    if isinstance(answer, SpanLogits):
        return [*answer.starts, *answer.ends, answer.null]
    if isinstance(answer, TokenLogits):
        return [value for row in answer.values for value in row]
    return list(answer.values)


def evenly(rows: Sequence[Any], count: int) -> list[Any]:
    """`count` rows at even distances, the first and the last among them; all where there are fewer."""
    if len(rows) <= count:
        return list(rows)
    return [rows[round(index * (len(rows) - 1) / (count - 1))] for index in range(count)]


def serve_again(
    base: BaseFolder,
    adapter: Path | None,
    head: Head,
    requests: Sequence[Any],
    *,
    device: str,
    backend: str = "torch",
    trust_remote_code: bool = False,
) -> list[list[float]]:
    """The logits of a fresh process in which a backend serves the folder in float32.

    Raises:
        GateError: the process failed; the error has its message.
    """
    request = {
        "base": {**asdict(base), "path": str(base.path)},
        "adapter": str(adapter) if adapter else None,
        "head": asdict(head),
        "backend": backend,
        "requests": list(requests),
        "device": device,
        "trust_remote_code": trust_remote_code,
    }
    try:
        logits: list[list[float]] = subprocesses.call(serve_folder, request)
    except subprocesses.ProcessError as error:
        raise GateError(f"The saved folder cannot be served: {error} It was not published.") from error
    return logits


def serve_folder(
    base: dict[str, Any],
    adapter: str | None,
    head: dict[str, Any],
    requests: list[Any],
    device: str,
    backend: str = "torch",
    trust_remote_code: bool = False,
) -> list[list[float]]:
    """`serve_again` in JSON values, for the other process."""
    from nlptasks.plugins import Plugins, default_plugins
    from nlptasks.store.adapters import open_adapter
    from nlptasks.store.download import BaseFolder

    folder = BaseFolder(**{**base, "path": Path(base["path"])})
    opened = open_adapter(Path(adapter)) if adapter else None
    options = BackendOptions(
        lambda _: folder, lambda _: Head(**head), device, "float32", trust_remote_code=trust_remote_code
    )
    backends = Backends(Plugins() if backend in BUILT_IN else default_plugins(), options, backend)
    try:
        _, serving = backends.choose(folder.id, opened)
        with serving.bind(folder.id, opened, cancel=CancelToken(), counter=None) as model:
            return serve(model, head["verb"], requests)
    finally:
        backends.close()


def compare(
    expected: Sequence[Sequence[float]], served: Sequence[Sequence[float]], tolerance: float = GENERATE.tolerance
) -> float:
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
    if not difference <= tolerance:
        raise GateError(
            f"The saved folder does not give the logits that training gave: expected a difference of at most "
            f"{tolerance:g} of the largest logit, found {difference:.3g}. It was not published; please report this "
            "with the name of the base model."
        )
    return difference
