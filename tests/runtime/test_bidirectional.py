"""A decoder under a new head may read in both directions; the base that it shares goes on writing in one."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from nlptasks import Recipe, TokenClassification
from nlptasks.errors import InvalidInputError, UnsupportedModelError
from nlptasks.model import Decoding
from nlptasks.runtime.verbs.encoding import read_batch
from nlptasks.settings import Settings
from nlptasks.store.adapters import open_adapter
from nlptasks.testing import tiny_model
from nlptasks.training import TrainReport, finetune
from tests.runtime.test_tag_and_extract import PAIRS, TEXTS, resident_on
from tests.tiny_adapters import extractor_adapter, tagger_adapter
from tests.training_rows import serve_here

DECODERS = ("gpt2", "llama")
NEAR = {"atol": 1e-4, "rtol": 1e-4}
BOTH_WAYS: dict[str, Any] = {"settings": {"config": {"is_causal": False}}}


class Ending(TokenClassification):
    """The first word's type, which only the last word tells."""

    name = "ending"
    labels = ("GLAD", "SAD")
    recipe = Recipe(
        epochs=5, lr=5e-3, batch_size=4, base_dropout=0.0, dropout=0.0, max_length=32, dtype="float32", metric="f1"
    )
    examples = ("Ada sings good",)


def ending_rows(path: Path, count: int, seed: int) -> str:
    chance = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            last, label = (("good", "GLAD"), ("bad", "SAD"))[number % 2]
            word = "".join(chance.choice("mnopqr") for _ in range(chance.randint(1, 4)))
            row = {"text": f"Ada {word} {last}", "spans": [{"start": 0, "end": 3, "label": label}]}
            file.write(json.dumps(row) + "\n")
    return str(path)


def learnt(tmp_path: Path, base: Path, bidirectional: bool) -> TrainReport:
    train, held = ending_rows(tmp_path / "train.jsonl", 96, 0), ending_rows(tmp_path / "held.jsonl", 24, 1)
    home = Settings(data=tmp_path / "data", cache=tmp_path / "cache", offline=True)
    recipe = dataclasses.replace(Ending.recipe, base=str(base), extra={"bidirectional": bidirectional})
    name = f"both-{bidirectional}".lower()
    return finetune(Ending(), train, name=name, recipe=recipe, validation=[held], settings=home, device="cpu")


@pytest.mark.parametrize("architecture", DECODERS)
def test_only_both_directions_learn_what_a_later_word_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    serve_here(monkeypatch)
    base = tiny_model(tmp_path / "base", architecture=architecture)
    one_way, both_ways = (learnt(tmp_path, base, bidirectional) for bidirectional in (False, True))
    assert one_way.metrics["f1"] < 0.7
    assert both_ways.metrics["f1"] > 0.9
    assert both_ways.gate < 1e-3
    manifest = open_adapter(both_ways.path).manifest
    assert manifest is not None
    assert manifest.settings["config"]["is_causal"] is False


def test_an_encoder_takes_no_notice(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_here(monkeypatch)
    report = learnt(tmp_path, tiny_encoder, bidirectional=True)
    manifest = open_adapter(report.path).manifest
    assert manifest is not None
    assert "is_causal" not in manifest.settings.get("config", {})


def plain(model: Any, base: Path, *segments: str) -> Any:
    """What plain PEFT answers for one text or pair under a mask that hides nothing."""
    inputs = AutoTokenizer.from_pretrained(base)(*segments, return_tensors="pt")
    width = inputs["input_ids"].shape[1]
    with torch.inference_mode():
        return model(**{**inputs, "attention_mask": torch.ones(1, 1, width, width, dtype=torch.bool)})


def alone(model: Any, base: Path, *segments: str) -> Any:
    """What plain PEFT answers for one text or pair, and with a mask that hides nothing."""
    inputs = AutoTokenizer.from_pretrained(base)(*segments, return_tensors="pt")
    width = inputs["input_ids"].shape[1]
    nothing_hidden = torch.ones(1, 1, width, width, dtype=torch.bool)
    with torch.inference_mode():
        return model(**inputs), model(**{**inputs, "attention_mask": nothing_hidden})


@pytest.mark.parametrize("architecture", DECODERS)
def test_both_kinds_of_adapter_share_a_base_that_goes_on_writing(tmp_path: Path, architecture: str) -> None:
    base = tiny_model(tmp_path / "base", architecture=architecture)
    resident = resident_on(base)
    folder, peft = tagger_adapter(base, tmp_path / "both", **BOTH_WAYS)
    other, one_way = tagger_adapter(base, tmp_path / "one")
    both, single, bare = resident.bind(open_adapter(folder)), resident.bind(open_adapter(other)), resident.bind()
    texts = TEXTS[:4]
    decoding = Decoding(max_new_tokens=6)
    before = bare.generate(["Ada met"], decoding)
    for _ in range(2):
        for of_both, of_one, text in zip(both.tag(texts), single.tag(texts), texts, strict=True):
            torch.testing.assert_close(torch.tensor(of_both.values), alone(peft, base, text)[1].logits[0], **NEAR)
            torch.testing.assert_close(torch.tensor(of_one.values), alone(one_way, base, text)[0].logits[0], **NEAR)
        assert bare.generate(["Ada met"], decoding) == before


def test_an_answer_s_borders_are_read_both_ways(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", architecture="gpt2")
    folder, peft = extractor_adapter(base, tmp_path / "both", **BOTH_WAYS)
    model = resident_on(base).bind(open_adapter(folder))
    for answer, pair in zip(model.extract(PAIRS), PAIRS, strict=True):
        size = len(answer.starts)
        one, both = (output.start_logits[0, -size:].tolist() for output in alone(peft, base, *pair))
        assert answer.starts == pytest.approx(both, abs=1e-4)
        assert size == 1 or answer.starts != pytest.approx(one, abs=1e-3)


def test_attention_that_takes_no_such_mask_is_refused(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", architecture="gpt2")
    model = AutoModelForTokenClassification.from_pretrained(base, attn_implementation="eager")
    model.config.is_causal = False
    with pytest.raises(UnsupportedModelError) as caught:
        read_batch(model, {"input_ids": torch.ones(1, 2, dtype=torch.long), "attention_mask": torch.ones(1, 2)})
    assert str(caught.value) == (
        "bidirectional: expected a model with torch's attention (sdpa), found eager in gpt2: train it without."
    )


def test_the_setting_is_true_or_false(tmp_path: Path) -> None:
    recipe = dataclasses.replace(Ending.recipe, extra={"bidirectional": "yes"})
    with pytest.raises(InvalidInputError) as caught:
        finetune(Ending(), ending_rows(tmp_path / "train.jsonl", 4, 0), name="x", recipe=recipe)
    assert "extra.bidirectional: expected true or false, found 'yes'." in str(caught.value)
