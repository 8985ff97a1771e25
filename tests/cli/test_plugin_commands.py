"""What plugins add to the command line, and what the command line says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import click
import pytest

from nlptasks import TextClassification, hookimpl
from nlptasks.errors import PluginError
from nlptasks.plugins import PluginFailure, Plugins
from tests.fake_distributions import GOOD, Site, plugins_fixture, site_fixture  # noqa: F401

pytestmark = pytest.mark.long


class Mine(TextClassification):
    """A task of this process."""

    name = "mine"
    labels = ("a", "b")


def module(**hooks: Callable[..., None]) -> ModuleType:
    """A plugin as a module is one."""
    made = ModuleType("made")
    for name, function in hooks.items():
        setattr(made, name, hookimpl(function))
    return made


def commands_plugin(*names: str, fails: BaseException | None = None) -> Any:
    def register_commands(cli: click.Group) -> None:
        for name in names:
            cli.add_command(click.Command(name))
        if fails is not None:
            raise fails

    return module(register_commands=register_commands, register_tasks=lambda register: register(Mine()))


def test_aliases_must_be_a_tuple(plugins: Plugins) -> None:
    class Loose(Mine):
        aliases = "abc"  # type: ignore[assignment]

    with pytest.raises(PluginError, match="needs a tuple of names as aliases, found 'abc'"):
        plugins.register(module(register_tasks=lambda register: register(Loose())), "loose")


def test_commands_are_added(plugins: Plugins) -> None:
    plugins.register(commands_plugin("hello", "bye"), "mine")
    cli = click.Group("nlptasks")
    plugins.add_commands(cli)
    plugins.add_commands(cli)
    assert set(cli.commands) == {"hello", "bye"}
    assert plugins.records[0].commands == ("hello", "bye")
    assert plugins.failures == []


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (commands_plugin("hello", fails=ValueError("no")), "ValueError in register_commands: no."),
        (commands_plugin("hello", fails=SystemExit(1)), "It called sys.exit(1) in register_commands."),
        (commands_plugin("hello", "run"), "Its command 'run' already exists; give it another name."),
        (commands_plugin("hello", "train"), "Its command 'train' already exists; give it another name."),
    ],
)
def test_a_plugin_that_fails_in_its_commands_is_off_wholly(plugins: Plugins, plugin: Any, reason: str) -> None:
    own = click.Command("run")
    cli = click.Group("nlptasks", commands={"run": own})
    plugins.register(plugin, "mine")
    plugins.register(module(register_commands=commands_plugin("fine").register_commands), "other")
    plugins.add_commands(cli, reserved=["train"])
    assert cli.commands.keys() == {"run", "fine"}
    assert cli.commands["run"] is own
    assert [failure.reason for failure in plugins.failures] == [reason]
    assert dict(plugins.tasks) == {}
    assert [record.name for record in plugins.records] == ["other"]


def nlptasks_command(site: Site, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site.folder), **variables}
    return subprocess.run(
        [sys.executable, "-m", "nlptasks", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        cwd=site.folder,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["tasks"], ["plugins"], ["run", "--help"], ["adapters", "--help"]])
def test_commands_work_beside_a_plugin_that_exits(site: Site, arguments: list[str]) -> None:
    site.add("exits", "import sys\nsys.exit(1)")
    done = nlptasks_command(site, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "1 plugin is disabled (nlptasks-exits:exits): see `nlptasks plugins`.\n"


def test_plugins_command_shows_reason_and_traceback(site: Site) -> None:
    commands = "@hookimpl\ndef register_commands(cli):\n    cli.command('hi')(print)\n"
    site.add("greets", GOOD.format(name="greets") + commands)
    site.add("broken", "raise RuntimeError('not today')")
    text = nlptasks_command(site, "plugins").stdout
    assert "greets  (nlptasks-greets 1.0)\n  tasks     greets\n  commands  hi\n" in text
    assert "broken  (nlptasks-broken 1.0)  DISABLED\n  RuntimeError while it was imported: not today.\n" in text
    assert "    Traceback (most recent call last):\n" in text
    shown = json.loads(nlptasks_command(site, "plugins", "--json").stdout)
    [failure] = [PluginFailure(**entry) for entry in shown["failures"]]
    assert failure.name == "broken"
    assert "greets" in [task for record in shown["plugins"] for task in record["tasks"]]


def test_tasks_command_gives_schemas(site: Site) -> None:
    site.good("greets")
    listed = json.loads(nlptasks_command(site, "tasks", "--json").stdout)
    [task] = [task for task in listed if task["name"] == "greets"]
    assert task["distribution"] == "nlptasks-greets"
    assert task["summary"] == "A task that works."
    assert task["input"]["required"] == ["text"]
    assert "greets" in nlptasks_command(site, "tasks").stdout


def test_safe_mode_on_the_command_line(site: Site) -> None:
    site.add("broken", "raise RuntimeError")
    done = nlptasks_command(site, "tasks", NLPTASKS_LOAD_PLUGINS="")
    assert (done.stdout, done.stderr) == ("No task is loaded; `nlptasks plugins` shows why.\n", "")
    listed = nlptasks_command(site, "plugins", NLPTASKS_LOAD_PLUGINS="").stdout
    assert listed.startswith("NLPTASKS_LOAD_PLUGINS leaves out: broken, ")


def test_strict_on_the_command_line(site: Site) -> None:
    site.add("broken", "raise RuntimeError('not today')")
    done = nlptasks_command(site, "tasks", NLPTASKS_STRICT="1")
    assert done.returncode == 1
    assert "Error: Plugin nlptasks-broken:broken: RuntimeError while it was imported: not today." in done.stderr
