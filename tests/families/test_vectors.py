"""Embedding, similarity and rerank: the vectors of sentence-transformers, long texts, one reading of each text."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks import Engine, InvalidInputError, OverflowRefusedError
from nlptasks.settings import Settings
from nlptasks.surfaces import render
from nlptasks.testing import FakeModel, check_task
from nlptasks_plugins import Rerank, Similarity, TextEmbedding

TASKS = (TextEmbedding, Similarity, Rerank)
TEXTS = ["The train leaves at noon.", "Le train part à midi.", "Snow fell all night on the high road.", "👍", "請求書"]


def answer(task: Any, model: FakeModel, inputs: list[Any], **options: Any) -> list[Any]:
    return task.run(task.validate(inputs), task.validate_options(options), model)


@pytest.mark.parametrize("task", TASKS)
def test_the_contract_holds(task: Any) -> None:
    check_task(task())


def test_each_text_is_embedded_once() -> None:
    model = FakeModel()
    first, second = answer(
        Similarity(),
        model,
        [{"text": "a cat", "candidates": ["a dog", "a cat"]}, {"text": "a dog", "candidates": ["a cat"]}],
    )
    assert [call for call in model.calls if call[0] == "embed"] == [("embed", ["a cat", "a dog"])]
    assert first.scores[1] == pytest.approx(1.0)
    assert (first.best.index, first.best.text) == (1, "a cat")
    assert second.scores[0] == first.scores[0]


def test_a_ranking_is_sorted_and_ties_keep_their_order() -> None:
    documents = ["far", "query", "near", "query"]
    [result] = answer(Rerank(), FakeModel(), [{"query": "query", "documents": documents}])
    assert [one.index for one in result.ranking][:2] == [1, 3]
    assert [one.score for one in result.ranking] == sorted((one.score for one in result.ranking), reverse=True)
    assert [documents[one.index] for one in result.ranking] == [one.text for one in result.ranking]
    [best] = answer(Rerank(), FakeModel(), [{"query": "query", "documents": documents}], top_k=1)[0].ranking
    assert best.index == 1


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=6))
def test_vectors_have_unit_length_and_cosines_stay_in_bounds(texts: list[str]) -> None:
    model = FakeModel()
    inputs = TextEmbedding().validate([text for text in texts if text.isprintable()] or ["x"])
    for result in TextEmbedding().run(inputs, TextEmbedding().validate_options({}), model):
        assert math.isclose(sum(value * value for value in result.vector), 1, rel_tol=1e-6)


def test_a_long_text_is_the_mean_of_its_windows() -> None:
    words = [f"word{i}" for i in range(70)]
    model = FakeModel(max_tokens=40)
    [result] = answer(TextEmbedding(), model, [" ".join(words)])
    pieces = [text for verb, texts in model.calls if verb == "embed" for text in texts]
    assert (result.windows, result.truncated, result.num_tokens) == (len(pieces), False, 70)
    assert " ".join(piece.strip() for piece in pieces) == " ".join(words)
    parts = FakeModel(max_tokens=40).embed(pieces)
    weights = [part.num_tokens for part in parts]
    mean = [
        sum(w * v for w, v in zip(weights, column, strict=True))
        for column in zip(*(p.values for p in parts), strict=True)
    ]
    length = math.sqrt(sum(value * value for value in mean))
    assert result.vector == pytest.approx([value / length for value in mean])
    assert answer(TextEmbedding(), model, [" ".join(words)], on_overflow="truncate")[0].truncated
    with pytest.raises(OverflowRefusedError, match="the model reads 32 tokens at a time, input 0 has 70 tokens"):
        answer(TextEmbedding(), model, [" ".join(words)], on_overflow="error")


@pytest.mark.parametrize(
    ("candidates", "sentence"),
    [
        ([], "input 'candidates': expected at least 1 item, found []."),
        ("\n", "input 'candidates': expected at least 1 item, found []."),
        (7, "input 'candidates': expected a list, found 7."),
        (["a", " "], "input 'candidates.1': expected a text with at least one visible character, found ' '."),
    ],
)
def test_nothing_to_compare_is_one_sentence(candidates: Any, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Similarity().validate([{"text": "a", "candidates": candidates}])
    assert sentence in str(caught.value)


def test_lines_of_a_text_are_texts() -> None:
    [item] = Similarity().validate([{"text": "a", "candidates": "one\n\n two \n"}])
    assert item.candidates == ("one", "two")


def test_people_read_scores_and_a_few_numbers() -> None:
    [ranking] = answer(Rerank(), FakeModel(), [{"query": "b", "documents": ["a", "b"]}])
    assert render(ranking).splitlines()[0] == "1  1.000  b"
    [vector] = answer(TextEmbedding(), FakeModel(), ["a"])
    assert len(render(vector)) < 100


@pytest.mark.embedded
def test_vectors_are_those_of_sentence_transformers(embedded_settings: Settings) -> None:
    """The program of all-MiniLM-L6-v2's model card, with transformers alone; its package gave the same."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from nlptasks.store import find_base

    folder = find_base("minilm", embedded_settings).path
    tokenizer, body = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = body(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).float()
    expected = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    with Engine(dtype="float32", settings=embedded_settings) as engine:
        vectors = torch.tensor([one.vector for one in engine.run("embedding", TEXTS)])
        [nearest] = [engine.run("rerank", "When does the train go?", documents=TEXTS[::-1]).ranking[0]]
    assert (vectors - expected).abs().max() < 1e-4
    assert nearest.text == TEXTS[0]
