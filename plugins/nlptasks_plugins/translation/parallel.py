"""Sentences beside their translations: in rows of training data, and as examples in a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nlptasks_plugins.translation import languages

EXAMPLES = (
    ("The library opens at nine o'clock.", {"fr": "La bibliothèque ouvre à neuf heures.",
     "de": "Die Bibliothek öffnet um neun Uhr.", "es": "La biblioteca abre a las nueve."}),
    ("She has lived here for three years.", {"fr": "Elle habite ici depuis trois ans.",
     "de": "Sie wohnt seit drei Jahren hier.", "es": "Ella vive aquí desde hace tres años."}),
    ("Could you please close the window?", {"fr": "Pourriez-vous fermer la fenêtre, s'il vous plaît ?",
     "de": "Könnten Sie bitte das Fenster schließen?", "es": "¿Podría cerrar la ventana, por favor?"}),
)  # fmt: skip
"""Three sentences that show a language model without a chat template what to do."""


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
    tagged = {name: value for name, value in row.items() if name in languages.NAMES and isinstance(value, str)}
    if isinstance(row.get("translation"), Mapping):
        return pairs(row["translation"])
    text, translation = row.get("text"), row.get("translation")
    if isinstance(text, str) and isinstance(translation, str):
        source = row.get("source_language") or next((tag for tag, value in tagged.items() if value == text), None)
        target = row.get("target_language") or next(
            (tag for tag, value in tagged.items() if value == translation), None
        )
        if not target:
            raise ValueError("expected the language of the translation (target_language), found none")
        return [(text, source, translation, target)]
    if len(tagged) != 2:
        raise ValueError(
            "expected a text and a translation, or two columns named by their languages (en, fr); "
            f"found {', '.join(row) or 'nothing'}"
        )
    (one, first), (other, second) = tagged.items()
    return [(first, one, second, other), (second, other, first, one)]
