"""What a model's vocabulary lacks is counted and named, and gets no confident label."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from nlptasks import Engine, Logits, SpanLogits, TokenLogits, can_stream, default_plugins
from nlptasks.families import windows
from nlptasks.families.text_classification import readable
from nlptasks.model import Stream
from nlptasks.settings import Settings
from nlptasks.surfaces import render
from nlptasks.testing import FakeModel
from nlptasks_plugins import Sentiment
from nlptasks_plugins.english import ENGLISH, other_language

UNREAD = "the model's vocabulary has no token of this text: it was not read"


def test_emoji_are_read_by_their_names_where_the_vocabulary_lacks_them() -> None:
    named = readable("The service: 👎🏽", reads_emoji=False)
    assert " ".join(named.split()) == "The service: thumbs down medium skin tone"
    assert readable("The service: 👎", reads_emoji=True) == "The service: 👎"
    assert readable("Naïve 漢字 ok", reads_emoji=False) == "Naïve 漢字 ok"


@pytest.mark.parametrize("kind", [Logits, TokenLogits, SpanLogits])
def test_a_reading_says_what_was_unknown(kind: type) -> None:
    def part(**vocabulary: object) -> object:
        shapes = {Logits: ((),), TokenLogits: ((), ()), SpanLogits: ((), (), (), 0.0)}
        return kind(*shapes[kind], 5, **vocabulary)

    assert windows.reading([part()], False, 0)["note"] is None
    assert windows.reading([part(unknown=1)], False, 0) == {
        "truncated": False,
        "num_tokens": 5,
        "windows": 1,
        "unknown": 1,
        "note": "1 token is not in the model's vocabulary and not read",
    }
    some = windows.reading([part(unknown=2), part(unknown=3, unread=True)], False, 9)
    assert (some["unknown"], some["note"]) == (5, "5 tokens are not in the model's vocabulary and not read")
    assert windows.reading([part(unknown=3, unread=True)], False, 0)["note"] == UNREAD


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The battery lasts two days.", ""),
        ("Wonderful!", ""),
        ("Der Akku hält zwei Tage, aber das Glas zerkratzt schnell.", "German"),
        ("Не понравилось совсем.", "another language"),
        ("とても良い映画でした。", "Japanese"),
        ("Une histoire touchante, servie par des acteurs formidables.", "French"),
        ("Lorem ipsum dolor sit amet consectetur", "another language (la)"),
    ],
)
def test_other_languages_are_named(text: str, language: str) -> None:
    assert other_language(text) == language


GERMAN = "Der Akku hält zwei Tage, aber das Glas zerkratzt schnell. Der Preis ist hoch. Ich mag ihn."
TAGS = ("O", "B-product", "I-product")
NOTED: dict[str, tuple[Any, dict[str, Any]]] = {
    "sentiment": (GERMAN, {}),
    "ner": (GERMAN, {}),
    "qa": (("Wie lange hält der Akku von diesem Telefon ohne Strom?", "The battery lasts for two days."), {}),
    "classify": (GERMAN, {"labels": ("price", "battery")}),
    "entities": (GERMAN, {}),
    "summarization": (GERMAN, {}),
    "generation": ([{"role": "user", "content": GERMAN}], {}),
    "embedding": (GERMAN, {}),
    "similarity": ({"text": GERMAN, "candidates": ["The price"]}, {}),
    "rerank": ({"query": GERMAN, "documents": ["The price"]}, {}),
}


@pytest.mark.parametrize("name", NOTED)
@pytest.mark.parametrize("adapter", [None, "mine"])
def test_every_task_that_reads_notes_what_its_base_has_not_learnt(name: str, adapter: str | None) -> None:
    """By the base, whichever the adapter; nothing is said where the base's languages are not known."""
    task: Any = default_plugins().task(name)
    value, options = NOTED[name]
    notes = {}
    for base in ("minilm", "smollm2", "dslim/bert-base-NER@main", "FacebookAI/xlm-roberta-base", "a-folder"):
        model = FakeModel(
            labels=None if "labels" in options else TAGS if name == "entities" else getattr(task, "labels", None),
            kind="encoder" if task.head or name in ("embedding", "similarity", "rerank") else "causal",
            answers=(lambda *_: (0, 3)) if name == "qa" else None,
            completions=lambda _: "It is dear.",
            head=task.head,
            name=base,
            adapter=adapter,
        )
        inputs, chosen = task.validate([value]), task.validate_options(options)
        [result] = task.run(inputs, chosen, model)
        notes[base] = result.note
        if can_stream(task):
            stream = Stream(task.stream(inputs[0], chosen, model))
            list(stream)
            assert stream.result().note == result.note
    what = {"qa": "question", "generation": "prompt", "rerank": "query"}.get(name, "text")
    note = f"the {what} seems to be in German; {{}} was trained on English"
    assert notes == {
        "minilm": note.format("minilm"),
        "smollm2": note.format("smollm2"),
        "dslim/bert-base-NER@main": note.format("dslim/bert-base-NER"),
        "FacebookAI/xlm-roberta-base": None,
        "a-folder": None,
    }


def test_the_bases_of_the_tasks_are_known_to_be_english() -> None:
    tasks = default_plugins().tasks.values()
    assert {task.hub_base for task in tasks if task.hub_base} | {"minilm", "smollm2"} == ENGLISH


class Reader(FakeModel):
    """Is 0.6 sure of every text, and knows no token that holds a rune."""

    def __init__(self) -> None:
        super().__init__(labels=Sentiment.labels, scores=lambda _: (0.0, 0.405), name="minilm")

    def classify(self, texts):  # type: ignore[no-untyped-def]
        unknown = [sum("ᚠ" in word for word in text.split()) for text in texts]
        return [
            dataclasses.replace(logits, unknown=count, unread=count == len(text.split()))
            for logits, count, text in zip(super().classify(texts), unknown, texts, strict=True)
        ]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("It starts at ten.", "neutral"),
        ("It starts at ᚠ.", "neutral"),
        ("Der Akku hält zwei Tage, aber das Glas zerkratzt schnell.", "neutral"),
        ("ᚠ ᚠ", None),
    ],
)
@pytest.mark.parametrize("multi_label", [False, True])
def test_only_a_text_that_was_not_read_is_not_neutral(text: str, label: str | None, multi_label: bool) -> None:
    task, inputs = Sentiment(), [Sentiment.input_type(text=text)]
    [result] = task.run(inputs, task.options_type(neutral=True, multi_label=multi_label), Reader())
    assert (result.label, result.labels) == (label, (label,) if label else ())
    assert {one.label for one in result.scores} == {"negative", "neutral", "positive"}
    assert bool(result.note) == (not text.isascii())


@pytest.fixture(scope="module")
def engine(embedded_settings: Settings) -> Iterator[Engine]:
    with Engine(settings=embedded_settings, device="cpu", dtype="float32") as engine:
        yield engine


@pytest.mark.embedded
@pytest.mark.parametrize("text", ["\u200b\u200b", "𒀀𒀁", "ᚠᚢᚦ"])
def test_a_text_without_a_known_token_has_no_label(engine: Engine, text: str) -> None:
    result = engine.run(Sentiment, text + " ")
    assert (result.label, result.labels) == (None, ())
    assert result.note.startswith(UNREAD)
    assert "undecided" in render(result)
    entities = engine.run("ner", text)
    assert entities.entities == ()
    assert entities.note.startswith(UNREAD)


@pytest.mark.embedded
def test_thumbs_up_and_down_are_told_apart(engine: Engine) -> None:
    down, up = engine.run(Sentiment, ["The service: 👎", "The service: 👍"])
    assert down.scores != up.scores
    assert (down.unknown, up.unknown) == (0, 0)


@pytest.mark.embedded
def test_unknown_tokens_and_other_languages_are_noted(engine: Engine) -> None:
    result = engine.run(Sentiment, "Lovely 𒀀 food.")
    assert result.unknown == 1
    assert result.note == "1 token is not in the model's vocabulary and not read"
    # The tokenizer leaves out what stands for a lost character, without an unknown token.
    result = engine.run(Sentiment, "Lov\ufffdly caf\ufffd.")
    assert (result.unknown, result.note) == (2, "2 tokens are not in the model's vocabulary and not read")
    result = engine.run(Sentiment, "Der Akku hält zwei Tage, aber das Glas zerkratzt schnell.")
    assert result.note == "the text seems to be in German; minilm was trained on English"
