"""Write docs/options.md: the input, the options and the result of every built-in task.

python docs/options.py
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nlptasks import Result, tasks
from nlptasks.surfaces import FieldText, field_texts

PAGE = Path(__file__).with_suffix(".md")

_HEAD = """# Inputs, options and results of the tasks

`python docs/options.py` writes this page. For installed plugins too, the command line shows the same: `nlptasks tasks
TASK` and `nlptasks run TASK --help`. Options are keywords in Python, `-o KEY VALUE` on the command line, and fields of
the forms in the web app.
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [_HEAD]
    for name, task in tasks().items():
        parts += [f"\n## {name}\n\n{task.summary}\n"]
        parts += _table("Input", field_texts(task.input_type))
        parts += _table("Options", field_texts(task.options_type))
        shared = Result.model_fields
        parts += _table("Result", (one for one in field_texts(task.result_type) if one.name not in shared))
    parts += ["\n## All results\n\nThe result of every task also has these fields.\n"]
    return "".join([*parts, *_table("Result", field_texts(Result))])


def _table(title: str, fields: Iterable[FieldText]) -> list[str]:
    rows = [f"| `{one.name}` | {_cell(one.type)} | {_cell(one.default)} | {_cell(one.description)} |" for one in fields]
    return [f"\n| {title} | Type | Default | |\n|---|---|---|---|\n", "\n".join(rows), "\n"] if rows else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
