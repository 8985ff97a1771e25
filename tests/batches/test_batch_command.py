"""`nlptasks batch` as processes: killed, stopped by Ctrl-C, two at once, in shards."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nlptasks.batches import OUTPUTS
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore
from nlptasks.testing import tiny_model
from tests.tiny_adapters import classifier_adapter

pytestmark = pytest.mark.long
ROWS = 6000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny encoder with an adapter `tiny` for sentiment, and no network."""
    root = tmp_path_factory.mktemp("home")
    env = {
        **os.environ,
        "NLPTASKS_CACHE": str(root / "cache"),
        "NLPTASKS_DATA": str(root / "data"),
        "HF_HUB_OFFLINE": "1",
        # A tiny model takes longer to compile than to run.
        "NLPTASKS_BACKEND": "torch",
    }
    folder = AdapterStore(Settings.from_env(env)).folder("sentiment", "tiny")
    classifier_adapter(tiny_model(root / "encoder", "encoder"), folder, labels=("negative", "positive"))
    return env


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = ({"id": n, "text": "fine " * (1 + n % 9)} for n in range(ROWS))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def start(home: dict[str, str], source: Path, output: Path, *arguments: str) -> subprocess.Popen[str]:
    files = ["-i", str(source), "-o", str(output)]
    command = [sys.executable, "-m", "nlptasks", "batch", "sentiment", "-a", "tiny", *files, "--part-rows", "500"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, *arguments], env=home, text=True, **pipes)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def wait_for_parts(folder: Path, count: int, seconds: int = 60) -> None:
    for _ in range(20 * seconds):
        if len(list(folder.glob("part-*.jsonl"))) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {count} parts")


def test_killed_refused_stopped_and_gone_on(home: dict[str, str], source: Path, tmp_path: Path) -> None:
    output, folder = tmp_path / "answers.csv", tmp_path / "answers.parts"
    killed = start(home, source, output)
    wait_for_parts(folder, 2)
    assert finish(start(home, source, output)) == (
        1,
        f"Error: {folder}: another process is computing this batch: wait for it, or choose another output.\n",
    )
    killed.kill()
    assert finish(killed)[0] == -signal.SIGKILL
    before = len(list(folder.glob("part-*.jsonl")))
    stopped = start(home, source, output)
    wait_for_parts(folder, before + 1)
    stopped.send_signal(signal.SIGINT)
    code, errors = finish(stopped)
    assert code == 1
    assert " rows are saved. The same command goes on from there.\n" in errors
    code, errors = finish(start(home, source, output, "--progress", "json"))
    assert (code, errors.splitlines()[-1]) == (0, f"{ROWS} rows, 0 without an answer: {output}")
    first, *_, last = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert first["rows"] >= 500
    assert (last["rows"], last["errors"], last["total"]) == (ROWS, 0, ROWS)
    whole = tmp_path / "whole.csv"
    for shard in ("1/2", "2/2"):
        assert finish(start(home, source, whole, "--shard", shard))[0] == 0
    join = [sys.executable, "-m", "nlptasks", "batch", "join", str(whole)]
    joined = subprocess.run(join, env=home, capture_output=True, text=True, check=False)
    assert (joined.returncode, joined.stderr) == (0, f"{ROWS} rows, 0 without an answer: {whole}\n")
    assert whole.read_bytes() == output.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.csv", "whole.csv"]


@pytest.mark.full
@pytest.mark.parametrize("ending", OUTPUTS)
def test_killed_ten_times_at_random(home: dict[str, str], source: Path, tmp_path: Path, ending: str) -> None:
    """The seconds are drawn from all that a run takes, loading and joining included."""
    dice = random.Random(ending)
    begin = time.monotonic()
    whole, output = tmp_path / f"whole{ending}", tmp_path / f"answers{ending}"
    assert finish(start(home, source, whole))[0] == 0
    seconds = time.monotonic() - begin
    kills = 0
    while kills < 10:
        process = start(home, source, output)
        try:
            process.wait(dice.uniform(0.2, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        finish(process)
        if output.exists() and not output.with_suffix(".parts").exists():
            assert output.read_bytes() == whole.read_bytes()
            output.unlink()
    if output.with_suffix(".parts").exists():
        assert finish(start(home, source, output))[0] == 0
        assert output.read_bytes() == whole.read_bytes()


@pytest.mark.full
def test_a_full_disk(home: dict[str, str], source: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if not mount or subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        code, errors = finish(start(home, source, disk / "answers.jsonl"))
        assert code == 1
        assert (
            "No space left on device. Make room and repeat the command: the rows that were answered are kept." in errors
        )
        assert list((disk / "answers.parts").glob("part-*.jsonl"))
        subprocess.run([mount, "-o", "remount,size=100m", disk], check=True)
        assert finish(start(home, source, disk / "answers.jsonl"))[0] == 0
        lines = [json.loads(line)["id"] for line in (disk / "answers.jsonl").read_text("utf-8").splitlines()]
        assert lines == list(range(ROWS))
    finally:
        subprocess.run(["umount", disk], check=False)


def test_standard_input_and_output(home: dict[str, str]) -> None:
    command = [sys.executable, "-m", "nlptasks", "batch", "sentiment", "-a", "tiny", "-i", "-", "-o", "-"]
    done = subprocess.run(command, env=home, input="fine\n\nfine fine\n", capture_output=True, text=True, check=False)
    rows: list[Any] = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "3 rows, 0 without an answer\n")
    assert [(row["row"], row.get("text"), row["sentiment.label"] is None, row["sentiment.error"]) for row in rows] == [
        (1, "fine", False, None),
        (2, None, True, None),
        (3, "fine fine", False, None),
    ]
