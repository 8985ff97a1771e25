"""What several commands share: option values."""

from __future__ import annotations

import json
from typing import Any


def option_values(pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """`-o KEY VALUE` pairs; a value that is JSON is read as JSON, else it is a text."""
    values: dict[str, Any] = {}
    for key, text in pairs:
        try:
            values[key.replace("-", "_")] = json.loads(text)
        except json.JSONDecodeError:
            values[key.replace("-", "_")] = text
    return values
