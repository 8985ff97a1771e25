"""Sentences beside their translations: in rows of training data, and as examples in a prompt."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from nlptasks_plugins import languages

EXAMPLES = (
    ("The library opens at nine o'clock.", {"fr": "La bibliothèque ouvre à neuf heures.",
     "de": "Die Bibliothek öffnet um neun Uhr.", "es": "La biblioteca abre a las nueve."}),
    ("She has lived here for three years.", {"fr": "Elle habite ici depuis trois ans.",
     "de": "Sie wohnt seit drei Jahren hier.", "es": "Ella vive aquí desde hace tres años."}),
    ("Could you please close the window?", {"fr": "Pourriez-vous fermer la fenêtre, s'il vous plaît ?",
     "de": "Könnten Sie bitte das Fenster schließen?", "es": "¿Podría cerrar la ventana, por favor?"}),
)  # fmt: skip
"""Three sentences that show a language model without a chat template what to do."""

ROW_NUMBERS = frozenset({"id", "no"})
"""Tags of languages that are usual names of a row number's column, too."""


def shots(text: str, source: str, target: str) -> str:
    """Three translated sentences and the one to translate, a line each; languages as BCP 47 tags."""
    lines = []
    for english, others in EXAMPLES:
        sentence = {"en": english, **others}
        if source in sentence and target in sentence:
            lines += [f"{languages.name(source)}: {sentence[source]}", f"{languages.name(target)}: {sentence[target]}"]
    return "\n".join([*lines, f"{languages.name(source)}: {text}", f"{languages.name(target)}:"])


def pairs(row: Mapping[str, Any]) -> list[tuple[str, str | None, str, str]]:
    """(text, its language, translation, its language) of a training row.

    A row names its languages (`source_language`, `target_language`), or its columns are named by them (`en`, `fr`),
    when it teaches both directions, unless its text and its translation are named.
    """
    if isinstance(row.get("translation"), Mapping):
        return pairs(row["translation"])
    text, translation = row.get("text"), row.get("translation")
    tagged = _by_language(row)
    if isinstance(text, str) and isinstance(translation, str):
        source = row.get("source_language") or next((tag for tag, name in tagged.items() if row[name] == text), None)
        target = row.get("target_language") or next(
            (tag for tag, name in tagged.items() if row[name] == translation), None
        )
        if not target:
            raise ValueError(
                "expected the language of the translation in a column target_language, or two columns named by their "
                f"languages (en, fr); found {', '.join(row)}"
            )
        return [(text, source, translation, target)]
    if len(tagged) != 2:
        languages_found = f" with the languages {', '.join(tagged)}" if tagged else ""
        raise ValueError(
            "expected a text and a translation, or two columns named by their languages (en, fr); "
            f"found {', '.join(row) or 'nothing'}{languages_found}. Rename a column to its language, leave out a third "
            "language, or name them with --columns text=NAME,translation=NAME,target_language=NAME"
        )
    (one, first), (other, second) = tagged.items()
    return [(row[first], one, row[second], other), (row[second], other, row[first], one)]


def _by_language(row: Mapping[str, Any]) -> dict[str, str]:
    """The columns that are named by a language, by its tag: `en`, `EN`, `pt-BR`, `pt_BR` or `German`.

    `id` and `no` are also names for row numbers: they are languages beside one other only, and if they hold words.
    """
    # By items, which does not count as reading a column.
    texts = {tag: (name, value) for name, value in row.items() if isinstance(value, str) and (tag := _tag(name))}
    for tag in ROW_NUMBERS & texts.keys():
        if len(texts) > 2 or not any(map(str.isalpha, texts[tag][1])):
            del texts[tag]
    return {tag: name for tag, (name, _) in texts.items()}


@functools.cache
def _tag(name: str) -> str | None:
    try:
        tag = languages.standard(name.replace("_", "-"))
    except ValueError:
        return None
    return tag if languages.primary(tag) in languages.NAMES else None
