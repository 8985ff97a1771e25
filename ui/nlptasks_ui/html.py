"""The few pieces of HTML that pages and views are made of. Every text is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def element(tag: str, *content: str, **attributes: object) -> str:
    """An element around HTML. `class_` and `data_pair` become class and data-pair; None and False leave one out."""
    shown = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    return f"<{tag}{shown}>{''.join(content)}</{tag}>"


def text(words: object) -> str:
    """Any text, as HTML that shows it."""
    return escape(str(words), quote=False)


def box(kind: str, *content: str, **attributes: object) -> str:
    """A div of one of the classes of style.css."""
    return element("div", *content, class_=f"nlp-{kind}", **attributes)


def badges(words: Iterable[str]) -> str:
    """Short facts in a row."""
    shown = [element("span", text(word), class_="nlp-badge") for word in words if word]
    return box("badges", *shown) if shown else ""


def alert(words: str) -> str:
    """Something that the user must read; screen readers say it at once."""
    return box("alert", text(words), role="alert")


def status(words: str) -> str:
    """What is going on; screen readers say it when they pause."""
    return box("status", element("span", class_="nlp-pulse", aria_hidden="true"), text(words), role="status")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a head, its first column naming the rows; it scrolls sideways where it does not fit."""
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
    """Names and values."""
    cells = [element("tr", element("th", text(name), scope="row"), element("td", text(value))) for name, value in rows]
    return element("table", *cells, class_="nlp-table nlp-pairs")


def bar(label: str, share: float, words: str, *, chosen: bool = False, **attributes: object) -> str:
    """A label, a bar that fills `share` (0 to 1) of its track, and the same in words."""
    fill = element("span", class_="nlp-fill", style=f"width:{100 * share:.1f}%")
    return box(
        "bar nlp-chosen" if chosen else "bar",
        element("span", text(label), class_="nlp-label"),
        element("span", fill, class_="nlp-track"),
        element("span", text(words), class_="nlp-share"),
        **attributes,
    )
