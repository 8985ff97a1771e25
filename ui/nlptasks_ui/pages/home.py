"""The start page: links to all other pages."""

from __future__ import annotations

from collections.abc import Sequence

from nlptasks_ui.context import Context, Page
from nlptasks_ui.html import box, element, text


def build(_: Context, pages: Sequence[Page]) -> None:
    """Add a card for every page."""
    import gradio as gr

    intro = element(
        "p",
        "Everything runs on this machine. A model is loaded on first use and then stays in memory.",
        class_="nlp-lead",
    )
    gr.HTML(intro + "".join(_group(group, pages) for group in dict.fromkeys(page.group for page in pages)))


def _group(group: str, pages: Sequence[Page]) -> str:
    cards = [_card(page) for page in pages if page.group == group]
    return element("h2", text(group)) + box("cards", *cards) if group else ""


def _card(page: Page) -> str:
    title = element("strong", text(page.title))
    return element("a", title, element("span", text(page.summary)), href=page.path, class_="nlp-card")
