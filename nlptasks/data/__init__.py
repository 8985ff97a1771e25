"""Rows of files and data sets: one reader for every surface, and what training makes of the rows.

from nlptasks.data import read_rows

for row in read_rows("reviews.csv"):
    print(row.place, row.fault or row.fields)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlptasks.data.columns import field_values as field_values
    from nlptasks.data.columns import input_columns as input_columns
    from nlptasks.data.columns import match_columns as match_columns
    from nlptasks.data.files import FORMATS as FORMATS
    from nlptasks.data.files import open_text as open_text
    from nlptasks.data.options import DataOptions as DataOptions
    from nlptasks.data.rows import Row as Row
    from nlptasks.data.rows import Table as Table
    from nlptasks.data.tables import read_rows as read_rows
    from nlptasks.data.tables import read_table as read_table
    from nlptasks.data.tables import read_text as read_text
    from nlptasks.data.text_lines import text_rows as text_rows

_HOMES = {
    "columns": ("field_values", "input_columns", "match_columns"),
    "files": ("FORMATS", "open_text"),
    "options": ("DataOptions",),
    "rows": ("Row", "Table"),
    "tables": ("read_rows", "read_table", "read_text"),
    "text_lines": ("text_rows",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*_HOME_OF]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'nlptasks.data' has no attribute {name!r}")
    value = getattr(import_module(f"nlptasks.data.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
