"""A multilingual base of XLM-R's kind, random: trained by the recipes, served in many scripts."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nlptasks import Engine
from nlptasks.families.spans import OUTSIDE, Tag, decode, join_tokens, words
from nlptasks.model import TokenLogits
from nlptasks.runtime.bound import BoundModel
from nlptasks.runtime.resident import ResidentModel
from nlptasks.settings import Settings
from nlptasks.store.adapters import open_adapter
from nlptasks.store.download import BaseFolder
from nlptasks.testing import FakeModel
from nlptasks.training import TrainReport, finetune
from nlptasks.training.recipes import recipe_file
from nlptasks_plugins import NamedEntities, Qa, Sentiment
from tests.tiny_adapters import TAGS, tagger_adapter
from tests.tiny_multilingual import FEELS, LANGUAGES, LIVES, PEOPLE, PLACES, WHERE, tiny_multilingual
from tests.training_rows import serve_here

RECIPES = Path(__file__).parents[2] / "recipes"
TASKS: tuple[Any, ...] = (Sentiment(), NamedEntities(), Qa())
TINY = {
    "dtype": "float32",
    "num_train_epochs": 1,
    "per_device_train_batch_size": 16,
    "min_steps": 0,
    "max_length": 96,
    "evals_per_epoch": 1,
}
TEXTS = [LIVES[tag].format(person=PEOPLE[tag][0], place=PLACES[tag][1]) for tag in LANGUAGES]
PIECES = (
    *("王小明", "在北京。", "Köln", "Анна ", "سلمى", "प्रिया शर्मा ", "กรุงเทพ", "ＡＢＣ", "ｶﾀ", "ẞ", "İ", "٣", "▁"),
    *("🙂👍🏽", "👩\u200d💻", "🇩🇪🇫🇷", "ﬁ", "½", "…", "ﷺ", "㎏", "e\u0301", "<s>", "</s>"),
    *(" ", "\n\n", "\u3000", "\u200b", "\u00ad"),
)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return str(path)


def rows_of(task: str) -> list[dict[str, Any]]:
    """Rows in every language, in an order of their own."""
    rows: list[dict[str, Any]] = []
    for tag in LANGUAGES:
        if task == "sentiment":
            pairs = zip(FEELS[tag], ("positive", "negative"), strict=True)
            rows += [{"text": f"{text} {i}", "label": label} for text, label in pairs for i in range(4)]
            continue
        for person in PEOPLE[tag]:
            for place in PLACES[tag]:
                text = LIVES[tag].format(person=person, place=place)
                spans = [("PER", person), ("LOC", place)]
                named = [{"start": text.index(s), "end": text.index(s) + len(s), "label": label} for label, s in spans]
                question = WHERE[tag].format(person=person)
                answers = {"text": [place], "answer_start": [text.index(place)]}
                row = {"text": text, "spans": named} if task == "ner" else {"question": question, "context": text}
                rows.append(row if task == "ner" else {**row, "answers": answers})
    random.Random(1).shuffle(rows)
    return rows


@dataclass(frozen=True)
class Trained:
    """The base, the engine that serves all three adapters on it, and the reports of their trainings."""

    base: Path
    engine: Engine
    reports: dict[str, TrainReport]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_multilingual(tmp_path_factory.mktemp("models") / "xlmr")


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    root = tmp_path_factory.mktemp("trained")
    settings = Settings(cache=root / "cache", data=root / "data", offline=True, backend="torch")
    reports = {}
    with pytest.MonkeyPatch.context() as patch:
        serve_here(patch)
        for task in TASKS:
            recipe = {**recipe_file(RECIPES / f"{task.name}.toml"), **TINY, "base": str(base)}
            data = write(root / f"{task.name}.jsonl", rows_of(task.name))
            reports[task.name] = finetune(task, data, name="mine", settings=settings, device="cpu", **recipe)
    with Engine(settings=settings, device="cpu") as engine:
        yield Trained(base, engine, reports)


@pytest.fixture(scope="module", params=["xlm-roberta", "bert"])
def tagger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BoundModel:
    root = tmp_path_factory.mktemp(request.param)
    base = tiny_multilingual(root / "base", request.param)
    folder, _ = tagger_adapter(base, root / "adapter")
    found = BaseFolder(id=request.param, revision=None, path=base, source="test")
    return ResidentModel(found, dtype="float32").bind(open_adapter(folder))


def test_the_stand_in_is_of_the_real_kind(base: Path) -> None:
    from nlptasks.runtime.loading.base import load_tokenizer

    tokenizer = load_tokenizer(base)
    encoded = tokenizer("Анна", "北京", padding="max_length", max_length=24)
    assert "token_type_ids" not in encoded
    assert encoded["input_ids"].count(tokenizer.eos_token_id) == 3
    assert (encoded["input_ids"][0], encoded["input_ids"][-1]) == (0, 1)
    assert (tokenizer.num_special_tokens_to_add(pair=True), tokenizer.num_special_tokens_to_add()) == (4, 2)
    [first, *_] = tokenizer("ﷺ", return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    assert first == (0, 1)


@pytest.mark.long
@pytest.mark.parametrize("name", ["sentiment", "ner", "qa"])
def test_a_recipe_trains_an_adapter_that_serves_other_scripts_without_a_note(trained: Trained, name: str) -> None:
    assert (trained.reports[name].path / "adapter_model.safetensors").is_file()
    questions = [WHERE[tag].format(person=PEOPLE[tag][0]) for tag in LANGUAGES]
    inputs = [*zip(questions, TEXTS, strict=True)] if name == "qa" else TEXTS
    options = {"allow_no_answer": False, "top_k": 5} if name == "qa" else {}
    for text, result in zip(TEXTS, trained.engine.run(name, inputs, adapter="mine", **options), strict=True):
        assert (result.note, result.truncated, result.windows, result.unknown) == (None, False, 1, 0)
        assert_exact(text, result)
    text = " ".join(TEXTS * 9)
    long = trained.engine.run(name, ("Wo?", text) if name == "qa" else text, adapter="mine", **options)
    assert long.windows > 10
    assert not long.truncated
    assert_exact(text, long)


def assert_exact(text: str, result: Any) -> None:
    """Every span of a result is what the text has there."""
    spans = [*getattr(result, "entities", ()), *getattr(result, "alternatives", ())]
    for span in [*spans, result] if hasattr(result, "start") else spans:
        assert span.text == text[span.start : span.end]


def test_padding_moves_no_position(tagger: BoundModel) -> None:
    """XLM-R counts positions from the padding token's number on, and padding itself has none."""
    for text, together in zip(TEXTS, tagger.tag(TEXTS), strict=True):
        [alone] = tagger.tag([text])
        assert together.spans == alone.spans
        for one, other in zip(together.values, alone.values, strict=True):
            assert one == pytest.approx(other, abs=1e-5)


def test_a_text_of_exactly_the_limit_is_read(tagger: BoundModel) -> None:
    """XLM-R has a row of positions more for each number up to that of padding, and never uses them."""
    assert tagger.info.max_tokens == 128
    assert tagger.info.reads_emoji
    [answer] = tagger.tag(["3 " * 63])
    assert (answer.num_tokens, answer.truncated) == (128, False)


@pytest.mark.long
@pytest.mark.parametrize("text", ["½" * 50, "ﷺ " * 8, "㎏ … " * 18])
def test_short_texts_of_many_tokens_are_read_in_windows(trained: Trained, text: str) -> None:
    """NFKC makes several tokens of one character; a text of few bytes was cut at the window's end."""
    for name in ("sentiment", "ner", "qa", "embedding"):
        own = {"model": str(trained.base)} if name == "embedding" else {"adapter": "mine"}
        result = trained.engine.run(name, ("?", text) if name == "qa" else text, **own)
        assert (result.truncated, result.windows > 1) == (False, True), (name, result.num_tokens)


@pytest.mark.parametrize("seed", range(3))
def test_entities_are_exact_whatever_the_script(tagger: BoundModel, seed: int) -> None:
    chance = random.Random(seed)
    texts = ["".join(chance.choices(PIECES, k=chance.randint(1, 60))) + "." for _ in range(12)]
    task = NamedEntities()
    found = 0
    for text, result in zip(texts, task.run(task.validate(texts), task.validate_options({}), tagger), strict=True):
        borders = [border for word in words(text) for border in word]
        for entity in result.entities:
            assert entity.text == text[entity.start : entity.end]
            assert {entity.start, entity.end} <= {*borders}
        found += len(result.entities)
    assert found


def test_one_token_of_several_words_begins_one_entity() -> None:
    """A tokenizer without spaces reads 北京 as one token, with one tag for two words (each character is one)."""
    begin, inside, single, end = (Tag(place, "LOC") for place in ("begin", "inside", "single", "end"))
    assert decode([begin, begin]) != decode([begin, inside])
    for tag in (begin, single, end, inside):
        joined = join_tokens([tag, tag, tag, OUTSIDE, begin], ["a", "a", "a", "b", "c"])
        assert [(group.first, group.last) for group in decode(joined)] == [(0, 2), (4, 4)]
    assert join_tokens([begin, begin, single], ["a", "b", None]) == [begin, begin, single]


CITIES = ("北京", "在", "上海")


class Cities(FakeModel):
    """Has one token for each of some names without spaces, and tags 北京 and 上海 as beginnings of a place."""

    def tag(self, texts: Sequence[str]) -> list[TokenLogits]:
        return [self._tag(text) for text in texts]

    def _tag(self, text: str) -> TokenLogits:
        spans = tuple(found.span() for found in re.finditer("|".join(CITIES), text))
        place = TAGS.index("B-LOC")
        values = tuple(
            tuple(9.0 * (i == (0 if text[slice(*span)] == "在" else place)) for i in range(len(TAGS))) for span in spans
        )
        return TokenLogits(spans, values, len(spans))


def test_cities_in_chinese_are_whole() -> None:
    task = NamedEntities()
    [result] = task.run(task.validate(["北京在上海上海"]), task.validate_options({}), Cities(labels=TAGS))
    assert [(entity.text, entity.start) for entity in result.entities] == [("北京", 0), ("上海", 3), ("上海", 5)]
