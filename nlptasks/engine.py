"""The engine: resolves the task, validates, chooses base and adapter, runs, returns typed results."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, overload

from nlptasks.backends import BUILT_IN, Backend, BackendOptions, Backends, Resident
from nlptasks.bases import Bases
from nlptasks.data.frames import task_inputs
from nlptasks.data.rows import windows
from nlptasks.errors import InvalidInputError, NlptasksError
from nlptasks.model import CancelToken, Head, Model, Stream, find_head
from nlptasks.plugins import Plugins, default_plugins
from nlptasks.process import at_fork, hold_over_forks
from nlptasks.progress import AsyncStream
from nlptasks.requests import ManyInputs, OneInput, OneOrMany, Request, read_request, run_task, signed, stream_task
from nlptasks.results import Results
from nlptasks.runtime.loading.devices import check_words
from nlptasks.settings import Settings
from nlptasks.task import AnyTask, R, S, SequenceTask, TaskInput, TaskOf

if TYPE_CHECKING:
    from nlptasks.progress import Counter
    from nlptasks.runtime.loading.devices import Placement
    from nlptasks.store.adapters import AdapterFolder
    from nlptasks.store.download import Progress


class Engine:
    """Runs tasks on resident models. Thread-safe; a context manager.

    `model` is the default base: a catalog name, `ORG/NAME[@revision]` or a folder. `device` is auto, cpu, cuda, cuda:N
    or mps; `dtype` is auto, float32, bfloat16, float16 or int8. `max_resident_bytes` bounds the memory of loaded bases,
    `idle_seconds` unloads unused ones. `backend`, a name or an object, is the only one to use; by default the first
    that serves a base. `arguments` make an engine like it in another process.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        device: str = "auto",
        dtype: str = "auto",
        plugins: Plugins | None = None,
        settings: Settings | None = None,
        max_resident_bytes: int | None = None,
        idle_seconds: float | None = None,
        trust_remote_code: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        backend: str | Backend | None = None,
    ) -> None:
        check_words(device, dtype)
        self.settings = settings or Settings.from_env()
        self.plugins = plugins or default_plugins()
        self._model = model
        self._bases = Bases(self.settings, self.plugins, on_progress)
        self.arguments: dict[str, Any] = {"model": model, "device": device, "dtype": dtype, "settings": self.settings}
        self.arguments |= {"trust_remote_code": trust_remote_code, "backend": backend}
        self._heads: dict[str, Head] = {}
        options = BackendOptions(
            find=self._bases.find,
            head=self._head,
            device=device,
            dtype=dtype,
            max_bytes=max_resident_bytes or self.settings.max_resident_bytes,
            idle_seconds=idle_seconds,
            graphs=None if (backend or self.settings.backend) == "torch" else self.settings.graphs,
            trust_remote_code=trust_remote_code,
        )
        self._backends = Backends(self.plugins, options, backend or self.settings.backend)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise NlptasksError(
            "An Engine cannot be pickled, for its models are in this process: make one in the other process, or call "
            "nlptasks.run there."
        )

    def close(self) -> None:
        """Cancel all calls, unload every model and refuse further calls; safe to call twice."""
        self._backends.close()

    # Type checkers need the options in each overload; formatted by hand, an overload is four lines and not twelve.
    # fmt: off
    @overload
    def run(
        self, task: TaskOf[R], inputs: OneInput = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> R: ...
    @overload
    def run(
        self, task: str, inputs: Any = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> Any: ...
    @overload
    def run(
        self, task: SequenceTask[S], inputs: OneOrMany, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> Any: ...
    @overload
    def run(
        self, task: TaskOf[R], inputs: ManyInputs, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> Results[R]: ...
    @overload
    def run(
        self, task: TaskOf[R], inputs: Iterable[Any], /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> R | Results[R]: ...
    # fmt: on
    def run(
        self, task: str | TaskOf[Any], inputs: Any = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> Any:  # fmt: skip
        """Answer one input with one result, or a list of inputs with `Results`, a list in the same order.

        `task` is a name, or, for statically typed results, the task's class or an instance, registered or not. An
        input is a text, a mapping of the input's fields, or an instance of the task's input type; fields may also be
        passed by name, for all inputs of a list. All other keywords are the task's options. `adapter` is a name in the
        user's store, a folder, a Hub id, or "none" for the bare base; `model` is a base as in `Engine(model)`.
        `progress` is True for a bar on stderr, or a callback `(completed, total)`; a long text counts once for each
        window or chunk, so the total may grow. `cancel` stops the computation within one step.

        Raises:
            UnknownNameError: no such task, adapter or base; names the near miss.
            InvalidInputError: every fault of every input and option, before any model is loaded.
            CancelledError: `cancel` was set before the end.
        """
        from nlptasks.progress import reporting

        request = read_request(self.plugins.task(task), inputs, fields)
        if not request.inputs:
            return Results()
        results: dict[int, Any] = {}
        with reporting(progress, len(request.inputs)) as counter:
            for base, places in self._shares(request, adapter, model).items():
                with self.bind(request.task, adapter, base, cancel=cancel, counter=counter) as bound:
                    inputs = [request.inputs[place] for place in places]
                    who = self.plugins.describe(request.task)
                    answers = run_task(request, inputs, bound, who, self.settings.strict)
                    results |= {place: signed(item, bound) for place, item in zip(places, answers, strict=True)}
        return results[0] if request.single else Results(results[place] for place in range(len(results)))

    # fmt: off
    @overload
    def iter(
        self, task: TaskOf[R], inputs: Iterable[Any], /, *, adapter: str | None = None, model: str | None = None,
        cancel: CancelToken | None = None, **fields: Any,
    ) -> Iterator[R]: ...
    @overload
    def iter(
        self, task: str, inputs: Iterable[Any], /, *, adapter: str | None = None, model: str | None = None,
        cancel: CancelToken | None = None, **fields: Any,
    ) -> Iterator[Any]: ...
    # fmt: on
    def iter(
        self, task: Any, inputs: Iterable[Any], /, *, adapter: str | None = None, model: str | None = None,
        cancel: CancelToken | None = None, **fields: Any,
    ) -> Iterator[Any]:  # fmt: skip
        """The results of any number of inputs, in their order and as they come; the arguments are those of `run`.

        Inputs are read as they are needed, a few at first, later 512 at once. Raises what `run` does.
        """
        described = self.plugins.task(task)
        inputs = task_inputs(described, inputs)
        for window in windows([inputs] if described.is_one(inputs) else inputs):
            yield from self.run(task, window, adapter=adapter, model=model, cancel=cancel, **fields)

    # fmt: off
    @overload
    def stream(
        self, task: TaskOf[R], inputs: Any = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> Stream[R]: ...
    @overload
    def stream(
        self, task: str, inputs: Any = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> Stream[Any]: ...
    # fmt: on
    def stream(
        self, task: str | TaskOf[Any], inputs: Any = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> Stream[Any]:  # fmt: skip
        """One answer, piece by piece, then its `result()`; the arguments are those of `run`.

        Leaving the loop, `close()` or the end of the with-block stops the model.

        Raises:
            InvalidInputError: the task writes no text, there are several inputs, or as in `run`.
            UnknownNameError: as in `run`.
        """
        from nlptasks.families.text_to_text import can_stream

        request = read_request(self.plugins.task(task), inputs, fields)
        if not can_stream(request.task):
            raise InvalidInputError(f"{request.task.name} does not stream", ["its answer is not a text: use run."])
        if not request.single:
            problem = f"expected 1, found {len(request.inputs)}: use run."
            raise InvalidInputError(f"{request.task.name} streams one input", [problem])
        cancel = cancel or CancelToken()
        return Stream(self._pieces(request, adapter, model, progress, cancel), cancel)

    # fmt: off
    @overload
    async def arun(
        self, task: TaskOf[R], inputs: OneInput = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> R: ...
    @overload
    async def arun(
        self, task: str, inputs: Any = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> Any: ...
    @overload
    async def arun(
        self, task: SequenceTask[S], inputs: OneOrMany, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> Any: ...
    @overload
    async def arun(
        self, task: TaskOf[R], inputs: ManyInputs, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> Results[R]: ...
    @overload
    async def arun(
        self, task: TaskOf[R], inputs: Iterable[Any], /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> R | Results[R]: ...
    # fmt: on
    async def arun(
        self, task: str | TaskOf[Any], inputs: Any = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> Any:  # fmt: skip
        """`run` for async code, with its arguments; cancelling the awaiting task stops the model.

        Raises:
            NlptasksError: as in `run`.
        """
        cancel = cancel or CancelToken()
        options = {**fields, "adapter": adapter, "model": model, "progress": progress, "cancel": cancel}
        work = asyncio.ensure_future(asyncio.to_thread(self.run, task, inputs, **options))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            cancel.cancel()
            # Nobody awaits the thread's CancelledError any more.
            work.add_done_callback(lambda future: future.cancelled() or future.exception())
            raise

    # fmt: off
    @overload
    def astream(
        self, task: TaskOf[R], inputs: Any = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> AsyncStream[R]: ...
    @overload
    def astream(
        self, task: str, inputs: Any = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> AsyncStream[Any]: ...
    # fmt: on
    def astream(
        self, task: str | TaskOf[Any], inputs: Any = None, /, *, adapter: str | None = None, model: str | None = None,
        progress: bool | Callable[[int, int], None] = False, cancel: CancelToken | None = None, **fields: Any,
    ) -> AsyncStream[Any]:  # fmt: skip
        """`stream` for async code, with its arguments: `async for` piece, then `await` its `result()`.

        Raises:
            NlptasksError: as in `stream`, by the first step.
        """
        options = {**fields, "adapter": adapter, "model": model, "progress": progress, "cancel": cancel}
        return AsyncStream(lambda: self.stream(task, inputs, **options))

    def placement(self) -> Placement:
        """The device and dtype of loaded bases, with the reasons; imports torch."""
        from nlptasks.runtime.loading.devices import choose_placement

        return choose_placement(self.arguments["device"], self.arguments["dtype"])

    def resident(self) -> list[Resident]:
        """The bases in memory, or about to be, least recently used first."""
        return self._backends.resident()

    def _shares(self, request: Request, adapter: str | None, model: str | None) -> dict[str | None, list[int]]:
        """The indices of the inputs for each base; None is the task's default base."""
        shares: dict[str | None, list[int]] = {}
        for place, item in enumerate(request.inputs):
            base = model if adapter or model or self._model else self._bases.hub_model(request.task, item)
            shares.setdefault(base, []).append(place)
        for base in shares if request.task.open_labels else ():
            self.choose(request.task, adapter, base, request.options)
        return shares

    def _pieces(
        self, request: Request, adapter: str | None, model: str | None,
        progress: bool | Callable[[int, int], None], cancel: CancelToken,
    ) -> Generator[str, None, Any]:  # fmt: skip
        from nlptasks.progress import reporting

        task: Any = request.task
        (base,) = self._shares(request, adapter, model)
        with reporting(progress, 1) as counter, self.bind(task, adapter, base, cancel=cancel, counter=counter) as bound:
            result = yield from stream_task(request, bound, self.plugins.describe(task), self.settings.strict)
            return signed(result, bound)

    @contextmanager
    def bind(
        self,
        task: AnyTask,
        adapter: str | None = None,
        model: str | None = None,
        *,
        cancel: CancelToken | None = None,
        counter: Counter | None = None,
    ) -> Iterator[Model]:
        """The model for a task's request, for direct use of its verbs; stays loaded until the block ends."""
        for head in task.heads:
            # The task may not be registered.
            self._heads.setdefault(head.verb, head)
        chosen, base = self.choose(task, adapter, model)
        name, backend = self._backends.choose(base, chosen)
        if chosen and chosen.labels is None and chosen.verb == task.verb:
            from nlptasks.store.exchange import name_outputs, read_config

            # Of a base that a plugin computes there may be no file on this machine.
            config = (lambda: read_config(self._bases.find(base))) if name in BUILT_IN else dict
            chosen, _ = name_outputs(chosen, task, config)
        with backend.bind(base, chosen, cancel=cancel or CancelToken(), counter=counter) as bound:
            yield bound

    def _head(self, verb: str) -> Head:
        heads = {**self._heads, **self.plugins.heads}
        return heads.get(verb) or find_head(verb, heads, self.plugins.failure_notice() or "")

    def choose(
        self, task: AnyTask, adapter: str | None, model: str | None, options: Any = None
    ) -> tuple[AdapterFolder | None, str]:
        """The adapter and the name of the base for a request; nothing is loaded.

        A named adapter brings its base, unless `model` names another. Without one, the task's shipped adapter is used
        on its base. Validated `options` must go with the adapter: InvalidInputError.
        """
        chosen, base = self._bases.choose(task, adapter, model or self._model)
        if options is not None:
            task.check_options(options, chosen.name if chosen else None, chosen.labels if chosen else None)
        return chosen, base


class _DefaultEngine(Engine):
    """An engine that is set up on first use, so that its methods can be functions of the module."""

    def __init__(self) -> None:
        pass

    def __reduce__(self) -> str:
        # Functions of the module reach other processes by their names.
        return "_default"

    def __getattr__(self, name: str) -> Any:
        # Reentrant: a plugin may ask for the engine while it is imported.
        with _default_lock:
            if not vars(self):
                vars(self).update(vars(Engine()))
        return object.__getattribute__(self, name)


_default_lock = threading.RLock()
_default: Engine = _DefaultEngine()
hold_over_forks(_default_lock)
# The threads of its models stay in the parent: a child sets up an engine of its own.
at_fork(after_in_child=vars(_default).clear)

run = _default.run
stream = _default.stream
arun = _default.arun
astream = _default.astream


def default_engine() -> Engine:
    """The engine of `nlptasks.run`, `stream`, `arun` and `astream`."""
    return _default


def tasks() -> Mapping[str, AnyTask]:
    """The tasks of the installed plugins by name, in the order they were loaded; imports no torch."""
    return default_plugins().tasks


__all__ = ["Engine", "TaskInput", "arun", "astream", "default_engine", "run", "stream", "tasks"]
