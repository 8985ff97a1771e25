"""What plugins add to the command line, and what the command line says of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from nlptasks import TextClassification, hookimpl
from nlptasks.errors import PluginError
from nlptasks.plugins import PluginFailure, Plugins
from tests import warm_processes
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

    with pytest.raises(PluginError, match="expected aliases to be a tuple, found 'abc'"):
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
    path = os.pathsep.join(filter(None, (str(site.folder), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    if arguments[0] == "doctor":  # imports torch
        return warm_processes.run([sys.executable, "-m", "nlptasks", *arguments], env=environment, cwd=site.folder)
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


@pytest.mark.parametrize("arguments", [["tasks"], ["plugins"]])
def test_commands_work_beside_a_plugin_that_exits(site: Site, arguments: list[str]) -> None:
    site.add("exits", "import sys\nsys.exit(1)")
    done = nlptasks_command(site, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "1 plugin is disabled (nlptasks-exits:exits): see `nlptasks plugins`.\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["plugins", "--help"]])
def test_help_and_version_import_no_plugin(site: Site, arguments: list[str]) -> None:
    module = site.add("traces", "import pathlib\npathlib.Path(__file__ + '.imported').touch()")
    site.add("exits", "import sys\nsys.exit(1)")
    done = nlptasks_command(site, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (site.folder / f"{module}.py.imported").exists()
    if arguments == ["--help"]:
        assert "exits, generation, label-studio, libretranslate, ner, qa" in " ".join(done.stdout.split())
        assert "They may add commands: `nlptasks plugins` lists them." in done.stdout


def test_what_a_plugin_prints_stays_out_of_the_json(site: Site) -> None:
    noisy = (
        "print('hello from the import')\n"
        + GOOD.format(name="noisy")
        + ("@hookimpl\ndef register_commands(cli):\n    print('hello from the commands')\n")
    )
    site.add("noisy", noisy)
    done = nlptasks_command(site, "plugins", "--json")
    [record] = [record for record in json.loads(done.stdout)["plugins"] if record["name"] == "noisy"]
    assert record["tasks"] == ["noisy"]
    assert "hello from the import\n" in done.stderr
    assert "hello from the commands\n" in done.stderr


SLOW = "import time\ntime.sleep(0.4)\n" + GOOD.format(name="slow")
SENTENCE = "expected 0.3 s at most: import heavy packages inside the functions that need them."


def test_a_plugin_that_takes_long_to_import_is_named(site: Site) -> None:
    site.add("slow", SLOW)
    [record] = [
        r for r in json.loads(nlptasks_command(site, "plugins", "--json").stdout)["plugins"] if r["name"] == "slow"
    ]
    assert record["seconds"] >= 0.4
    shown = nlptasks_command(site, "plugins").stdout
    assert re.search(r"^  slow      Loading it took \d\.\d", shown, re.MULTILINE)
    assert SENTENCE in shown


@pytest.mark.full
@pytest.mark.long
def test_doctor_shows_what_loading_took(site: Site) -> None:
    site.add("slow", SLOW)
    report = json.loads(nlptasks_command(site, "doctor", "--no-network", "--json").stdout)
    assert re.match(r"slow, loaded in \d\.\d", report["plugins"]["slow"])
    assert report["plugins"]["slow"].endswith(SENTENCE)


def test_the_user_decides_who_has_a_name(site: Site, tmp_path: Path) -> None:
    site.good("weather")
    site.add("aaa", GOOD.format(name="weather"))
    site.add("aaa-sentiment", GOOD.format(name="sentiment"))
    data = {"NLPTASKS_DATA": str(tmp_path / "data")}

    def owners() -> dict[str, str]:
        tasks = json.loads(nlptasks_command(site, "tasks", "--json", **data).stdout)
        return {task["name"]: task["distribution"] for task in tasks if task["name"] in ("weather", "sentiment")}

    assert owners() == {"sentiment": "nlptasks"}
    listed = nlptasks_command(site, "plugins", **data)
    assert (
        "The task name 'weather' is claimed by nlptasks-aaa:aaa and nlptasks-weather:weather, so none of them has it: "
        "choose, as in `nlptasks plugins prefer nlptasks-aaa:aaa weather`.\n"
    ) in listed.stdout
    assert (
        "The task name 'sentiment' stays with nlptasks:sentiment; nlptasks-aaa-sentiment:aaa-sentiment claims it too: "
        "`nlptasks plugins prefer nlptasks-aaa-sentiment:aaa-sentiment sentiment` changes that.\n"
    ) in listed.stdout
    assert (
        listed.stderr == "2 task names are claimed by several plugins (sentiment, weather): see `nlptasks plugins`.\n"
    )
    failed = nlptasks_command(site, "run", "weather", "Rain.", **data)
    assert failed.returncode == 1
    assert "so none of them has it: choose, as in `nlptasks plugins prefer" in failed.stderr

    chosen = nlptasks_command(site, "plugins", "prefer", "nlptasks-weather", "weather", **data)
    assert chosen.stdout == "weather now belongs to nlptasks-weather:weather.\n"
    nlptasks_command(site, "plugins", "prefer", "nlptasks_AAA_sentiment", "sentiment", **data)
    assert owners() == {"sentiment": "nlptasks-aaa-sentiment", "weather": "nlptasks-weather"}
    listed = nlptasks_command(site, "plugins", **data)
    assert listed.stderr == ""
    assert (
        "The task name 'weather' belongs to nlptasks-weather:weather, as you chose; nlptasks-aaa:aaa claims it too.\n"
    ) in listed.stdout
    nlptasks_command(site, "plugins", "prefer", "nlptasks", "sentiment", **data)
    assert owners()["sentiment"] == "nlptasks"
    wrong = nlptasks_command(site, "plugins", "prefer", "nlptasks-wether", "weather", **data)
    assert "Unknown plugin with a task 'weather' 'nlptasks-wether'. Did you mean 'nlptasks-weather" in wrong.stderr


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
