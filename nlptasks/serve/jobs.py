"""Batches of OpenAI's clients: a folder of files and of batches, and the one thread that answers batches in turn.

    files/file-….jsonl, file-….json       the lines, and whose they are
    batches/batch_….json                  a batch, and whose it is
    work/batch_…/                         what the batch engine keeps of one that is not finished

Whatever a caller names is looked up among what was read, and never becomes a path.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from collections import deque
from pathlib import Path
from threading import Condition, Thread, Timer
from typing import IO, TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from nlptasks import AnyTask, CancelledError, CancelToken, NlptasksError
from nlptasks.batches import ChangedBatchError, finished_files, run_batch
from nlptasks.serve.faults import Fault, answer_of
from nlptasks.serve.guard import log
from nlptasks.serve.names import Names
from nlptasks.serve.settings import ServeSettings
from nlptasks.serve.stored import ENDED, Batch, BatchFault, BatchFaults, FileObject, Record, RequestCounts, Shelf
from nlptasks.surfaces import sentence

if TYPE_CHECKING:
    from nlptasks import Engine

TASKS = "/v1/tasks/"
PART_ROWS, READ_ROWS = 32, 1024
"""Lines that are answered and kept at once: of requests, and of a task with a trained head."""

_SWEEP_SECONDS = 600
_CLOSE_SECONDS = 20


class Jobs:
    """The files and batches of one server. All methods may block: never call them in the event loop.

    Raises:
        NlptasksError: another server uses the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, engine: Engine, names: Names, settings: ServeSettings) -> None:
        self._engine, self._names = engine, names
        self._days, self._work = settings.batch_days, folder / "work"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / ".lock", thread_local=False)
            self._lock.acquire(timeout=0)
            self.files = Shelf(folder / "files", Record[FileObject], "file")
            self.batches = Shelf(folder / "batches", Record[Batch], "batch")
            self._work.mkdir(exist_ok=True)
        except Timeout:
            raise NlptasksError(f"--batches {folder}: expected a folder of one server, found another one.") from None
        except OSError as error:
            raise NlptasksError(f"--batches {folder}: expected a folder to write in, found {error.strerror}.") from None
        self._change = Condition()
        self._closing = False
        self._token: tuple[str, CancelToken] = ("", CancelToken())
        waiting = sorted(self.batches.records.values(), key=lambda record: record.order)
        self._queue = deque(record.value.id for record in waiting if record.value.status not in ENDED)
        self._thread = Thread(target=self._loop, name="nlptasks-jobs", daemon=True)

    def start(self) -> None:
        """Begin to answer; first what was interrupted."""
        self._thread.start()

    def close(self) -> None:
        """Stop within a step; the next server of this folder goes on."""
        with self._change:
            self._closing = True
            self._token[1].cancel()
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)
        self._lock.release()

    def add_file(self, owner: str, lines: IO[bytes], filename: str) -> FileObject:
        """Keep a file of requests; raises Fault for a full disk."""
        name = f"file-{secrets.token_hex(12)}"
        path = self.files.folder / f"{name}.jsonl"
        try:
            with path.open("wb") as target:
                shutil.copyfileobj(lines, target, 1024**2)
            return self._register(owner, path, filename, "batch")
        except OSError as error:
            path.unlink(missing_ok=True)
            raise Fault(503, f"Expected room for the file, found: {error.strerror}.") from None

    def remove_file(self, owner: str, name: str) -> None:
        """Delete a file; raises Fault, also if a batch still reads it."""
        with self._change:
            self.files.get(owner, name)
            if name in self._inputs():
                raise Fault(409, "Expected a file that no batch reads, found one under way: cancel the batch first.")
            self.files.remove(name)

    def create(
        self, owner: str, input_file_id: str, endpoint: str, hours: int, metadata: dict[str, str] | None
    ) -> Batch:
        """Add a batch to the queue; raises Fault for a file that is not this caller's."""
        with self._change:
            self.files.get(owner, input_file_id)
            batch = Batch(
                id=f"batch_{secrets.token_hex(12)}", input_file_id=input_file_id, endpoint=endpoint, metadata=metadata,
                completion_window=f"{hours}h", expires_at=int(time.time()) + hours * 3600,
            )  # fmt: skip
            self.batches.put(Record(owner=owner, value=batch))
            self._queue.append(batch.id)
            self._change.notify_all()
        return batch

    def cancel(self, owner: str, name: str) -> Batch:
        """End a batch within a step; its answers so far are kept. Raises Fault, also for one that has ended."""
        with self._change:
            batch = self.batches.get(owner, name)
            if batch.status in ENDED:
                raise Fault(409, f"Expected a batch under way, found one that is {batch.status}.")
            if batch.status == "finalizing":
                return batch
            if name in self._queue:
                self._queue.remove(name)
                self._note(name, "cancelling")
                return self._note(name, "cancelled")
            self._token[1].cancel()
            return self._note(name, "cancelling")

    def _note(self, name: str, status: str = "", *, save: bool = True, **values: Any) -> Batch:
        """Change a batch; a status comes with its time."""
        with self._change:
            record = self.batches.records[name]
            times = {f"{status}_at": int(time.time())} if status else {}
            value = record.value.model_copy(update={**({"status": status} if status else {}), **times, **values})
            self.batches.records[name] = changed = record.model_copy(update={"value": value})
            return self.batches.put(changed) if save else value

    def _inputs(self) -> set[str]:
        batches = [record.value for record in self.batches.records.values()]
        return {batch.input_file_id for batch in batches if batch.status not in ENDED}

    def _loop(self) -> None:
        while not self._closing:
            with self._change:
                if not self._queue:
                    self._change.wait(_SWEEP_SECONDS)
                name = self._queue.popleft() if self._queue and not self._closing else ""
                self._token = name, CancelToken()
            try:
                self._sweep()
                if name:
                    self._answer(name, self._token[1])
            except Exception as error:
                # A full disk, say: the thread must outlive it.
                log.error("%s", sentence(error))

    def _answer(self, name: str, cancel: CancelToken) -> None:
        """Answer a batch, from where it stopped."""
        record = self.batches.records[name]
        timer = Timer(max(0, (record.value.expires_at or 0) - time.time()), cancel.cancel)
        timer.daemon = True
        timer.start()
        faults, status = None, "completed"
        output = self._work / name / "responses.jsonl"
        try:
            if record.value.status == "cancelling":
                raise CancelledError("The batch was cancelled.")
            self._run(record.value, output, cancel)
        except CancelledError:
            if self._closing:
                return
            status = "cancelled" if self.batches.records[name].value.status == "cancelling" else "expired"
        except Exception as error:
            text = answer_of(error)[1]["error"]["message"].replace(f"{output.parent}/", "")
            faults, status = BatchFaults(data=[BatchFault(code="batch_failed", message=text)]), "failed"
        finally:
            timer.cancel()
        if status == "completed":
            self._note(name, "finalizing")
        ends = {} if status == "failed" else self._divide(record, finished_files(output))
        self._note(name, status, errors=faults, **ends)
        shutil.rmtree(output.parent, ignore_errors=True)
        counts = self.batches.records[name].value.request_counts.model_dump()
        log.info(json.dumps({"batch": name, "status": status, "caller": record.owner, **counts}))

    def _run(self, batch: Batch, output: Path, cancel: CancelToken) -> None:
        if output.exists() and not output.with_suffix(".parts").exists():
            return  # it was finished when the last server ended
        source = self.files.folder / f"{batch.input_file_id}.jsonl"
        _check_lines(source)
        with self._change:
            cancel.raise_if_cancelled()
            self._note(batch.id, "in_progress")
        output.parent.mkdir(exist_ok=True)
        task = self._engine.plugins.tasks.get(batch.endpoint.removeprefix(TASKS))

        def progress(state: Any) -> None:
            counts = RequestCounts(
                total=max(state.total or 0, state.rows), completed=state.rows - state.errors, failed=state.errors
            )
            self._note(batch.id, save=False, request_counts=counts)

        def run(*, restart: bool) -> None:
            run_batch(
                source, output, engine=self._engine, restart=restart, progress=progress, cancel=cancel,
                endpoint=batch.endpoint, check=self._check, part_rows=READ_ROWS if task and task.head else PART_ROWS,
            )  # fmt: skip

        try:
            run(restart=False)
        except ChangedBatchError:
            # The server has another version or device now: rows of both must not be mixed.
            run(restart=True)

    def _check(self, task: AnyTask, adapter: str | None, model: str | None) -> None:
        try:
            self._names.adapter(task, adapter)
            self._names.model(model)
        except Fault as fault:
            raise NlptasksError(str(fault)) from None

    def _divide(self, record: Record[Batch], parts: list[Path]) -> dict[str, Any]:
        """Make files of the answers and of the errors; each has the same id when it is made once more."""
        name = record.value.id
        digests = {kind: hashlib.sha256(f"{name} {kind}".encode()).hexdigest() for kind in ("output", "error")}
        paths = {kind: self.files.folder / f"file-{digest[:24]}.jsonl" for kind, digest in digests.items()}
        counts = dict.fromkeys(paths, 0)
        with paths["output"].open("wb") as output, paths["error"].open("wb") as error:
            for part in parts:
                with part.open("rb") as lines:
                    for line in lines:
                        response = json.loads(line)["response"]
                        good = response is not None and response["status_code"] == 200
                        counts["output" if good else "error"] += 1
                        (output if good else error).write(line)
        ids: dict[str, Any] = {}
        for kind, path in paths.items():
            if counts[kind]:
                file = self._register(record.owner, path, f"{name}_{kind}.jsonl", "batch_output")
                ids[f"{kind}_file_id"] = file.id
            else:
                path.unlink()
        total = max(sum(counts.values()), self.batches.records[name].value.request_counts.total)
        numbers = RequestCounts(total=total, completed=counts["output"], failed=counts["error"])
        return {**ids, "request_counts": numbers}

    def _register(self, owner: str, path: Path, filename: str, purpose: Literal["batch", "batch_output"]) -> FileObject:
        size, end = path.stat().st_size, int(time.time() + self._days * 86400)
        file = FileObject(id=path.stem, bytes=size, filename=filename, purpose=purpose, expires_at=end)
        return self.files.put(Record(owner=owner, value=file))

    def _sweep(self) -> None:
        """Remove what is too old, and what an earlier server left half written."""
        with self._change:
            begin, busy = time.time() - self._days * 86400, self._inputs()
            for name, file in list(self.files.records.items()):
                if file.value.created_at < begin and name not in busy:
                    self.files.remove(name)
            for name, batch in list(self.batches.records.items()):
                if batch.value.created_at < begin and batch.value.status in ENDED:
                    self.batches.remove(name)
        for folder in self._work.iterdir():
            record = self.batches.records.get(folder.name)
            if record is None or record.value.status in ENDED:
                shutil.rmtree(folder, ignore_errors=True)


def _check_lines(source: Path) -> None:
    """Raise NlptasksError for a file that cannot hold requests, by its first line."""
    with source.open("rb") as stream:
        line = stream.readline(1024**2)
    try:
        fits = isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        fits = len(line) == 1024**2
    if not fits:
        text = line[:40].decode("utf-8", "replace").strip() or "nothing"
        raise NlptasksError(f"Line 1: expected a JSON object with custom_id, method, url and body, found {text!r}.")
