"""Event settings and handlers that several pages share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from nlptasks_ui import html

REFUSED = "Too many requests are waiting, so this one was not taken. Try again in a minute."
"""What a page says where its request did not get into the queue."""

LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Arguments of an event that only updates the page: it bypasses the queue."""

STOPS = "nlp-stops"
"""The CSS class of a button that stops an event; `script.js` looks for it."""


def of_request(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Let Gradio pass its request to a handler's argument `request`.

    Gradio looks for the argument's type, and cannot resolve the name of a type that is imported later.
    """
    import gradio as gr

    handler.__annotations__["request"] = gr.Request
    return handler


def user_of(request: Any) -> str:
    """The user who sent a request; "" in an app without logins."""
    return getattr(request, "username", None) or ""


def tell_refusal(event: Any, place: Any, stopped: str = "") -> None:
    """Show in `place`, an HTML component, that the queue was full; errors of the event itself are its handler's.

    Gradio also reports an event that a button removed from the queue as failed: `place` then shows `stopped`.
    """
    choice = " : ".join(map(json.dumps, (stopped, html.alert(REFUSED))))
    event.failure(None, None, place, js=f"() => window.nlptasks.stopped() ? {choice}", api_visibility="private")
