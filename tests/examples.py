"""How many inputs hypothesis tries for a law."""

from __future__ import annotations

from hypothesis import settings


def examples(count: int) -> settings:
    """`count` inputs in `make full`, otherwise a twentieth of them, and 30 at least."""
    full = settings.get_current_profile_name() == "full"
    return settings(max_examples=count if full else max(30, count // 20), deadline=None)
