"""How results are shown and handed on: repr, v4 shapes, tables."""

from __future__ import annotations

import pickle

import pytest

from nlptasks import Answer, Classification, Engine, LabelScore, Message, Results, Summary
from nlptasks.testing import FakeBackend, FakeModel
from nlptasks_plugins import Generation, Sentiment


def verdict(label: str, score: float) -> Classification:
    others = {"positive": "negative", "negative": "positive"}
    scores = (LabelScore(label=label, score=score), LabelScore(label=others[label], score=1 - score))
    return Classification(label=label, score=score, scores=scores, labels=(label,), model="minilm", num_tokens=4)


def test_the_repr_begins_with_the_answer_and_leaves_out_what_is_as_usual() -> None:
    answer = Answer(text="Oslo", start=3, end=7, score=0.5, answerable=True, null_score=-2.0, model="minilm")
    assert repr(answer) == (
        "Answer(text='Oslo', start=3, end=7, score=0.5, answerable=True, null_score=-2.0, alternatives=(), "
        "model='minilm')"
    )
    assert eval(repr(answer), {"Answer": Answer}) == answer


def test_a_classification_has_as_many_labels_for_hf_as_top_k_says() -> None:
    one = verdict("positive", 0.75)
    assert one.to_hf() == [{"label": "positive", "score": 0.75}]
    assert one.to_hf(top_k=None) == [{"label": "positive", "score": 0.75}, {"label": "negative", "score": 0.25}]
    assert one.to_hf(top_k=2) == one.to_hf(top_k=None)


def test_lists_have_the_shapes_of_v4() -> None:
    both = Results([verdict("positive", 0.75), verdict("negative", 0.5)])
    assert both.to_hf() == [{"label": "positive", "score": 0.75}, {"label": "negative", "score": 0.5}]
    assert [len(labels) for labels in both.to_hf(top_k=None)] == [2, 2]
    assert Results([Summary(summary="Short.")]).to_hf() == [{"summary_text": "Short."}]
    answer = Answer(text="Oslo", start=3, end=7, score=0.5, answerable=True, null_score=-2.0)
    assert Results([answer]).to_hf() == [{"score": 0.5, "start": 3, "end": 7, "answer": "Oslo"}]
    assert Results().to_hf() == []


def test_a_list_of_inputs_gives_results_that_are_a_list() -> None:
    with Engine(backend=FakeBackend(labels=("negative", "positive"))) as engine:
        results = engine.run(Sentiment, ["Fine.", "Dull."])
        assert isinstance(results, list)
        assert isinstance(engine.run(Sentiment, []), Results)
        assert pickle.loads(pickle.dumps(results)) == results == list(results)


def test_results_become_a_frame() -> None:
    pytest.importorskip("pandas", reason="comes with pip install 'nlptasks[train]'")
    frame = Results([verdict("positive", 0.75), verdict("negative", 0.5)]).to_frame()
    assert list(frame["label"]) == ["positive", "negative"]
    assert list(frame.columns[:4]) == ["label", "score", "scores", "labels"]
    assert set(frame["model"]) == {"minilm"}


def test_notebooks_show_a_table_without_markup_of_the_text() -> None:
    answer = Answer(text="<b>Oslo</b>", start=3, end=7, score=0.5, answerable=True, null_score=-2.0)
    page = answer._repr_html_()
    assert "&lt;b&gt;Oslo&lt;/b&gt;" in page
    assert "<b>" not in page
    assert Results([answer, answer])._repr_html_().count("<tr>") == 3
    assert Results()._repr_html_() == "<table><tr></tr></table>"


def test_a_prompt_with_the_option_chat_is_answered_as_a_chat() -> None:
    with Engine(backend=FakeBackend(lambda **named: FakeModel(kind="causal", **named))) as engine:
        result = engine.run(Generation, "Name a colour.", chat=True)
        assert result.prompt is None
        assert result.messages == (
            Message(role="user", content="Name a colour."),
            Message(role="assistant", content=result.text),
        )
        plain = engine.run(Generation, "Name a colour.")
        assert (plain.prompt, plain.messages) == ("Name a colour.", None)
