"""How many inputs hypothesis tries for a law."""

from __future__ import annotations

from hypothesis import settings


def examples(count: int) -> settings:
    """`count` inputs in `make full`, otherwise a tenth of them, and 50 at least."""
    full = settings.get_current_profile_name() == "full"
    return settings(max_examples=count if full else max(50, count // 10), deadline=None)
