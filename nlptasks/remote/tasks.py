"""A task of another nlptasks server, as the model of a task here."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from nlptasks.model import ModelInfo
from nlptasks.remote.model import RemoteModel
from nlptasks.remote.waiting import Put, each
from nlptasks.task import AnyTask

ROWS = 16
"""Inputs of one request: the server computes them together, and a request that fails repeats few."""


class TaskModel(RemoteModel):
    """Answers a task, not its verbs: `requests.run_task` gives it the whole of a call.

    The server's results are checked against the result type of the task here, and returned as they are.
    """

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name=self._address.base, kind="encoder", adapter=self._address.adapter, has_offsets=False)

    def answer_task(self, task: AnyTask, inputs: Sequence[Any], options: Any) -> list[Any]:
        """The server's results, in the order of the inputs."""
        groups = [inputs[start : start + ROWS] for start in range(0, len(inputs), ROWS)]

        async def one(group: Sequence[Any], put: Put) -> list[Any]:
            def read(value: Any) -> list[Any]:
                if len(value) != len(group):
                    raise ValueError(f"{len(value)} results for {len(group)} inputs")
                return [task.result_type.model_validate(result) for result in value]

            body = self._body(options) | {"inputs": [_plain(item) for item in group]}
            results = await self._server.post(self._path, body, read)
            put(len(group))
            return results

        async def work(put: Put) -> list[Any]:
            answers = await each([one(group, put) for group in groups], lambda _: None)
            return [result for group in answers for result in group]

        return self._all(work, len(inputs))

    def stream_task(self, task: AnyTask, inputs: Any, options: Any) -> Generator[str, None, Any]:
        """The pieces of the server's answer; returns its result."""
        events = _Events(task)

        async def work(put: Put) -> Any:
            body = self._body(options) | _plain(inputs) | {"stream": True}
            await self._server.stream(self._path, body, events, put)
            return events.results[-1]

        return (yield from self._call(self._cancel, work))

    @property
    def _path(self) -> str:
        return f"/v1/tasks/{self._address.name}"

    def _body(self, options: Any) -> dict[str, Any]:
        body: dict[str, Any] = _plain(options)
        return body | ({"adapter": self._address.adapter} if self._address.adapter else {})


class _Events:
    """The events of one answer, the last of which has its result."""

    def __init__(self, task: AnyTask) -> None:
        self._task = task
        self.results: list[Any] = []

    @property
    def is_whole(self) -> bool:
        return bool(self.results)

    def read(self, value: Any) -> str | None:
        if "result" in value:
            self.results.append(self._task.result_type.model_validate(value["result"]))
            return None
        return str(value["text"])

    def clear(self) -> None:
        self.results.clear()


def _plain(value: Any) -> Any:
    """The fields that were set, as JSON."""
    return value.model_dump(mode="json", exclude_unset=True)
