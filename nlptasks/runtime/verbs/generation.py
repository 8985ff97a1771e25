"""The verbs that write: generate, stream, choose."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import LogitsProcessorList, StoppingCriteriaList

from nlptasks.errors import UnsupportedModelError
from nlptasks.model import Completion, Decoding, Likelihoods
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.verbs import languages
from nlptasks.runtime.verbs.batching import Batcher
from nlptasks.runtime.verbs.completions import PieceWriter, completion_of
from nlptasks.runtime.verbs.decoding import LogProbabilities, Streamer, Watch
from nlptasks.runtime.verbs.encoding import pad
from nlptasks.runtime.verbs.prompts import encode_prompt, prompt_ids
from nlptasks.runtime.worker import BatchRequest

WriteBatch = Callable[
    [LoadedBase, BatchRequest, list[int], list[tuple[list[int], bool]], Decoding, Callable[[str], None] | None],
    list[Completion],
]
"""What writes a batch, with the arguments of `write`."""

IN_ONE_PIECE = "beam search knows the text only at its end: it was streamed in one piece"


def generate(
    base: LoadedBase,
    batcher: Batcher,
    request: BatchRequest,
    decoding: Decoding,
    on_piece: Callable[[str], None] | None = None,
    writer: WriteBatch | None = None,
) -> None:
    """Answer each prompt with a Completion; `on_piece` gets the text of a single prompt as it is written.

    Beam search changes its mind until the end: then `on_piece` gets the whole text, and the Completion has a note.
    `writer` writes in place of torch.
    """
    if base.kind == "encoder" or base.native_verb:
        raise UnsupportedModelError(
            f"{base.config.model_type} is loaded without a language-model output and cannot write: "
            "use a causal or seq2seq model, for example smollm2."
        )
    languages.check(base.tokenizer, decoding.source_language, decoding.target_language)
    prompts = [encode_prompt(base, prompt, decoding) for prompt in request.items]

    def step(indices: list[int]) -> None:
        request.check()
        alive = [i for i in indices if request.alive(i)]
        if alive:
            batch = [prompts[i] for i in alive]
            texts = (writer or write)(base, request, alive, batch, decoding, on_piece)
            for i, text in zip(alive, texts, strict=True):
                request.answer(i, text)

    # A seed promises the same text again, which a shared batch's stream of random numbers cannot keep.
    alone = decoding.seed is not None and decoding.do_sample
    longest = min(decoding.max_new_tokens, base.max_tokens)
    (Batcher(budget=1) if alone else batcher).run([len(ids) + longest for ids, _ in prompts], step)


def write(
    base: LoadedBase,
    request: BatchRequest,
    alive: list[int],
    batch: list[tuple[list[int], bool]],
    decoding: Decoding,
    on_piece: Callable[[str], None] | None,
) -> list[Completion]:
    """Completions of the prompts of one batch: token ids, and whether their beginning was cut; `alive` are their places
    in the request."""
    rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids, _ in batch]
    inputs = pad(rows, base.tokenizer.pad_token_id or 0, base.placement.device, left=base.kind == "causal")
    start = 1 if base.kind == "seq2seq" else inputs["input_ids"].shape[1]
    beams = decoding.num_beams or base.generation_config.num_beams or 1

    def go_on(row: int) -> bool:
        if row == 0 and request.interrupted():
            # Others load weights, and draw random numbers of their own.
            seed = None if decoding.seed is None else secrets.randbits(32)
            with torch.inference_mode(False), _seeded(seed, base.placement.device):
                request.check()
        return request.alive(alive[row])

    watch = Watch(base.tokenizer, start, decoding.stop, go_on, len(alive))
    record = LogProbabilities() if beams == 1 else None
    one = beams == decoding.num_return_sequences == 1
    forced = forced_tokens(base, decoding)
    pieces = PieceWriter(base.tokenizer, decoding.stop, on_piece) if on_piece and one else None
    writer = Streamer(pieces, skip=1 + forced) if pieces else None
    room = base.max_tokens if base.kind == "seq2seq" else base.max_tokens - inputs["input_ids"].shape[1]
    with torch.inference_mode(), _seeded(decoding.seed, base.placement.device):
        output = base.model.generate(
            **inputs,
            **_generation_arguments(decoding, min(decoding.max_new_tokens, max(1, room)), beams),
            forced_bos_token_id=first_id(base, decoding),
            pad_token_id=base.tokenizer.pad_token_id,
            stopping_criteria=StoppingCriteriaList([watch]),
            logits_processor=LogitsProcessorList([record] if record else []),
            streamer=writer,
        )
    request.check()
    if record:
        record.finish(output)
        scores = [record.of(row) for row in range(len(output))]
    else:
        scores = rescore(base, inputs, output, start)
    times = decoding.num_return_sequences
    completions = []
    for i, (ids, cut) in enumerate(batch):
        best, *others = [
            completion_of(
                base, output[row, start + forced :].tolist(), scores[row][forced:], decoding,
                num_prompt=len(ids), truncated=cut, cancelled=watch.cancelled(i),
            )
            for row in range(i * times, (i + 1) * times)
        ]  # fmt: skip
        if on_piece and not writer:
            on_piece(best.text)
            best = dataclasses.replace(best, note=IN_ONE_PIECE)
        completions.append(dataclasses.replace(best, alternatives=tuple(others)))
    return completions


def forced_tokens(base: LoadedBase, decoding: Decoding) -> int:
    """How many tokens at a text's beginning are forced, not written: the target language's.

    M2M100's tokenizer does not call it a special one.
    """
    return int(languages.first_id(base.tokenizer, decoding.target_language) is not None)


def first_id(base: LoadedBase, decoding: Decoding) -> int | None:
    """The token that a text must begin with, or None."""
    default: int | None = base.generation_config.forced_bos_token_id
    language = languages.first_id(base.tokenizer, decoding.target_language)
    return default if language is None else language


def rescore(base: LoadedBase, inputs: Mapping[str, Any], output: Any, start: int) -> list[list[float]]:
    """Log-probabilities of written tokens in nats, one list a row, by one more pass over the finished texts.

    Beam search only gives the score of whole texts, and not in the model's own probabilities.

    Args:
        base: the model that wrote.
        inputs: `input_ids` and `attention_mask` of the prompts, shape (prompts, tokens).
        output: what was written, shape (prompts * texts for each, tokens), with `start` tokens before it.
        start: see `output`.
    """
    times = output.shape[0] // inputs["input_ids"].shape[0]
    mask = inputs["attention_mask"].repeat_interleave(times, 0)
    with torch.inference_mode():
        if base.kind == "seq2seq":
            sources = inputs["input_ids"].repeat_interleave(times, 0)
            logits = base.model(
                input_ids=sources, attention_mask=mask, decoder_input_ids=output[:, :-1], use_cache=False
            ).logits[:, start - 1 :]
            scores = chosen(logits, output[:, start:])
        else:
            mask = torch.cat([mask, torch.ones_like(output[:, start:])], 1)
            scores = _last_logprobs(base, output, mask, output.shape[1] - start)
    rows: list[list[float]] = scores.tolist()
    return rows


def _last_logprobs(base: LoadedBase, ids: Any, mask: Any, count: int) -> Any:
    """Log-probabilities of the last `count` tokens of left-padded rows, shape (rows, count)."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    # Only these positions need the large output layer.
    output = base.model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=count + 1)
    return chosen(output.logits[:, :-1], ids[:, -count:])


def chosen(logits: Any, ids: Any) -> Any:
    """Log-probabilities of tokens in nats, shape (rows, tokens), from logits of shape (rows, tokens, vocabulary)."""
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    return logprobs.gather(-1, ids.unsqueeze(-1)).squeeze(-1)


def _generation_arguments(decoding: Decoding, max_new_tokens: int, beams: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "do_sample": decoding.do_sample,
        "num_return_sequences": decoding.num_return_sequences,
    }
    if decoding.do_sample:
        arguments |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k}
    of_beams = ("length_penalty", "early_stopping") if beams > 1 else ()
    for name in ("num_beams", "repetition_penalty", "no_repeat_ngram_size", *of_beams):
        value = getattr(decoding, name)
        if value is not None:
            arguments[name] = value
    if decoding.min_new_tokens is not None:
        # It takes precedence over a checkpoint's own min_length, which counts differently. Both would be warned of.
        arguments |= {"min_new_tokens": decoding.min_new_tokens} if decoding.min_new_tokens else {"min_length": 0}
    return arguments


@contextmanager
def _seeded(seed: int | None, device: str) -> Iterator[None]:
    """Fix torch's random numbers until the block ends, if there is a seed."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        yield


def choose(base: LoadedBase, batcher: Batcher, request: BatchRequest, choices: Sequence[str]) -> None:
    """Answer each prompt with the log-likelihood of each choice (summed over its tokens, in nats)."""
    if base.kind != "causal" or base.native_verb:
        raise UnsupportedModelError(
            f"Choosing between answers needs a causal language model, found {base.config.model_type}: "
            "name one as model, such as smollm2."
        )
    tails = [list(base.tokenizer(choice, add_special_tokens=False)["input_ids"]) for choice in choices]
    room = base.max_tokens - max(map(len, tails))
    prompts = [prompt_ids(base.tokenizer, prompt) for prompt in request.items]
    heads = [ids[-room:] for ids in prompts]
    pairs = [(p, c) for p in range(len(heads)) for c in range(len(tails))]
    likelihoods: dict[tuple[int, int], float] = {}

    def step(indices: list[int]) -> None:
        request.check()
        alive = [pairs[i] for i in indices if request.alive(pairs[i][0])]
        if alive:
            with torch.inference_mode():
                values = _tail_likelihoods(base, [(heads[p], tails[c]) for p, c in alive])
            likelihoods.update(zip(alive, values, strict=True))

    batcher.run([len(heads[p]) + len(tails[c]) for p, c in pairs], step)
    for p in range(len(heads)):
        if request.alive(p):
            answer = Likelihoods(likelihoods[p, c] for c in range(len(tails)))
            answer.num_tokens, answer.truncated = len(heads[p]), len(prompts[p]) > room
            request.answer(p, answer)


def _tail_likelihoods(base: LoadedBase, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    """Log-likelihood of each row's tail after its head."""
    encoded = [{"input_ids": head + tail, "attention_mask": [1] * (len(head) + len(tail))} for head, tail in rows]
    # Padded on the left, all tails end in the last column.
    batch = pad(encoded, base.tokenizer.pad_token_id or 0, base.placement.device, left=True)
    longest = max(len(tail) for _, tail in rows)
    scores = _last_logprobs(base, batch["input_ids"], batch["attention_mask"], longest)
    return [float(scores[row, longest - len(tail) :].sum()) for row, (_, tail) in enumerate(rows)]
