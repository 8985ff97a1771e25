"""What all remote models share: verbs that need weights on this machine are refused in words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from nlptasks.errors import UnsupportedModelError
from nlptasks.model import (
    CancelToken,
    Completion,
    Decoding,
    Logits,
    ModelInfo,
    Offsets,
    Prompt,
    SpanLogits,
    Text,
    TextStream,
    TokenLogits,
    Vector,
)
from nlptasks.remote.address import Address
from nlptasks.remote.waiting import Put

if TYPE_CHECKING:
    from nlptasks.progress import Counter
    from nlptasks.remote.server import Server

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Call(Protocol):
    """`RemoteBackend.call`."""

    def __call__(
        self, cancel: CancelToken, work: Callable[[Put], Coroutine[Any, Any, T]], /
    ) -> Generator[Any, None, T]: ...


class RemoteModel(ABC):
    """`nlptasks.model.Model` on a server; every verb is refused with what to do instead."""

    def __init__(
        self, address: Address, server: Server, call: Call, cancel: CancelToken, counter: Counter | None
    ) -> None:
        self._address = address
        self._server = server
        self._call = call
        self._cancel = cancel
        self._counter = counter

    @property
    @abstractmethod
    def info(self) -> ModelInfo:
        """What a task may use of it."""

    def classify(self, texts: Sequence[Text]) -> list[Logits]:
        return self.apply("classify", texts)

    def tag(self, texts: Sequence[str]) -> list[TokenLogits]:
        return self.apply("tag", texts)

    def extract(self, pairs: Sequence[tuple[str, str]]) -> list[SpanLogits]:
        return self.apply("extract", pairs)

    def apply(self, verb: str, items: Sequence[Text]) -> list[Any]:
        raise self._refusal(verb)

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        raise self._refusal("offsets")

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        raise self._refusal("embed")

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Completion]:
        raise self._refusal("generate")

    def stream(self, prompt: Prompt, decoding: Decoding) -> TextStream:
        raise self._refusal("stream")

    def choose(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[tuple[float, ...]]:
        raise self._refusal("choose")

    def submit(self, work: Callable[[Any, Any], Any]) -> Any:
        raise self._refusal("submit")

    def _refusal(self, verb: str) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"{self._address.base} is on a server and has no {verb}: name a base of this machine, or a task of an "
            "nlptasks server, as nlptasks:TASK@http://HOST:PORT."
        )

    def _all(self, work: Callable[[Put], Coroutine[Any, Any, list[T]]], count: int) -> list[T]:
        """The answers of a call, whose progress is counted here, in the caller's thread."""
        if self._counter:
            self._counter.ask(count)
        pieces = self._call(self._cancel, work)
        while True:
            try:
                number = next(pieces)
            except StopIteration as end:
                answers: list[T] = end.value
                return answers
            if self._counter:
                self._counter.advance(number)
