"""Heads and trainers that tasks name: whose verb is whose, and what a wrong definition is told."""

from __future__ import annotations

from typing import Any

import pytest

from nlptasks import CLASSIFY, Engine, Head, Plugins, Settings, TextClassification, hookimpl
from nlptasks.definitions import check_task_class
from nlptasks.errors import PluginError, TrainingError
from nlptasks.testing import FakeModel, check_task
from nlptasks.training import FamilyTrainer
from nlptasks.training.families.base import family_trainer
from tests.sample_tasks import Echo, Mood

RATE = Head("rate", make="plugin_rate:make")


def named(label: str, **attributes: Any) -> Any:
    return type(f"Task{label.capitalize()}", (Mood,), {"name": label, "__doc__": "A task.", **attributes})()


def plugin_of(*tasks: Any) -> Any:
    class Plugin:
        @hookimpl
        def register_tasks(self, register: Any) -> None:
            for task in tasks:
                register(task)

    return Plugin()


def test_a_task_s_head_says_what_it_needs() -> None:
    assert (Mood().verb, Mood.head, Echo().verb) == ("classify", CLASSIFY, "")
    assert named("rated", head=RATE).verb == "rate"


def test_a_verb_has_one_head(settings: Settings) -> None:
    plugins = Plugins(settings)
    plugins.register(plugin_of(named("one", head=RATE), named("two", head=RATE)), "first")
    assert plugins.heads["rate"] == RATE
    for head in (Head("rate", make="other:make"), Head("tag", "token", make="other:make")):
        with pytest.raises(PluginError, match=f"Its task 'three' defines another head for the verb '{head.verb}'"):
            plugins.register(plugin_of(named("three", head=head)), "second")
    plugins.register(plugin_of(named("four", head=RATE)), "third")
    assert list(plugins.tasks) == ["one", "two", "four"]


def test_a_task_that_no_plugin_brings_brings_its_head(settings: Settings) -> None:
    from nlptasks.testing import FakeBackend

    backend = FakeBackend(head=RATE, labels=Mood.labels)
    with Engine(settings=settings, plugins=Plugins(settings), backend=backend) as engine:
        with engine.bind(named("rated", head=RATE), model="any") as model:
            assert len(model.apply("rate", ["a", "b"])) == 2
        assert backend.models[0].info.trained_for == {"classify", "embed", "rate", "tag"}


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"head": "rate"}, "expected head to be a Head or None, found 'rate'"),
        ({"head": Head("rate")}, "expected a head with either a model of transformers or make"),
        ({"head": Head("rate", model="AutoModel", make="a:b")}, "expected a head with either a model of transformers"),
        ({"head": Head("rate", "prompt", make="a:b")}, "expected a head with either a model of transformers or make"),
        ({"trainer": "module"}, "expected trainer as 'package.module:Class', found 'module'"),
        ({"trainer": None}, "expected trainer as 'package.module:Class', found None"),
    ],
)
def test_a_wrong_definition_is_told(attributes: dict[str, Any], sentence: str) -> None:
    [problem] = check_task_class(named("odd", **attributes))
    assert problem.startswith(sentence)


@pytest.mark.parametrize(
    ("trainer", "sentence"),
    [
        ("", "odd belongs to the family text_classification, which cannot be trained: expected a class with trainer ="),
        ("no_such_module:Trainer", r"odd: its trainer 'no_such_module:Trainer' cannot be imported \(No module named"),
        ("nlptasks.training:Nobody", "odd: its trainer 'nlptasks.training:Nobody' cannot be imported"),
        ("nlptasks.training:finetune", "odd: expected 'nlptasks.training:finetune' to be a FamilyTrainer, found <func"),
    ],
)
def test_a_trainer_that_cannot_be_had_is_told(trainer: str, sentence: str) -> None:
    with pytest.raises(TrainingError, match=sentence):
        family_trainer(named("odd", trainer=trainer))


def test_a_family_s_trainer_is_the_task_s() -> None:
    trainer = family_trainer(Mood())
    assert isinstance(trainer, FamilyTrainer)
    assert (trainer.trained_head, trainer.verb) == (CLASSIFY, "classify")


class Rated(TextClassification):
    """A task that asks a head of its own."""

    name = "rated"
    labels = ("low", "high")
    examples = ("fine",)
    head = Head("rate", make="plugin_rate:make")

    def run(self, inputs, options, model):  # type: ignore[no-untyped-def]
        class Asked:
            info = model.info
            offsets = model.offsets

            @staticmethod
            def classify(texts: Any) -> Any:
                return model.apply("rate", texts)

        return super().run(inputs, options, Asked())  # type: ignore[arg-type]


def test_the_contract_gives_a_task_the_head_that_it_names() -> None:
    check_task(Rated())
    with pytest.raises(AssertionError, match="This FakeModel has no head for rate"):
        check_task(Rated(), model=FakeModel(labels=Rated.labels))


@pytest.mark.parametrize(("per", "item"), [("token", "two words"), ("span", ("Who?", "Ada and Ben."))])
def test_a_fake_model_answers_as_the_head_says(per: Any, item: Any) -> None:
    head = Head("own", per, make="plugin_own:make")
    model = FakeModel(head=head, labels=("a", "b"), answers=lambda *_: (0, 3))
    [answer] = model.apply("own", [item])
    [same] = model.tag([item]) if per == "token" else model.extract([item])
    assert answer == same
