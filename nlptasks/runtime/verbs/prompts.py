"""Prompts as tokens; training and serving both use this. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nlptasks.errors import OverflowRefusedError
from nlptasks.model import Decoding, Prompt
from nlptasks.results import Message
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.verbs import languages
from nlptasks.runtime.verbs.chats import chat_ids


def encode_prompt(base: LoadedBase, prompt: Prompt, decoding: Decoding) -> tuple[list[int], bool]:
    """Token ids of a prompt and whether its beginning had to be cut.

    Raises:
        OverflowRefusedError: it does not fit and `decoding.truncate_prompt` is off.
    """
    ids = prompt_ids(base.tokenizer, prompt, decoding.source_language, decoding.target_language)
    # A decoder's prompt and answer share one context; a seq2seq model's prompt has the encoder's to itself.
    reserved = 0 if base.kind == "seq2seq" else min(decoding.max_new_tokens, base.max_tokens // 2)
    room = base.max_tokens - reserved
    if len(ids) <= room:
        return ids, False
    if not decoding.truncate_prompt:
        raise OverflowRefusedError(
            f"The prompt has {len(ids)} tokens; with {reserved} reserved for the answer the model reads {room}: "
            "shorten it, lower max_new_tokens, or use on_overflow='truncate' to keep its end."
        )
    return (ids[:room] if base.kind == "seq2seq" else ids[-room:]), True


def prompt_ids(tokenizer: Any, prompt: Prompt, source: str | None = None, target: str | None = None) -> list[int]:
    """Tokens of plain text, or of a chat through the model's own template; training and serving both use this.

    `source` and `target` are BCP 47 tags, for tokenizers that mark languages.
    """
    if isinstance(prompt, str):
        ids = languages.source_ids(tokenizer, prompt, source, target)
        # An empty prompt still needs one token to continue from.
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        return ids or [start or 0]
    if tokenizer.chat_template is None:
        return list(tokenizer(plain_chat(prompt), truncation=False, verbose=False)["input_ids"])
    chat = [message.model_dump() for message in prompt]
    return chat_ids(getattr(tokenizer, "whole", tokenizer), chat, add_generation_prompt=True)


def plain_chat(messages: Sequence[Message]) -> str:
    """A chat as plain text, for a language model without a template."""
    names = {"system": "System", "user": "User", "assistant": "Assistant"}
    return "\n".join(f"{names[m.role]}: {m.content}" for m in messages) + "\nAssistant:"
