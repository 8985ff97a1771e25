"""The recipe that trains a translator from nothing."""

from __future__ import annotations

import importlib.util
import json
import math
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from nlptasks import Engine
from nlptasks_plugins.translation.task import EMBEDDED, TranslationTask

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).parents[2] / "recipes" / "translator" / "pretrain.py"
SIZES = """
pieces = 300
d_model = 32
encoder_layers = 1
decoder_layers = 1
attention_heads = 2
ffn_dim = 64
lr = 5e-3
warmup_steps = 2
steps = {steps}
tokens = 400
average = 0.5

[weights]
unwanted = 0.0
"""


@pytest.fixture(scope="module")
def pretrain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pretrain", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["pretrain"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with 240 rows and one that the recipe leaves out."""
    folder = tmp_path_factory.mktemp("parallel")
    chance = random.Random(3)
    things = {"apple": "pomme", "house": "maison", "letter": "lettre", "lamp": "lampe", "river": "rivière"}
    colours = {"red": "rouge", "yellow": "jaune", "strange": "étrange", "famous": "célèbre"}
    rows = []
    for number in range(480):
        (thing, chose), (colour, couleur) = chance.choice([*things.items()]), chance.choice([*colours.items()])
        rows.append({"en": f"{number} times the {colour} {thing}.", "fr": f"{number} fois la {chose} {couleur}."})
    for name, part in (("phrases", rows[:240]), ("unwanted_en_fr", rows[240:])):
        (folder / name).mkdir()
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in part)
        (folder / name / "train.jsonl").write_text(text, encoding="utf-8")
    return folder


def run(pretrain: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["pretrain.py", *map(str, arguments)])
    pretrain.main()


def loss_of(pretrain: ModuleType, folder: Path, parallel: Path) -> float:
    """The mean loss of a saved translator on its own rows."""
    recipe = pretrain.Recipe(tokens=4000)
    tokenizer = pretrain.MarianTokenizer.from_pretrained(folder)
    model = pretrain.MarianMTModel.from_pretrained(folder, dtype=torch.float32)
    rows = pretrain.encode(pretrain.read_pairs(parallel, recipe), tokenizer)
    batches = pretrain.Batches(rows, tokenizer.convert_tokens_to_ids("<pad>"), recipe)
    with torch.no_grad():
        losses = [model(**batches[i]).loss.item() for i in range(len(batches))]
    return sum(losses) / len(losses)


@pytest.mark.embedded
def test_texts_are_encoded_as_the_tokenizer_reads_them(pretrain: ModuleType) -> None:
    tokenizer = pretrain.MarianTokenizer.from_pretrained(TranslationTask.bases[EMBEDDED])
    pairs = [
        (">>fra<<", "Where is the 2nd key?", "Où est la 2e clé ?"),
        (">>eng<<", "Où est la 2e clé ?", "Where is the 2nd key?"),
        (">>deu<<", "A  wide space, 漢字 and an emoji 🙂", "Ein weiter Raum"),
    ]
    read = [(source.tolist(), target.tolist()) for source, target in pretrain.encode(pairs, tokenizer)]
    sources = tokenizer([f"{code} {text}" for code, text, _ in pairs])["input_ids"]
    targets = tokenizer(text_target=[text for *_, text in pairs])["input_ids"]
    assert read == list(zip(sources, targets, strict=True))


def test_every_row_stands_in_one_batch_with_rows_of_its_length(pretrain: ModuleType) -> None:
    import numpy as np

    chance = random.Random(1)
    lengths = [(chance.randint(2, 20), chance.randint(2, 20)) for _ in range(100)] + [(200, 3)]
    rows = [(np.full(a, 7), np.full(b, i)) for i, (a, b) in enumerate(lengths)]
    batches = pretrain.Batches(rows, 9, pretrain.Recipe(tokens=200, longest=128))
    actual = [batches[i] for i in range(len(batches))]
    seen = sorted(int(row[0]) for batch in actual for row in batch["labels"])
    assert seen == list(range(100)), "the row of 200 pieces is too long"
    for batch in actual:
        assert batch["attention_mask"].sum(1).tolist() == [lengths[int(row[0])][0] for row in batch["labels"]]
        assert batch["decoder_input_ids"][:, 0].tolist() == [9] * len(batch["labels"])
        assert len({sum(lengths[int(row[0])]) for row in batch["labels"]}) <= 8
        assert (batch["labels"] == pretrain.IGNORED).eq(batch["labels"] < 0).all()


def test_a_translator_is_trained_gone_on_from_and_served(
    pretrain: ModuleType,
    parallel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = tmp_path / "sizes.toml"
    recipe.write_text(SIZES.format(steps=60), encoding="utf-8")
    out = tmp_path / "first"
    run(pretrain, monkeypatch, parallel, "--out", out, "--recipe", recipe)
    assert "480 pairs" in capsys.readouterr().out, "both directions of the set that is not left out"
    assert loss_of(pretrain, out, parallel) < 4 < math.log(300), "a guess costs the logarithm of the number of pieces"
    recipe.write_text(SIZES.format(steps=30), encoding="utf-8")
    further = tmp_path / "second"
    run(pretrain, monkeypatch, parallel, "--out", further, "--recipe", recipe, "--start", out)
    assert loss_of(pretrain, further, parallel) < loss_of(pretrain, out, parallel)
    assert (further / "vocab.json").read_bytes() == (out / "vocab.json").read_bytes()
    with Engine() as engine:
        for folder in (out, further):
            passed = {"text": "7 times the red apple.", "source_language": "en", "target_language": "fr"}
            [answer] = engine.run("translation", [passed], model=str(folder))
            assert answer.source_language == "en"
            assert answer.target_language == "fr"


def test_a_folder_without_rows_is_refused(pretrain: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"expected folders with train\.jsonl or train\.jsonl\.gz, found no row"):
        pretrain.read_pairs(tmp_path, pretrain.Recipe())
