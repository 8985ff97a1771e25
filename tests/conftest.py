"""Shared fixtures: one thread, no user folders, tiny models."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# Worker threads with a pool of their own oversubscribe the cores: twenty short generations took 8 s instead of 0.1 s.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

from nlptasks.runtime.cpu import memory
from nlptasks.settings import Settings
from nlptasks.training import subprocesses
from tests import warm_processes

torch.set_num_threads(1)

# Named by `make full`; see tests/examples.py.
hypothesis.settings.register_profile("full")


@pytest.fixture(scope="session", autouse=True)
def quick_unloading() -> Iterator[None]:
    """Looking through all objects whenever a tiny model is unloaded took 49 of the 70 seconds of five files.

    Models need no collector to leave: `test_cpu.py` shows it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "unfreeze", lambda: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def warm_subprocesses() -> Iterator[None]:
    """The processes of gates and estimates are forked from one that has imported torch.

    `test_subprocesses.py` and the trainings of `test_readme.py` have cold ones.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocesses, "subprocess", warm_processes)
        yield


@pytest.fixture
def cold_subprocesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """They start as those of users do."""
    monkeypatch.setattr(subprocesses, "subprocess", subprocess)


@pytest.fixture(scope="module", autouse=True)
def settled(quick_unloading: None) -> None:
    """What a file imports is out of the collector's sight too: trainings and evaluations collect garbage often."""
    memory.settle()


@pytest.hookimpl(tryfirst=True)  # before -m chooses by the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first: with one left for the end, only one process would work there.

    Tests that drive a browser are marked as such by the fixture that they use.
    """
    for item in items:
        if isinstance(item, pytest.Function) and "browser" in item.fixturenames:
            item.add_marker("browser")
    weights: Counter[Path] = Counter()
    for item in items:
        weights[item.path] += 60 if item.get_closest_marker("long") else 1
    items.sort(key=lambda item: (-weights[item.path], item.path))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Empty folders, no network, and torch alone: a tiny model takes longer to compile than to run."""
    return Settings(cache=tmp_path / "cache", data=tmp_path / "data", offline=True, backend="torch")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from nlptasks.testing import tiny_model

    return tiny_model(tmp_path_factory.mktemp("models") / "encoder", "encoder")


@pytest.fixture(scope="session")
def tiny_causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from nlptasks.testing import tiny_model

    return tiny_model(tmp_path_factory.mktemp("models") / "causal", "causal")


@pytest.fixture(scope="session")
def embedded_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The user's own cache, so that the embedded weights are fetched once and not for every run."""
    user = Settings.from_env()
    return Settings(cache=user.cache, data=tmp_path_factory.mktemp("data"), offline=user.offline)
