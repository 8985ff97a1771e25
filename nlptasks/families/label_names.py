"""Labels and entity types that a caller names: a list of names, or names with descriptions."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from nlptasks.errors import clip

MAX_LABELS = 255
MAX_NAME = 200
MAX_DESCRIPTION = 1000
"""Characters; a description has to be read in one window of the model."""


def read_names(value: Any) -> dict[str, str] | None:
    """Descriptions by name, "" where there is none, in the caller's order.

    A text is read as names between commas, or as lines (or parts between semicolons) of the form `name: description`.

    Raises:
        PydanticCustomError: no names, too many, or names that cannot be told apart.
    """
    if value is None:
        return None
    pairs = list(_pairs(value))
    if not pairs or len(pairs) > MAX_LABELS:
        raise _fault(f"expected 1 to {MAX_LABELS} names, counted {len(pairs)}")
    names = [(_clean(name), description) for name, description in pairs]
    faults = [fault for name, description in names for fault in _faults(name, description)]
    alike: dict[str, list[str]] = defaultdict(list)
    for name, _ in names:
        if isinstance(name, str) and name:
            alike[unicodedata.normalize("NFKC", name).casefold()].append(name)
    for same in alike.values():
        if len(same) > 1:
            how = "once" if len(set(same)) == 1 else "that differ in more than letter case"
            faults.append(f"expected names {how}, not {' and '.join(map(repr, same[:3]))}")
    if faults:
        raise _fault("; ".join(faults[:5]))
    return {name: _clean(description or "") for name, description in names}


LabelNames = Annotated[dict[str, str] | None, BeforeValidator(read_names), Field(json_schema_extra={"format": "names"})]
"""The type of an option; its value maps each name to its description, "" where there is none, or is None.

The format makes forms ask for it beside the input, and a chat read it from the words before a colon.
"""


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        raise _fault("expected names, or a whole list or object of JSON")
    if isinstance(value, str):
        described = re.search(r"[\n;]|:\s", value)
        for part in re.split(r"[\n;]", value) if described else value.split(","):
            name, colon, description = part.partition(":") if described else (part, "", "")
            if part.strip():
                yield name, description if colon else None
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from ((name, None) for name in value)
    else:
        raise _fault("expected a list of names, or names with descriptions")


def _faults(name: Any, description: Any) -> Iterator[str]:
    if not isinstance(name, str) or not name:
        yield f"expected a name with at least one visible character, not {name!r}"
    elif len(name) > MAX_NAME:
        yield f"expected a name of at most {MAX_NAME} characters, not {clip(name, 40)!r}"
    if description is None:
        return
    if not isinstance(description, str):
        yield f"expected a text that describes {name!r}, not {clip(repr(description), 40)}"
    elif not description.strip():
        yield f"expected a description of {name!r}, not an empty text: write one, or name the labels in a list"
    elif len(description) > MAX_DESCRIPTION:
        yield f"expected a description of {name!r} with at most {MAX_DESCRIPTION} characters, not {len(description)}"


def _clean(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value


def _fault(message: str) -> PydanticCustomError:
    # Braces would be taken for a place to fill in.
    return PydanticCustomError("label_names", "{message}", {"message": message})
