"""Summaries of long articles by nlptasks and by transformers' `generate` in batches of 8: same weights, same prompts.

    python benchmarks/summary_speed.py FILE [--rows 20] [--words 800]

FILE has a JSON object a line with a "document" or "text"; articles are joined until each has the words. The task's
prompts are recorded from its own call. transformers writes them with the adapter's weights in force, greedily, padded
on the left, sorted by length. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlptasks import Completion, Decoding, Engine, Prompt
from nlptasks.runtime.verbs.prompts import prompt_ids

BATCH = 8


class Recorder:
    """A model that keeps the prompts and settings of what it writes."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.calls: list[tuple[list[Prompt], Decoding]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Completion]:
        """The model's own texts."""
        self.calls.append((list(prompts), decoding))
        answers: list[Completion] = self._model.generate(prompts, decoding)
        return answers


def articles(file: Path, rows: int, words: int) -> list[str]:
    """Texts of about as many words, each of one document or several."""
    texts: list[str] = []
    parts: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        parts += str(row.get("document") or row["text"]).split()
        if len(parts) >= words:
            texts.append(" ".join(parts[:words]))
            parts = []
    return texts[:rows]


def by_transformers(model: Any, tokenizer: Any, calls: Sequence[tuple[list[Prompt], Decoding]]) -> float:
    """Seconds that transformers takes for the recorded calls."""
    import torch

    begin = time.perf_counter()
    for prompts, decoding in calls:
        rows = sorted((prompt_ids(tokenizer, prompt) for prompt in prompts), key=len)
        for first in range(0, len(rows), BATCH):
            batch = rows[first : first + BATCH]
            width = max(map(len, batch))
            ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + list(row) for row in batch])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch])
            model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=decoding.max_new_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
    return time.perf_counter() - begin


def main() -> None:
    """Measure both in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--words", type=int, default=800)
    arguments = parser.parse_args()
    texts = articles(arguments.file, arguments.rows, arguments.words)
    with Engine() as engine, Engine(backend="torch") as plain:
        task = engine.plugins.task("summarization")
        inputs, options = task.validate(texts), task.validate_options({})
        engine.run("summarization", texts[0])
        with engine.bind(task) as model, plain.bind(task) as torch_model:
            recorder: Any = Recorder(model)
            begin = time.perf_counter()
            results = task.run(inputs, options, recorder)
            seconds = time.perf_counter() - begin
            calls = recorder.calls
            peer = torch_model.submit(lambda loaded, tokenizer: by_transformers(loaded, tokenizer, calls))
    figures = {
        "articles": len(texts),
        "prompts": sum(len(prompts) for prompts, _ in calls),
        "words": sum(len(result.summary.split()) for result in results),
        "seconds": {"nlptasks": round(seconds, 1), "transformers": round(peer, 1)},
        "times": round(peer / seconds, 2),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
