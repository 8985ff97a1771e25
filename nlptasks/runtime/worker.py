"""One thread that owns a model. Calls from many threads meet in its queue and share batches; short ones go first."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from nlptasks.errors import CancelledError, NlptasksError
from nlptasks.model import CancelToken
from nlptasks.process import close_at_exit, refuse_inherited

MAX_ITEMS = 1024
"""Items that are computed at a time, so that others of the same length get their turn before the end of a huge call."""

MAX_CHARACTERS = 256 * 1024
"""Characters at a time: they are turned into tokens in one step, of 0.1 s."""

GATHERING = 0.25
"""The most that the worker waits for calls to come back, as a share of the time that they were computed for."""

_PAUSE = 0.001
"""Seconds in which callers that keep coming send at least one call."""


@dataclass(eq=False)
class Job:
    """One call: its items, and the answers as they come in.

    `size` is its work in texts to read; by default each item is one. `resume` puts back what `handle` has set up in the
    model, after other calls were computed between two of its steps.
    """

    key: Hashable
    items: Sequence[Any]
    handle: Callable[[BatchRequest], None]
    cancel: CancelToken
    size: int = 0
    resume: Callable[[], object] | None = None
    on_done: Callable[[int], None] | None = None
    future: Future[list[Any]] = field(default_factory=Future)
    answers: list[Any] = field(default_factory=list)
    taken: int = 0
    ticket: int = 0

    def __post_init__(self) -> None:
        # Up to 7 texts are rank 0, up to 127 rank 1, and so on: each rank has 16 times the work of the one before.
        self.rank = (self.size or len(self.items)).bit_length() // 4

    def portion(self, most: int) -> int:
        """The end of the items to compute next: at most `most`, and few if they are long."""
        end, characters = self.taken, 0
        while end < len(self.items) and end - self.taken < most:
            characters += _characters(self.items[end])
            if characters > MAX_CHARACTERS and end > self.taken:
                break
            end += 1
        return end


class BatchRequest:
    """The items of several calls with the same key, which are answered together."""

    def __init__(self, slices: Sequence[tuple[Job, int, int]], worker: Worker | None = None) -> None:
        self._owners = [(job, i) for job, start, end in slices for i in range(start, end)]
        self._jobs = [job for job, _, _ in slices]
        self._worker = worker
        self.items: list[Any] = [job.items[i] for job, i in self._owners]

    def alive(self, index: int) -> bool:
        """Whether the call of this item is not cancelled."""
        return not self._owners[index][0].cancel.cancelled

    def check(self) -> None:
        """Between two steps: answer shorter calls that wait, and raise CancelledError when all of these are cancelled.

        Only the worker's thread answers others: elsewhere, and on it where steps run on several threads, see
        `interrupted`.
        """
        if self._worker and self._worker.give_way(self._jobs[0]):
            # Their weights may be in force now.
            resume = self._jobs[0].resume
            if resume:
                resume()
        if all(job.cancel.cancelled for job in self._jobs):
            raise CancelledError("The request was cancelled before it was finished.")

    def interrupted(self) -> bool:
        """Whether shorter calls wait for `check` on the worker's thread, when no step is under way."""
        return self._worker is not None and self._worker.has_shorter(self._jobs[0])

    def answer(self, index: int, value: Any) -> None:
        """Set the answer of one item."""
        job, item = self._owners[index]
        job.answers[item] = value
        if job.on_done:
            job.on_done(1)


class Worker:
    """Runs jobs on one thread; jobs with the same key run together.

    A job's rank grows with its work. The worker takes all jobs that wait by their rank; between two steps of one,
    it answers those of a lower rank that have come meanwhile. So a short call waits for one step at most of a long
    one and for other short ones, and a long one does a step after each round of short ones.

    The thread starts with the first job; at the end of the process its computation is cancelled and it ends.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: list[Job] = []
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._running: list[Job] = []
        self._tickets = 0
        self.batches = self.items = 0
        self._pid = os.getpid()
        self.last_used = time.monotonic()

    @property
    def idle(self) -> bool:
        with self._wake:
            return not self._running and not self._jobs

    @property
    def waiting(self) -> int:
        """Calls in the queue, without those that are being answered."""
        with self._wake:
            return len(self._jobs)

    def submit(self, job: Job) -> Future[list[Any]]:
        """Queue a call.

        Raises:
            NlptasksError: the worker is closed, or of the process that this one was forked from.
        """
        refuse_inherited(self._pid)
        job.answers = [None] * len(job.items)
        with self._wake:
            if self._closed:
                raise NlptasksError(f"{self._name} is closed: make a new Engine.")
            self._queue(job)
            self.last_used = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name=f"nlptasks:{self._name}", daemon=True)
                self._thread.start()
                close_at_exit(self)
            self._wake.notify()
        return job.future

    def call(self, work: Callable[[], Any]) -> Any:
        """Run one function on the thread and return what it returns."""

        def handle(request: BatchRequest) -> None:
            request.answer(0, work())

        return self.submit(Job(key=None, items=[None], handle=handle, cancel=CancelToken())).result()[0]

    def has_shorter(self, job: Job) -> bool:
        """Whether a call of a lower rank waits."""
        with self._wake:
            return any(other.rank < job.rank for other in self._jobs)

    def give_way(self, job: Job) -> bool:
        """Answer the calls of a lower rank that wait now, if this is the worker's thread; whether there was one."""
        if threading.current_thread() is not self._thread or not self.has_shorter(job):
            return False
        self._round(job.rank)
        return True

    def close(self, *, wait: bool = True) -> None:
        """Refuse new calls, cancel all others and end the thread; safe to call twice."""
        if self._pid != os.getpid():
            return
        with self._wake:
            self._closed = True
            for job in (*self._running, *self._jobs):
                job.cancel.cancel()
            self._wake.notify()
            thread = self._thread
        if wait and thread and thread is not threading.current_thread():
            thread.join()

    def _loop(self) -> None:
        while True:
            with self._wake:
                while not self._jobs and not self._closed:
                    self._wake.wait()
                if not self._jobs:
                    return
            started = time.monotonic()
            answered = self._round()
            self.last_used = time.monotonic()
            if answered > 1:
                self._gather(answered, self.last_used + GATHERING * (self.last_used - started))

    def _round(self, below: int | None = None) -> int:
        """Answer all calls that wait now, of a rank below the one that is named, the shortest first.

        A huge call gets a portion of its answers. Returns the number of calls.
        """
        answered = 0
        last = self._tickets
        while group := self._take(last, below):
            self._run(group)
            answered += len(group)
            with self._wake:
                for job in group:
                    self._running.remove(job)
        return answered

    def _take(self, last: int, below: int | None) -> list[Job]:
        """The next call with a ticket up to `last` and all that share its turn."""
        with self._wake:
            due = [job for job in self._jobs if job.ticket <= last and (below is None or job.rank < below)]
            if not due:
                return []
            head = min(due, key=lambda job: (job.rank, job.ticket))
            group = [head]
            if head.key is not None:
                group = [job for job in self._jobs if job.key == head.key and job.rank == head.rank]
            taken = set(group)
            self._jobs = [job for job in self._jobs if job not in taken]
            self._running += group
            return group

    def _gather(self, count: int, latest: float) -> None:
        """Wait for the callers that were just answered, as long as they come back one after the other.

        A call that is computed alone takes as long as several together; and Python code of the callers would slow down
        the computation, which needs Python's lock between two operations.
        """
        while (before := self.waiting) < count and time.monotonic() < latest and not self._closed:
            time.sleep(_PAUSE)
            if self.waiting == before:
                return

    def _queue(self, job: Job) -> None:
        self._tickets += 1
        job.ticket = self._tickets
        self._jobs.append(job)

    def _run(self, group: list[Job]) -> None:
        wanted = [job for job in group if not _end_cancelled(job)]
        if not wanted:
            return
        share = max(16, MAX_ITEMS // len(wanted))
        slices = [(job, job.taken, job.portion(share)) for job in wanted]
        self.batches += 1
        self.items += sum(end - start for _, start, end in slices)
        try:
            wanted[0].handle(BatchRequest(slices, self))
        except BaseException as error:
            # A bad item of one call must not fail the calls that share its batch.
            if len(wanted) > 1 and not isinstance(error, CancelledError):
                for job in wanted:
                    self._run([job])
                return
            for job in wanted:
                _fail(job, error)
            return
        for job, _, end in slices:
            job.taken = end
            if _end_cancelled(job):
                continue
            if end == len(job.items):
                job.future.set_result(job.answers)
            else:
                with self._wake:
                    self._queue(job)


def _characters(item: Any) -> int:
    if isinstance(item, str):
        return len(item)
    return sum(map(_characters, item)) if isinstance(item, tuple | list) else 1


def _end_cancelled(job: Job) -> bool:
    """Fail a job that is cancelled; whether it was."""
    cancelled = job.cancel.cancelled
    if cancelled:
        _fail(job, CancelledError("The request was cancelled before it was finished."))
    return cancelled


def _fail(job: Job, error: BaseException) -> None:
    if not job.future.done():
        job.future.set_exception(error)
