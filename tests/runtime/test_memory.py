"""The process's memory: what the collector does not look at, and that models leave without it."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from nlptasks.runtime.cpu import memory
from nlptasks.runtime.resident import ResidentModel
from nlptasks.store.download import BaseFolder
from nlptasks.testing import tiny_model


def test_memory_is_given_back_without_complaint_on_any_system() -> None:
    memory.keep_freed_memory()
    memory.free_memory()


@pytest.mark.long
def test_what_is_settled_is_out_of_the_collector_s_sight_until_memory_is_freed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "unfreeze", gc.unfreeze)

    class Node:
        pass

    node = Node()
    node.itself = node  # type: ignore[attr-defined]
    alive = weakref.ref(node)
    memory.settle()
    del node
    gc.collect()
    memory.settle()
    assert alive() is not None
    memory.free_memory()
    assert alive() is None


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama", "t5", "marian"])
def test_an_unloaded_model_leaves_by_its_reference_counts_alone(tmp_path: Path, architecture: str) -> None:
    base = tiny_model(tmp_path / "base", architecture=architecture)
    resident = ResidentModel(BaseFolder(id="tiny", revision=None, path=base, source="test"), dtype="float32")
    gc.collect()
    gc.disable()
    try:
        loaded = resident.load()
        left = [weakref.ref(part) for part in (loaded.model, loaded.tokenizer, next(loaded.model.parameters()))]
        del loaded
        resident.close()
        assert [part() for part in left] == [None, None, None]
    finally:
        gc.enable()
