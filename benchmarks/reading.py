"""Texts classified a second, and one text at a time: nlptasks, transformers' pipeline, ONNX Runtime in 8 bits.

    python benchmarks/reading.py [--texts 2000] [--rounds 3] [--data rows.jsonl]

Prints JSON; texts a second, and milliseconds for one text, medians of rounds in which all take turns (A B A B). ONNX
Runtime computes the same weights with dynamic quantisation, in batches of 64 that are sorted by length (`make
bench-peers` installs it). `agreement` is the share of texts with the label that float32 gives.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from classification import sample_texts
from common import adapter_of, in_turns, merged_checkpoint, read_texts

from nlptasks import Engine

ONE = "A warm, funny and beautifully acted story."
CALLS = 200


class OnnxInt8:
    """A checkpoint exported to ONNX and quantised dynamically, with its tokenizer."""

    def __init__(self, checkpoint: Path, folder: Path) -> None:
        import onnxruntime
        import torch
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
        self.labels = model.config.id2label
        example = self.tokenizer(["one", "and two"], padding=True, return_tensors="pt")
        self.names = list(example)
        torch.onnx.export(
            model, tuple(example.values()), str(folder / "float.onnx"), input_names=self.names, dynamo=False,
            output_names=["logits"], dynamic_axes={name: {0: "rows", 1: "tokens"} for name in self.names},
        )  # fmt: skip
        quantize_dynamic(str(folder / "float.onnx"), str(folder / "int8.onnx"), weight_type=QuantType.QInt8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(folder / "int8.onnx"), options)

    def classify(self, texts: Sequence[str], rows: int = 64) -> list[str]:
        answers = [""] * len(texts)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), rows):
            part = order[start : start + rows]
            batch = self.tokenizer([texts[i] for i in part], padding=True, truncation=True, return_tensors="np")
            logits = self.session.run(None, {name: batch[name] for name in self.names})[0]
            for i, best in zip(part, logits.argmax(-1), strict=True):
                answers[i] = self.labels[int(best)]
        return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="JSONL with a text field, instead of made-up texts")
    arguments = parser.parse_args()
    texts = read_texts(arguments.data, arguments.texts) if arguments.data else sample_texts(arguments.texts)
    with tempfile.TemporaryDirectory() as folder, Engine() as auto, Engine(backend="torch") as plain:
        checkpoint = merged_checkpoint(adapter_of("sentiment", Path(folder) / "spare"), Path(folder) / "merged")
        print(json.dumps(compare(texts, checkpoint, Path(folder), auto, plain, arguments.rounds), indent=2))


def compare(
    texts: list[str], checkpoint: Path, folder: Path, auto: Engine, plain: Engine, rounds: int
) -> dict[str, Any]:
    import torch
    from transformers import pipeline

    stock = pipeline("text-classification", model=str(checkpoint), batch_size=32)
    classify: dict[str, Callable[[list[str]], list[str]]] = {
        "nlptasks": lambda rows: [result.label for result in auto.run("sentiment", rows)],
        "torch": lambda rows: [result.label for result in plain.run("sentiment", rows)],
        "pipeline": lambda rows: [answer["label"] for answer in stock(rows)],
    }
    if find_spec("onnxruntime") and find_spec("onnx"):
        classify["onnx_int8"] = OnnxInt8(checkpoint, folder).classify
    labels = {name: work(texts) for name, work in classify.items()}  # and warms all up
    many = in_turns({name: lambda work=work: work(texts) for name, work in classify.items()}, rounds)
    one = in_turns({name: lambda work=work: work([ONE]) for name, work in classify.items()}, CALLS)
    return {
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "texts_a_second": {name: round(len(texts) / statistics.median(times)) for name, times in many.items()},
        "one_text_ms": {name: round(1000 * statistics.median(times), 2) for name, times in one.items()},
        "agreement": {
            name: sum(a == b for a, b in zip(answers, labels["pipeline"], strict=True)) / len(texts)
            for name, answers in labels.items()
        },
    }


if __name__ == "__main__":
    main()
