"""A function in a process of its own: its answer, its error in one line, its end."""

from __future__ import annotations

import _thread
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from nlptasks.errors import CancelledError, DataError, TrainingError
from nlptasks.model import CancelToken
from nlptasks.training import estimate
from nlptasks.training.subprocesses import ProcessError, call

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("cold_subprocesses")]


def described(names: list[str]) -> dict[str, Any]:
    return {"pid": os.getpid(), **{name: os.environ.get(name) for name in names}}


def failing(kind: str) -> None:
    print("a line on the way")
    if kind == "data":
        raise DataError("Two bad rows.", ["a.csv:1: no text.", "a.csv:2: no label."])
    if kind == "exit":
        os._exit(7)
    raise ValueError("not foreseen")


def sleeping(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(60)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_answers_from_another_process_without_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    names = ["HF_HUB_OFFLINE", "NLPTASKS_PROFILE"]
    answer = call(described, {"names": names}, environment={"NLPTASKS_PROFILE": "hub"})
    assert answer.pop("pid") != os.getpid()
    assert answer == {"HF_HUB_OFFLINE": "1", "NLPTASKS_PROFILE": "hub"}
    assert call(described, {"names": names[:1]}, offline=False)["HF_HUB_OFFLINE"] is None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("data", r"Two bad rows\. a\.csv:1: no text\. a\.csv:2: no label\."),
        ("other", "ValueError: not foreseen"),
        ("exit", r"The process ended with code 7\."),
    ],
)
def test_the_last_line_of_the_error_is_the_reason(kind: str, reason: str) -> None:
    with pytest.raises(ProcessError, match=f"^{reason}$"):
        call(failing, {"kind": kind})


@pytest.mark.parametrize(
    ("how", "error"), [("cancel", CancelledError), ("timeout", TimeoutError), ("interrupt", KeyboardInterrupt)]
)
def test_the_process_ends_with_the_call(how: str, error: type[BaseException], tmp_path: Path) -> None:
    file, cancel = tmp_path / "pid", CancelToken()

    def end() -> None:
        while not (file.exists() and file.read_text()):
            time.sleep(0.05)
        cancel.cancel() if how == "cancel" else _thread.interrupt_main()

    if how != "timeout":
        threading.Thread(target=end, daemon=True).start()
    with pytest.raises(error):
        call(sleeping, {"file": str(file)}, cancel=cancel, timeout=4 if how == "timeout" else 60)
    assert not alive(int(file.read_text()))


def test_an_estimate_raises_what_the_training_would_and_ends_in_time(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"gone\.csv: expected a file, found none"):
        estimate("sentiment", [str(tmp_path / "gone.csv")], changes={"num_train_epochs": 1})
    with pytest.raises(TrainingError, match=r"setting 'num_train_epochs': input should be greater than 0, found 0\."):
        estimate("sentiment", [str(tmp_path / "gone.csv")], changes={"num_train_epochs": 0})
    with pytest.raises(TrainingError, match=r"Measuring took more than 0 seconds and was stopped\."):
        estimate("sentiment", [str(tmp_path / "gone.csv")], timeout=0)
