"""docs/plugins.md and docs/hooks.md say what is true: signatures are compared, code blocks are run."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import nlptasks
from nlptasks import Engine, Plugins, Settings, hookspecs
from nlptasks.testing import FakeBackend, FakeModel, check_task

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "nlptasks-urgency"
HOOKS = {name: value for name, value in vars(hookspecs).items() if hasattr(value, "nlptasks_spec")}


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def block(page: str, language: str, *words: str) -> str:
    """The one block that holds all these words."""
    [found] = [text for text in blocks(page, language) if all(word in text for word in words)]
    return found


def run(code: str, **names: Any) -> ModuleType:
    module = ModuleType("documented")
    vars(module).update(names)
    # Without this module's `from __future__ import annotations`.
    exec(compile(code, "docs", "exec", dont_inherit=True), vars(module))
    return module


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_page_has_every_hook_with_its_signature(name: str) -> None:
    signature = str(inspect.signature(HOOKS[name])).replace("'", "")
    assert f"def {name}{signature}\n" in blocks("hooks.md", "python")
    text = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    assert f"\n## {name}\n" in text
    assert f"now {nlptasks.API_VERSION}." in text


def test_hooks_page_has_no_other_hook() -> None:
    text = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == {*HOOKS, "nlptasks_api"}


def test_pages_show_the_example_as_it_is() -> None:
    assert (
        block("plugins.md", "python", "class Urgency", "nlptasks_api") == (EXAMPLE / "nlptasks_urgency.py").read_text()
    )
    assert block("plugins.md", "toml", "[project]") == (EXAMPLE / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", ["entailment", "stars", "urgency"])
def test_the_examples_own_tests_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "examples" / f"nlptasks-{name}"
    monkeypatch.syspath_prepend(folder)
    file = folder / "tests" / f"test_{name}.py"
    tests = vars(run(file.read_text(encoding="utf-8"), __file__=str(file)))
    functions = [test for label, test in tests.items() if label.startswith("test_")]
    assert len(functions) == 3
    for test in functions:
        test()


def test_the_page_shows_the_example_families_as_they_are() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("nlptasks-*/*/*.py"))
    for text in (
        block("plugins.md", "python", word) for word in ("class Entailment(", "class EntailmentTrainer", "RATE")
    ):
        for line in text.splitlines():
            assert line in sources.splitlines()


@pytest.mark.parametrize(
    ("folder", "trainer"),
    [
        ("nlptasks-entailment", "nlptasks_entailment.training:EntailmentTrainer"),
        ("nlptasks-stars", "nlptasks_stars.training:RatingTrainer"),
    ],
)
def test_an_example_trainer_overrides_only_what_its_base_has(
    folder: str, trainer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method under a name of an earlier version would silently never be called."""
    monkeypatch.syspath_prepend(ROOT / "examples" / folder)
    kind = pkgutil.resolve_name(trainer)
    [base] = kind.__bases__
    known = {name for parent in base.__mro__ for name in (*vars(parent), *vars(parent).get("__annotations__", {}))}
    assert {name for name in vars(kind) if not name.startswith("_")} <= known


def test_the_tests_of_the_page_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    module = run(block("plugins.md", "python", "test_label_with_the_highest_score_wins"))
    module.test_contract()
    module.test_label_with_the_highest_score_wins()


def test_the_task_without_training_works(settings: Settings) -> None:
    module = run(block("plugins.md", "python", "class WriteHeadline"))
    run(block("plugins.md", "python", "rows ="), check_task=check_task, **vars(module)).test_contract()
    plugins = Plugins(settings)
    plugins.register(module, "headline")
    task = plugins.task("headline")
    model = FakeModel(kind="causal", completions=["Bridge lost\nto the flood", "  "])
    [result] = task.run(task.validate(["text"]), task.validate_options({}), model)
    assert result.headline == "Bridge lost"
    with pytest.raises(nlptasks.UnparsableOutputError, match="expected one line of text"):
        task.run(task.validate(["text"]), task.validate_options({}), model)


def test_the_summarizing_task_works() -> None:
    task = run(block("plugins.md", "python", "class Minutes")).Minutes()
    check_task(task, rows=[(task.examples[0], {"summary": "They ship in May."})])
    model = FakeModel(kind="causal", completions=["They ship in May. Carl writes"], max_tokens=1024)
    [result] = task.run(task.validate(task.examples), task.validate_options({"max_new_tokens": 5}), model)
    assert result.summary == "They ship in May."


def test_the_command_of_the_page_is_added(settings: Settings) -> None:
    plugins = Plugins(settings)
    plugins.register(run(block("hooks.md", "python", "def triage")), "triage")
    cli = click.Group()
    plugins.add_commands(cli)
    assert cli.commands["triage"].get_short_help_str() == "Say who should answer a ticket."


def test_the_backend_of_the_page_serves_its_names(settings: Settings) -> None:
    plugins = Plugins(settings)
    plugins.register(run(block("hooks.md", "python", "class Shouting")), "shouting")
    plugins.register(run(block("plugins.md", "python", "class WriteHeadline")), "headline")
    with nlptasks.Engine(settings=dataclasses.replace(settings, backend=None), plugins=plugins) as engine:
        result = engine.run("headline", "The river rose.", model="shout:loud")
    assert (result.headline, result.model) == ("USER: WRITE ONE HEADLINE FOR THIS TEXT:", "shout:loud")


def test_the_notebook_lines_work() -> None:
    code = block("plugins.md", "python", "plugins.register(my_module")
    mine = run(block("plugins.md", "python", "class WriteHeadline"))
    module = run(code, my_module=mine)
    assert "headline" in module.engine.plugins.tasks
    module.engine.close()


def test_pages_name_existing_commands_and_variables() -> None:
    from nlptasks.cli import cli

    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    known = set(cli.list_commands(click.Context(cli)))
    assert set(re.findall(r"(?:^|`)nlptasks ([a-z]+)\b", text, re.MULTILINE)) <= known
    settings_source = (ROOT / "nlptasks" / "settings.py").read_text(encoding="utf-8")
    assert all(name in settings_source for name in re.findall(r"NLPTASKS_\w+", text))


@pytest.mark.parametrize(
    ("page", "path", "body", "answer"),
    [
        ("hooks.md", "desk", {"ticket": "It burns!"}, {"desk": "night shift"}),
        ("plugins.md", "triage", {"tickets": ["All is well.", "It burns!"]}, {"high": [1]}),
    ],
)
def test_the_routes_of_the_pages_answer(
    page: str, path: str, body: dict[str, Any], answer: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from nlptasks.serve import ServeSettings, build_app

    monkeypatch.syspath_prepend(EXAMPLE)
    plugins = Plugins(settings)
    plugins.register(import_module("nlptasks_urgency"), "urgency")
    plugins.register(run(block(page, "python", "def register_routes(app, engine)"), hookimpl=nlptasks.hookimpl), "more")
    backend = FakeBackend(
        labels=("low", "normal", "high"), scores=lambda text: (0.0, 1.0, 5.0) if "burns" in text else (5.0, 0.0, 0.0)
    )
    with Engine(plugins=plugins, settings=settings, backend=backend) as engine:
        client = TestClient(build_app(engine, ServeSettings()), base_url="http://localhost")
        assert client.post(f"/more/{path}", json=body).json() == answer
