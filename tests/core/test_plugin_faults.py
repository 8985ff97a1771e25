"""What a faulty plugin does: it is refused, or its request fails in a sentence that names it and what to do."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from nlptasks import (
    CLASSIFY,
    Classification,
    Decoding,
    Engine,
    LabelScore,
    Model,
    Plugins,
    Recipe,
    Result,
    Settings,
    Task,
    TextClassification,
    TextInput,
    TokenClassification,
    hookimpl,
)
from nlptasks.definitions import check_task_class
from nlptasks.errors import AdapterError, PluginError, UnknownNameError, UnsupportedModelError
from nlptasks.surfaces import sentence
from nlptasks.testing import FakeBackend, check_task
from tests.fake_distributions import GOOD, Site, plugins_fixture, site_fixture  # noqa: F401
from tests.sample_tasks import Echo, LosesOne, Mood, TitleResult

SENTIMENT = Path(__file__).parents[2] / "plugins" / "nlptasks_plugins" / "adapters" / "sentiment"


def plugin(*tasks: Any, **hooks: Any) -> Any:
    class Made:
        @hookimpl
        def register_tasks(self, register: Any) -> None:
            for task in tasks:
                register(task)

    for name, function in hooks.items():
        setattr(Made, name, staticmethod(hookimpl(function)))
    return Made()


def engine_of(settings: Settings, *tasks: Any, backend: Any = None) -> Engine:
    plugins = Plugins(settings)
    plugins.register(plugin(*tasks), "mine")
    return Engine(plugins=plugins, settings=settings, backend=backend or FakeBackend(kind="causal"))


# Definitions: the loader and check_task see the same faults.


class Tags(TokenClassification):
    """Parts of a machine."""

    name = "parts"
    labels = ("PART",)
    examples = ("The pump leaks.",)


def changed(kind: type[Any], **attributes: Any) -> Any:
    return type("Made", (kind,), {"__doc__": "A task.", "__module__": __name__, **attributes})()


NAMED = {"name": "x", "labels": ("a", "b")}

DEFINITIONS = [
    (changed(Mood, labels=("a", "b", "a")), "expected every label once, found 'a' several times"),
    (changed(Mood, labels=("a",)), "expected two labels or more, found 'a'"),
    (changed(Mood, labels=()), "expected two labels or more, found none"),
    (changed(Mood, labels=(), multi_label=True), "expected one label or more, found none"),
    (changed(Mood, labels="positive"), "expected labels to be a tuple of names, found 'positive'"),
    (changed(Mood, labels=("a", " ")), "expected labels to be a tuple of names, found ('a', ' ')"),
    (changed(Tags, labels=()), "expected one label or more, found none"),
    (changed(Tags, labels=("O", "B-X")), "expected entity types without B- and I- and without O, found 'O', 'B-X'"),
    (
        changed(TextClassification, name="x", lables=("a", "b")),
        "'lables' is not known; did you mean 'labels'?",
    ),
    (changed(TextClassification, **NAMED, exmaples=("x",)), "did you mean 'examples'?"),
    (changed(TokenClassification, **NAMED, result_typ=TitleResult), "did you mean 'result_type'?"),
    (changed(Echo, result_type=Result), "expected a result_type with a field for the answer, found Result itself"),
    (
        changed(Mood, examples=("It is down!")),
        "expected examples to be a tuple, found 'It is down!'; a tuple of",
    ),
    (changed(Mood, adapter="/x"), "expected adapter to be the pathlib.Path of a folder, found '/x'"),
    (changed(Echo, bases={"little": "/x"}), "expected bases to map names to the pathlib.Path of a folder"),
    (changed(Echo, bases={"minilm": Path("x")}), "ships a base 'minilm', a name of the catalog; give it another name"),
    (changed(Mood, recipe=Recipe(base="minlim")), "the base 'minlim', which does not exist: did you mean 'minilm'?"),
    (changed(Echo, recipe=Recipe(base="qqq")), "not exist: expected a catalog name, a Hub id ORG/NAME or a folder."),
]


@pytest.mark.parametrize(("task", "fault"), DEFINITIONS, ids=[str(number) for number in range(len(DEFINITIONS))])
def test_loader_and_contract_see_a_faulty_definition(task: Any, fault: str, plugins: Plugins) -> None:
    with pytest.raises(PluginError) as refused:
        plugins.register(plugin(task), "faulty")
    assert fault in str(refused.value)
    assert str(refused.value).startswith("Plugin faulty: Its task ")
    assert dict(plugins.tasks) == {}
    with pytest.raises(AssertionError) as broken:
        check_task(task)
    assert fault in str(broken.value)


def test_attributes_of_the_author_are_no_slips() -> None:
    task = changed(Mood, prompts=("a",), labels_de=("ruhig", "aufgebracht"), example="x", address="x")
    assert check_task_class(task) == []


def test_a_plugin_may_name_the_base_of_another(site: Site, plugins: Plugins, tmp_path: Path) -> None:
    plugins.register(plugin(changed(Echo, name="ships", bases={"little": tmp_path})), "ships")
    plugins.register(plugin(changed(Echo, name="uses", recipe=Recipe(base="little"))), "uses")
    site.add("zzz", "from nlptasks import Recipe\n" + GOOD.format(name="zzz") + "Good.recipe = Recipe(base='litle')\n")
    plugins.load_entry_points(site.entry_points())
    assert list(plugins.tasks) == ["ships", "uses"]
    [failure] = plugins.failures
    assert failure.reason == "Its task 'zzz' names the base 'litle', which does not exist: did you mean 'little'?"


# D2: what is declared is there.


def shipped(folder: Path, **manifest: Any) -> Path:
    """A copy of an adapter that ships with nlptasks, with changes in its manifest."""
    shutil.copytree(SENTIMENT, folder)
    content = json.loads((folder / "nlptasks.json").read_text(encoding="utf-8")) | manifest
    (folder / "nlptasks.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def failing_mood(settings: Settings, adapter: Path, **options: Any) -> str:
    task = changed(Mood, adapter=adapter)
    engine = engine_of(settings, task)
    with pytest.raises(AdapterError) as caught:
        engine.run("mood", "Fine.", **options)
    with pytest.raises(AssertionError) as broken:
        check_task(task)
    assert str(caught.value).removeprefix("The task 'mood' of the plugin mine ") in str(broken.value)
    # The bare base is there for who names it.
    assert engine.run("mood", "Fine.", adapter="none").label in task.labels
    return str(caught.value)


@pytest.mark.parametrize("options", [{}, {"model": "smollm2"}])
def test_a_declared_adapter_that_is_not_there_is_no_reason_for_another_model(
    settings: Settings, tmp_path: Path, options: dict[str, str]
) -> None:
    assert failing_mood(settings, tmp_path / "mood", **options) == (
        f"The task 'mood' of the plugin mine declares an adapter that is not there: {tmp_path / 'mood'}. Reinstall its "
        "package; if it is yours, add the folder to its package-data, or declare it after training. The adapter 'none' "
        "runs the bare base."
    )


def test_the_labels_of_a_shipped_adapter_are_those_of_its_task(settings: Settings, tmp_path: Path) -> None:
    assert failing_mood(settings, shipped(tmp_path / "mood")) == (
        "The task 'mood' of the plugin mine ships an adapter with other labels: expected calm, upset, found negative, "
        "positive. Ship an adapter that was trained for these labels, or change the task's."
    )
    task = changed(Mood, labels=("Positive", "NEGATIVE"), adapter=tmp_path / "mood")
    chosen, _ = engine_of(settings, task).choose(task, None, None)
    assert chosen is not None


@pytest.mark.parametrize("length", [0, 100, 20_000])
def test_a_damaged_shipped_adapter_names_its_plugin(settings: Settings, tmp_path: Path, length: int) -> None:
    adapter = shipped(tmp_path / "mood", labels=["calm", "upset"])
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    text = failing_mood(settings, adapter)
    assert text.startswith("The task 'mood' of the plugin mine ships an adapter that cannot be used: ")
    assert text.endswith(". Reinstall its package.")


def test_a_declared_base_that_is_not_there_is_named(settings: Settings, tmp_path: Path) -> None:
    task = changed(Echo, bases={"little": tmp_path / "little"}, recipe=Recipe(base="little"))
    with engine_of(settings, task, backend="torch") as engine, pytest.raises(UnsupportedModelError) as caught:
        engine.run("echo", "Fine.")
    assert str(caught.value) == (
        f"The base 'little' comes with a plugin, but its folder is not there: {tmp_path / 'little'}. Reinstall the "
        "plugin's package; if it is yours, add the folder to its package-data."
    )
    with pytest.raises(AssertionError, match="it ships a base 'little' that is not there"):
        check_task(task)


# D3: names that are taken. tests/cli has the command.


def test_a_disputed_name_is_nobodys_and_the_rest_works(site: Site, plugins: Plugins, settings: Settings) -> None:
    for name in ("a", "b"):
        other = f"\nclass Other(Good):\n    '''Another.'''\n    name = 'x-{name}'\n"
        site.add(name, GOOD.format(name="x").replace("(Good())", "(Good())\n    register(Other())") + other)
    plugins.load_entry_points(site.entry_points())
    assert plugins.failures == []
    assert list(plugins.tasks) == ["x-a", "x-b"]
    assert [(c.name, c.plugins, c.owner) for c in plugins.conflicts] == [("x", ("nlptasks-a:a", "nlptasks-b:b"), None)]
    assert plugins.failure_notice() == "1 task name is claimed by several plugins (x): see `nlptasks plugins`."
    with pytest.raises(UnknownNameError, match="claimed by nlptasks-a:a and nlptasks-b:b, so none of them has it"):
        plugins.task("x")
    plugins.prefer("nlptasks-b", "x")
    owner = plugins.owner("x")
    assert owner is not None
    assert owner.tasks == ("x", "x-b")
    for module in ("plugin_a", "plugin_b"):
        del sys.modules[module]
    again = Plugins(settings)
    again.load_entry_points(site.entry_points())
    assert type(again.task("x")).__module__ == "plugin_b"
    assert again.failure_notice() is None


def test_a_claimant_that_fails_leaves_the_name_to_the_other(site: Site, plugins: Plugins) -> None:
    fails = "@hookimpl\ndef register_commands(cli):\n    raise ValueError('no')\n"
    site.add("a", GOOD.format(name="x") + fails)
    site.good("x")
    plugins.load_entry_points(site.entry_points())
    assert list(plugins.tasks) == []
    plugins.add_commands(click.Group("nlptasks"))
    assert list(plugins.tasks) == ["x"]
    assert plugins.conflicts == []
    assert plugins.records[0].tasks == ("x",)


def test_an_alias_is_a_name_too(site: Site, plugins: Plugins) -> None:
    site.add("a", GOOD.format(name="x") + "Good.aliases = ('weather',)\n")
    site.good("weather")
    plugins.load_entry_points(site.entry_points())
    assert list(plugins.tasks) == ["x"]
    plugins.prefer("nlptasks-a", "weather")
    assert plugins.task("weather") is plugins.tasks["x"]


def test_what_comes_with_nlptasks_is_registered_first(site: Site, plugins: Plugins) -> None:
    """Bases, heads, backends and commands stay with who registers first."""
    site.good("aaa")
    site.add_metadata("nlptasks", "[nlptasks]\nzzz = plugin_zzz\n")
    (site.folder / "plugin_zzz.py").write_text(GOOD.format(name="zzz"), encoding="utf-8")
    plugins.load_entry_points(site.entry_points())
    assert list(plugins.tasks) == ["zzz", "aaa"]


def test_preferences_that_cannot_be_read_are_one_line_of_warning(site: Site, settings: Settings) -> None:
    site.good("fine")
    settings.data.mkdir()
    (settings.data / "plugins.json").write_text("{", encoding="utf-8")
    plugins = Plugins(settings)
    plugins.load_entry_points(site.entry_points())
    assert list(plugins.tasks) == ["fine"]
    [failure] = plugins.failures
    assert failure.reason.startswith(f"{settings.data / 'plugins.json'} cannot be read (")
    assert failure.reason.endswith("): delete it and choose again.")


def view(result: Any, inputs: Any) -> str:
    return "<p>mine</p>"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Classification, "found Classification of nlptasks.results: register the view for a task's name instead."),
        (Result, "found Result of nlptasks.results"),
        ("sentiment", "register_views: expected a task of the plugin, found 'sentiment'."),
        (3, "register_views: expected a subclass of Result or a task's name, found 3."),
    ],
)
def test_a_view_replaces_nobody_elses(plugins: Plugins, target: Any, text: str) -> None:
    plugins.register(plugin(Mood(), register_views=lambda register: register(target, view)), "greedy")
    assert plugins.views() == {}
    [failure] = plugins.failures
    assert text in failure.reason


def test_a_view_is_for_the_plugins_results_or_tasks(plugins: Plugins) -> None:
    def views(register: Any) -> None:
        register(TitleResult, view)
        register("mood", view)

    plugins.register(plugin(Mood(), register_views=views), "fair")
    assert plugins.views() == {TitleResult: view, "mood": view}


def test_the_web_app_shows_a_task_by_its_view(plugins: Plugins) -> None:
    from nlptasks_ui import views

    plugins.register(plugin(Mood(), register_views=lambda register: register("mood", view)), "fair")
    scores = (LabelScore(label="calm", score=1.0),)
    result = Classification(label="calm", score=1, scores=scores, labels=("calm",))
    assert "<p>mine</p>" in views.show(result, None, plugins.views(), "mood")
    assert "<p>mine</p>" not in views.show(result, None, plugins.views(), "other")


# D4: the engine says how an input was read when the task does not.


class Length(Result):
    words: int


class Plain(Task[Any, Any, Any]):
    """A task that reads with a verb of the model and says nothing about it."""

    name = "plain"
    result_type = Length
    head = CLASSIFY
    examples = ("x",)

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        self.read([item.text for item in inputs], model)
        return [Length(words=len(item.text.split())) for item in inputs]

    def read(self, texts: list[str], model: Model) -> Any:
        return model.classify(texts)


class Pieces(Plain):
    """Cuts its texts itself."""

    def read(self, texts: list[str], model: Model) -> Any:
        words = [text.split() for text in texts]
        return model.classify([" ".join(row[i : i + 5]) for row in words for i in range(0, len(row), 5)])


class Questions(Plain):
    """Reads every text with three questions."""

    def read(self, texts: list[str], model: Model) -> Any:
        return model.classify([(text, question) for text in texts for question in ("who", "when", "where")])


class Shuffles(Plain):
    """Reads other texts than its inputs, in an order of its own."""

    def read(self, texts: list[str], model: Model) -> Any:
        return model.classify(["a " * len(text) for text in sorted(texts)] + ["b"])


class Writes(Plain):
    """Asks a language model."""

    head = None

    def read(self, texts: list[str], model: Model) -> Any:
        return model.generate([f"Say: {text}" for text in texts], Decoding(max_new_tokens=2))


class Chooses(Plain):
    """Asks a language model for one of two words."""

    head = None

    def read(self, texts: list[str], model: Model) -> Any:
        return model.choose(texts, [" a", " b"])


class Honest(Plain):
    """Says itself how it read."""

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        model.classify([item.text for item in inputs])
        return [Length(words=1, truncated=False, num_tokens=7) for _ in inputs]


LONG, SHORT = " ".join(f"w{i}" for i in range(3000)), "s0 s1 s2"
TWELVE = " ".join(f"w{i}" for i in range(12))


@pytest.mark.parametrize(
    ("kind", "texts", "readings"),
    [
        (Plain, (LONG,), [(True, 20, 1)]),
        (Plain, (SHORT, LONG, SHORT), [(False, 5, 1), (True, 20, 1), (False, 5, 1)]),
        (Pieces, (TWELVE,), [(False, 18, 3)]),
        (Pieces, ("a0 a1", TWELVE, "b0"), [(False, 4, 1), (False, 18, 3), (False, 3, 1)]),
        (Questions, (SHORT, LONG), [(False, 7, 1), (True, 20, 1)]),
        (Shuffles, (SHORT, "s" * 30), [(True, 0, 1), (True, 0, 1)]),
        (Writes, (SHORT, LONG), [(False, 4, 1), (True, 18, 1)]),
        (Chooses, (SHORT, LONG), [(False, 5, 1), (True, 20, 1)]),
        (Honest, (LONG,), [(False, 7, 1)]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_cut_text_is_never_a_whole_one(settings: Settings, kind: Any, texts: Any, readings: Any) -> None:
    made: dict[str, Any] = {"kind": "encoder", "labels": ("a", "b")} if kind.head else {"kind": "causal"}
    engine = engine_of(settings, kind(), backend=FakeBackend(max_tokens=20, **made))
    results = engine.run("plain", list(texts))
    assert [(result.truncated, result.num_tokens, result.windows) for result in results] == readings


def test_a_stream_of_a_plain_task_says_that_it_was_cut(settings: Settings) -> None:
    class Speaks(Writes):
        """Streams."""

        def stream(self, inputs: Any, options: Any, model: Model) -> Any:
            completion = yield from model.stream(inputs.text, Decoding(max_new_tokens=2))
            return Length(words=len(completion.text))

    engine = engine_of(settings, Speaks(), backend=FakeBackend(kind="causal", max_tokens=20))
    with engine.stream("plain", LONG) as stream:
        assert "".join(stream)
        assert (stream.result().truncated, stream.result().num_tokens) == (True, 18)


def test_the_choices_of_a_real_model_say_that_their_prompt_was_cut(settings: Settings, tiny_causal: Path) -> None:
    with engine_of(settings, Chooses(), backend="torch") as engine:
        short, long = engine.run("plain", [SHORT, LONG], model=str(tiny_causal))
    assert (short.truncated, long.truncated) == (False, True)
    assert 0 < short.num_tokens < long.num_tokens


# D7: what goes wrong inside names the task, its plugin and what to do.


class Fails(Echo):
    """Looks for what is not there."""

    name = "fails"

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        answers: dict[str, Any] = {}
        return [answers["left"]]

    def stream(self, inputs: Any, options: Any, model: Model) -> Any:
        yield "piece"
        raise IndexError("list index out of range")


class Strange(Echo):
    """Gives texts."""

    name = "strange"

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> Any:
        return ["text" for _ in inputs]


class Absent(Echo):
    """Gives nothing."""

    name = "absent"

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> Any:
        return None


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (
            Fails(),
            "The task 'fails' of the plugin mine failed with KeyError: 'left'. Report it to its author; "
            "NLPTASKS_STRICT=1 shows where.",
        ),
        (
            changed(LosesOne, name="loses"),
            "The task 'loses' of the plugin mine gave 1 result for 2 inputs: its run must return a list with one for "
            "each, in order.",
        ),
        (Strange(), "The task 'strange' of the plugin mine gave 'text': its run must return TitleResult."),
        (
            Absent(),
            "The task 'absent' of the plugin mine gave None for 2 inputs: its run must return a list with one for "
            "each, in order.",
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_fault_inside_a_task_names_its_plugin(settings: Settings, task: Any, text: str) -> None:
    with pytest.raises(PluginError) as caught:
        engine_of(settings, task).run(task.name, ["one", "two"])
    assert str(caught.value) == text


def test_a_stream_that_fails_names_its_plugin_and_strict_shows_where(settings: Settings, caplog: Any) -> None:
    with pytest.raises(PluginError) as caught:
        "".join(engine_of(settings, Fails()).stream("fails", "one"))
    text = "The task 'fails' of the plugin mine failed with IndexError: list index out of range."
    assert str(caught.value).startswith(text)
    assert sentence(caught.value).startswith(text)
    assert "Traceback" in caplog.text, "the log of a server says where"
    strict = dataclasses.replace(settings, strict=True)
    with pytest.raises(KeyError):
        engine_of(strict, Fails()).run("fails", "one")


def test_what_the_model_raises_is_not_the_plugins_fault(settings: Settings) -> None:
    engine = engine_of(settings, Echo(), backend=FakeBackend(kind="causal", completions=["one"]))
    with pytest.raises(IndexError, match="no completion left"):
        engine.run("echo", ["one", "two"])


class Sure(Result):
    sure: float


class Judge(TextClassification):
    """A classification with a result of its own."""

    name = "judge"
    labels = ("yes", "no")
    result_type = Sure

    def run(self, inputs: Sequence[TextInput], options: Any, model: Model) -> Any:
        return [Sure(sure=max(answer.values)) for answer in model.classify([item.text for item in inputs])]


def test_eval_of_a_result_that_the_trainer_cannot_read(settings: Settings, tmp_path: Path) -> None:
    from nlptasks.training import evaluate

    data = tmp_path / "rows.csv"
    data.write_text("text,label\nIt works.,yes\nIt broke.,no\n", encoding="utf-8")
    engine = engine_of(settings, Judge(), backend=FakeBackend(labels=("yes", "no")))
    with pytest.raises(PluginError) as caught:
        evaluate("judge", str(data), engine=engine)
    assert str(caught.value) == (
        "The task 'judge' of the plugin mine cannot be measured: its trainer failed with AttributeError: 'Sure' object "
        "has no attribute 'scores'. Give it a trainer that reads Sure; "
        "nlptasks.training.families.text_classification:TextClassificationTrainer does not."
    )
