"""`nlptasks batch --ray` as processes: two nodes, a killed actor, a node that goes, a killed driver, Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.batches.test_batch_command import ROWS, finish, home, source, start, wait_for_parts

pytest.importorskip("ray")

pytestmark = pytest.mark.full

PARTS = ("--part-rows", "50")
__all__ = ["home", "source"]


@pytest.fixture(scope="module")
def whole(home: dict[str, str], source: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The output of this batch without Ray."""
    output = tmp_path_factory.mktemp("whole") / "answers.csv"
    assert finish(start(home, source, output, *PARTS))[0] == 0
    return output.read_bytes()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that computes nothing."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def actors(parent: int) -> list[psutil.Process]:
    """The actors among the descendants of a process."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            found += [process] if process.cmdline()[:1][0].startswith("ray::_BatchActor") else []
        except (psutil.Error, IndexError):
            continue
    return found


def test_a_killed_actor_and_a_node_that_goes(
    home: dict[str, str], source: Path, whole: bytes, cluster: Any, tmp_path: Path
) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    output, folder = tmp_path / "answers.csv", tmp_path / "answers.parts"
    process = start(home, source, output, "--ray", cluster.address, *PARTS)
    wait_for_parts(folder, 5, 180)
    me = psutil.Process().pid
    first, *others = actors(me)
    assert len(others) == 1
    first.kill()
    wait_for_parts(folder, 25, 180)
    assert process.poll() is None
    cluster.remove_node(nodes[1], allow_graceful=False)
    code, errors = finish(process)
    assert (code, errors.splitlines()[-1]) == (0, f"{ROWS} rows, 0 without an answer: {output}")
    assert output.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.csv"]


def test_a_killed_driver_and_ctrl_c(home: dict[str, str], source: Path, whole: bytes, tmp_path: Path) -> None:
    output, folder = tmp_path / "answers.csv", tmp_path / "answers.parts"
    arguments = ["--ray", "local", "--actors", "2", *PARTS]
    process = start(home, source, output, *arguments)
    wait_for_parts(folder, 5, 180)
    workers = actors(process.pid)
    assert workers
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    psutil.wait_procs(workers, timeout=120)
    assert not [worker for worker in workers if worker.is_running()]
    parts = {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*.jsonl")}
    process = start(home, source, output, *arguments)
    wait_for_parts(folder, len(parts) + 3, 180)
    process.send_signal(signal.SIGINT)
    code, errors = finish(process)
    assert code == 1
    assert " rows are saved. The same command goes on from there.\n" in errors
    now = {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*.jsonl")}
    assert parts.items() < now.items()
    # Without Ray it is the same batch.
    assert finish(start(home, source, output, *PARTS))[0] == 0
    assert output.read_bytes() == whole


def test_no_cluster(home: dict[str, str], source: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    process = start(home, source, tmp_path / "answers.csv", "--ray", "127.0.0.1:9")
    assert finish(process) == (
        1,
        "Error: --ray 127.0.0.1:9: expected a running Ray cluster, found none. Start one with `ray start --head`, or "
        "use --ray local.\n",
    )
    assert time.monotonic() - begin < 60
