"""Runs of a task over the rows of a file, each in a folder of its user: they outlive the page and the app.

    <a user's folder>/batches/<id>/
        request.json       the task, its columns, and what all rows share
        input/<name>       a copy of the file
        answers.jsonl      the rows with their answers, once all are there; until then answers.parts/
        state.json         how far it is, or how it ended

A thread of the app computes a run, whether or not a page shows it. An app that was ended leaves it to be continued.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import to_json

from nlptasks import CancelledError, CancelToken, DataError, NlptasksError
from nlptasks.batches import BatchProgress, ChangedBatchError, batch
from nlptasks.data import DataOptions
from nlptasks.store import write_whole, writing
from nlptasks.surfaces import as_sentence, sentence
from nlptasks_ui.batch.tables import MAX_ROWS, Upload
from nlptasks_ui.pages.files import home

if TYPE_CHECKING:
    from nlptasks import Engine

State = Literal["waiting", "running", "stopping", "stopped", "done", "failed"]

ACTIVE: tuple[State, ...] = ("waiting", "running", "stopping")
RESUMABLE: tuple[State, ...] = ("stopped", "failed")

RUNS_AT_ONCE = 2
"""The most runs that compute at the same time, whoever started them; the others wait."""

READ_ROWS, WRITTEN_ROWS = 32, 8
"""Rows of a part, for a task with a trained head and for one that writes text.

They are the most that Stop loses, and what a request of another page waits for. On a CPU, fewer are no slower.
"""

_SAVE_SECONDS = 2.0
_STRANGE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Request:
    """What a run computes for each row. `columns` has every field of the input: None for one without a column."""

    task: str
    columns: Mapping[str, str | None]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    adapter: str | None = None
    model: str | None = None


@dataclass
class Status:
    """How far a run is, or how it ended: `text` says why it failed, `seconds` is how long it has computed."""

    state: State = "waiting"
    rows: int = 0
    errors: int = 0
    total: int | None = None
    seconds: float = 0.0
    text: str = ""
    rate: float | None = None
    left: float | None = None

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


@dataclass(frozen=True)
class Run:
    """One run and its folder. `name` is that of its file, `created` is in seconds since the epoch."""

    folder: Path
    name: str
    created: float
    request: Request

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def input(self) -> Path:
        """The copy of its file."""
        return self.folder / "input" / self.name

    @property
    def output(self) -> Path:
        return self.folder / "answers.jsonl"

    @property
    def parts(self) -> Path:
        return self.output.with_suffix(".parts")

    def saved(self) -> Status:
        """What its folder says, which nobody corrected if the app was killed."""
        try:
            status = Status(**json.loads((self.folder / "state.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            status = Status()
        if status.active:
            status.state = "done" if self.output.exists() and not self.parts.exists() else "stopped"
        return status

    def save(self, status: Status) -> bool:
        """Write how far it is; False if the disk is full and the like."""
        try:
            write_whole(self.folder / "state.json", json.dumps(asdict(status), ensure_ascii=False))
        except OSError:
            return False
        return True


@dataclass
class _Job:
    """A run that a thread of this app computes."""

    status: Status
    cancel: CancelToken = field(default_factory=CancelToken)


class Runs:
    """The runs of all users, and the threads that compute them; safe to use from several threads."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self._places = threading.Semaphore(RUNS_AT_ONCE)
        self._jobs: dict[Path, _Job] = {}
        self._unsaved: dict[Path, Status] = {}
        self._lock = threading.Lock()

    def list(self, user: str) -> list[Run]:
        """A user's runs, the newest first; nobody sees another's."""
        runs = []
        for path in (home(self._folder, user) / "batches").glob("*/request.json"):
            if path.parent.name.startswith("."):
                continue  # not whole yet, or not any more
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                content = json.loads(path.read_text("utf-8"))
                runs.append(Run(path.parent, content["name"], content["created"], Request(**content["request"])))
        return sorted(runs, key=lambda run: run.created, reverse=True)

    def find(self, id: str | None, user: str) -> Run:
        """A user's run by its id; raises NlptasksError if there is none."""
        for run in self.list(user):
            if run.id == id:
                return run
        raise NlptasksError("This run no longer exists: choose another one.")

    def status(self, run: Run) -> Status:
        """How far a run is, or how it ended."""
        job = self._jobs.get(run.folder)
        return job.status if job else self._unsaved.get(run.folder) or run.saved()

    def start(self, request: Request, upload: Upload | None, user: str) -> Run:
        """Begin a run on a copy of an upload.

        Raises:
            NlptasksError: the task, an option, the adapter or the model does not exist, or the upload was deleted.
        """
        if upload is None:
            raise NlptasksError("Choose a file or paste lines first.")
        task = self._engine.plugins.task(request.task)
        self._engine.choose(task, request.adapter, request.model, task.validate_options(request.options))
        name = _STRANGE.sub("-", upload.name).lstrip(".-") or "rows"
        created = time.time()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(created))
        folder = (
            home(self._folder, user) / "batches" / f"{name[:60]}-{request.task}-{stamp}-{int(created * 1e3) % 1000:03}"
        )
        with writing(folder) as staging:
            (staging / "input").mkdir()
            upload.copy_to(staging / "input" / name)
            content = {"name": name, "created": created, "request": asdict(request)}
            write_whole(staging / "request.json", to_json(content, fallback=str))
        run = Run(folder, name, created, request)
        self.resume(run)
        return run

    def resume(self, run: Run) -> None:
        """Compute the rows that have no answer yet, in a thread; nothing happens to a run that is active."""
        with self._lock:
            if run.folder in self._jobs or self.status(run).state == "done":
                return
            saved = self._unsaved.pop(run.folder, None) or run.saved()
            job = self._jobs[run.folder] = _Job(Status(seconds=saved.seconds, total=saved.total))
        run.save(job.status)
        threading.Thread(target=self._compute, args=(run, job), name=f"batch-{run.id}", daemon=True).start()

    def restart(self, run: Run) -> None:
        """Compute all rows anew."""
        if run.folder not in self._jobs:
            shutil.rmtree(run.parts, ignore_errors=True)
            self.resume(run)

    def stop(self, run: Run) -> None:
        """Stop within one step; the rows of finished parts are kept."""
        if job := self._jobs.get(run.folder):
            job.status.state = "stopping"
            job.cancel.cancel()

    def delete(self, run: Run) -> None:
        """Delete a run with its copy of the file; raises NlptasksError while it is active."""
        if run.folder in self._jobs:
            raise NlptasksError("This run is not over: stop it first.")
        doomed = run.folder.with_name(f".deleted-{run.id}")
        run.folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def close(self) -> None:
        """Stop all runs, which can be continued."""
        for job in list(self._jobs.values()):
            job.cancel.cancel()

    def _compute(self, run: Run, job: _Job) -> None:
        ended = Status("failed")
        before, begin = job.status.seconds, None
        try:
            with self._place(job):
                begin = time.monotonic()
                report = self._answer(run, job, before - begin)
            ended = Status("done", report.rows, report.errors, report.rows)
        except CancelledError:
            ended = replace(job.status, state="stopped")
        except ChangedBatchError as error:
            why = f"This run was begun with something else: {error.differences}. Start over to answer all rows."
            ended = replace(job.status, state="failed", text=why)
        except Exception as error:
            # An engine that is closed refuses what the end of the app has not stopped yet.
            state: State = "stopped" if job.cancel.cancelled else "failed"
            ended = replace(job.status, state=state, text=as_sentence(sentence(error).replace(f"{run.folder}/", "")))
        finally:
            ended.seconds = before + (time.monotonic() - begin if begin else 0.0)
            if not run.save(ended):
                self._unsaved[run.folder] = ended
            del self._jobs[run.folder]

    @contextmanager
    def _place(self, job: _Job) -> Iterator[None]:
        """One of the places of runs; raises CancelledError if the run is stopped while it waits."""
        while not self._places.acquire(timeout=0.1):
            job.cancel.raise_if_cancelled()
        try:
            job.cancel.raise_if_cancelled()
            job.status.state = "running"
            yield
        finally:
            self._places.release()

    def _answer(self, run: Run, job: _Job, offset: float) -> Any:
        """Answer the rows; `offset` makes seconds of computing of the clock's."""
        status, request, next_save = job.status, run.request, 0.0

        def advance(progress: BatchProgress) -> None:
            nonlocal next_save
            status.rows, status.errors, total, status.rate, status.left, _ = progress
            status.total = status.total or total
            now = time.monotonic()
            status.seconds = offset + now
            if max(status.rows, total or 0) > MAX_ROWS:
                raise DataError(f"{run.name}: expected at most {MAX_ROWS:,} rows, found more: split the file.")
            if now >= next_save:
                next_save = now + _SAVE_SECONDS
                run.save(status)

        task = self._engine.plugins.task(request.task)
        return batch(
            request.task, [run.input], run.output, engine=self._engine, adapter=request.adapter, model=request.model,
            reading=DataOptions(columns=request.columns), by_line=True, progress=advance, cancel=job.cancel,
            part_rows=READ_ROWS if task.head else WRITTEN_ROWS, **request.fixed, **request.options,
        )  # fmt: skip
