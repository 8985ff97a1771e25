"""Graphs in the user's cache: made once, whole or not at all, safe to delete."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from nlptasks.store import graphs
from nlptasks.store.graphs import MARKER, graph_folder

PARTS = {"base": "1234", "openvino": "2026.4.1"}


def write_graph(folder: Path) -> None:
    (folder / "graph.bin").write_bytes(b"graph" * 100)


def fail_if_made(folder: Path) -> None:
    raise AssertionError("The graph was made again.")


def make_slowly(cache: Path, log: Path) -> None:
    def make(folder: Path) -> None:
        with log.open("a") as stream:
            stream.write("made\n")
        write_graph(folder)
        time.sleep(0.5)

    graph_folder(cache, "tiny", PARTS, make)


def test_a_graph_is_made_once_and_anew_for_other_parts(tmp_path: Path) -> None:
    folder = graph_folder(tmp_path, "tiny", PARTS, write_graph)
    assert (folder / "graph.bin").read_bytes() == b"graph" * 100
    assert folder.name.startswith("tiny-")
    assert graph_folder(tmp_path, "tiny", dict(reversed(PARTS.items())), fail_if_made) == folder
    other = graph_folder(tmp_path, "tiny", {**PARTS, "openvino": "2026.5.0"}, write_graph)
    assert other != folder


@pytest.mark.parametrize("damage", ["cut", "missing", "no marker", "other marker"])
def test_what_is_not_whole_is_made_anew(tmp_path: Path, damage: str) -> None:
    folder = graph_folder(tmp_path, "tiny", PARTS, write_graph)
    if damage == "cut":
        (folder / "graph.bin").write_bytes(b"gra")
    elif damage == "missing":
        (folder / "graph.bin").unlink()
    elif damage == "no marker":
        (folder / MARKER).unlink()
    else:
        (folder / MARKER).write_text("[1]")
    assert graph_folder(tmp_path, "tiny", PARTS, write_graph) == folder
    assert (folder / "graph.bin").read_bytes() == b"graph" * 100


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def fill_disk(folder: Path) -> None:
        write_graph(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        graph_folder(tmp_path, "tiny", PARTS, fill_disk)
    assert not list(tmp_path.rglob("graph.bin"))
    graph_folder(tmp_path, "tiny", PARTS, write_graph)


def test_two_processes_make_a_graph_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    processes = [context.Process(target=make_slowly, args=(tmp_path / "graphs", log)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text() == "made\n"


def test_a_killed_process_leaves_nothing_that_is_taken_for_a_graph(tmp_path: Path) -> None:
    log, cache = tmp_path / "log", tmp_path / "graphs"
    process = multiprocessing.get_context("fork").Process(target=make_slowly, args=(cache, log))
    process.start()
    deadline = time.monotonic() + 30
    while not list(cache.rglob("graph.bin")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert not list(cache.glob("tiny-*"))
    folder = graph_folder(cache, "tiny", PARTS, write_graph)
    assert (folder / MARKER).exists()
    assert not list((cache / ".staging").iterdir())


def test_graphs_unused_for_long_are_removed(tmp_path: Path) -> None:
    old = graph_folder(tmp_path, "old", PARTS, write_graph)
    kept = graph_folder(tmp_path, "kept", PARTS, write_graph)
    long_ago = time.time() - (graphs.UNUSED_DAYS + 1) * 24 * 3600
    for folder in (old, kept):
        os.utime(folder / MARKER, (long_ago, long_ago))
    graph_folder(tmp_path, "kept", PARTS, fail_if_made)
    graph_folder(tmp_path, "new", PARTS, write_graph)
    assert not old.exists()
    assert kept.exists()
