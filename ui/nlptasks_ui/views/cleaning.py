"""HTML and Markdown that others wrote, made safe to show: no script, no form, nothing fetched from another machine."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import Any

import nh3

_SVG = {
    "circle", "clipPath", "defs", "desc", "ellipse", "g", "line", "linearGradient", "marker", "mask", "path", "pattern",
    "polygon", "polyline", "radialGradient", "rect", "stop", "svg", "text", "title", "tspan",
}  # fmt: skip
_DRAWING = {
    "class", "cx", "cy", "d", "dx", "dy", "fill", "fill-opacity", "font-size", "font-weight", "height", "offset",
    "opacity", "points", "preserveAspectRatio", "r", "rx", "ry", "stop-color", "stroke", "stroke-dasharray",
    "stroke-linecap", "stroke-linejoin", "stroke-opacity", "stroke-width", "text-anchor", "transform", "viewBox",
    "width", "x", "x1", "x2", "y", "y1", "y2",
}  # fmt: skip
_STYLES = {"--hue", "background-color", "color", "font-weight", "height", "max-width", "text-align", "width"}
_HTML = nh3.ALLOWED_TAGS - {"area", "map"}


def view(markup: str) -> str:
    """The HTML of a plugin's view, with its classes, sizes, colours and SVG; a view with an SVG has no links."""
    links = {"a"} if "<svg" in markup.lower() else set()
    return nh3.clean(
        markup,
        tags=(_HTML | _SVG | {"meter", "progress", "tfoot"}) - links,
        attributes=_attributes({"class", "style", "title", "role", "tabindex", "lang", "dir"})
        | dict.fromkeys(_SVG, _DRAWING),
        generic_attribute_prefixes={"data-", "aria-"},
        filter_style_properties=_STYLES,
        **_COMMON,
    )


def markdown(text: str, *, html: bool = False) -> str:
    """Markdown as HTML. With `html`, the HTML in it is kept as far as it is safe; without, it is text. An image is its
    alternative text.
    """
    rendered = _parser(html).render(text)
    return nh3.clean(rendered, tags=_HTML - {"img"}, attributes=_attributes({"title", "lang", "dir"}), **_COMMON)


def _attributes(everywhere: set[str]) -> dict[str, set[str]]:
    numbers = {"max", "min", "value"}
    return {**nh3.ALLOWED_ATTRIBUTES, "*": everywhere, "details": {"open"}, "meter": numbers, "progress": numbers}


def _safe(tag: str, name: str, value: str) -> str | None:
    """An attribute's value, or None to omit it: images are part of the page, links lead to a page or a mailbox."""
    if name == "src":
        return value if value.startswith("data:image/") else None
    if name in ("cite", "href"):
        return value if value.startswith(("https://", "http://", "mailto:")) else None
    if tag in _SVG and "(" in value and name != "transform":
        return None  # url(…) may be fetched
    return value


_COMMON: dict[str, Any] = {
    "attribute_filter": _safe,
    "url_schemes": {"http", "https", "mailto", "data"},
    "set_tag_attribute_values": {"a": {"target": "_blank"}},
}


@cache
def _parser(html: bool) -> Any:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": html, "breaks": not html}).enable(["table", "strikethrough"])
    parser.add_render_rule("image", lambda _, tokens, place, *__: escape(tokens[place].content))
    return parser
