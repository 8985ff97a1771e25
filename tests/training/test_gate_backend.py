"""The gate asks the backend that will serve: that of a plugin, in a fresh process, where it is one."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from nlptasks import Engine, Plugins
from nlptasks.settings import Settings
from nlptasks.testing import tiny_model
from nlptasks.training import finetune
from tests.fake_distributions import Site, site_fixture  # noqa: F401 - fixture
from tests.training_rows import QUICK, Feeling, rows, write_csv

pytestmark = pytest.mark.long

PLUGIN = """
import os
from pathlib import Path
from nlptasks import hookimpl

@hookimpl
def register_backends(register):
    register("noted", make)

def make(options):
    from nlptasks.runtime.pool import TorchBackend

    class Noted(TorchBackend):
        "torch, with a line in a file for each request."

        def bind(self, base, adapter, *, cancel, counter):
            with Path(os.environ["NOTED"]).open("a") as file:
                file.write(f"{os.getpid()} {adapter and adapter.name}\\n")
            return super().bind(base, adapter, cancel=cancel, counter=counter)

    return Noted(options)
"""


@pytest.mark.full
def test_the_gate_runs_on_the_backend_that_serves(
    site: Site, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("noted", PLUGIN)
    noted = tmp_path / "noted.txt"
    monkeypatch.setenv("NOTED", str(noted))
    plugins = Plugins(settings)
    plugins.load_entry_points(site.entry_points())
    recipe = QUICK.replace(base=str(tiny_model(tmp_path / "base")), num_train_epochs=1)
    data = write_csv(tmp_path / "notes.csv", rows(24))

    def train(name: str, settings: Settings) -> list[list[str]]:
        before = noted.read_text().splitlines() if noted.is_file() else []
        report = finetune(Feeling(), data, name=name, recipe=recipe, settings=settings, device="cpu", plugins=plugins)
        assert report.gate <= 1e-4
        lines = noted.read_text().splitlines() if noted.is_file() else []
        return [line.split() for line in lines[len(before) :]]

    settings = dataclasses.replace(settings, backend=None)
    [(process, adapter)] = train("first", settings)
    assert (process != str(os.getpid()), adapter) == (True, "first")
    assert train("second", dataclasses.replace(settings, backend="torch")) == []
    with Engine(settings=settings, plugins=plugins, device="cpu") as engine, engine.bind(Feeling(), "first") as model:
        assert model.info.adapter == "first"
    assert noted.read_text().splitlines()[-1] == f"{os.getpid()} first"
