"""A chat as tokens: only the control tokens of the model's own template act, those within a message are text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

_HIDDEN = re.compile("\ue000(\\d+)\ue001")
"""Where a control token of a message stood while its template is filled in; both characters are of private use."""

_controls: WeakKeyDictionary[Any, re.Pattern[str]] = WeakKeyDictionary()


def chat_ids(tokenizer: Any, turns: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = False) -> list[int]:
    """Token ids of turns with `role` and `content`, rendered by the tokenizer's chat template.

    A message that spells out a control token, such as `<|im_end|>`, does not end its turn.
    """
    hidden: list[str] = []

    def hide(match: re.Match[str]) -> str:
        hidden.append(match[0])
        return f"\ue000{len(hidden) - 1}\ue001"

    control = _control_pattern(tokenizer)
    plain = [{**turn, "content": control.sub(hide, turn["content"])} for turn in turns]
    rendered = tokenizer.apply_chat_template(plain, add_generation_prompt=add_generation_prompt, tokenize=False)
    ids: list[int] = []
    for place, part in enumerate(_HIDDEN.split(rendered)):
        written = place % 2 == 1
        text = hidden[int(part)] if written else part
        ids += tokenizer(text, add_special_tokens=False, split_special_tokens=written, verbose=False)["input_ids"]
    return ids


def _control_pattern(tokenizer: Any) -> re.Pattern[str]:
    if tokenizer not in _controls:
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        names = sorted({*special, *tokenizer.all_special_tokens, "\ue000", "\ue001"}, key=len, reverse=True)
        _controls[tokenizer] = re.compile("|".join(map(re.escape, names)))
    return _controls[tokenizer]
