"""Entities of types that a caller names: exact spans, any order of the types, faults before a model loads."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, permutations
from random import Random
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks import Engine, Entities, InvalidInputError, TextInput, UnsupportedModelError, ZeroShotEntities
from nlptasks.families.type_vectors import TypeVectors, match
from nlptasks.families.zero_shot_entities import MATCH, decode
from nlptasks.model import TokenVectors
from nlptasks.testing import FakeBackend, FakeModel, check_task
from nlptasks_plugins.entities import AnyEntities

TASK = AnyEntities()
SIZE = 64
TEXTS = st.text(
    st.one_of(
        st.sampled_from("ab Zé1'-.,&;\t\n\u0301\u200d👩💻🇩🇪שл日本ไ\u2028\ufeff"),
        st.characters(exclude_categories=("Cs",)),
    ),
    min_size=1,
    max_size=60,
).filter(lambda text: re.search(r"\S", text))


def direction(word: str) -> Any:
    """A vector of length one, the same for a word whenever it is made."""
    vector = np.random.default_rng(Random(word.casefold()).randrange(2**32)).normal(size=SIZE)
    vector[-1] = 0
    return vector / np.linalg.norm(vector)


class Matcher(FakeModel):
    """A word is start, end and inside of the type that is called by it, surely; nothing else is."""

    def __init__(self, **info: Any) -> None:
        super().__init__(head=MATCH, **info)

    def apply(self, verb: str, items: Sequence[Any]) -> list[Any]:
        return [self._vectors(answer, item) for answer, item in zip(super().apply(verb, items), items, strict=True)]

    def _vectors(self, answer: TokenVectors, text: str) -> TokenVectors:
        values = []
        for start, end in answer.spans:
            name = direction(text[start:end].strip(".,:;"))
            place = 20 * SIZE**0.5 * name
            place[-1] = -10
            values.append(np.concatenate([place, place, place, name]))
        return replace(answer, values=np.array(values, np.float32).reshape(-1, 4 * SIZE))


def run(text: str, model: Any = None, **options: Any) -> Entities:
    (result,) = TASK.run([TextInput(text=text)], TASK.validate_options(options), model or Matcher())
    return result


def shown(result: Entities) -> list[tuple[str, str]]:
    return [(entity.label, entity.text) for entity in result.entities]


def test_words_of_a_named_type_are_reported_with_their_place() -> None:
    result = run("Mix flour with water .", labels=["water", "flour", "salt"])
    assert shown(result) == [("flour", "flour"), ("water", "water")]
    assert [(entity.start, entity.end) for entity in result.entities] == [(4, 9), (15, 20)]
    assert all(entity.score > 0.99 for entity in result.entities)


def test_one_token_of_several_words_is_one_entity() -> None:
    """A tokenizer reads 北京 as one token; by itself each character is a word."""
    assert shown(run("Fly to 北京 today", labels=["北京"])) == [("北京", "北京")]


def test_without_names_the_types_of_the_task_are_reported() -> None:
    class Baking(ZeroShotEntities):
        """What a baker needs."""

        name = "baking"
        types: ClassVar[dict[str, str]] = {"flour": ""}
        examples = ("Mix flour with water .",)

    task = Baking()
    (result,) = task.run([TextInput(text="Mix flour with water .")], task.validate_options({}), Matcher())
    assert shown(result) == [("flour", "flour")]
    check_task(task, model=Matcher())


def test_a_task_without_types_needs_names() -> None:
    class Anything(ZeroShotEntities):
        """Anything."""

        name = "anything"
        examples = ("A text.",)

    task = Anything()
    with pytest.raises(InvalidInputError, match="option 'labels': expected entity types, as in labels="):
        task.run([TextInput(text="A text.")], task.validate_options({}), Matcher())


def test_the_built_in_task_keeps_the_contract() -> None:
    check_task(TASK)
    check_task(TASK, model=Matcher())


@given(TEXTS, st.booleans(), st.sampled_from((20, 512)))
def test_spans_are_exact_for_any_text(text: str, flat: bool, max_tokens: int) -> None:
    names = ["a", "b", *text.split()[:4]]
    labels = {
        unicodedata.normalize("NFKC", name).casefold(): name for name in map(str.strip, names) if name.isprintable()
    }
    model = Matcher(max_tokens=max_tokens)
    result = run(text, model, labels=list(labels.values()), flat=flat)
    assert all(entity.text == text[entity.start : entity.end] != "" for entity in result.entities)
    for one, other in combinations(result.entities, 2):
        apart = one.end <= other.start or other.end <= one.start
        inner, outer = sorted((one, other), key=lambda entity: entity.end - entity.start)
        nested = outer.start <= inner.start and inner.end <= outer.end
        assert apart or (not flat and nested and one.label != other.label)


def test_long_texts_are_read_in_windows_with_places_in_the_whole() -> None:
    text = "one two three " * 40 + "flour " + "four five " * 40
    result = run(text, Matcher(max_tokens=32), labels=["flour"])
    assert (shown(result), result.windows > 3, result.truncated) == ([("flour", "flour")], True, False)
    assert result.entities[0].start == text.index("flour")
    cut = run(text, Matcher(max_tokens=32), labels=["flour"], on_overflow="truncate")
    assert (cut.entities, cut.truncated, cut.windows) == ((), True, 1)


def test_the_order_of_the_types_decides_nothing() -> None:
    labels = {"flour": "from grain", "water": None, "salt": "from the sea", "grain": None}
    text = "Grain and water , salt from the sea , flour ."
    results = {run(text, labels=dict(order)).model_dump_json() for order in permutations(labels.items())}
    assert len(results) == 1
    model = Matcher()
    run(text, model, labels=dict(reversed(labels.items())))
    assert model.calls[0] == ("match", ["flour: from grain", "grain", "salt: from the sea", "water"])


def test_types_are_read_once_for_each_version_of_the_weights() -> None:
    task = AnyEntities()
    options = task.validate_options({"labels": ["flour", "water"]})
    for version, calls in (("1", 2), ("1", 1), ("2", 2), ("", 2), ("", 2)):
        model = Matcher(version=version)
        task.run([TextInput(text="Mix flour with water .")], options, model)
        assert len(model.calls) == calls
    vectors = TypeVectors(most=2)
    vectors.get(Matcher(version="1"), "match", ["a", "b", "c"])
    model = Matcher(version="1")
    vectors.get(model, "match", ["a", "b", "c"])
    assert model.calls == [("match", ["a"])]


def test_a_description_that_does_not_fit_is_no_secret() -> None:
    long = {"flour": "milled from grain " * 30}
    assert run("Flour.", Matcher(max_tokens=64), labels=long).truncated
    assert not run("Flour.", Matcher(max_tokens=512), labels=long).truncated


def test_flat_keeps_the_best_and_nested_what_is_within() -> None:
    scores = np.full((3, 3, 2), -9.0)
    scores[0, 0, 0] = scores[2, 1, 0] = scores[1, 0, 1] = scores[1, 1, 1] = -0.01
    scores[:, 2, 0] = -0.01
    scores[1, 2, 1] = -0.5
    assert [(c.first, c.last, c.type) for c in decode(scores, 0.5)] == [(0, 2, 0)]
    assert [(c.first, c.last, c.type) for c in decode(scores, 0.5, flat=False)] == [(0, 2, 0), (1, 1, 1)]
    assert decode(scores, 0.999) == decode(scores[:0], 0.5) == []


def test_scores_are_dot_products_with_a_number_added() -> None:
    token, type_ = np.zeros(4 * SIZE), np.zeros(SIZE)
    token[:2], token[SIZE - 1], type_[:2], type_[-1] = (3, 4), -2, (1, 2), 0.5
    raw = match(token[None], type_[None])
    assert raw.shape == (1, 3, 1)
    assert raw[0, 0, 0] == pytest.approx(11 / SIZE**0.5 - 1.5)
    assert raw[0, 1, 0] == 0.5


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([], "expected 1 to 255 names, counted 0"),
        (["dose", "Dose"], "expected names that differ in more than letter case, not 'dose' and 'Dose'"),
        ([f"type {i}" for i in range(300)], "expected 1 to 255 names, counted 300"),
        ({"dose": ""}, "expected a description of 'dose', not an empty text"),
    ],
)
def test_faults_of_names_are_one_sentence_before_a_model_loads(labels: Any, sentence: str) -> None:
    backend = FakeBackend()
    with Engine(backend=backend) as engine, pytest.raises(InvalidInputError) as caught:
        engine.run(AnyEntities, "Take 20 mg.", labels=labels)
    assert len(caught.value.problems) == 1
    assert f"option 'labels': {sentence}" in caught.value.problems[0]
    assert backend.models == []


def test_a_model_with_tags_of_its_own_reports_those() -> None:
    tags = ("O", "B-dose", "I-dose")
    model = FakeModel(labels=tags, tags=lambda text: ["O", "B-dose", "I-dose"])
    assert shown(run("Take 20 mg", model)) == [("dose", "20 mg")]
    assert shown(run("Take 20 mg", model, labels=["dose"])) == [("dose", "20 mg")]
    with pytest.raises(InvalidInputError, match="option 'labels' 'doses' is not known; did you mean 'dose'"):
        run("Take 20 mg", model, labels=["doses"])


def test_a_model_without_a_head_says_what_to_do() -> None:
    with pytest.raises(UnsupportedModelError, match="name an adapter or a model that was trained"):
        run("Take 20 mg", FakeModel(), labels=["dose"])


@pytest.mark.embedded
def test_the_shipped_adapter_reads_types_in_words() -> None:
    labels = {"medication": "a drug or its brand", "symptom": "what a patient suffers from", "city": "a town or city"}
    with Engine() as engine:
        results = [
            engine.run(AnyEntities, "Take 20 mg of Prozac against the headache.", labels=dict(order))
            for order in permutations(labels.items())
        ]
        assert shown(results[0]) == [("medication", "Prozac"), ("symptom", "headache")]
        assert results[0].adapter == "entities"
        for result in results[1:]:
            assert shown(result) == shown(results[0])
            scores = zip(result.entities, results[0].entities, strict=True)
            assert max(abs(one.score - other.score) for one, other in scores) <= 1e-5
