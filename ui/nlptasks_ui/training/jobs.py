"""Trainings as processes of their own: started, watched, stopped and continued by any app that sees their folder.

    <runs>/trainings/<id>/
        plan.json          what was asked for
        process.json       who works on it
        asked              a wish of the user: "stop" or "finish"
        events.jsonl       what happens, while it happens
        log.txt            what the process printed
        outcome.json       how it ended; written whole, last
        comparison.json    before and after on held-out rows

The state of a training follows from these files and from whether its process lives: the app keeps nothing in memory
that it could lose.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Any, Literal

from nlptasks import NlptasksError, Settings
from nlptasks.store import AdapterStore, check_name, writing
from nlptasks_ui.training.plan import Plan, environment, write_whole

State = Literal["starting", "running", "stopping", "finishing", "finished", "stopped", "failed", "crashed"]

ACTIVE: tuple[State, ...] = ("starting", "running", "stopping", "finishing")
RESUMABLE: tuple[State, ...] = ("stopped", "failed", "crashed")

WORKER = ("-m", "nlptasks_ui.training.worker")
"""What Python runs for a training, with its folder as argument."""

_ID = re.compile(r"\d{8}-\d{6}(?:-\d+)?")
_LOCK_SECONDS = 10.0


class JobError(NlptasksError):
    """A training that cannot be started, found or continued."""


@dataclass(frozen=True)
class Job:
    """One training and its folder."""

    id: str
    folder: Path
    plan: Plan

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def state(self) -> State:
        """What it is doing, or how it ended; `crashed` is a process that ended without a word."""
        ended = self.outcome
        if ended:
            state: State = ended["state"]
            return state
        asked = self.asked
        if not self.alive:
            # It may have ended between the two looks.
            return self.outcome.get("state") or ("stopped" if asked == "stop" else "crashed")
        if asked:
            return "stopping" if asked == "stop" else "finishing"
        return "running" if self.events.exists() else "starting"

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def outcome(self) -> dict[str, Any]:
        """How it ended: `state`, `text`, and the `report` of a finished one; empty before."""
        return _read(self.folder / "outcome.json")

    @property
    def comparison(self) -> dict[str, Any]:
        """Before and after on held-out rows; empty as long as they are not compared."""
        return _read(self.folder / "comparison.json")

    @property
    def asked(self) -> str:
        """What the user asked of the running training, or ""."""
        try:
            return (self.folder / "asked").read_text(encoding="utf-8")
        except OSError:
            return ""

    @property
    def alive(self) -> bool:
        """Whether its process lives."""
        return _process(self.folder) is not None

    def last_words(self, count: int = 40) -> str:
        """The end of what the process printed."""
        try:
            text = (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-count:])


class Trainings:
    """The trainings in a folder of runs; safe to use from several threads and apps."""

    def __init__(self, runs: Path, settings: Settings) -> None:
        self._root = runs / "trainings"
        self._settings = settings

    def list(self) -> list[Job]:
        """All trainings, the newest first."""
        found = []
        for path in self._root.glob("*/plan.json"):
            if _ID.fullmatch(path.parent.name):
                with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                    found.append(Job(path.parent.name, path.parent, Plan.from_json(path.read_text(encoding="utf-8"))))
        return sorted(found, key=lambda job: job.id, reverse=True)

    def find(self, id: str) -> Job:
        """A training by its id; raises JobError if there is none."""
        for job in self.list():
            if job.id == id:
                return job
        raise JobError("This training is not there any more: choose another one.")

    def start(self, plan: Plan, *, beside: bool = False) -> Job:
        """Start a training in a process of its own; `beside` lets it run beside another one.

        Raises:
            JobError: another training runs, or its name is taken.
            AdapterError: the name is no adapter's name.
        """
        check_name(plan.name)
        with self._starting(beside):
            self._check_free(plan)
            folder = self._root / self._new_id()
            with writing(folder) as staging:
                (staging / "plan.json").write_text(plan.as_json(), encoding="utf-8")
            job = Job(folder.name, folder, plan)
            self._launch(job)
        return job

    def resume(self, id: str, *, beside: bool = False) -> Job:
        """Go on from the last checkpoint; from the beginning where there is none.

        Raises:
            JobError: the training runs or has finished, or another one runs.
        """
        job = self.find(id)
        with self._starting(beside):
            state = job.state
            if state not in RESUMABLE:
                raise JobError(f"This training is {state}: there is nothing to continue.")
            for name in ("asked", "outcome.json"):
                (job.folder / name).unlink(missing_ok=True)
            self._launch(job)
        return job

    def stop(self, id: str) -> None:
        """Ask for an end after the current step, with a checkpoint."""
        self._ask(id, "stop")

    def finish(self, id: str) -> None:
        """Ask for an end after the current step, with the best weights so far as the adapter."""
        self._ask(id, "finish")

    def end(self, id: str) -> None:
        """End the process at once; the last checkpoint stands."""
        job = self.find(id)
        process = _process(job.folder)
        if process is not None:
            write_whole(job.folder / "asked", "stop")
            with contextlib.suppress(Exception):
                process.kill()
                process.wait(timeout=5)

    def forget(self, id: str) -> None:
        """Remove the record of a training that has ended; its adapter stays. Raises JobError while it runs."""
        job = self.find(id)
        if job.alive:
            raise JobError("This training still runs: stop it first.")
        doomed = job.folder.with_name(f".gone-{job.id}")
        job.folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _ask(self, id: str, wish: str) -> None:
        job = self.find(id)
        if job.active:
            write_whole(job.folder / "asked", wish)

    @contextmanager
    def _starting(self, beside: bool) -> Iterator[None]:
        """One start at a time, so that two clicks do not start two trainings."""
        from filelock import FileLock, Timeout

        self._root.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._root / ".lock", timeout=_LOCK_SECONDS):
                running = next((job for job in self.list() if job.active), None)
                if running and not beside:
                    raise JobError(
                        f"The training of {running.plan.name!r} for {running.plan.task} still runs: wait for its end, "
                        "stop it, or choose to train beside it."
                    )
                yield
        except Timeout:
            raise JobError("Another training is being started at this moment: try again.") from None

    def _check_free(self, plan: Plan) -> None:
        from nlptasks.training import RunFolder

        if plan.replace:
            return
        if AdapterStore(self._settings).folder(plan.task, plan.name).exists():
            found = f"An adapter {plan.name!r} for {plan.task} exists"
        elif RunFolder(self._settings, plan.task, plan.name).last is not None:
            found = f"An unfinished training of {plan.name!r} for {plan.task} exists"
        else:
            return
        raise JobError(f"{found}: give this one another name, or choose to replace it.")

    def _new_id(self) -> str:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        names = (stamp if number == 1 else f"{stamp}-{number}" for number in range(1, 1000))
        return next(name for name in names if not (self._root / name).exists())

    def _launch(self, job: Job) -> None:
        """Start the process so that it outlives the app; it reads its plan, and writes all else."""
        import psutil

        own: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            own = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
        with (job.folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *WORKER, str(job.folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=True,
                env={**environ, **environment(self._settings), "PYTHONUNBUFFERED": "1"}, **own,
            )  # fmt: skip
        born = psutil.Process(process.pid).create_time()
        write_whole(job.folder / "process.json", json.dumps({"pid": process.pid, "born": born}))
        # Whoever starts a process must hear of its end, or it stays in the system's table.
        threading.Thread(target=process.wait, name=f"training-{job.id}", daemon=True).start()


def _process(folder: Path) -> Any:
    """The living process of a training, or None; another process that got its number is not taken for it."""
    import psutil

    known = _read(folder / "process.json")
    if not known:
        return None
    try:
        process = psutil.Process(known["pid"])
        same = abs(process.create_time() - known["born"]) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        return _read_once(path, path.stat().st_mtime_ns)
    except (OSError, ValueError):
        return {}


@functools.lru_cache(maxsize=1024)
def _read_once(path: Path, _changed: int) -> dict[str, Any]:
    """The list of trainings looks at all their files every second or so; each is written whole, once."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
