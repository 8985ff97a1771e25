"""Bases whose licence a person must accept before they are fetched: here by a tick, which is never set beforehand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nlptasks import NlptasksError
from nlptasks.surfaces import sentence
from nlptasks_ui import html
from nlptasks_ui.context import Context
from nlptasks_ui.events import LIGHT

if TYPE_CHECKING:
    from nlptasks.store import Base

_THERE = html.element("p", "It is on this machine: name it as a model.", role="status")


def build(context: Context) -> None:
    """Add a part for each such base of the catalog to the Blocks that is open."""
    from nlptasks.store import CATALOG

    for base in CATALOG.values():
        if base.terms:
            _build_part(context, base)


def _build_part(context: Context, base: Base) -> None:
    import gradio as gr

    gr.HTML(_terms(base), elem_id=f"terms-{base.name}")
    accepted = gr.Checkbox(
        False, label=f"I have read the {base.licence} and accept them.", elem_id=f"accept-{base.name}"
    )
    with gr.Row(elem_classes="nlp-actions"):
        fetch = gr.Button(f"Fetch {base.name}", interactive=False, elem_id=f"fetch-{base.name}")
    said = gr.HTML(elem_id=f"fetched-{base.name}")

    async def obtain(ticked: bool) -> AsyncGenerator[Any, None]:
        async for words, done in _obtain(context, base, ticked):
            yield words, gr.Checkbox(visible=not done), gr.Button(visible=not done)

    def look() -> Any:
        there = _is_there(context, base)
        return _THERE if there else "", gr.Checkbox(visible=not there), gr.Button(visible=not there)

    shown = [said, accepted, fetch]
    gr.on(None, look, None, shown, **LIGHT)
    accepted.change(lambda ticked: gr.Button(interactive=ticked), accepted, fetch, **LIGHT)
    fetch.click(
        obtain,
        accepted,
        shown,
        concurrency_limit=1,
        trigger_mode="once",
        show_progress="hidden",
        api_visibility="private",
    )


def _terms(base: Base) -> str:
    link = html.element("a", html.text(base.terms), href=base.terms, target="_blank", rel="noopener")
    words = html.text(
        f"{base.title} comes under the {base.licence}. Nothing of it is fetched before they are accepted: "
    )
    return html.element("h2", html.text(f"Licence of {base.name}")) + html.element("p", words, link)


def _is_there(context: Context, base: Base) -> bool:
    """Whether the base is in the cache; then it was accepted before."""
    from nlptasks.store import cached_bases

    return any(found.name == base.name for found in cached_bases(context.engine.settings))


async def _obtain(context: Context, base: Base, ticked: bool) -> AsyncGenerator[tuple[str, bool], None]:
    """What to say while the base is fetched, and whether it is there."""
    from nlptasks.store import find_base

    if not ticked:
        yield html.alert(f"The {base.licence} are not accepted: tick the box first."), False
        return
    settings = context.engine.settings
    accepting = replace(settings, accepted_licences=settings.accepted_licences | {base.name})
    work = asyncio.create_task(asyncio.to_thread(find_base, base.name, accepting, on_progress=context.loads))
    while not work.done():
        yield html.status(context.loads.line() or f"Fetching {base.name}"), False
        await asyncio.wait({work}, timeout=0.5)
    try:
        work.result()
    except NlptasksError as error:
        yield html.alert(sentence(error)), False
    else:
        yield _THERE, True
