"""The programs of the sentiment adapter's second round: its rows, its average, the borders of `neutral`."""

from __future__ import annotations

import gzip
import json
import random
import re
import runpy
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

PROGRAM = Path(__file__).parents[2] / "recipes" / "sentiment_data.py"
NAMES = runpy.run_path(str(PROGRAM))


def test_every_template_becomes_a_sentence() -> None:
    writer = NAMES["Writer"](random.Random(1))
    templates = [text for kind in writer._kinds.values() for texts in kind.values() for text in texts]
    assert len(templates) == len(set(templates))
    for template in templates:
        sentence = writer.sentence(template)
        assert not re.search(r"[{}]|  | [.,!?]|\ba [aeiou]", sentence), sentence
        assert re.fullmatch(r"[A-Z].*[.!?]", sentence), sentence
    texts = [*templates, *(word for words in writer._words.values() for word in words)]
    used = set(re.findall(r"{(\w+)}", " ".join(texts)))
    assert {slot.lower() for slot in used} - {"thing", "other", "kind"} <= writer._words.keys()
    assert sum(writer._shares.values()) == 100


def test_the_rows_of_a_seed_are_different_and_the_same_again() -> None:
    first, again = (list(NAMES["Writer"](random.Random(3)).rows(300)) for _ in range(2))
    assert first == again
    assert len({text for text, _ in first}) == 300
    assert {label for _, label in first} == {"negative", "neutral", "positive"}


def test_a_comment_has_a_label_if_its_emotions_agree() -> None:
    def label(*emotions: str) -> Any:
        return NAMES["comment"]({"text": "[NAME] sings.", "label_texts": list(emotions)}, random.Random(1))

    assert [label(*each) for each in (("joy", "curiosity"), ("joy", "anger"), ("surprise",))] == [None, None, None]
    assert [label(*each)[1] for each in (("joy", "love"), ("anger",), ("neutral",))] == [
        "positive", "negative", "neutral",
    ]  # fmt: skip
    assert label("joy")[0].split()[0] in NAMES["NAMES"]


def test_a_neutral_text_is_there_once_with_either_label(tmp_path: Path) -> None:
    review = [{"text": "A warm film.", "label_text": "positive"}, {"text": "A cold film.", "label_text": "negative"}]
    comments = [{"text": "So [NAME] went home.", "label_texts": ["neutral"]}, {"text": "Hm.", "label_texts": ["fear"]}]
    facts = [{"text": "The mill has four floors."}, {"text": "Two words."}]
    rows = {
        "goemotions": comments,
        "few_nerd_inter": [{"tokens": ["Kern", "lies", "on", "the", "lake", "."]}],
        "dolly": [{"instruction": "Name three lakes of Kern."}],
        "snips_intents": facts,
        "restaurants8k": facts,
    }
    for name in NAMES["MOST"]:
        folder = tmp_path / "sets" / name
        folder.mkdir(parents=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows.get(name, review))
        (folder / "train.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        (folder / "validation.jsonl").write_text(lines, encoding="utf-8")
    out = tmp_path / "out"
    program = [sys.executable, str(PROGRAM), str(tmp_path / "sets"), str(out), "--written", "40"]
    subprocess.run(program, check=True, timeout=60)
    labels = defaultdict(list)
    for row in map(json.loads, (out / "train.jsonl").read_text(encoding="utf-8").splitlines()):
        labels[row["text"]].append(row["label"])
    for text in ("The mill has four floors.", "Kern lies on the lake .", "Name three lakes of Kern."):
        assert set(labels[text]) == {"negative", "positive"}, text
    assert set(labels["A warm film."]) == {"positive"}
    assert labels.keys().isdisjoint(("Hm.", "Two words."))
    held_out = [json.loads(line) for line in (out / "held_out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["label"] for row in held_out} == {"negative", "neutral", "positive"}


def test_the_borders_of_neutral_are_those_that_made_the_labels() -> None:
    program = runpy.run_path(str(PROGRAM.with_name("sentiment_borders.py")))
    draw = np.random.default_rng(5)
    odds = draw.uniform(-6, 6, 3000)
    rows = program["chances"](odds, 0.8, -1.2, 1.2)
    labels = [str(draw.choice(program["LABELS"], p=row)) for row in rows]
    slope, lowest, highest = program["fit"](odds.tolist(), labels)
    assert slope == pytest.approx(0.8, abs=0.15)
    assert lowest == pytest.approx(-highest, abs=0.2)
    neutral = [(one, label) for one, label in zip(odds.tolist(), labels, strict=True) if label == "neutral"]
    more = program["fit"]([*odds.tolist(), *(one for one, _ in neutral)], [*labels, *(label for _, label in neutral)])
    assert more == pytest.approx((slope, lowest, highest), abs=0.01), (
        "a label weighs the same, however many rows it has"
    )


def test_weights_are_averaged(tmp_path: Path) -> None:
    for name, value in (("first", 1.0), ("second", 3.0)):
        folder = tmp_path / name
        folder.mkdir()
        save_file({"layer": np.full((2, 2), value, np.float32)}, folder / "adapter_model.safetensors")
        (folder / "nlptasks.json").write_text(json.dumps({"name": name, "temperature": 1.0}), encoding="utf-8")
        (folder / "ranges.safetensors").write_bytes(b"of these weights only")
    average = runpy.run_path(str(PROGRAM.with_name("averaged.py")))["average"]
    average(tmp_path / "first", tmp_path / "second", tmp_path / "out", 0.25, temperature=1.5, threshold=None)
    out = tmp_path / "out"
    assert load_file(out / "adapter_model.safetensors")["layer"].tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert json.loads((out / "nlptasks.json").read_text(encoding="utf-8")) == {"name": "second", "temperature": 1.5}
    assert not (out / "ranges.safetensors").exists()
    save_file({"layer": np.zeros(3, np.float32)}, tmp_path / "first" / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"expected the same tensors in .*first and .*second, found others"):
        average(tmp_path / "first", tmp_path / "second", tmp_path / "other", 0.25)
