"""Label Studio's JSON export: what annotators chose and wrote as columns, as its JSON-MIN has them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from nlptasks.data.rows import Row, Table, plural

Answers = tuple[tuple[str, tuple[str, ...]], ...]
"""What one annotator answered: the values of each control by its name."""


def flattened(table: Table) -> Table:
    """A table of Label Studio's tasks with a column for each field of their data, and for each control with choices or
    texts; spans stay where they are. Any other table is returned as it is.

    Of several annotators the answer of most counts, in a tie that of the first. Rows that nobody answered are left out.
    """
    if not {"data", "annotations"} <= set(table.columns):
        return table
    answers = [list(_answers(row.fields.get("annotations"))) for row in table.rows]
    if not any(answers):
        return table
    pairs = [(row, each) for row, each in zip(table.rows, answers, strict=True) if each]
    rows = [_flat(row, Counter(each).most_common(1)[0][0]) for row, each in pairs]
    notes = []
    if disputed := sum(len(set(each)) > 1 for _, each in pairs):
        rule = "the answer of most counts, in a tie that of the first"
        notes.append(f"{plural(disputed, 'row')} on which annotators disagree: {rule}")
    if left := len(answers) - len(pairs):
        notes.append(f"{plural(left, 'row')} left out that no annotator answered")
    columns = tuple(dict.fromkeys(name for row in rows for name in row.fields))
    return dataclasses.replace(table, columns=columns, rows=rows, notes=[*table.notes, *notes])


def _flat(row: Row, answers: Answers) -> Row:
    data = row.fields["data"]
    fields = dict(data) if isinstance(data, Mapping) else {}
    fields |= {name: values[0] if len(values) == 1 else list(values) for name, values in answers}
    return row._replace(fields={**row.fields, **fields})


def _answers(annotations: Any) -> Iterator[Answers]:
    for one in annotations if isinstance(annotations, list) else []:
        if not isinstance(one, Mapping) or one.get("was_cancelled"):
            continue
        results = one.get("result")
        answers = [answer for result in (results if isinstance(results, list) else []) if (answer := _answer(result))]
        if answers:
            yield tuple(answers)


def _answer(result: Any) -> tuple[str, tuple[str, ...]] | None:
    match result:
        case {"from_name": str() as name, "value": {"choices": [*values]} | {"text": [*values]}} if values:
            return name, tuple(map(str, values))
        case {"from_name": str() as name, "type": "textarea", "value": {"text": str() as text}}:
            return name, (text,)
    return None
