"""Translation by nlptasks, by CTranslate2 used by hand on the same converted model, and by torch, in one run.

    python benchmarks/translation_speed.py FILE [--target fr] [--rows 500] [--beams 1] [--rounds 3] [--torch-rows 100]

FILE has a JSON object a line with the sentence under "en" and its translation under the target's code. By hand means:
tokenize, one `translate_batch` in batches sorted by length, decode; no scores, and no second try of what looks wrong.
The rounds alternate; the figures are medians, by the clock and in seconds of CPU, which other work on the machine
changes less (with OMP_NUM_THREADS=1). Prints JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2
from sacrebleu.metrics import BLEU

from nlptasks import Engine
from nlptasks.model import Decoding
from nlptasks.runtime.verbs.prompts import prompt_ids
from nlptasks.store.graphs import MARKER

BATCH = 16


def rows_of(file: Path, most: int) -> list[dict[str, str]]:
    """Some of the file's rows, always the same."""
    content = file.read_bytes()
    text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8")
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    return random.Random(1).sample(rows, min(most, len(rows)))


class ByHand:
    """CTranslate2's own Translator on the model that nlptasks converted."""

    def __init__(self, folder: Path, tokenizer: Any, padding: int, beams: int, inter: int, intra: int) -> None:
        self._model = ctranslate2.Translator(str(folder), compute_type="int8", inter_threads=inter, intra_threads=intra)
        self._beams = beams
        self._tokenizer = tokenizer
        self._padding = padding
        self.tokens = 0

    def __call__(self, texts: list[str], target: str) -> list[str]:
        sources = [list(map(str, prompt_ids(self._tokenizer, text, None, target))) for text in texts]
        results = self._model.translate_batch(
            sources, beam_size=self._beams, max_batch_size=BATCH, suppress_sequences=[[str(self._padding)]]
        )
        written = [list(map(int, result.hypotheses[0])) for result in results]
        self.tokens = sum(len(ids) + 1 for ids in written)
        return [self._tokenizer.decode(ids, skip_special_tokens=True) for ids in written]


def marker(graph: Path) -> str:
    """What a graph was made from."""
    return (graph / MARKER).read_text(encoding="utf-8")


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--target", default="fr")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--torch-rows", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows = rows_of(arguments.file, arguments.rows)
    texts, target, beams = [row["en"] for row in rows], arguments.target, arguments.beams
    fast, torch = Engine("translator"), Engine("translator", backend="torch")
    task = fast.plugins.tasks["translation"]

    def with_engine(engine: Engine, some: list[str]) -> list[str]:
        results = engine.run("translation", some, source_language="en", target_language=target, num_beams=beams)
        return [result.translation for result in results]

    def with_model() -> list[str]:
        with fast.bind(task, model="translator") as model:
            decoding = Decoding(target_language=target, num_beams=beams)
            return [completion.text for completion in model.generate(texts, decoding)]

    with_engine(fast, texts[:8])
    with_engine(torch, texts[:8])
    [graph] = (path for path in fast.settings.graphs.glob("ctranslate2-marian-*") if '"int8"' in marker(path))
    with torch.bind(task, model="translator") as model:
        padding, tokenizer = model.submit(lambda loaded, tokenizer: (loaded.config.pad_token_id, tokenizer))
    threads = fast.placement().num_threads
    hand = ByHand(graph, tokenizer, padding, beams, 1, threads)
    kinds: dict[str, tuple[int, Callable[[], list[str]]]] = {
        "by hand": (len(texts), lambda: hand(texts, target)),
        "nlptasks, the verb alone": (len(texts), with_model),
        "nlptasks": (len(texts), lambda: with_engine(fast, texts)),
        "torch": (arguments.torch_rows, lambda: with_engine(torch, texts[: arguments.torch_rows])),
    }
    if threads > 1:
        parallel = ByHand(graph, tokenizer, padding, beams, threads, 1)
        kinds["by hand, a batch a core"] = (len(texts), lambda: parallel(texts, target))
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    processor: dict[str, list[float]] = {name: [] for name in kinds}
    bleu = {}
    for _ in range(arguments.rounds):
        for name, (count, work) in kinds.items():
            began, used = time.perf_counter(), time.process_time()
            written = work()
            seconds[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - used)
            if count == len(rows):
                bleu[name] = BLEU().corpus_score(written, [[row[target] for row in rows]]).score
    pace, pace_of_cpu = (
        {name: count / statistics.median(taken[name]) for name, (count, _) in kinds.items()}
        for taken in (seconds, processor)
    )
    tokens = hand.tokens
    best, best_of_cpu = (max(p[name] for name in p if name.startswith("by hand")) for p in (pace, pace_of_cpu))
    report = {
        "file": arguments.file.parent.name,
        "rows": len(texts),
        "beams": beams,
        "tokens written": tokens,
        "sentences/s": {name: round(value, 1) for name, value in pace.items()},
        "tokens/s": {name: round(value * tokens / len(texts)) for name, value in pace.items()},
        "sentences a second of CPU": {name: round(value, 1) for name, value in pace_of_cpu.items()},
        "of CTranslate2 by hand": round(pace["nlptasks"] / best, 2),
        "the same, of CPU": round(pace_of_cpu["nlptasks"] / best_of_cpu, 2),
        "the verb alone, of CPU": round(pace_of_cpu["nlptasks, the verb alone"] / best_of_cpu, 2),
        "of torch": round(pace["nlptasks"] / pace["torch"], 1),
        "of torch, of CPU": round(pace_of_cpu["nlptasks"] / pace_of_cpu["torch"], 1),
        "BLEU": {name: round(value, 2) for name, value in bleu.items()},
        "seconds": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
        "ctranslate2": ctranslate2.__version__,
        "threads": threads,
    }
    print(json.dumps(report, indent=2))
    fast.close()
    torch.close()


if __name__ == "__main__":
    main()
