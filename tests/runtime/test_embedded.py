"""Truth: the embedded weights on real sentences, with the answers a person would give."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nlptasks import Engine
from nlptasks.settings import Settings

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def engine(embedded_settings: Settings) -> Iterator[Engine]:
    with Engine(settings=embedded_settings) as made:
        yield made


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A dull, lifeless film that wastes its cast.", "negative"),
        ("I loved every minute of it.", "positive"),
        ("The plot makes no sense and the jokes fall flat.", "negative"),
        ("A warm, funny and beautifully acted story.", "positive"),
        ("I would not watch this again if you paid me.", "negative"),
        ("It arrived broken and nobody answers my mails.", "negative"),
        ("Works perfectly, easy to set up, great value.", "positive"),
        ("WOW 😍 what a ride!!!", "positive"),
    ],
)
def test_sentiment_is_right_on_plain_cases(engine: Engine, text: str, label: str) -> None:
    result = engine.run("sentiment", text)
    assert result.label == label
    assert (result.model, result.adapter) == ("minilm", "sentiment")


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("Marie Curie moved from Warsaw to Paris in 1891.", "PER Marie Curie, LOC Warsaw, LOC Paris"),
        ("Siemens and the University of Oslo signed it.", "ORG Siemens, ORG University of Oslo"),
        ("i saw taylor swift in london yesterday", "PER taylor swift, LOC london"),
        ("🎉 Congrats to Simone Biles!!! 🎉", "PER Simone Biles"),
        ("Jordan flew from Jordan to Texas.", "PER Jordan, LOC Jordan, LOC Texas"),
        ("The train was late again.", ""),
    ],
)
def test_names_are_found(engine: Engine, text: str, entities: str) -> None:
    result = engine.run("ner", text)
    assert ", ".join(f"{entity.label} {entity.text}" for entity in result.entities) == entities
    assert all(entity.text == text[entity.start : entity.end] for entity in result.entities)
    assert (result.model, result.adapter) == ("minilm", "ner")


@pytest.mark.full
def test_names_on_fifty_pages_are_all_found(engine: Engine) -> None:
    page = "Nothing happened for a long while, and the rain fell. " * 50
    text = "".join(f"{page}Then Marie Curie came to Warsaw. " for _ in range(50))
    result = engine.run("ner", text)
    assert result.windows > 100
    assert not result.truncated
    found = [(entity.label, entity.text) for entity in result.entities]
    assert found.count(("PER", "Marie Curie")) == found.count(("LOC", "Warsaw")) == 50
    starts = [entity.start for entity in result.entities]
    assert starts == sorted(set(starts))


def test_batches_and_neighbours_do_not_change_an_answer(engine: Engine) -> None:
    texts = ["Great fun.", "A waste of two hours, from the limp opening to the silly end.", "Not bad at all.", "Awful"]
    alone = [engine.run("sentiment", text) for text in texts]
    together = engine.run("sentiment", texts)
    assert [r.label for r in together] == [r.label for r in alone]
    # bfloat16 rounds differently in another batch shape.
    assert [r.score for r in together] == pytest.approx([r.score for r in alone], abs=0.02)


def test_a_long_review_is_read_to_its_end(engine: Engine) -> None:
    dull = "We sat in the third row and the hall was cold. " * 10
    praise = "This is a wonderful, moving, brilliant film and I loved all of it. " * 40
    result = engine.run("sentiment", dull + praise)
    assert result.windows > 1
    assert not result.truncated
    assert result.label == "positive"


def test_the_language_model_knows_a_capital(engine: Engine) -> None:
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    result = engine.run("generation", chat, max_new_tokens=30)
    assert "Paris" in result.text
    assert result.finish_reason == "stop"
    assert result.messages[-1].role == "assistant"
    assert result.to_hf()[0]["generated_text"][-1]["content"] == result.text


def test_generation_stops_at_the_limit_and_at_a_string(engine: Engine) -> None:
    counted = engine.run("generation", "One, two, three, four,", max_new_tokens=6)
    assert "five" in counted.text
    assert (counted.finish_reason, counted.num_generated_tokens) == ("length", 6)
    stopped = engine.run(
        "generation", "One, two, three, four,", max_new_tokens=30, stop=["seven"], repetition_penalty=1
    )
    assert stopped.finish_reason == "stop"
    assert stopped.text.rstrip().endswith("six,")


def test_pieces_joined_are_the_text_for_emoji_and_accents(engine: Engine) -> None:
    prompt = "Liste: café, naïve, 日本, 🙂,"
    with engine.stream("generation", prompt, max_new_tokens=24) as pieces:
        joined = "".join(pieces)
        assert joined == pieces.result().text
    assert joined == engine.run("generation", prompt, max_new_tokens=24).text


def test_without_an_adapter_the_language_model_judges_too(engine: Engine) -> None:
    texts = ["I loved this wonderful film.", "A terrible, boring waste of time."]
    results = engine.run("sentiment", texts, model="smollm2")
    assert [r.label for r in results] == ["positive", "negative"]
    assert {(r.model, r.adapter) for r in results} == {("smollm2", None)}


def test_embeddings_put_like_beside_like(engine: Engine) -> None:
    task = engine.plugins.task("sentiment")
    with engine.bind(task, "none", "minilm") as model:
        cat, kitten, tax = (v.values for v in model.embed(["A cat sleeps.", "The kitten naps.", "Taxes rise in May."]))

    def dot(a: tuple[float, ...], b: tuple[float, ...]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert dot(cat, cat) == pytest.approx(1, abs=1e-3)
    assert dot(cat, kitten) > 0.5 > dot(cat, tax)


@pytest.mark.full
def test_six_tasks_fit_in_one_process() -> None:
    """Under 1.6 GB: 1.51 were measured, with readers in bfloat16; two of the six write, each with its own graph."""
    program = Path(__file__).parents[2] / "benchmarks" / "six_tasks.py"
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True, timeout=300)
    peaks = json.loads(done.stdout)["peak_mb"]
    assert list(peaks) == ["sentiment", "ner", "qa", "translation", "summarization", "generation"]
    assert max(peaks.values()) < 1600
