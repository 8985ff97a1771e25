"""HTML elements for pages and views. Every text is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def element(tag: str, *content: str, **attributes: object) -> str:
    """An element with HTML content. `class_` and `data_pair` become class and data-pair; None and False are omitted."""
    rendered = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    return f"<{tag}{rendered}>{''.join(content)}</{tag}>"


def text(words: object) -> str:
    """A text, escaped for HTML."""
    return escape(str(words), quote=False)


def box(kind: str, *content: str, **attributes: object) -> str:
    """A div with one of the classes of style.css."""
    return element("div", *content, class_=f"nlp-{kind}", **attributes)


def badges(words: Iterable[str]) -> str:
    """A row of badges, one for each text that is not empty."""
    spans = [element("span", text(word), class_="nlp-badge") for word in words if word]
    return box("badges", *spans) if spans else ""


def alert(words: str) -> str:
    """An error or a warning; screen readers announce it at once."""
    return box("alert", text(words), role="alert")


def status(words: str) -> str:
    """The current activity; screen readers announce it when they are idle."""
    return box("status", element("span", class_="nlp-pulse", aria_hidden="true"), text(words), role="status")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a header row, its first column naming the rows; a wide one scrolls sideways."""
    head = element("tr", *(element("th", text(name), scope="col") for name in heads))
    body = [
        element(
            "tr",
            element("th", text(first), scope="row"),
            *(element("td", text(cell)) for cell in rest),
        )
        for first, *rest in rows
    ]
    return box("wide", element("table", element("thead", head), element("tbody", *body), class_="nlp-table"))


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """A table of names and values."""
    cells = [element("tr", element("th", text(name), scope="row"), element("td", text(value))) for name, value in rows]
    return element("table", *cells, class_="nlp-table nlp-pairs")


def bar(label: str, share: float, words: str, *, chosen: bool = False, **attributes: object) -> str:
    """A label, a bar that fills `share` (0 to 1) of its track, and the value in words."""
    fill = element("span", class_="nlp-fill", style=f"width:{100 * share:.1f}%")
    return box(
        "bar nlp-chosen" if chosen else "bar",
        element("span", text(label), class_="nlp-label"),
        element("span", fill, class_="nlp-track"),
        element("span", text(words), class_="nlp-share"),
        **attributes,
    )
