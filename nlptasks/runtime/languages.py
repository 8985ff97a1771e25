"""Which languages a tokenizer knows, and how a prompt is marked with them.

Three ways: Marian's multilingual checkpoints read the target's code before the text (`>>fra<< Hello`); M2M100, NLLB
and mBART have a token for each language, which marks the source in the encoder and starts the target in the decoder;
all others know nothing of languages.
"""

from __future__ import annotations

import re
from typing import Any

from nlptasks.errors import InvalidInputError

_FLORES = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
"""NLLB's codes: ISO 639-3, then the script (FLORES-200, arXiv:2207.04672)."""


def languages(tokenizer: Any) -> tuple[str, ...]:
    """The codes of the languages that a tokenizer knows; empty for most."""
    marian = getattr(tokenizer, "supported_language_codes", None)
    if marian:
        return tuple(marian)
    coded = getattr(tokenizer, "lang_code_to_token", None) or getattr(tokenizer, "lang_code_to_id", None)
    if coded:
        return tuple(coded)
    if not hasattr(tokenizer, "src_lang"):
        return ()
    return tuple(sorted(token for token in tokenizer.all_special_tokens if _FLORES.fullmatch(token)))


def direction(tokenizer: Any) -> tuple[str, str] | None:
    """The one pair of languages of a bilingual checkpoint, by its own codes."""
    source, target = getattr(tokenizer, "source_lang", None), getattr(tokenizer, "target_lang", None)
    return (source, target) if source and target else None


def check(tokenizer: Any, *codes: str | None) -> None:
    """Raise InvalidInputError for a code that the tokenizer does not know; None asks for nothing."""
    known = languages(tokenizer)
    strange = [code for code in codes if code is not None and code not in known]
    if strange:
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "") if known else "none"
        problems = [
            f"language: expected a code that the tokenizer knows ({shown}), found {code!r}." for code in strange
        ]
        raise InvalidInputError("The model cannot write this", problems)


def source_ids(tokenizer: Any, text: str, source: str | None, target: str | None) -> list[int]:
    """Token ids of a text to translate, marked as the checkpoint was trained to read it."""
    if target is not None and _is_marian(tokenizer):
        text = f"{target} {text}"
    elif source is not None:
        tokenizer.src_lang = source
    return list(tokenizer(text, truncation=False, verbose=False)["input_ids"])


def target_ids(tokenizer: Any, text: str, target: str | None) -> list[int]:
    """Token ids of a translation, its end included: what the decoder learns to write."""
    if target is not None and not _is_marian(tokenizer):
        tokenizer.tgt_lang = target
    return list(tokenizer(text_target=text, truncation=False, verbose=False)["input_ids"])


def first_id(tokenizer: Any, target: str | None) -> int | None:
    """The token that a translation into `target` must begin with, or None."""
    if target is None or _is_marian(tokenizer):
        return None
    token = getattr(tokenizer, "lang_code_to_token", {}).get(target, target)
    found: int = tokenizer.convert_tokens_to_ids(token)
    return found


def _is_marian(tokenizer: Any) -> bool:
    return hasattr(tokenizer, "supported_language_codes")
