"""CTranslate2: translators, and other models with an encoder and a decoder, on the CPU.

A base is converted once into the cache of graphs. What CTranslate2 cannot do as transformers does it is left to torch:
samples, whose seeds it does not keep; stop strings in beam search; settings of a checkpoint that it does not have.
Its beam search ends when it has as many texts as beams, as transformers' does with `early_stopping`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nlptasks.model import Completion, Decoding
from nlptasks.process import LOADING
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.verbs.batching import Batcher
from nlptasks.runtime.verbs.completions import PieceWriter, completion_of, end_tokens, has_stop
from nlptasks.runtime.verbs.generation import IN_ONE_PIECE, chosen, first_id, forced_tokens
from nlptasks.runtime.worker import BatchRequest
from nlptasks.store.download import BaseFolder
from nlptasks.store.graphs import graph_folder
from nlptasks.store.weights import fingerprint

LOADERS = {
    "bart": ("BartLoader", False, True),
    "m2m_100": ("M2M100Loader", True, False),
    # Not CTranslate2's own for Marian, which starts the decoder with zeros in place of the start token's embedding.
    "marian": ("BartLoader", False, False),
    "mbart": ("MBartLoader", True, True),
    "mt5": ("MT5Loader", True, False),
    "pegasus": ("PegasusLoader", True, False),
    "t5": ("T5Loader", True, False),
}
"""By model type: CTranslate2's class that reads the weights; whether layers are normalized first; whether embeddings
are."""

PROBE = "The quick brown fox jumps over the lazy dog near the river."
PROBE_TOKENS = 8
TOLERANCES = {"float32": 0.01, "int8": 0.5}
"""Nats by which a converted model's log-probability of a token may differ from torch's, on average over the probe."""

UNFIT = "unfit.txt"
"""The file that says why a base is not converted, so that this is not tried again."""

ROWS = 16
"""Texts in a portion: 100 sentences took 1.06 s of one core with 16, 1.49 s with 8, and longer with 32 too."""

BEAM_BYTES = 1024**3
"""Beams of a portion times the bytes of the weights: beam search can only be cancelled between portions."""

_SETTINGS = frozenset(
    [
        *("bad_words_ids", "bos_token_id", "decoder_start_token_id", "do_sample", "early_stopping", "eos_token_id"),
        *("forced_bos_token_id", "forced_eos_token_id", "length_penalty", "max_length", "max_new_tokens"),
        *("min_length", "min_new_tokens", "no_repeat_ngram_size", "num_beams", "num_return_sequences"),
        *("output_attentions", "output_hidden_states", "pad_token_id", "repetition_penalty", "temperature", "top_k"),
        *("top_p", "transformers_version", "use_cache"),
    ]
)
"""What a checkpoint's generation config may hold."""

_log = logging.getLogger(__name__)


class Translator:
    """A base as CTranslate2 computes it. Only the base's worker thread may use it."""

    def __init__(self, folder: Path, numbers: str, threads: int) -> None:
        """`numbers` is what products are computed in: float32 or int8."""
        import ctranslate2

        self._model = ctranslate2.Translator(str(folder), "cpu", compute_type=numbers, intra_threads=threads)
        self.numbers = numbers
        self.num_bytes = (folder / "model.bin").stat().st_size

    def serves(self, base: LoadedBase, decoding: Decoding) -> bool:
        """Whether it answers such a request as torch would."""
        beams = _setting(base, decoding, "num_beams", 1)
        penalty = _setting(base, decoding, "repetition_penalty", 1.0)
        # transformers counts the token that starts the decoder as repeated, CTranslate2 does not.
        counted = penalty != 1.0 and base.config.decoder_start_token_id in end_tokens(base)
        beyond = (decoding.stop and beams > 1) or decoding.num_return_sequences > beams
        return not (decoding.do_sample or counted or beyond)

    def batches(self, base: LoadedBase, decoding: Decoding) -> Batcher:
        """How prompts are cut into portions."""
        beams = _setting(base, decoding, "num_beams", 1)
        rows = ROWS if beams == 1 else max(1, min(ROWS, BEAM_BYTES // (self.num_bytes * beams)))
        # A prompt and its translation each have at most `max_tokens`.
        return Batcher(2 * base.max_tokens * rows, rows)

    def write(
        self,
        base: LoadedBase,
        request: BatchRequest,
        alive: list[int],
        batch: list[tuple[list[int], bool]],
        decoding: Decoding,
        on_piece: Callable[[str], None] | None,
    ) -> list[Completion]:
        """`nlptasks.runtime.verbs.generation.write` by CTranslate2."""
        first, most = first_id(base, decoding), _max_new_tokens(base, decoding)
        sources = [_names(ids) for ids, _ in batch]
        arguments = {
            "target_prefix": [_names([first])] * len(batch) if first is not None else None,
            "max_input_length": 0,
            "max_decoding_length": most,
            "min_decoding_length": min(_min_new_tokens(base, decoding), most),
            "repetition_penalty": _setting(base, decoding, "repetition_penalty", 1.0),
            "no_repeat_ngram_size": _setting(base, decoding, "no_repeat_ngram_size", 0),
            "suppress_sequences": [_names(ids) for ids in base.generation_config.bad_words_ids or ()] or None,
            "end_token": sorted(end_tokens(base)),
        }
        beams = _setting(base, decoding, "num_beams", 1)
        forced = forced_tokens(base, decoding)
        cancelled: set[int] = set()
        if beams == 1:
            piece_writer = PieceWriter(base.tokenizer, decoding.stop, on_piece) if on_piece else None

            def ends(row: int, written: list[int]) -> bool:
                if piece_writer and len(written) > forced:
                    piece_writer.add(written[-1:])
                if not request.alive(alive[row]):
                    cancelled.add(row)
                return row in cancelled or has_stop(base.tokenizer, written[forced:], decoding.stop)

            texts = self._greedy(sources, arguments, ends)
            if piece_writer:
                piece_writer.end()
        else:
            arguments["length_penalty"] = _setting(base, decoding, "length_penalty", 1.0)
            texts = self._search(sources, arguments, beams, decoding.num_return_sequences, end_tokens(base))
        request.check()
        completions = []
        for row, (ids, cut) in enumerate(batch):
            best, *others = [
                completion_of(
                    base, tokens[forced:], scores[forced:], decoding,
                    num_prompt=len(ids), truncated=cut, cancelled=row in cancelled,
                )
                for tokens, scores in texts[row]
            ]  # fmt: skip
            if on_piece and beams > 1:
                on_piece(best.text)
                best = replace(best, note=IN_ONE_PIECE)
            completions.append(replace(best, alternatives=tuple(others)))
        return completions

    def difference(self, source: list[int], target: list[int], expected: list[float]) -> float:
        """By how many nats the log-probabilities of a target's tokens differ from these, on average."""
        [result] = self._model.score_batch([_names(source)], [_names(target)], max_input_length=0)
        pairs = zip(result.log_probs, expected, strict=False)
        return sum(abs(float(score) - right) for score, right in pairs) / len(expected)

    def _greedy(
        self, sources: list[list[str]], arguments: dict[str, Any], ends: Callable[[int, list[int]], bool]
    ) -> list[list[_Text]]:
        """One text for each source; `ends` is called with a row and its tokens after each of them."""
        texts: list[_Text] = [([], []) for _ in sources]

        def follow(step: Any) -> bool:
            tokens, scores = texts[step.batch_id]
            tokens.append(step.token_id)
            scores.append(step.log_prob)
            return ends(step.batch_id, tokens)

        self._model.translate_batch(sources, beam_size=1, return_scores=True, callback=follow, **arguments)
        return [[text] for text in texts]

    def _search(
        self, sources: list[list[str]], arguments: dict[str, Any], beams: int, count: int, ends: set[int]
    ) -> list[list[_Text]]:
        """The `count` best texts for each source; their tokens are scored by one more pass."""
        results = self._model.translate_batch(
            sources, beam_size=beams, num_hypotheses=count, return_end_token=True, **arguments
        )
        texts = [[list(map(int, names)) for names in result.hypotheses] for result in results]
        rows = [
            (source, [str(token) for token in text if token not in ends])
            for source, some in zip(sources, texts, strict=True)
            for text in some
        ]
        scored = self._model.score_batch(*map(list, zip(*rows, strict=True)), max_input_length=0)
        scores = iter([[float(score) for score in row.log_probs] for row in scored])
        return [[(text, next(scores)[: len(text)]) for text in some] for some in texts]


_Text = tuple[list[int], list[float]]
"""Tokens of a text, and the log-probability of each in nats."""


def open_translator(base: LoadedBase, folder: BaseFolder, graphs: Path, numbers: str) -> Translator | None:
    """A base as CTranslate2 computes it in float32 or int8, converted now if need be; None where torch has to."""
    model_type = base.config.model_type
    beyond = {name for name in base.generation_config.to_diff_dict() if name[0] != "_"} - _SETTINGS
    if model_type not in LOADERS or beyond:
        why = f"its setting {min(beyond)!r} is unknown to" if beyond else f"{model_type} is not converted for"
        _log.info("%s is computed by torch: %s CTranslate2.", folder.id, why)
        return None
    try:
        import ctranslate2
    except ImportError:
        _log.info("%s is computed by torch: CTranslate2 is not installed (pip install 'nlptasks[fast]').", folder.id)
        return None
    parts = {
        "base": fingerprint(folder.path),
        "config": hashlib.sha256(base.config.to_json_string().encode()).hexdigest()[:16],
        "ctranslate2": ctranslate2.__version__,
        "weights": numbers,
    }
    try:
        with LOADING:
            graph = graph_folder(graphs, f"ctranslate2-{model_type}", parts, lambda path: _convert(base, path, numbers))
        if (graph / UNFIT).exists():
            _log.info("%s is computed by torch: %s", folder.id, (graph / UNFIT).read_text(encoding="utf-8"))
            return None
        return Translator(graph, numbers, base.placement.num_threads)
    except (OSError, RuntimeError, ValueError, AttributeError, NotImplementedError, KeyError) as error:
        _log.warning("%s is computed by torch, which takes longer: it could not be converted (%s).", folder.id, error)
    return None


def _convert(base: LoadedBase, folder: Path, numbers: str) -> None:
    """Write a base's weights as CTranslate2 reads them, or why they are unfit. Tokens are named by their ids."""
    from ctranslate2.converters import transformers as loaders

    loader, before, embeddings = LOADERS[base.config.model_type]
    model = base.load().model.float()
    model.config.normalize_before, model.config.normalize_embedding = before, embeddings
    start = base.config.decoder_start_token_id
    # Before the conversion, which changes the weights in place.
    probe = _probe(base, model, start)
    with torch.no_grad():
        spec = getattr(loaders, loader)().get_model_spec(model)
    names = _names(range(model.get_input_embeddings().num_embeddings))
    spec.register_source_vocabulary(names)
    spec.register_target_vocabulary(names)
    end = min(end_tokens(base))
    spec.config.decoder_start_token = spec.config.bos_token = str(start)
    spec.config.eos_token = str(end)
    spec.config.unk_token = str(end if base.tokenizer.unk_token_id is None else base.tokenizer.unk_token_id)
    spec.validate()
    spec.optimize(quantization=numbers)
    spec.save(str(folder))
    difference = Translator(folder, numbers, 1).difference(*probe)
    if not difference <= TOLERANCES[numbers]:
        (folder / "model.bin").unlink()
        why = f"log-probabilities by CTranslate2 in {numbers} differ by {difference:.2f} nats on average."
        (folder / UNFIT).write_text(why, encoding="utf-8")


def _probe(base: LoadedBase, model: Any, start: int) -> tuple[list[int], list[int], list[float]]:
    """A text's tokens, those that torch writes for it, and their log-probabilities in nats."""
    source = base.tokenizer(PROBE)["input_ids"]
    written = [start]
    with torch.inference_mode():
        for _ in range(PROBE_TOKENS):
            logits = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([written])).logits
            written.append(int(logits[0, -1].argmax()))
        scores = chosen(logits, torch.tensor([written[1:]]))[0].tolist()
    return source, written[1:], scores


def _names(ids: Sequence[int]) -> list[str]:
    return list(map(str, ids))


def _setting(base: LoadedBase, decoding: Decoding, name: str, default: Any) -> Any:
    """A setting of a request, of the checkpoint where the request leaves it open, or the default."""
    for source in (decoding, base.generation_config):
        value = getattr(source, name)
        if value is not None:
            return value
    return default


def _max_new_tokens(base: LoadedBase, decoding: Decoding) -> int:
    most = min(decoding.max_new_tokens, base.max_tokens)
    # Some checkpoints have an end token at the limit in any case: transformers writes it, here there is no need to.
    return most if base.generation_config.forced_eos_token_id is None else max(1, most - 1)


def _min_new_tokens(base: LoadedBase, decoding: Decoding) -> int:
    if decoding.min_new_tokens is not None:
        return decoding.min_new_tokens
    # `min_length` counts the token that starts the decoder.
    config = base.generation_config
    return max(config.min_new_tokens or 0, (config.min_length or 0) - 1)
