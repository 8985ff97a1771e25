"""The actors of a batch: parts of its rows go to those that are free, and those of one that dies to others."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nlptasks import CancelToken, NlptasksError, __version__
from nlptasks.batches import Answers, PartRows, TaskRow, TaskWork
from nlptasks.ray.cluster import LOCAL, Cluster, connected, use_share

DEATHS = 3
"""After so many actors that died on the same part, or while they started, a batch ends."""

PARTS = 2
"""Parts that an actor has at a time: the second waits there while it answers the first."""

_TICK, _PATIENCE = 0.2, 30.0
"""Seconds between two looks at the cancel token, and after which a remark says that no actor has started."""


class _BatchActor:
    """A process with one engine."""

    def __init__(self, make: Callable[[], TaskWork]) -> None:
        use_share()
        self._work = make()

    def identity(self) -> dict[str, Any]:
        return {"nlptasks": __version__, **self._work.identity()}

    def answer(self, first: int, rows: Sequence[TaskRow]) -> Answers:
        return Answers.of(first, self._work.answer(rows), self._work.line)


@contextmanager
def actors(
    work: TaskWork, cluster: str | Cluster, on_note: Callable[[str], object] | None = None
) -> Iterator[ActorPool]:
    """What answers as `work` does, by actors of a cluster, which end with the block; `on_note` gets remarks.

    Raises:
        MissingExtraError: Ray is not installed.
        NlptasksError: there is no such cluster.
    """
    cluster = Cluster(cluster) if isinstance(cluster, str) else cluster
    with connected(cluster.address) as ray:
        pool = ActorPool(ray, work, cluster, on_note or str)
        try:
            yield pool
        finally:
            pool.close()


class ActorPool:
    """Actors with an engine each, all of which answer alike."""

    def __init__(self, ray: Any, work: TaskWork, cluster: Cluster, on_note: Callable[[str], object]) -> None:
        self._ray, self._cluster, self._on_note = ray, cluster, on_note
        self._cancel = work.cancel or CancelToken()
        # Ray would let calls wait for an actor that cannot start again, as on a node that is gone.
        self._class = ray.remote(_BatchActor).options(**cluster.options, max_restarts=0)
        self._make = ray.put(work.maker())
        self._actors: dict[int, Any] = {}
        self._starting: dict[Any, int] = {}
        self._failed_starts = self._count = 0
        self._free: deque[int] = deque()
        self._identity: dict[str, Any] = {}
        if cluster.address == LOCAL and not self._room():
            raise NlptasksError(f"Expected actors that fit the cluster of this machine, found none: {self._sizes()}.")
        for _ in range(cluster.actors or max(1, self._room())):
            self._start()

    def identity(self) -> Mapping[str, Any]:
        """What decides the answers, as the first actor says that starts.

        Raises:
            CancelledError: the work's token was set.
            NlptasksError: no actor starts, or as `TaskWork.identity`.
        """
        begin, noted = time.monotonic(), False
        while not self._identity:
            for ref in self._wait([]):
                self._started(ref)
            if not noted and time.monotonic() - begin > _PATIENCE:
                noted = True
                self._on_note(f"No actor has started yet: {self._sizes()}.")
        return self._identity

    def answer_parts(
        self, parts: Iterator[PartRows], advance: Callable[[float], None] | None
    ) -> Generator[tuple[PartRows, Answers], None, None]:
        """The parts with their answers, as they come.

        Raises:
            CancelledError: the work's token was set.
            NlptasksError: as `TaskWork.answer`; or actors die again and again.
        """
        running: dict[Any, tuple[int, PartRows]] = {}
        again: deque[PartRows] = deque()
        deaths: Counter[int] = Counter()
        more = True
        while more or again or running:
            while self._free and (again or more):
                # What ended an actor may end the next one: it comes last.
                part = next(parts, None) if more else again.popleft()
                if part is None:
                    more = False
                    continue
                number = self._free.popleft()
                running[self._actors[number].answer.remote(part.first, part.rows)] = (number, part)
            if not (more or again or running):
                return
            for ref in self._wait(list(running)):
                if ref in self._starting:
                    self._started(ref)
                    continue
                if ref not in running:
                    continue
                number, part = running[ref]
                try:
                    answers = self._get(ref)
                except _LostError as error:
                    # In the order in which the actor got them: it died on the first.
                    part, *others = [running.pop(one)[1] for one in list(running) if running[one][0] == number]
                    deaths[part.number] += 1
                    if deaths[part.number] == DEATHS:
                        last = part.first + len(part.rows) - 1
                        raise NlptasksError(
                            f"Rows {part.first} to {last}: {DEATHS} actors died while they answered them ({error}). "
                            "The rows that were answered are kept; take fewer at once with --part-rows, or give an "
                            "actor more memory."
                        ) from error
                    again.extend([*others, part])
                    self._replace(number)
                else:
                    del running[ref]
                    self._free.append(number)
                    yield part, answers

    def close(self) -> None:
        """End all actors at once."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()

    def _room(self) -> int:
        """How many actors the cluster has room for."""
        has = self._ray.cluster_resources()
        takes = {"CPU": self._cluster.cpus, "GPU": self._cluster.gpus}
        return min((int(has.get(name, 0) // size) for name, size in takes.items() if size), default=1)

    def _sizes(self) -> str:
        """What an actor takes, and what there is."""
        has = {name: self._ray.cluster_resources().get(name, 0) for name in ("CPU", "GPU")}
        takes = {"CPU": self._cluster.cpus, "GPU": self._cluster.gpus}
        amounts = [", ".join(f"{value:g} {name}" for name, value in each.items()) for each in (takes, has)]
        return f"an actor takes {amounts[0]}, the whole cluster has {amounts[1]}"

    def _start(self) -> None:
        number = self._count
        self._count += 1
        self._actors[number] = actor = self._class.remote(self._make)
        self._starting[actor.identity.remote()] = number

    def _started(self, ref: Any) -> None:
        """Take an actor that has started into the pool, or start another one."""
        number = self._starting.pop(ref)
        try:
            identity = self._get(ref)
        except _LostError as error:
            self._failed_starts += 1
            if self._failed_starts == DEATHS:
                raise NlptasksError(
                    f"Expected actors that start, found {DEATHS} that died ({error}): see that nlptasks {__version__} "
                    "is installed on every node of the cluster."
                ) from error
            self._replace(number)
            return
        self._failed_starts = 0
        self._identity = self._identity or identity
        names = [name for name, value in identity.items() if value != self._identity.get(name)]
        if names:
            pairs = "; ".join(f"{name} is {self._identity.get(name)} and {identity[name]}" for name in names)
            raise NlptasksError(
                f"Expected actors that answer alike, found two that differ: {pairs}. Name what is to hold for all, as "
                "with --dtype, and install the same on every node."
            )
        self._free.extend([number] * PARTS)

    def _replace(self, number: int) -> None:
        """Start another actor for one that died."""
        del self._actors[number]
        self._free = deque(one for one in self._free if one != number)
        self._start()

    def _wait(self, running: list[Any]) -> list[Any]:
        """Those of the running and starting calls that are over, after a moment."""
        over, _ = self._ray.wait([*running, *self._starting], timeout=_TICK)
        self._cancel.raise_if_cancelled()
        return list(over)

    def _get(self, ref: Any) -> Any:
        """The value of a call; raises what the call raised, or _LostError if its actor or its value is lost."""
        from ray.exceptions import RayError, RayTaskError

        try:
            return self._ray.get(ref)
        except RayTaskError as error:
            if isinstance(error.cause, NlptasksError):
                raise error.cause from None
            raise
        except RayError as error:
            raise _LostError(" ".join(str(error).split())[:200]) from error


class _LostError(Exception):
    """An actor died, or its node is gone with what it answered."""
