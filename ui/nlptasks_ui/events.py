"""What events of several pages have in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from nlptasks_ui import html

REFUSED = "Too many requests are waiting, so this one was not taken. Try again in a minute."
"""What a page says where its request did not get into the queue."""

LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""The arguments of an event that only changes what is shown: it waits for nobody."""


STOPS = "nlp-stops"
"""The class of a button that takes an event out of the queue."""


def of_request(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose argument `request` is gradio's.

    Gradio finds it by the type of the argument, and cannot resolve the name of a type that is imported later.
    """
    import gradio as gr

    handler.__annotations__["request"] = gr.Request
    return handler


def tell_refusal(event: Any, place: Any, stopped: str = "") -> None:
    """Say in `place`, an HTML component, that an event found no room in the queue; its handler tells its own errors.

    To gradio's page an event that a button took out of the queue has failed too: then `stopped` is shown.
    """
    said = " : ".join(map(json.dumps, (stopped, html.alert(REFUSED))))
    event.failure(None, None, place, js=f"() => window.nlptasks.stopped() ? {said}", api_visibility="private")
