"""The recipe that trains a translator."""

from __future__ import annotations

import importlib
import json
import math
import random
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from nlptasks import Engine
from nlptasks_plugins.translation.task import EMBEDDED, TranslationTask

pytestmark = [pytest.mark.long, pytest.mark.embedded]

FOLDER = Path(__file__).parents[2] / "recipes" / "translator"
TRANSLATOR = TranslationTask.bases[EMBEDDED]
SIZES = """
d_model = 32
encoder_layers = 1
decoder_layers = 1
attention_heads = 2
ffn_dim = {ffn}
lr = 5e-3
warmup_steps = 2
tokens = 600
average = 0.5
joined = 0.2

[weights]
unwanted = 0.0
phrases = 0.0
patterns = 0.0
"""


@pytest.fixture(scope="module")
def recipe(monkeypatch_module: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType, ModuleType]:
    monkeypatch_module.syspath_prepend(str(FOLDER))
    pack, phrases, pretrain = (importlib.import_module(name) for name in ("pack", "phrases", "pretrain"))
    return pack, phrases, pretrain


@pytest.fixture(scope="module")
def monkeypatch_module() -> object:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def write(file: Path, rows: list[dict[str, str]]) -> None:
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")


def run(program: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [program.__name__, *map(str, arguments)])
    program.main()


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets of 240 rows, and one of validation."""
    folder = tmp_path_factory.mktemp("parallel")
    chance = random.Random(3)
    things = {"apple": "pomme", "house": "maison", "letter": "lettre", "lamp": "lampe", "river": "rivière"}
    colours = {"red": "rouge", "yellow": "jaune", "strange": "étrange", "famous": "célèbre"}
    rows = []
    for number in range(500):
        (thing, chose), (colour, couleur) = chance.choice([*things.items()]), chance.choice([*colours.items()])
        rows.append({"en": f"{number} times the {colour} {thing}.", "fr": f"{number} fois la {chose} {couleur}."})
    write(folder / "common" / "train.jsonl", rows[:240])
    write(folder / "unwanted_en_fr" / "train.jsonl", rows[240:480])
    write(folder / "tatoeba_like" / "validation.jsonl", rows[480:])
    return folder


@pytest.fixture(scope="module")
def packed(
    recipe: tuple[ModuleType, ...],
    parallel: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch_module: pytest.MonkeyPatch,
) -> Path:
    file = tmp_path_factory.mktemp("packed") / "rows.npz"
    run(
        recipe[0], monkeypatch_module, parallel, "--tokenizer", TRANSLATOR, "--out", file, "--held-out", parallel,
        "--patterns", 100,
    )  # fmt: skip
    return file


@pytest.mark.parametrize(
    ("english", "other", "reason"),
    [
        ("He has 1,500 books.", "Er hat 1500 Bücher.", ""),
        ("It costs 20,000 francs.", "Cela coûte 20 000 francs.", ""),
        ("He has 3 books.", "Er hat 4 Bücher.", "numbers"),
        ("Is it late?", "Es ist spät.", "question"),
        ("See the list of all the functions below.", "Ja.", "length"),
        ("Returns the current value", "Returns the current value", "copied"),
        ("$x = 1;", "$x = 1;", "signs"),
    ],
)
def test_what_is_no_translation(recipe: tuple[ModuleType, ...], english: str, other: str, reason: str) -> None:
    pack = recipe[0]
    assert pack.fault(pack.Pair(english, other, "de")) == reason


def test_rows_that_are_measured_on_doubles_and_foreign_rows_are_left_out(recipe: tuple[ModuleType, ...]) -> None:
    pack = recipe[0]
    from collections import Counter

    kept = pack.Pair("The lamp is old.", "La lampe est vieille.", "fr")
    half = "The function returns the current value of the counter, siehe the manual page for the counter."
    rows = [
        kept,
        pack.Pair("The lamp is old!", "La lampe est vieille !", "fr"),
        pack.Pair("The sea is blue.", "La mer est toute bleue.", "fr"),
        pack.Pair("The function returns the current value of the counter.", half, "fr"),
        *(pack.Pair("Look!", f"Regarde{'z' * number} !", "fr") for number in range(6)),
    ]
    why: Counter[str] = Counter()
    actual = [*pack.clean(rows, {("fr", "theseaisblue"), ("de", "thelampisold")}, set(), why)]
    assert actual == [kept, *rows[4:8]]
    assert why == {"double": 1, "held out": 1, "language": 1, "many": 2}


def test_the_phrase_book_fills_the_same_places_in_every_language(recipe: tuple[ModuleType, ...]) -> None:
    phrases = recipe[1]
    book = phrases.read_book(phrases.BOOK)
    for phrase in (*book[0], *(one for entries in book[1].values() for one in entries)):
        places = [sorted(phrases._PLACE.findall(text)) for text in phrase.values()]
        assert places == [places[0]] * 4, phrase
        assert all(text.strip() == text and text for text in phrase.values())
    filled = phrases.filled(book, 300, random.Random(1))
    assert len(filled) > 250
    assert {language for _, language in filled} == {"fr", "de", "es"}
    assert not [phrase for phrase, _ in filled if any("{" in text for text in phrase.values())]
    assert not [phrase for phrase, _ in phrases.fixed(book) if any("{" in text for text in phrase.values())]
    assert ("Good morning.", "Guten Morgen.") in [(p["en"], p["de"]) for p, _ in phrases.fixed(book)]


def test_a_line_of_the_book_without_four_texts_is_refused(recipe: tuple[ModuleType, ...], tmp_path: Path) -> None:
    (tmp_path / "book.tsv").write_text("# phrases\nYes.\tOui.\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"book\.tsv:2: expected 4 texts between tabs, found 2"):
        recipe[1].read_book(tmp_path / "book.tsv")


def test_batches_hold_what_the_tokenizer_reads(recipe: tuple[ModuleType, ...], packed: Path, parallel: Path) -> None:
    pretrain = recipe[2]
    tokenizer = pretrain.MarianTokenizer.from_pretrained(TRANSLATOR)
    rows = pretrain.Rows(packed, tokenizer, pretrain.Recipe(tokens=600, weights={"unwanted": 0, "ph": 0, "pat": 0}))
    epoch = rows.epoch(0)
    assert sum(map(len, epoch)) == 480, "both directions of the set that is not left out, nothing of validation"
    assert all(np.array_equal(a, b) for a, b in zip(epoch, rows.epoch(0), strict=True))
    expected = set()
    for line in (parallel / "common" / "train.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for code, source, target in ((">>fra<<", row["en"], row["fr"]), (">>eng<<", row["fr"], row["en"])):
            text = tokenizer(f"{code} {source}")["input_ids"]
            expected.add((*text, -1, *tokenizer(text_target=target)["input_ids"]))
    actual = set()
    for entries in epoch:
        batch = rows.tensors(entries)
        assert batch["input_ids"].numel() + batch["decoder_input_ids"].numel() <= 600
        labels = torch.full(batch["decoder_input_ids"].shape, -1).flatten()
        labels[batch["places"]] = batch["labels"]
        labels = labels.view_as(batch["decoder_input_ids"])
        for source, mask, target, read in zip(
            batch["input_ids"], batch["attention_mask"], labels, batch["decoder_input_ids"], strict=True
        ):
            whole = target[target >= 0]
            assert read[: len(whole)].tolist() == [tokenizer.pad_token_id, *whole[:-1].tolist()]
            actual.add((*source[mask > 0].tolist(), -1, *whole.tolist()))
    assert actual == expected


def test_the_phrase_book_of_a_packed_file_is_replaced(
    recipe: tuple[ModuleType, ...],
    packed: Path,
    parallel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pack, _, pretrain = recipe
    monkeypatch.setattr(pack, "read_book", lambda file: ([{"en": "Yes.", "fr": "Oui.", "de": "Ja.", "es": "Sí."}], {}))
    out = tmp_path / "rows.npz"
    run(pack, monkeypatch, parallel, "--tokenizer", TRANSLATOR, "--out", out, "--reuse", packed)
    assert "phrase book: 3 rows and 0 of patterns" in capsys.readouterr().out
    tokenizer = pretrain.MarianTokenizer.from_pretrained(TRANSLATOR)
    rows = pretrain.Rows(out, tokenizer, pretrain.Recipe(tokens=600, weights={"old": 0}))
    texts = {
        tokenizer.decode(text, skip_special_tokens=True)
        for entries in rows.epoch(0)
        for text in rows.tensors(entries)["input_ids"]
    }
    assert {">>deu<< Yes.", ">>eng<< Ja."} <= texts
    assert not any("Buenos" in text for text in texts)
    assert sum(map(len, rows.epoch(0))) == 2 * 480 + 6


def test_short_rows_are_joined(recipe: tuple[ModuleType, ...], packed: Path) -> None:
    pretrain = recipe[2]
    tokenizer = pretrain.MarianTokenizer.from_pretrained(TRANSLATOR)
    weights = {"unwanted": 0, "phrases": 0, "patterns": 0}
    rows = pretrain.Rows(packed, tokenizer, pretrain.Recipe(tokens=600, weights=weights, joined=1.0))
    batch = rows.tensors(rows.epoch(0)[0])
    source = tokenizer.decode(batch["input_ids"][0], skip_special_tokens=True)
    assert source.count(".") == 2
    assert batch["input_ids"][0].tolist().count(tokenizer.eos_token_id) == 1


def test_padding_is_no_part_of_the_loss(recipe: tuple[ModuleType, ...], packed: Path) -> None:
    pretrain = recipe[2]
    tokenizer = pretrain.MarianTokenizer.from_pretrained(TRANSLATOR)
    rows = pretrain.Rows(packed, tokenizer, pretrain.Recipe(tokens=600))
    entries = np.array([[2, -1, 0], [700, -1, 0]])
    model = pretrain.make_model(tokenizer, pretrain.Recipe(d_model=32, encoder_layers=1, decoder_layers=1, ffn_dim=32))
    with torch.no_grad():
        both, first, second = (rows.tensors(part) for part in (entries, entries[:1], entries[1:]))
        whole = pretrain.loss_of(model, both, 0.1) * len(both["labels"])
        parts = sum(pretrain.loss_of(model, batch, 0.1) * len(batch["labels"]) for batch in (first, second))
    assert first["input_ids"].shape != second["input_ids"].shape
    torch.testing.assert_close(whole, parts)


def test_a_translator_is_trained_killed_gone_on_with_widened_and_served(
    recipe: tuple[ModuleType, ...],
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pretrain = recipe[2]
    start, sizes, out = tmp_path / "start", tmp_path / "sizes.toml", tmp_path / "first"
    start.mkdir()
    for name in ("source.spm", "target.spm", "vocab.json", "tokenizer_config.json"):
        shutil.copy(TRANSLATOR / name, start)
    sizes.write_text(SIZES.format(ffn=64), encoding="utf-8")
    once = (packed, "--out", out, "--recipe", sizes, "--start", start)
    run(pretrain, monkeypatch, *once, "--steps", 20)
    (out / "checkpoint.part").write_bytes(b"half of a checkpoint, as a kill leaves it")
    run(pretrain, monkeypatch, *once, "--steps", 60)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["step"] for line in lines] == [20, 60]
    assert lines[1]["loss"] < lines[0]["loss"]
    assert lines[1]["validation"]["tatoeba_like"] < lines[0]["validation"]["tatoeba_like"] < math.log(10_005)
    run(pretrain, monkeypatch, *once, "--minutes", 0.02, "--cooldown", 1)
    last = json.loads([line for line in capsys.readouterr().out.splitlines() if line.startswith("{")][-1])
    assert last["step"] > 60
    assert last["rate"] < 0.8, "the rate falls from the beginning"
    sizes.write_text(SIZES.format(ffn=96), encoding="utf-8")
    wider = tmp_path / "second"
    run(pretrain, monkeypatch, packed, "--out", wider, "--recipe", sizes, "--start", out, "--minutes", 0)
    first, second = (pretrain.MarianMTModel.from_pretrained(folder, dtype=torch.float32) for folder in (out, wider))
    read = {"input_ids": torch.tensor([[5, 6, 7]]), "decoder_input_ids": torch.tensor([[8, 9]])}
    with torch.no_grad():
        torch.testing.assert_close(second(**read).logits, first(**read).logits, rtol=1e-2, atol=1e-2)
    assert second.config.encoder_ffn_dim == 96
    with Engine() as engine:
        passed = {"text": "7 times the red apple.", "source_language": "en", "target_language": "fr"}
        [answer] = engine.run("translation", [passed], model=str(wider))
    assert answer.source_language == "en"
    assert answer.target_language == "fr"


def test_a_folder_without_rows_is_refused(
    recipe: tuple[ModuleType, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"expected folders with train\.jsonl or train\.jsonl\.gz, found none"):
        run(recipe[0], monkeypatch, tmp_path, "--tokenizer", TRANSLATOR, "--out", tmp_path / "rows.npz")
