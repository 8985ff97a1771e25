"""Typed questions over HTTP, by openai's client and by System One's documented shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from nlptasks.serve.questions import as_text
from nlptasks.testing import FakeModel
from tests.serving import served
from tests.ui_browser import FakeEngine, built_in_makers, installed_plugins, own_settings


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    makers = built_in_makers()
    makers["classify"] = lambda **more: FakeModel(name="fake-encoder", **more)
    with FakeEngine(own_settings(tmp_path_factory.mktemp("serve")), makers, installed_plugins()) as made:
        yield made


@pytest.fixture(scope="module")
def url(engine: FakeEngine) -> Iterator[str]:
    with served(engine) as address:
        yield address


QUESTIONS: Any = [
    {"type": "predicate", "name": "angry", "instructions": "The customer is angry."},
    {
        "type": "choice",
        "instructions": "What is it about?",
        "choices": [{"value": "billing", "description": "payments, refunds"}, {"value": "bug"}, {"value": True}],
    },
    {
        "type": "score",
        "name": "urgency",
        "instructions": "How urgent is it?",
        "levels": [{"label": "can wait"}, {"label": "this week"}, {"label": "today"}],
    },
]


def test_openai_s_client_decides(engine: FakeEngine, url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    decision = client.decisions.create(model="auto", input="I was charged twice!", questions=QUESTIONS)
    predicate, choice, score = decision.answers
    assert (predicate.type, predicate.name) == ("predicate", "angry")
    assert choice.type == "choice"
    assert [one.value for one in choice.probabilities] == ["billing", "bug", True]
    assert sum(one.probability for one in choice.probabilities) == pytest.approx(1)
    best = max(choice.probabilities, key=lambda one: one.probability)
    assert choice.choice == best.value
    assert choice.confidence == pytest.approx((best.probability - 1 / 3) / (2 / 3))
    assert score.type == "score"
    assert score.score == pytest.approx(sum(one.value * one.probability for one in score.probabilities))
    assert [one.label for one in score.probabilities] == ["can wait", "this week", "today"]
    assert decision.usage.input_tokens > 0
    embedded = [text for verb, texts in engine.models[-1].calls if verb == "embed" for text in texts]
    assert embedded.count("I was charged twice!") == 1


def test_a_task_answers_by_its_labels_with_its_probabilities(engine: FakeEngine, url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    choices: Any = [{"value": "Positive"}, {"value": "negative"}]
    question: Any = {"type": "choice", "instructions": "How is it?", "choices": choices}
    [answer] = client.decisions.create(model="sentiment", input="I love it.", questions=[question]).answers
    served_by = {one.label: one.score for one in engine.run("sentiment", "I love it.").scores}
    assert answer.type == "choice"
    assert [one.probability for one in answer.probabilities] == [served_by["positive"], served_by["negative"]]
    assert (answer.choice, answer.model_extra and answer.model_extra["windows"]) == ("Positive", 1)
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.decisions.create(model="sentiment", input="I love it.", questions=[QUESTIONS[1], question, QUESTIONS[0]])
    message = str(caught.value)
    assert "questions.0: expected the labels of sentiment (negative, positive), found billing, bug, true" in message
    assert "questions.2 (angry): expected a choice or a score, which sentiment answers." in message


def test_messages_are_read_with_their_roles(engine: FakeEngine, url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    messages: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "It broke."}]},
        {"role": "assistant", "content": "I am sorry."},
    ]
    client.decisions.create(model="auto", input=messages, questions=QUESTIONS[:1])
    assert ("embed", ["user: It broke.\nassistant: I am sorry."]) in engine.models[-1].calls


def test_system_one_s_shapes(url: str) -> None:
    body = {
        "model": "auto",
        "state": {"subject": "Invoice", "lines": [{"item": "lamp", "paid": True}, {"item": "oil", "paid": None}]},
        "questions": {
            "tone": {
                "type": "choice",
                "instructions": "What is the tone?",
                "criteria": {"calm": "polite", "angry": None},
            },
            "urgent": {"type": "score", "criteria": ["Can wait", "This week", "Today"]},
            "spam": {"type": "noul", "instructions": "Is it spam?", "criteria": {"true": "an ad", "false": "a letter"}},
            "late": {"type": "noul", "instructions": "The payment is late."},
        },
    }
    answer = httpx.post(f"{url}/v1/systemone", json=body).json()
    assert answer.keys() == {"model", "answers", "usage"}
    tone, urgent, spam = (answer["answers"][name] for name in ("tone", "urgent", "spam"))
    assert tone["choice"] in ("calm", "angry")
    assert sum(tone["probabilities"].values()) == pytest.approx(1)
    assert urgent["legend"] == {"0": "Can wait", "1": "This week", "2": "Today"}
    assert 0 <= urgent["score"] <= 2
    assert 0 <= urgent["confidence"] <= 1
    assert 0 < spam["noul"] < 1
    assert answer["answers"]["late"]["truncated"] is False


def test_every_bad_question_is_named(url: str) -> None:
    body = {
        "model": "auto",
        "state": "A text.",
        "questions": {
            "one": {"type": "choice", "criteria": {"a": None}},
            "two": {"type": "choice", "criteria": {"a": None, "A": None}},
            "three": {"type": "noul", "instructions": "It is fine."},
        },
    }
    answer = httpx.post(f"{url}/v1/systemone", json=body)
    assert answer.status_code == 422
    message = answer.json()["error"]["message"]
    assert "questions.one: " in message
    assert "expected 2 labels or more" in message
    assert "questions.two: " in message
    assert "questions.three" not in message
    nothing = httpx.post(f"{url}/v1/systemone", json={**body, "questions": {"x": {"type": "noul"}}})
    assert nothing.json()["error"]["message"] == "questions.x: expected instructions or criteria, found none."


def test_json_is_read_as_lines() -> None:
    state = {"a": "x", "b": {"c": [1, 2.5, "z"], "d": [{"e": None}, {"e": False}]}, "f": []}
    assert as_text(state) == "a: x\nb.c: 1, 2.5, z\nb.d.1.e: none\nb.d.2.e: no\nf: "
    assert as_text("plain") == "plain"
    assert as_text(["a", True]) == "a, yes"
