"""The page of documentation, which needs no script and no other host."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from pydantic import BaseModel

from nlptasks.surfaces import field_texts

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>nlptasks</title>
<meta name="viewport" content="width=device-width"><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1c2b2a; }
code, pre { font: 13px ui-monospace, monospace; background: #f1f5f4; border-radius: 4px; padding: 2px 4px; }
pre { padding: 10px; overflow-x: auto; } table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
td, th { text-align: left; vertical-align: top; border-bottom: 1px solid #d5dedc; padding: 4px 8px 4px 0; }
summary { cursor: pointer; padding: 6px 0; }
@media (prefers-color-scheme: dark) { body { background: #101817; color: #dce6e4; } code, pre { background: #1c2826; }
td, th { border-color: #33403e; } }
</style><h1>nlptasks</h1><p>Requests and answers are JSON. The whole description is
<a href="openapi.json"><code>openapi.json</code></a>, in OpenAPI's form. A client of the Model
Context Protocol finds the tasks as tools at <code>/mcp</code>.</p>"""


def documentation(schema: Mapping[str, Any], bodies: Mapping[str, type[BaseModel]]) -> str:
    """The routes of an OpenAPI document as HTML, with the fields of their bodies."""
    parts = [_HEAD]
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            # FastAPI makes a summary of a function's name if there is no other.
            words = route.get("description", route.get("summary", "")).partition("\n\n")[0]
            title = f"<code>{method.upper()} {escape(path)}</code> {escape(words)}"
            parts.append(f"<details><summary>{title}</summary>{_fields(bodies.get(path), path)}</details>")
    return "".join(parts)


def _fields(body: type[BaseModel] | None, path: str) -> str:
    if body is None:
        return f"<pre>curl localhost:8000{escape(path)}</pre>"
    rows = "".join(
        f"<tr><td><code>{escape(one.name)}</code><td>{escape(one.type)}<td>{escape(one.default)}"
        f"<td>{escape(one.description)}"
        for one in field_texts(body)
    )
    return f"<table><tr><th>field<th>type<th>default<th>{rows}</table>"
