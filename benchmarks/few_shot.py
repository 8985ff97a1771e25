"""Accuracy and time of classifiers from few rows: a linear layer, contrastive steps before it, and SetFit.

    python benchmarks/few_shot.py DATA --out runs.jsonl [--systems linear,contrastive,setfit] [--rows 8,64] [--seeds 5]
    python benchmarks/few_shot.py --table runs.jsonl

DATA is a folder with a folder for each set (`sentiment/sst2`, `classification/ag_news`, ...), in each `train.jsonl` and
`test.jsonl` (also .gz) with rows `{"text": ..., "label_text": ...}`. All systems see the same rows of a seed and the
same test rows, in this process, one after the other, on the same base and with as many threads; a line is written for
each run, and a run that has one is not repeated. Time is that of training, without loading and without the test:
seconds on the clock and of the processor. SetFit comes from `pip install setfit`; `num_iterations=20`, else its
defaults.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

SETS = {
    "sst2": "sentiment/sst2",
    "customer_reviews": "sentiment/customer_reviews",
    "sst5": "classification/sst5",
    "amazon_counterfactual": "classification/amazon_counterfactual",
    "emotion": "classification/emotion",
    "ag_news": "classification/ag_news",
    "enron_spam": "classification/enron_spam",
    "banking77": "classification/banking77",
}
ONLY_FEW = {"banking77"}
"""Sets with so many labels that 64 rows of each are not few."""

Rows = list[tuple[str, str]]
Answer = tuple[list[str], float, float]
"""The labels of the test rows, seconds, and seconds of the processor."""


def read(folder: Path, name: str) -> Rows:
    """Texts with their labels; whole sentences where a set has phrases too."""
    for file in (f"{name}_sentences.jsonl", f"{name}.jsonl", f"{name}.jsonl.gz"):
        if (folder / file).is_file():
            opened = gzip.open if file.endswith("gz") else open
            with opened(folder / file, "rt", encoding="utf-8") as lines:
                rows = [json.loads(line) for line in lines]
            return [(row["text"], str(row["label_text"])) for row in rows if row["text"].strip()]
    raise FileNotFoundError(folder / name)


def drawn(rows: Rows, count: int, seed: int) -> Rows:
    """`count` rows of each label, or all."""
    chance = random.Random(seed)
    by_label = defaultdict(list)
    for text, label in dict(rows).items():
        by_label[label].append(text)
    texts = [(text, label) for label, of in sorted(by_label.items()) for text in chance.sample(of, min(count, len(of)))]
    chance.shuffle(texts)
    return texts


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What `work` returns, its seconds, and those of the processor."""
    clock, processor = time.monotonic(), time.process_time()
    value = work()
    return value, time.monotonic() - clock, time.process_time() - processor


def linear(training: Rows, test: Sequence[str]) -> Answer:
    """`nlptasks.few_shot`."""
    from nlptasks import few_shot
    from nlptasks.engine import default_engine

    examples = defaultdict(list)
    for text, label in training:
        examples[label].append(text)
    engine = default_engine()
    few_shot({"a": ["One."], "b": ["Two."]}, base="minilm")  # loads the base
    task, seconds, processor = timed(lambda: few_shot(examples, base="minilm"))
    return [result.scores[0].label for result in engine.run(task, list(test))], seconds, processor


def contrastive(training: Rows, test: Sequence[str], epochs: float = 12, **settings: Any) -> Answer:
    """`nlptasks train --few-shot --contrastive`: all but the gate and the files."""
    from nlptasks import Settings, TextClassification, default_plugins
    from nlptasks.model import CancelToken
    from nlptasks.runtime.loading.devices import choose_placement
    from nlptasks.store.download import find_base
    from nlptasks.training import plan
    from nlptasks.training.families.base import recipe_trainer
    from nlptasks.training.few_shot_job import FewShotJob
    from nlptasks.training.loop.checkpoints import RunFolder
    from nlptasks.training.loop.events import Events
    from nlptasks.training.loop.models import logits_of

    class Topic(TextClassification):
        """Labels of the data."""

        name = "topic"
        open_labels = True

    task, used = Topic(), Settings.from_env()
    prepared = plan(task, training, few_shot=True, contrastive_epochs=epochs, dtype="float32", **settings)
    recipe = prepared.recipe
    family = recipe_trainer(task, recipe)
    job = FewShotJob(
        task, family, "bench", recipe, find_base("minilm", used), None, prepared, used, default_plugins(), "cpu", False,
        None, "", Path(), RunFolder(used, "topic", "bench"), None, Events([]), CancelToken(), CancelToken(),
    )  # fmt: skip
    placement = choose_placement("cpu", "float32")
    trainable, rows, _ = job._build(placement, prepared.training, [])
    (trainable, _), seconds, processor = timed(lambda: job._fit(trainable, rows, [], placement))
    unlabelled = family.encode(
        [type(prepared.training[0])(text, 0, "") for text in test], prepared.labels, trainable.tokenizer,
        trainable.max_length, trainable.info,
    )  # fmt: skip
    logits = logits_of(trainable, family, unlabelled, "cpu")
    return [prepared.labels[int(row.argmax())] for row in logits], seconds, processor


def setfit(training: Rows, test: Sequence[str]) -> Answer:
    """SetFit, on the same base."""
    import tempfile

    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    from nlptasks import Settings
    from nlptasks.store.download import find_base

    model = SetFitModel.from_pretrained(str(find_base("minilm", Settings.from_env()).path), device="cpu")
    names = sorted({label for _, label in training})
    columns = {"text": [text for text, _ in training], "label": [names.index(label) for _, label in training]}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(num_iterations=20, output_dir=folder, report_to="none", save_strategy="no")
        trainer = Trainer(model=model, args=arguments, train_dataset=Dataset.from_dict(columns))
        _, seconds, processor = timed(trainer.train)
    return [names[int(index)] for index in model.predict(list(test), show_progress_bar=False)], seconds, processor


SYSTEMS: dict[str, Callable[..., Answer]] = {"linear": linear, "contrastive": contrastive, "setfit": setfit}


def runs(arguments: argparse.Namespace) -> Iterator[tuple[str, str, int, int]]:
    """Every system, set, number of rows and seed that is to be measured, the cheap ones first."""
    for count in map(int, arguments.rows.split(",")):
        for seed in range(arguments.first_seed, arguments.seeds):
            for name in arguments.sets.split(","):
                if count <= 8 or name not in ONLY_FEW:
                    yield from ((system, name, count, seed) for system in arguments.systems.split(","))


def table(file: Path) -> None:
    """Means over the seeds, a line for each set and number of rows; then over the sets that all systems have."""
    by: dict[tuple[int, str], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in map(json.loads, file.read_text().splitlines()):
        by[line["rows"], line["set"]][line["system"]].append(line)
    systems = [name for name in SYSTEMS if any(name in each for each in by.values())]
    print(f"{'rows':>4} {'set':22}" + "".join(f"{name:>32}" for name in systems))
    for (count, name), each in sorted(by.items()):
        print(f"{count:4} {name:22}" + "".join(f"{_cell(each.get(system, [])):>32}" for system in systems))
    print("the seeds that both have:")
    for count in sorted({count for count, _ in by}):
        for system in systems:
            for other in systems:
                pairs = [
                    (a, b)
                    for (rows, _), each in by.items()
                    if rows == count
                    for a in each.get(system, [])
                    for b in each.get(other, [])
                    if a["seed"] == b["seed"]
                ]
                if system < other and pairs:
                    _compare(count, system, other, pairs)


def _compare(count: int, system: str, other: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    sets = sorted({a["set"] for a, _ in pairs})
    means = [
        statistics.mean(statistics.mean(pair[side]["accuracy"] for pair in pairs if pair[0]["set"] == name)
                        for name in sets)
        for side in (0, 1)
    ]  # fmt: skip
    times = [sum(pair[side]["processor"] for pair in pairs) for side in (0, 1)]
    print(
        f"{count:4} rows, {len(sets)} sets, {len(pairs)} runs: {system} {means[0]:.4f}, {other} {means[1]:.4f}; "
        f"{system} takes {times[0] / times[1]:.3f} of {other}'s processor time"
    )


def _cell(lines: list[dict[str, Any]]) -> str:
    if not lines:
        return ""
    accuracy = [line["accuracy"] for line in lines]
    seconds = statistics.mean(line["processor"] for line in lines)
    return f"{statistics.mean(accuracy):.4f} ({len(lines)}) {seconds:7.1f} s"


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("few_shot.jsonl"))
    parser.add_argument("--table", type=Path, help="print the figures in this file and stop")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rows", default="8,64")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--test", type=int, default=500, help="test rows of a set, at most")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.table:
        table(arguments.table)
        return
    import torch

    torch.set_num_threads(arguments.threads)
    lines = arguments.out.read_text().splitlines() if arguments.out.is_file() else []
    measured = {(line["system"], line["set"], line["rows"], line["seed"]) for line in map(json.loads, lines)}
    for system, name, count, seed in runs(arguments):
        if (system, name, count, seed) in measured:
            continue
        folder = arguments.data / SETS[name]
        training = drawn(read(folder, "train"), count, 1000 + seed)
        test = random.Random(7).sample(every := read(folder, "test"), min(arguments.test, len(every)))
        labels, seconds, processor = SYSTEMS[system](training, [text for text, _ in test])
        right = sum(label == wanted for label, (_, wanted) in zip(labels, test, strict=True))
        line = {
            "system": system, "set": name, "rows": count, "seed": seed, "accuracy": round(right / len(test), 4),
            "seconds": round(seconds, 2), "processor": round(processor, 2),
        }  # fmt: skip
        print(line, flush=True)
        with arguments.out.open("a") as out:
            out.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
