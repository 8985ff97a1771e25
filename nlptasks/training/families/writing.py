"""Prompts and targets as batches of a language model, and the log-probabilities of the targets.

A causal model reads prompt and target in one row, padded on the left so that all targets end in the last column and
few positions need the large output layer. A seq2seq model reads the prompt and decodes the target beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nlptasks.model import ModelKind
from nlptasks.results import Message
from nlptasks.runtime.verbs import languages
from nlptasks.runtime.verbs.chats import chat_ids
from nlptasks.runtime.verbs.encoding import pad
from nlptasks.runtime.verbs.prompts import prompt_ids
from nlptasks.training.families.base import Feature

IGNORED = -100
"""The target of what is not learnt: the prompt, padding."""


@dataclass(frozen=True)
class Origin:
    """How a feature was made: whether for a seq2seq model, and whether something was cut to fit."""

    seq2seq: bool
    cut: bool


def encode(request: Mapping[str, Any], tokenizer: Any, max_length: int, kind: ModelKind) -> Feature:
    """Token ids of a prompt, made as serving makes them, and of the text to write behind it.

    Args:
        request: `prompt` (a text, or turns with role and content), `target` (a text), `languages` (BCP 47
            tags of source and target, or None).
        tokenizer: the base's.
        max_length: tokens of prompt and target together; of each for a seq2seq model.
        kind: causal or seq2seq.
    """
    source, target = request["languages"]
    prompt = request["prompt"]
    prompt = prompt if isinstance(prompt, str) else [Message(**turn) for turn in prompt]
    read = prompt_ids(tokenizer, prompt, source, target)
    if kind == "seq2seq":
        written = languages.target_ids(tokenizer, request["target"], target)
        cut = max(len(read), len(written)) > max_length
        read = read if len(read) <= max_length else [*read[: max_length - 1], read[-1]]
        written = written if len(written) <= max_length else [*written[: max_length - 1], written[-1]]
        inputs = {"input_ids": read, "attention_mask": [1] * len(read)}
    else:
        written = _answer_ids(tokenizer, prompt, read, request["target"])
        cut = len(read) + len(written) > max_length
        # As in serving a prompt loses its beginning; a target keeps at least three quarters of the room.
        written = written[: max_length - min(len(read), max_length // 4)]
        read = read[-(max_length - len(written)) :]
        inputs = {"input_ids": read + written, "attention_mask": [1] * (len(read) + len(written))}
    return Feature(inputs, tuple(written), dict(request), Origin(kind == "seq2seq", cut))


def _answer_ids(tokenizer: Any, prompt: str | Sequence[Message], read: list[int], target: str) -> list[int]:
    """The target's tokens and the one that ends it: in a chat what the model's own template puts there."""
    plain = list(tokenizer(target, add_special_tokens=False, verbose=False)["input_ids"])
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    if isinstance(prompt, str) or tokenizer.chat_template is None:
        return plain + end
    turns = [*(turn.model_dump() for turn in prompt), {"role": "assistant", "content": target}]
    whole = chat_ids(tokenizer, turns)
    if whole[: len(read)] != read:
        return plain + end  # A template that writes past turns differently from the one to come.
    answer = whole[len(read) :]
    # White space behind the end of a turn belongs to the next one.
    while answer and not tokenizer.decode(answer[-1:]).strip():
        answer.pop()
    return answer


def collate(features: Sequence[Feature], tokenizer: Any) -> dict[str, Any]:
    """A padded batch of tensors on the CPU; `labels` has shape (rows, longest target)."""
    seq2seq = features[0].source.seq2seq
    batch = pad([dict(feature.inputs) for feature in features], tokenizer.pad_token_id or 0, "cpu", left=not seq2seq)
    if not seq2seq:
        batch["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    batch["labels"] = targets(features)
    return batch


def targets(features: Sequence[Feature]) -> Any:
    """Target ids of shape (rows, longest target), the others `IGNORED`: on the left for causal models."""
    import torch

    width = max(1, max(len(feature.target) for feature in features))
    rows = torch.full((len(features), width), IGNORED, dtype=torch.long)
    for row, feature in zip(rows, features, strict=True):
        size = len(feature.target)
        place = slice(0, size) if feature.source.seq2seq else slice(width - size, width)
        row[place] = torch.tensor(feature.target, dtype=torch.long)
    return rows


def forward(model: Any, batch: Mapping[str, Any]) -> Any:
    """Logits of shape (rows, longest target, vocabulary)."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    if "position_ids" not in batch:
        # With the labels the model makes the decoder's input as its architecture wants it.
        return model(**inputs, labels=batch["labels"]).logits
    return model(**inputs, logits_to_keep=batch["labels"].shape[1] + 1).logits[:, :-1]


def logprobs(logits: Any, labels: Any) -> Any:
    """Natural-log probabilities of the targets, moved to the front of each row; zeros behind. Shape of `labels`."""
    known = labels != IGNORED
    values = logits.float().log_softmax(-1).gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    front = known.int().argsort(dim=1, descending=True, stable=True)
    return values.masked_fill(~known, 0.0).gather(1, front)


def served_logprobs(model: Any, tokenizer: Any, requests: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Log-probabilities of each request's target tokens by a model that serves, one request at a time.

    Each request has its `max_length` besides what `encode` takes.
    """
    kind: ModelKind = "seq2seq" if model.config.is_encoder_decoder else "causal"
    rows = []
    for request in requests:
        feature = encode(request, tokenizer, request["max_length"], kind)
        batch = {name: tensor.to(model.device) for name, tensor in collate([feature], tokenizer).items()}
        values = logprobs(forward(model, batch), batch["labels"])[0, : len(feature.target)]
        rows.append(values.tolist())
    return rows
