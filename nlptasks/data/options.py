"""How labelled data is read: columns, labels, encoding, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataOptions:
    """How to read data. Columns that are not named are matched by common names.

    `columns` maps a field to the column that holds it, as in `{"text": "review"}`; `text_column` and `label_column`
    name two of them. `labels` replaces the task's own label names. `max_rows` limits the training rows. `held_out` is
    the share of the rows that is kept from training when no validation data is given. `encoding` is that of files that
    are neither UTF-8 nor marked as UTF-16; `sheet` names the sheet of a workbook, the first if None.
    """

    text_column: str | None = None
    label_column: str | None = None
    labels: tuple[str, ...] | None = None
    max_rows: int | None = None
    held_out: float = 0.1
    rename: Mapping[str, str] = field(default_factory=dict)
    allow_misaligned: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    sheet: str | None = None

    def column(self, name: str) -> str | None:
        """The column that the caller named for a field."""
        short = {"text": self.text_column, "label": self.label_column}
        return self.columns.get(name) or short.get(name)
