"""A note on results for texts in a language that the base has not learnt: the embedded bases know English."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TypeVar

from nlptasks import InvalidInputError, Model, Result
from nlptasks_plugins.languages import UNDETERMINED, detect, name

R = TypeVar("R", bound=Result)

SURE = 0.9
"""Least probability of another language. None of 2,872 English texts (the validation sets of SST-2 and of TweetEval's
sentiment) gets a note."""

LETTERS = 12
"""Fewest letters of a text that is checked: names and single words look like any language."""

ENGLISH = frozenset(
    {
        "minilm",
        "smollm2",
        "deepset/tinyroberta-squad2",
        "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        "dslim/bert-base-NER",
        "facebook/bart-large-cnn",
        "HuggingFaceTB/SmolLM2-360M-Instruct",
    }
)
"""The bases that tasks here name, all trained on English. Nothing is said of others: their languages are not known."""

_COMMON = frozenset(
    re.findall(
        r"\w+",
        """the a an and is are was were of to in it that this for with as on but not be have has had i you he she they
        we my your his her its at by from or so if will would can do did no all one what who when which there their""",
    )
)
_WORD = re.compile(r"[^\W\d_]+")


def noted(results: list[R], texts: Sequence[str], model: Model, what: str = "text") -> list[R]:
    """The results; with an English base, whichever the adapter, one has a note if its text is in another language."""
    base = model.info.name.partition("@")[0]
    return [_noted(*pair, base, what) for pair in zip(results, texts, strict=True)] if base in ENGLISH else results


def _noted(result: R, text: str, base: str, what: str) -> R:
    language = other_language(text)
    return result.noted(f"the {what} seems to be in {language}; {base} was trained on English" if language else None)


def other_language(text: str) -> str:
    """The language that a text is in, if it is surely not English: its name, or "another language"; else ''."""
    words = _WORD.findall(text[:1000].lower())
    count = sum(map(len, words))
    # Most English texts are told by two of the commonest words, which takes a hundredth of the detector's time.
    if len(_COMMON.intersection(words)) > 1 or not count:
        return ""
    latin = 2 * sum(letter < "\u0250" for word in words for letter in word) > count
    if latin and count < LETTERS:
        return ""
    guess = detect(text[:1000])
    if guess.confidence >= SURE and guess.tag != UNDETERMINED:
        known = name(guess.tag)
        return "" if guess.tag == "en" else known if known != guess.tag else f"another language ({guess.tag})"
    return "" if latin else "another language"


def check_latin(task: str, labels: Mapping[str, str] | None) -> None:
    """Refuse labels in another script without a description in English, of which the adapter reads nothing.

    Raises:
        InvalidInputError: naming the first of them.
    """
    names = [name for name, description in (labels or {}).items() if not _is_latin(description or name)]
    if names:
        problem = (
            f"labels: expected English names or descriptions, which the adapter was trained on, found {names[0]!r}"
        )
        raise InvalidInputError(f"{task} cannot run this", [f"{problem}; name another model for it."])


def _is_latin(text: str) -> bool:
    """Whether most letters are Latin; a text without letters passes."""
    letters = [letter for letter in text if letter.isalpha()]
    return 2 * sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters) >= len(letters)
