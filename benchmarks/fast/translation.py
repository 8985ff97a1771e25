"""Translation by nlptasks, by CTranslate2 used by hand on the same converted model, and by torch, in one run.

    python benchmarks/fast/translation.py FILE [--target fr] [--rows 500] [--rounds 3] [--torch-rows 100]

FILE has a JSON object a line with the sentence under "en". By hand means: tokenize, one greedy `translate_batch` sorted
by length, decode. The translations of all rounds alternate; the figures are medians. Prints JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2

from nlptasks import Engine
from nlptasks.model import Decoding
from nlptasks.runtime.verbs.generation import prompt_ids

BATCH = 32


def sentences(file: Path, most: int) -> list[str]:
    """The English sentences of the file's first rows."""
    content = file.read_bytes()
    text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8")
    return [json.loads(line)["en"] for line in text.split("\n") if line.strip()][:most]


class ByHand:
    """CTranslate2's own Translator on the model that nlptasks converted."""

    def __init__(self, folder: Path, tokenizer: Any, end: int, padding: int, inter: int, intra: int) -> None:
        self._model = ctranslate2.Translator(
            str(folder), compute_type="int8", inter_threads=inter, intra_threads=intra
        )
        self._tokenizer = tokenizer
        self._end, self._padding = end, padding
        self.tokens = 0

    def __call__(self, texts: list[str], target: str) -> list[str]:
        sources = [list(map(str, prompt_ids(self._tokenizer, text, None, target))) for text in texts]
        results = self._model.translate_batch(
            sources, beam_size=1, max_batch_size=BATCH, suppress_sequences=[[str(self._padding)]]
        )
        written = [list(map(int, result.hypotheses[0])) for result in results]
        self.tokens = sum(len(ids) + 1 for ids in written)
        return [self._tokenizer.decode(ids, skip_special_tokens=True) for ids in written]


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--target", default="fr")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--torch-rows", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    texts = sentences(arguments.file, arguments.rows)
    target = arguments.target
    fast, torch = Engine("translator"), Engine("translator", backend="torch")
    task = fast.plugins.task("translation")

    def with_engine(engine: Engine, rows: list[str]) -> Callable[[], Any]:
        return lambda: engine.run("translation", rows, source_language="en", target_language=target)

    def with_model(rows: list[str]) -> Any:
        with fast.bind(task, model="translator") as model:
            return model.generate(rows, Decoding(target_language=target))

    with_engine(fast, texts[:8])()
    with_engine(torch, texts[:8])()
    [graph] = fast.settings.graphs.glob("ctranslate2-marian-*")
    with torch.bind(task, model="translator") as model:
        config, tokenizer = model.submit(lambda loaded, tokenizer: (loaded.config, tokenizer))
    cores = os.cpu_count() or 1
    kinds: dict[str, tuple[int, Callable[[], Any]]] = {}
    hands = {}
    for name, inter, intra in (("one batch at a time", 1, cores), ("a batch a core", cores, 1)):
        hands[name] = hand = ByHand(graph, tokenizer, config.eos_token_id, config.pad_token_id, inter, intra)
        kinds[f"by hand, {name}"] = (len(texts), lambda hand=hand: hand(texts, target))  # type: ignore[misc]
    kinds["nlptasks, the verb alone"] = (len(texts), lambda: with_model(texts))
    kinds["nlptasks"] = (len(texts), with_engine(fast, texts))
    kinds["torch"] = (arguments.torch_rows, with_engine(torch, texts[: arguments.torch_rows]))
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(arguments.rounds):
        for name, (_, work) in kinds.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    pace = {name: count / statistics.median(seconds[name]) for name, (count, _) in kinds.items()}
    tokens = next(iter(hands.values())).tokens
    best = max(pace[name] for name in kinds if name.startswith("by hand"))
    report = {
        "file": arguments.file.parent.name,
        "rows": len(texts),
        "tokens written": tokens,
        "sentences/s": {name: round(value, 1) for name, value in pace.items()},
        "tokens/s": {name: round(value * tokens / len(texts)) for name, value in pace.items()},
        "of CTranslate2 by hand": round(pace["nlptasks"] / best, 2),
        "of torch": round(pace["nlptasks"] / pace["torch"], 1),
        "seconds": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
        "ctranslate2": ctranslate2.__version__,
        "cores": cores,
    }
    print(json.dumps(report, indent=2))
    fast.close()
    torch.close()


if __name__ == "__main__":
    main()
