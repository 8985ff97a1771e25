"""One thread that owns a model. Calls from many threads meet in its queue and share batches."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from nlptasks.errors import CancelledError, NlptasksError
from nlptasks.model import CancelToken
from nlptasks.process import close_at_exit, refuse_inherited

MAX_ITEMS = 1024
"""Items of one call that are computed at a time, so that other calls do not wait for the end of a huge one."""


@dataclass(eq=False)
class Job:
    """One call: its items, and the answers as they come in."""

    key: Hashable
    items: Sequence[Any]
    handle: Callable[[BatchRequest], None]
    cancel: CancelToken
    on_done: Callable[[int], None] | None = None
    future: Future[list[Any]] = field(default_factory=Future)
    answers: list[Any] = field(default_factory=list)
    taken: int = 0


class BatchRequest:
    """The items of several calls with the same key, which are answered together."""

    def __init__(self, slices: Sequence[tuple[Job, int, int]]) -> None:
        self._owners = [(job, i) for job, start, end in slices for i in range(start, end)]
        self.items: list[Any] = [job.items[i] for job, i in self._owners]

    def alive(self, index: int) -> bool:
        """Whether the call of this item is not cancelled."""
        return not self._owners[index][0].cancel.cancelled

    def check(self) -> None:
        """Raise CancelledError when all calls are cancelled."""
        if self._owners and all(job.cancel.cancelled for job, _ in self._owners):
            raise CancelledError("The request was cancelled before it was finished.")

    def answer(self, index: int, value: Any) -> None:
        """Set the answer of one item."""
        job, item = self._owners[index]
        job.answers[item] = value
        if job.on_done:
            job.on_done(1)


class Worker:
    """Runs jobs one after the other on one thread; jobs with the same key run together.

    The thread starts with the first job; at the end of the process its computation is cancelled and it ends.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: deque[Job] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._running: list[Job] = []
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
            self._jobs.append(job)
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
                self._running = []
                while not self._jobs and not self._closed:
                    self._wake.wait()
                if not self._jobs:
                    return
                group = self._running = self._take_group()
            self._run(group)
            self.last_used = time.monotonic()

    def _take_group(self) -> list[Job]:
        head = self._jobs.popleft()
        if head.key is None:
            return [head]
        equal = [job for job in self._jobs if job.key == head.key]
        for job in equal:
            self._jobs.remove(job)
        return [head, *equal]

    def _run(self, group: list[Job]) -> None:
        wanted = [job for job in group if not _end_cancelled(job)]
        if not wanted:
            return
        slices = [(job, job.taken, min(len(job.items), job.taken + MAX_ITEMS)) for job in wanted]
        try:
            wanted[0].handle(BatchRequest(slices))
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
                    self._jobs.append(job)


def _end_cancelled(job: Job) -> bool:
    """Fail a job that is cancelled; whether it was."""
    cancelled = job.cancel.cancelled
    if cancelled:
        _fail(job, CancelledError("The request was cancelled before it was finished."))
    return cancelled


def _fail(job: Job, error: BaseException) -> None:
    if not job.future.done():
        job.future.set_exception(error)
