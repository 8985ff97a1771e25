"""Which languages a tokenizer knows, and how a prompt is marked with them. Outside, languages have BCP 47 tags.

Three ways: Marian's multilingual checkpoints read the target's code before the text (`>>fra<< Hello`); M2M100, NLLB
and mBART have a token for each language, which marks the source in the encoder and starts the target in the decoder;
all others know nothing of languages.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from nlptasks.errors import InvalidInputError

_FLORES = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
"""NLLB's codes: ISO 639-3, then the script (FLORES-200, arXiv:2207.04672)."""


def languages(tokenizer: Any) -> tuple[str, ...]:
    """BCP 47 tags of the languages that a tokenizer knows; empty for most."""
    return tuple(sorted(_by_tag(_codes(tokenizer))))


def direction(tokenizer: Any) -> tuple[str, str] | None:
    """BCP 47 tags of the one pair of languages of a bilingual Marian checkpoint."""
    pair = [_tag(getattr(tokenizer, name, None) or "") for name in ("source_lang", "target_lang")]
    return (pair[0], pair[1]) if pair[0] and pair[1] else None


def check(tokenizer: Any, *tags: str | None) -> None:
    """Raise InvalidInputError for a language that the tokenizer does not know; None is no language."""
    unknown = [tag for tag in tags if tag is not None and code_of(tokenizer, tag) is None]
    if unknown:
        known = languages(tokenizer)
        listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "") if known else "none"
        expected = f"language: expected one that the model knows ({listed})"
        raise InvalidInputError("The model cannot write this", [f"{expected}, found {tag!r}." for tag in unknown])


def code_of(tokenizer: Any, tag: str) -> str | None:
    """A tokenizer's nearest code for a language, or None."""
    import langcodes

    by_tag = _by_tag(_codes(tokenizer))
    # Up to 10 is a country, a default script or a dialect; beyond it another language.
    nearest, distance = langcodes.closest_match(tag, list(by_tag), max_distance=10)
    return by_tag[nearest] if distance <= 10 else None


def _codes(tokenizer: Any) -> tuple[str, ...]:
    marian = getattr(tokenizer, "supported_language_codes", None)
    if marian is not None:
        return tuple(marian)
    coded = getattr(tokenizer, "lang_code_to_token", None) or getattr(tokenizer, "lang_code_to_id", None)
    if coded:
        return tuple(coded)
    if not hasattr(tokenizer, "src_lang"):
        return ()
    return tuple(token for token in tokenizer.all_special_tokens if _FLORES.fullmatch(token))


@functools.lru_cache(maxsize=16)
def _by_tag(codes: tuple[str, ...]) -> dict[str, str]:
    """Codes by their BCP 47 tags; the first of equal ones counts."""
    by_tag: dict[str, str] = {}
    for code in codes:
        # mBART's codes are like en_XX, Marian's like >>fra<<.
        tag = _tag(code.removesuffix("_XX").removeprefix(">>").removesuffix("<<"))
        if tag:
            by_tag.setdefault(tag, code)
    return by_tag


def _tag(code: str) -> str:
    import langcodes
    from langcodes.tag_parser import LanguageTagError

    try:
        return langcodes.standardize_tag(code) if code else ""
    except LanguageTagError:
        return ""


def source_ids(tokenizer: Any, text: str, source: str | None, target: str | None) -> list[int]:
    """Token ids of a text to translate, marked as the checkpoint was trained to read it; languages as BCP 47 tags."""
    if target is not None and _is_marian(tokenizer):
        text = f"{code_of(tokenizer, target)} {text}"
    elif source is not None:
        tokenizer.src_lang = code_of(tokenizer, source)
    return list(tokenizer(text, truncation=False, verbose=False)["input_ids"])


def target_ids(tokenizer: Any, text: str, target: str | None) -> list[int]:
    """Token ids of a translation, its end included: what the decoder learns to write."""
    if target is not None and not _is_marian(tokenizer):
        tokenizer.tgt_lang = code_of(tokenizer, target)
    return list(tokenizer(text_target=text, truncation=False, verbose=False)["input_ids"])


def first_id(tokenizer: Any, target: str | None) -> int | None:
    """The token that a translation into `target` must begin with, or None."""
    if target is None or _is_marian(tokenizer):
        return None
    code = code_of(tokenizer, target)
    token_id: int = tokenizer.convert_tokens_to_ids(getattr(tokenizer, "lang_code_to_token", {}).get(code, code))
    return token_id


def _is_marian(tokenizer: Any) -> bool:
    return hasattr(tokenizer, "supported_language_codes")
