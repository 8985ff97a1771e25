"""Trainings in processes of their own: started, watched, stopped and continued by any app that sees their folder.

    <runs>/trainings/<id>/
        plan.json          task, data and settings
        process.json       the process that runs the training
        asked              a request of the user: "stop" or "finish"
        events.jsonl       the events so far
        log.txt            the output of the process
        outcome.json       how it ended; written whole, last
        comparison.json    answers before and after, on held-out rows

The state of a training follows from these files and from whether its process is alive: the app keeps no state in
memory that it could lose.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import environ
from pathlib import Path
from typing import Any, Literal

from nlptasks import NlptasksError, Settings
from nlptasks.store import AdapterStore, check_name, write_whole, writing
from nlptasks_ui.training.plan import Plan, environment

State = Literal["starting", "running", "stopping", "finishing", "finished", "stopped", "failed", "crashed"]

ACTIVE: tuple[State, ...] = ("starting", "running", "stopping", "finishing")
RESUMABLE: tuple[State, ...] = ("stopped", "failed", "crashed")

CONCURRENT = "Train at the same time as another training"
REPLACE = "Replace an existing adapter of this name"
"""Labels of the tick boxes that lift a restriction on a start; errors name them."""

WORKER = ("-m", "nlptasks_ui.training.worker")
"""The arguments of Python that run a training; its folder is added."""

_ID = re.compile(r"\d{8}-\d{6}(?:-\d+)?")
_LOCK_SECONDS = 10.0
_ANOTHER = "A training of another user"


class JobError(NlptasksError):
    """A training that does not exist, or cannot be started or continued."""


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
        """What it is doing, or how it ended; `crashed` if the process ended without an outcome."""
        outcome = self.outcome
        if outcome:
            state: State = outcome["state"]
            return state
        request = self.request
        if not self.alive:
            # It may have ended after the outcome was read.
            return self.outcome.get("state") or ("stopped" if request == "stop" else "crashed")
        if request:
            return "stopping" if request == "stop" else "finishing"
        return "running" if self.events.exists() else "starting"

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def outcome(self) -> dict[str, Any]:
        """How it ended: `state`, `text`, and the `report` if it finished; empty before."""
        return _read(self.folder / "outcome.json")

    @property
    def comparison(self) -> dict[str, Any]:
        """Answers before and after on held-out rows; empty until they have been compared."""
        return _read(self.folder / "comparison.json")

    @property
    def request(self) -> str:
        """The user's request to the running training, "stop" or "finish", or ""."""
        try:
            return (self.folder / "asked").read_text(encoding="utf-8")
        except OSError:
            return ""

    @property
    def alive(self) -> bool:
        """Whether its process is alive."""
        return _process(self.folder) is not None

    def log_tail(self, count: int = 40) -> str:
        """The last lines that the process printed."""
        try:
            text = (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-count:])


class Trainings:
    """The trainings in a folder; safe to use from several threads and apps."""

    def __init__(self, runs: Path, settings: Settings, user: str = "") -> None:
        self._runs, self._root = runs, runs / "trainings"
        self._settings, self._user = settings, user

    def of(self, user: str) -> Trainings:
        """The trainings of a user, who sees no others; "" is the user of an app without logins."""
        return Trainings(self._runs, self._settings, user)

    def list(self) -> Sequence[Job]:
        """The user's trainings, the newest first."""
        return [job for job in self._all() if job.plan.user == self._user]

    def _all(self) -> Sequence[Job]:
        jobs = []
        for path in self._root.glob("*/plan.json"):
            if _ID.fullmatch(path.parent.name):
                with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                    jobs.append(Job(path.parent.name, path.parent, Plan.from_json(path.read_text(encoding="utf-8"))))
        return sorted(jobs, key=lambda job: job.id, reverse=True)

    def find(self, id: str) -> Job:
        """A training by its id; raises JobError if there is none."""
        for job in self.list():
            if job.id == id:
                return job
        raise JobError("This training no longer exists: choose another one.")

    @property
    def busy(self) -> bool:
        """Whether a training is running, whoever started it."""
        return any(job.active for job in self._all())

    def using(self, data: Path) -> Job | None:
        """A running training of the user that reads this file."""
        return next((job for job in self.list() if job.alive and Path(job.plan.data) == data), None)

    def start(self, plan: Plan, *, concurrent: bool = False) -> Job:
        """Start a training in a process of its own; with `concurrent`, even while another one runs.

        Raises:
            JobError: another training is running, or the name is taken.
            AdapterError: the name is not a valid adapter name.
        """
        check_name(plan.name)
        plan = replace(plan, user=self._user)
        with self._starting(concurrent):
            self._check_free(plan)
            folder = self._root / self._new_id()
            with writing(folder) as staging:
                (staging / "plan.json").write_text(plan.as_json(), encoding="utf-8")
            job = Job(folder.name, folder, plan)
            self._launch(job)
        return job

    def resume(self, id: str, *, concurrent: bool = False) -> Job:
        """Continue from the last checkpoint, or from the beginning if there is none.

        Raises:
            JobError: the training is running or has finished, or another one is running.
        """
        job = self.find(id)
        with self._starting(concurrent):
            state = job.state
            if state not in RESUMABLE:
                raise JobError(f"This training is {state}: there is nothing to continue.")
            if not Path(job.plan.data).exists():
                raise JobError("The data file of this training was deleted: upload it again and start a new training.")
            for name in ("asked", "outcome.json"):
                (job.folder / name).unlink(missing_ok=True)
            self._launch(job)
        return job

    def stop(self, id: str) -> None:
        """Request a stop after the current step, with a checkpoint."""
        self._ask(id, "stop")

    def finish(self, id: str) -> None:
        """Request an end after the current step, with the best weights so far as the adapter."""
        self._ask(id, "finish")

    def kill(self, id: str) -> None:
        """Kill the process at once; the last checkpoint stays."""
        job = self.find(id)
        process = _process(job.folder)
        if process is not None:
            write_whole(job.folder / "asked", "stop")
            with contextlib.suppress(Exception):
                process.kill()
                process.wait(timeout=5)

    def forget(self, id: str) -> None:
        """Delete the record of a training that has ended; its adapter stays. Raises JobError while it is running."""
        job = self.find(id)
        if job.alive:
            raise JobError("This training is still running: stop it first.")
        doomed = job.folder.with_name(f".gone-{job.id}")
        job.folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _ask(self, id: str, request: str) -> None:
        job = self.find(id)
        if job.active:
            write_whole(job.folder / "asked", request)

    @contextmanager
    def _starting(self, concurrent: bool) -> Iterator[None]:
        """A lock for starting a training, so that two clicks do not start two."""
        from filelock import FileLock, Timeout

        self._root.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._root / ".lock", timeout=_LOCK_SECONDS):
                running = next((job for job in self._all() if job.active), None)
                if running and not concurrent:
                    mine = running.plan.user == self._user
                    which = f"The training of {running.plan.name!r} for {running.plan.task}" if mine else _ANOTHER
                    stop = "it ends, stop it," if mine else "it ends,"
                    raise JobError(f"{which} is still running: wait until {stop} or tick “{CONCURRENT}”.")
                yield
        except Timeout:
            raise JobError("Another training is being started right now: try again.") from None

    def _check_free(self, plan: Plan) -> None:
        from nlptasks.training import RunFolder

        names = (plan.task, plan.name)
        rivals = (job for job in self._all() if (job.plan.task, job.plan.name) == names)
        if any(job.plan.user != self._user and job.state != "finished" for job in rivals):
            raise JobError(f"Another user trains an adapter {plan.name!r} for {plan.task}: choose another name.")
        if plan.replace:
            return
        if AdapterStore(self._settings).folder(plan.task, plan.name).exists():
            conflict = f"An adapter {plan.name!r} for {plan.task} exists"
        elif RunFolder(self._settings, plan.task, plan.name).last is not None:
            conflict = f"An unfinished training of {plan.name!r} for {plan.task} exists"
        else:
            return
        raise JobError(f"{conflict}: choose another name, or tick “{REPLACE}”.")

    def _new_id(self) -> str:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        names = (stamp if number == 1 else f"{stamp}-{number}" for number in range(1, 1000))
        return next(name for name in names if not (self._root / name).exists())

    def _launch(self, job: Job) -> None:
        """Start the process so that it outlives the app; it reads its plan and writes all other files."""
        import psutil

        detached: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            detached = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
        with (job.folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *WORKER, str(job.folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=True,
                env={**environ, **environment(self._settings), "PYTHONUNBUFFERED": "1"}, **detached,
            )  # fmt: skip
        born = psutil.Process(process.pid).create_time()
        write_whole(job.folder / "process.json", json.dumps({"pid": process.pid, "born": born}))
        # A process whose parent does not wait for it stays in the process table as a zombie.
        threading.Thread(target=process.wait, name=f"training-{job.id}", daemon=True).start()


def _process(folder: Path) -> Any:
    """The live process of a training, or None; a later process with the same pid does not count."""
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
    """A JSON file, cached because the list of trainings reads all files every second or so; each is written once."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
