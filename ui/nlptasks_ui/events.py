"""What events of several pages have in common."""

from __future__ import annotations

from typing import Any

from nlptasks_ui import html
from nlptasks_ui.errors import REFUSED

LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""The arguments of an event that only changes what is shown: it waits for nobody."""


def tell_refusal(event: Any, place: Any) -> None:
    """Say in `place` that an event found no room in the queue; its handler tells its own errors."""
    event.failure(lambda: html.alert(REFUSED), None, place, **LIGHT)
