"""How much of a proof stands in the suite, and how much in `make full`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings


def examples(count: int) -> settings:
    """`count` inputs in `make full`, otherwise a twentieth of them, and 30 at least."""
    full = settings.get_current_profile_name() == "full"
    return settings(max_examples=count if full else max(30, count // 20), deadline=None)


def marked(names: Iterable[str], in_suite: Iterable[str]) -> list[Any]:
    """Parameters of a test, those that are not in the suite marked `full`."""
    chosen = set(in_suite)
    return [pytest.param(name, marks=() if name in chosen else pytest.mark.full) for name in names]
