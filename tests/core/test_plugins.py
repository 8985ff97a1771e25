"""A broken plugin is one line of warning: every kind of failure is isolated, undone and named."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

import nlptasks.plugins
from nlptasks import API_VERSION, TextClassification, hookimpl
from nlptasks.errors import PluginError, UnknownNameError
from nlptasks.plugins import Plugins, default_plugins
from nlptasks.settings import Settings
from tests.fake_distributions import GOOD, Site, plugins_fixture, site_fixture  # noqa: F401

HOOK = "from nlptasks import hookimpl\n@hookimpl\n"
TASK = """
from nlptasks import TextClassification, hookimpl

def task(title, *others):
    class Made(TextClassification):
        '''A task.'''
        name = title
        aliases = others
        labels = ("a", "b")
    return Made()
"""

BROKEN = {
    "api": (
        "nlptasks_api = 99\n" + GOOD.format(name="api"),
        f"It is written for plugin API 99, this nlptasks has API {API_VERSION}.",
    ),
    "argument": (
        HOOK + "def register_tasks(registrar): pass",
        "Its register_tasks takes an argument 'registrar'; the hook has only 'register'.",
    ),
    "dependency": ("import no_such_package.part", "It needs the module 'no_such_package', which is not installed."),
    "exception": (
        HOOK + "def register_tasks(register): raise RuntimeError('no luck\\ntoday')",
        "RuntimeError while it registered: no luck.",
    ),
    "exits": ("import sys\nsys.exit(3)", "It called sys.exit(3) while it was imported."),
    "hookless": ("x = 1", "It implements no hook: mark a function register_tasks with @nlptasks.hookimpl."),
    "import-error": ("from nlptasks import Tsak", "ImportError while it was imported: cannot import name 'Tsak'"),
    "misspelled": (
        HOOK + "def register_task(register): pass",
        "It implements register_task, which is no hook of nlptasks: did you mean register_tasks?",
    ),
    "not-a-task": (
        HOOK + "def register_tasks(register): register('text')",
        "Its task str is not usable: expected an instance of nlptasks.Task, found 'text'.",
    ),
    "second-fails": (
        TASK + "@hookimpl\ndef register_tasks(register):\n    register(task('first'))\n    register(task('Bad Name'))",
        "expected a task name of lower-case words joined by - or _, found 'Bad Name'.",
    ),
    "syntax": ("def broken(:\n    pass", "It has a syntax error: plugin_syntax.py, line 1: "),
    "twice": (
        TASK + "@hookimpl\ndef register_tasks(register):\n    register(task('one'))\n    register(task('one'))",
        "It registers two tasks of the name 'one'.",
    ),
    "unmarked": ("def register_tasks(register): pass", "Its register_tasks is not marked as a hook"),
}

CLASHES = {
    "alias-clash": (
        TASK + "@hookimpl\ndef register_tasks(register):\n    register(task('fresh', 'good'))",
        "Its task 'fresh' claims the name 'good', which belongs to 'nlptasks-a-good:good'.",
    ),
    "duplicate": (GOOD.format(name="good"), "claims the name 'good', which belongs to 'nlptasks-a-good:good'."),
}
"""Failures with NLPTASKS_STRICT only: else both plugins stay, without the name."""


def add_broken(site: Site) -> dict[str, str]:
    """One distribution for each kind of failure, and two that work before and after them."""
    site.add("a-good", GOOD.format(name="good"), entry="good")
    site.good("z-last")
    for name, (code, _) in BROKEN.items():
        site.add(name, code)
    site.add("dead-module", "", value="plugin_that_is_not_there")
    site.add("dead-object", "", value="plugin_dead_object:missing")
    site.add("malformed", "", value="not a module!")
    return {name: reason for name, (_, reason) in BROKEN.items()} | {
        "dead-module": "Its entry point names the module 'plugin_that_is_not_there', which does not exist.",
        "dead-object": "there is no 'missing' in 'plugin_dead_object'.",
        "malformed": "Its entry point is 'not a module!', expected MODULE or MODULE:OBJECT.",
    }


def test_every_failure_at_once_with_good_ones_still_working(site: Site, plugins: Plugins) -> None:
    expected = add_broken(site)
    plugins.load_entry_points(site.entry_points())
    assert list(plugins.tasks) == ["good", "z-last"]
    assert [record.distribution for record in plugins.records] == ["nlptasks-a-good", "nlptasks-z-last"]
    failures = {failure.name: failure for failure in plugins.failures}
    assert failures.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in failures[name].reason
        assert "\n" not in failures[name].reason
        assert failures[name].reason.endswith((".", "?"))
        assert (failures[name].distribution, failures[name].version) == (f"nlptasks-{name}", "1.0")
        assert "Traceback" in failures[name].traceback or "SyntaxError" in failures[name].traceback
    assert "no_such_package" in failures["dependency"].traceback
    notice = plugins.failure_notice()
    assert notice is not None
    assert notice.startswith(f"{len(expected)} plugins are disabled (nlptasks-api:api, nlptasks-argument:argument, ")
    assert "\n" not in notice


@pytest.mark.parametrize("name", BROKEN | CLASHES)
def test_strict_raises_and_keeps_nothing(site: Site, settings: Settings, name: str) -> None:
    site.add("a-good", GOOD.format(name="good"), entry="good")
    code, reason = (BROKEN | CLASHES)[name]
    site.add(name, code)
    plugins = Plugins(dataclasses.replace(settings, strict=True))
    with pytest.raises(PluginError) as caught:
        plugins.load_entry_points(site.entry_points())
    assert f"Plugin nlptasks-{name}:{name}: " in str(caught.value)
    assert reason in str(caught.value)
    assert caught.value.__cause__ is not None
    assert list(plugins.tasks) == ["good"]


def test_loading_twice_changes_nothing(site: Site, plugins: Plugins) -> None:
    add_broken(site)
    plugins.load_entry_points(site.entry_points())
    before = (dict(plugins.tasks), list(plugins.records), list(plugins.failures))
    plugins.load_entry_points(site.entry_points())
    assert (dict(plugins.tasks), plugins.records, plugins.failures) == before


def test_keyboard_interrupt_passes(site: Site, plugins: Plugins) -> None:
    site.add("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugins.load_entry_points(site.entry_points())


def test_order_is_by_distribution_then_name(site: Site, plugins: Plugins) -> None:
    for name in ("c", "a", "b"):
        site.good(name)
    plugins.load_entry_points(reversed(site.entry_points()))
    assert list(plugins.tasks) == ["a", "b", "c"]


def test_two_distributions_may_use_one_entry_point_name(site: Site, plugins: Plugins) -> None:
    site.add("one", GOOD.format(name="first"), entry="same")
    site.add("two", GOOD.format(name="second"), entry="same")
    plugins.load_entry_points(site.entry_points())
    assert list(plugins.tasks) == ["first", "second"]
    assert plugins.failures == []


SHIPS = """
from pathlib import Path
from nlptasks import TextClassification, hookimpl

def task(title, **folders):
    class Made(TextClassification):
        '''A task with a base.'''
        name = title
        labels = ("a", "b")
        bases = {{name: Path(folder) for name, folder in folders.items()}}
    return Made()

@hookimpl
def register_tasks(register):
    for made in [{tasks}]:
        register(made)
"""


def test_no_base_hides_another_of_its_name(site: Site, plugins: Plugins) -> None:
    for name, tasks in {
        "a": "task('one', tiny='models/a'), task('two', tiny='models/a')",
        "b": "task('three', little='models/b', tiny='models/b')",
        "c": "task('four', small='models/c'), task('five', small='models/d')",
        "d": "task('six', tiny='models/a'), task('seven', little='models/e', small='models/f')",
    }.items():
        site.add(name, SHIPS.format(tasks=tasks))
    plugins.load_entry_points(site.entry_points())
    assert [(failure.name, failure.reason) for failure in plugins.failures] == [
        ("b", "Its task 'three' ships a base 'tiny', but the name belongs to 'nlptasks-a:a'."),
        ("c", "Its task 'five' ships a base 'small', but the name belongs to its task 'four'."),
    ]
    assert list(plugins.tasks) == ["one", "two", "six", "seven"], "nothing of a refused plugin is left"
    assert {name: str(folder) for name, folder in plugins.bases.items()} == {
        "tiny": "models/a",
        "little": "models/e",
        "small": "models/f",
    }


def test_one_module_under_two_names_is_named(site: Site, plugins: Plugins) -> None:
    site.add("one", GOOD.format(name="first"))
    site.add("two", "", value="plugin_one")
    plugins.load_entry_points(site.entry_points())
    assert list(plugins.tasks) == ["first"]
    assert [failure.reason for failure in plugins.failures] == [
        "The same module or object is already registered as the plugin 'nlptasks-one:one'."
    ]
    assert plugins.task("first").name == "first"


def test_a_distribution_listed_twice_counts_once(
    site: Site, plugins: Plugins, tmp_path: Path, monkeypatch: Any
) -> None:
    site.good("twin")
    other = Site(tmp_path / "other")
    other.add_metadata("nlptasks-twin", "[nlptasks]\ntwin = plugin_of_an_old_version\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(other.folder)])
    plugins.load_entry_points()
    assert "twin" in plugins.tasks
    assert plugins.failures == []


def test_unreadable_metadata_stops_nothing(site: Site, plugins: Plugins) -> None:
    site.good("fine")
    site.add_metadata("nlptasks-binary", b"[nlptasks]\nx = \xff\xfe\n")
    site.add_metadata("nlptasks-garbled", "[nlptasks]\nno equals sign\n")
    site.add_metadata("unrelated", b"[console_scripts]\nx = \xff\xfe\n")
    (site.folder / "nlptasks_empty-1.0.dist-info").mkdir()
    nameless = GOOD.format(name="nameless")
    (site.folder / "plugin_nameless.py").write_text(nameless, encoding="utf-8")
    site.add_metadata("nlptasks-nameless", "[nlptasks]\nnameless = plugin_nameless\n", metadata="")
    plugins.load_entry_points()
    assert {"fine", "nameless"} <= set(plugins.tasks)
    assert {failure.distribution for failure in plugins.failures} == {"nlptasks-binary", "nlptasks-garbled"}
    assert all("while its entry_points.txt was read" in failure.reason for failure in plugins.failures)


def test_load_plugins_takes_the_named_ones_alone(site: Site, settings: Settings) -> None:
    site.good("wanted")
    site.good("other")
    plugins = Plugins(dataclasses.replace(settings, load_plugins=frozenset({"wanted"})))
    plugins.load_entry_points(site.entry_points())
    assert list(plugins.tasks) == ["wanted"]
    assert "plugin_other" not in sys.modules
    with pytest.raises(UnknownNameError, match="NLPTASKS_LOAD_PLUGINS leaves out: other"):
        plugins.task("other")


def test_safe_mode_loads_nothing(site: Site, settings: Settings) -> None:
    add_broken(site)
    plugins = Plugins(dataclasses.replace(settings, load_plugins=frozenset()))
    plugins.load_entry_points()
    assert (dict(plugins.tasks), plugins.records, plugins.failures) == ({}, [], [])


def test_load_plugins_with_a_misspelled_name_is_a_failure(site: Site, settings: Settings) -> None:
    site.good("wanted")
    plugins = Plugins(dataclasses.replace(settings, load_plugins=frozenset({"wantde"})))
    plugins.load_entry_points(site.entry_points())
    [failure] = plugins.failures
    assert "no installed plugin has this name: did you mean 'wanted'?" in failure.reason


def test_unknown_task_names_the_near_miss_and_the_failed_plugin(site: Site, plugins: Plugins) -> None:
    site.good("weather")
    site.add("invoice", "import no_such_package")
    plugins.load_entry_points(site.entry_points())
    with pytest.raises(UnknownNameError, match="Did you mean 'weather'") as caught:
        plugins.task("wether")
    assert "1 plugin is disabled (nlptasks-invoice:invoice): see `nlptasks plugins`." in str(caught.value)
    with pytest.raises(UnknownNameError) as caught:
        plugins.task("invoice")
    assert "The plugin nlptasks-invoice:invoice may provide it, but is disabled: It needs the module" in str(
        caught.value
    )


def test_a_failure_in_a_shared_distribution_is_named_with_its_entry_point(site: Site, plugins: Plugins) -> None:
    site.good("pack")
    (site.folder / "plugin_bad.py").write_text("1 / 0")
    site.add_metadata("nlptasks-pack", "[nlptasks]\npack = plugin_pack\nbad = plugin_bad\n")
    plugins.load_entry_points(site.entry_points())
    assert plugins.failure_notice() == "1 plugin is disabled (nlptasks-pack:bad): see `nlptasks plugins`."
    assert plugins.failures[0].reason == "ZeroDivisionError while it was imported: division by zero."


class Mine(TextClassification):
    """A task of this process."""

    name = "mine"
    aliases = ("my-task",)
    labels = ("a", "b")


class MinePlugin:
    @hookimpl
    def register_tasks(self, register: Any) -> None:
        register(Mine())


def test_register_takes_an_object(plugins: Plugins) -> None:
    plugins.register(MinePlugin(), "mine")
    assert plugins.task("mine") is plugins.task("my-task")
    assert list(plugins.tasks) == ["mine"]
    assert plugins.records[0].hooks == ("register_tasks",)
    owner = plugins.owner("mine")
    assert owner is not None
    assert owner.name == "mine"
    with pytest.raises(TypeError):
        plugins.tasks["other"] = Mine()  # type: ignore[index]


def test_register_raises_at_once_and_keeps_the_others(plugins: Plugins) -> None:
    plugins.register(MinePlugin(), "mine")
    with pytest.raises(PluginError, match="Another plugin is already registered as 'mine'"):
        plugins.register(MinePlugin(), "mine")
    with pytest.raises(PluginError, match="belongs to 'mine'"):
        plugins.register(MinePlugin(), "second")
    assert list(plugins.tasks) == ["mine"]
    assert plugins.task("my-task").name == "mine"
    assert len(plugins.failures) == 2


def test_a_hook_may_leave_its_argument_out(plugins: Plugins) -> None:
    class Quiet:
        @hookimpl
        def register_tasks(self) -> None: ...

    plugins.register(Quiet(), "quiet")
    assert plugins.failures == []


def test_a_plugin_may_ask_for_the_tasks_while_it_is_imported(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add("curious", "import nlptasks\nseen = list(nlptasks.tasks())\n" + GOOD.format(name="curious"))
    monkeypatch.setattr(nlptasks.plugins, "_default", None)
    assert "curious" in default_plugins().tasks
    assert default_plugins() is default_plugins()
