"""A model without weights: every verb answers at once, the same for the same input."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nlptasks.backends import Resident
from nlptasks.errors import OverflowRefusedError, UnsupportedModelError
from nlptasks.model import (
    CancelToken,
    Completion,
    Decoding,
    Head,
    Likelihoods,
    Logits,
    Model,
    ModelInfo,
    ModelKind,
    Offsets,
    Prompt,
    SpanLogits,
    Stream,
    Text,
    TextStream,
    TokenLogits,
    TokenVectors,
    Vector,
)

if TYPE_CHECKING:
    from nlptasks.progress import Counter
    from nlptasks.store.adapters import AdapterFolder

Completions = Callable[[str], str] | Mapping[str, str] | Sequence[str]

_SPECIAL_TOKENS = 2
_HIDDEN_SIZE = 8
_MARGIN = 6.0
"""Raw score of the labels of `tags` and the spans of `answers`; all others have 0."""


class FakeModel(Model):
    """Stands in for a model in a task's tests. Tokens are the words between white space.

    What an argument does not decide is made from a hash of the input. There is no `classify` or `tag` without labels,
    and no `extract` without answers.

    Args:
        labels: what `classify` and `tag` choose from.
        kind: encoder, causal or seq2seq; an encoder writes nothing.
        scores: maps a text to its logits, one a label.
        tags: maps a text to label names, one a word.
        answers: maps a question and a context to the answer's (start, end) in the context, or to None.
        completions: what is written: a function of the prompt, a mapping from prompts, or a queue that each written
            text takes one from. A chat is the string that `render` makes; a mapping may name its last message alone.
        likelihoods: maps a prompt and a choice to a natural-log likelihood.
        head: a trained head of a family's own; it answers from `scores`, `tags` or `answers` too, and to a text
            without labels with one number.
        cancel, counter: the request's token, and what counts its progress.
        info: other fields of `ModelInfo`: `max_tokens`, `languages`, `has_offsets`, ...

    Attributes:
        calls: (verb, inputs) of every call.
        decodings: the `Decoding` of every call that writes.
    """

    def __init__(
        self,
        *,
        labels: Sequence[str] | None = None,
        kind: ModelKind = "encoder",
        scores: Callable[[Text], Sequence[float]] | None = None,
        tags: Callable[[str], Sequence[str]] | None = None,
        answers: Callable[[str, str], tuple[int, int] | None] | None = None,
        completions: Completions | None = None,
        likelihoods: Callable[[str, str], float] | None = None,
        head: Head | None = None,
        cancel: CancelToken | None = None,
        counter: Counter | None = None,
        **info: Any,
    ) -> None:
        abilities = {
            "embed": True,
            "classify": labels,
            "tag": labels,
            "extract": answers,
            "generate": kind != "encoder",
        }
        if head:
            abilities[head.verb] = True
        self.calls: list[tuple[str, list[Any]]] = []
        self.decodings: list[Decoding] = []
        self._scores = scores
        self._tags = tags
        self._answers = answers
        self._completions = completions if completions is None or callable(completions) else _lookup(completions)
        self._likelihoods = likelihoods
        self._cancel = cancel or CancelToken()
        self._head = head
        self._counter = counter
        trained_for = frozenset(verb for verb, able in abilities.items() if able)
        defaults: dict[str, Any] = {"name": "fake", "has_chat_template": kind == "causal", "trained_for": trained_for}
        self._info = ModelInfo(kind=kind, labels=tuple(labels) if labels else None, **{**defaults, **info})

    @property
    def info(self) -> ModelInfo:
        return self._info

    def classify(self, texts: Sequence[Text]) -> list[Logits]:
        self._record("classify", texts)
        labels = self._require_labels("classify")
        return [self._logits(text, labels) for text in texts]

    def tag(self, texts: Sequence[str]) -> list[TokenLogits]:
        self._record("tag", texts)
        labels = self._require_labels("tag")
        return [self._token_logits(text, labels) for text in texts]

    def extract(self, pairs: Sequence[tuple[str, str]]) -> list[SpanLogits]:
        self._record("extract", pairs)
        if self._answers is None:
            raise UnsupportedModelError("This FakeModel has no answers to extract: FakeModel(answers=...).")
        return [self._span_logits(question, context, self._answers(question, context)) for question, context in pairs]

    def apply(self, verb: str, items: Sequence[Any]) -> list[Any]:
        if verb in ("classify", "tag", "extract"):
            answers: list[Any] = getattr(self, verb)(items)
            return answers
        self._record(verb, items)
        if self._head is None or verb != self._head.verb:
            raise UnsupportedModelError(f"This FakeModel has no head for {verb}: FakeModel(head=...).")
        if self._head.per == "span" and self._answers:
            return [self._span_logits(first, second, self._answers(first, second)) for first, second in items]
        answer = {"token": self._token_logits, "vectors": self._token_vectors}.get(self._head.per, self._logits)
        return [answer(item, self._info.labels or ("",)) for item in items]

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        if not self._info.has_offsets:
            raise UnsupportedModelError("This FakeModel has no token offsets: FakeModel(has_offsets=True).")
        self._record("offsets", texts)
        return [Offsets(tuple(word.span() for word in _words(text))) for text in texts]

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        self._record("embed", texts)
        return [Vector(_unit_vector(text), *self._count(text)) for text in texts]

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Completion]:
        self._record("generate", prompts)
        self.decodings += [decoding] if prompts else []
        return [self._write(prompt, decoding) for prompt in prompts]

    def stream(self, prompt: Prompt, decoding: Decoding) -> TextStream:
        self._record("stream", [prompt])
        self.decodings.append(decoding)
        return Stream(self._speak(self._write(prompt, decoding)), self._cancel)

    def choose(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[tuple[float, ...]]:
        self._record("choose", prompts)
        self._require_writer()
        likelihood = self._likelihoods or (lambda prompt, choice: math.log(_unit(prompt, choice)))
        answers: list[tuple[float, ...]] = []
        for text in map(self.render, prompts):
            answer = Likelihoods(likelihood(text, choice) for choice in choices)
            answer.num_tokens, answer.truncated = self._count(text)
            answers.append(answer)
        return answers

    def submit(self, work: Callable[[Any, Any], Any]) -> Any:
        raise UnsupportedModelError(
            "FakeModel has no transformers model to run this on; test it on tiny_model(folder) instead."
        )

    @staticmethod
    def render(prompt: Prompt) -> str:
        """A prompt as one string: a chat becomes one `role: content` a line."""
        if isinstance(prompt, str):
            return prompt
        return "\n".join(f"{message.role}: {message.content}" for message in prompt)

    def _record(self, verb: str, inputs: Sequence[Any]) -> None:
        self._cancel.raise_if_cancelled()
        if inputs:  # A real model does nothing for an empty list either.
            self.calls.append((verb, list(inputs)))
        if self._counter and verb not in ("offsets", "stream"):
            self._counter.ask(len(inputs))
            self._counter.advance(len(inputs))

    def _require_labels(self, verb: str) -> tuple[str, ...]:
        if self._info.labels is None:
            raise UnsupportedModelError(f"This FakeModel has no labels to {verb} with: FakeModel(labels=[...]).")
        return self._info.labels

    def _require_writer(self) -> None:
        if self._info.kind == "encoder":
            raise UnsupportedModelError('This FakeModel is an encoder and cannot write: FakeModel(kind="causal").')

    def _logits(self, text: Text, labels: Sequence[str]) -> Logits:
        values = [8 * _unit(repr(text), label) - 4 for label in labels] if self._scores is None else self._scores(text)
        if len(values) != len(labels):
            raise ValueError(f"scores: expected {len(labels)} logits, one a label, found {len(values)} for {text!r}.")
        return Logits(tuple(float(value) for value in values), *self._count(text))

    def _token_logits(self, text: str, labels: Sequence[str]) -> TokenLogits:
        words = _words(text)
        if self._tags is None:
            values = [tuple(8 * _unit(text, str(i), label) - 4 for label in labels) for i in range(len(words))]
        else:
            values = [_one_hot(tag, labels) for tag in self._tags(text)]
        if len(values) != len(words):
            raise ValueError(f"tags: expected {len(words)} labels, one a word, found {len(values)} for {text!r}.")
        room = max(0, self._info.max_tokens - _SPECIAL_TOKENS)
        return TokenLogits(tuple(word.span() for word in words[:room]), tuple(values[:room]), *self._count(text))

    def _token_vectors(self, text: str, labels: Sequence[str]) -> TokenVectors:
        import numpy as np

        answer = self._token_logits(text, labels)
        return TokenVectors(answer.spans, np.array(answer.values, np.float32), answer.num_tokens, answer.truncated)

    def _span_logits(self, question: str, context: str, answer: tuple[int, int] | None) -> SpanLogits:
        if answer and not 0 <= answer[0] < answer[1] <= len(context):
            raise ValueError(f"answers: expected a span of characters in the context, found {answer} for {context!r}.")
        spans = tuple(word.span() for word in _words(context))[: self._room(question)]
        covered = [i for i, (start, end) in enumerate(spans) if answer and start < answer[1] and answer[0] < end]
        return SpanLogits(
            spans,
            tuple(_MARGIN * (i in covered[:1]) for i in range(len(spans))),
            tuple(_MARGIN * (i in covered[-1:]) for i in range(len(spans))),
            0.0 if covered else 2 * _MARGIN,
            *self._count((question, context)),
        )

    def _room(self, question: str) -> int:
        """Words of a context that are read after the question."""
        taken = len(_words(question)) + _SPECIAL_TOKENS + 1
        if taken >= self._info.max_tokens:
            raise OverflowRefusedError(
                f"Expected a question that leaves room for its context within {self._info.max_tokens} tokens, "
                f"found one that takes {taken} with the special tokens: shorten the question."
            )
        return self._info.max_tokens - taken

    def _count(self, text: Text) -> tuple[int, bool]:
        """Tokens that are read, and whether some are not."""
        parts = (text,) if isinstance(text, str) else text
        count = sum(len(_words(part)) for part in parts) + _SPECIAL_TOKENS + len(parts) - 1
        return min(count, self._info.max_tokens), count > self._info.max_tokens

    def _speak(self, completion: Completion) -> Generator[str, None, Completion]:
        for piece in _pieces(completion.text):
            self._cancel.raise_if_cancelled()
            yield piece
        return completion

    def _write(self, prompt: Prompt, decoding: Decoding) -> Completion:
        self._require_writer()
        text = self.render(prompt)
        room = max(1, self._info.max_tokens - decoding.max_new_tokens)
        length = len(_words(text))
        if length > room and not decoding.truncate_prompt:
            raise OverflowRefusedError(f"The prompt has {length} tokens, the model has room for {room}.")
        written = self._completions(text) if self._completions else f"answer {_digest(text).hex()[:8]}"
        cut = min((at for stop in decoding.stop if (at := written.find(stop)) >= 0), default=len(written))
        tokens = _pieces(written[:cut])
        pieces = tokens[: decoding.max_new_tokens]
        return Completion(
            text="".join(pieces),
            finish_reason="length" if len(pieces) < len(tokens) else "stop",
            num_prompt_tokens=min(length, room),
            num_generated_tokens=len(pieces),
            logprobs=tuple(math.log(_unit(text, f"{index}{piece}")) for index, piece in enumerate(pieces)),
            tokens=tuple(pieces) if decoding.logprobs else (),
            truncated=length > room,
        )


class FakeBackend:
    """A backend without weights: `make(**arguments)` returns the model of each request, by default a `FakeModel`.

    `make` gets the base as `name`, the name of the `adapter`, the request's `cancel` and its `counter` too. `models`
    has all models so far, in order.

    engine = Engine(backend=FakeBackend(labels=("low", "high"), scores=lambda text: (0.0, 5.0)))
    """

    def __init__(self, make: Callable[..., Model] = FakeModel, **arguments: Any) -> None:
        self._make = functools.partial(make, **arguments)
        self.models: list[Any] = []

    def serves(self, base: str, adapter: AdapterFolder | None) -> bool:
        """True: it serves any base."""
        return True

    @contextmanager
    def bind(
        self, base: str, adapter: AdapterFolder | None, *, cancel: CancelToken, counter: Counter | None
    ) -> Iterator[Model]:
        """A new model."""
        model = self._make(name=base, adapter=adapter and adapter.name, cancel=cancel, counter=counter)
        self.models.append(model)
        yield model

    def resident(self) -> list[Resident]:
        """The bases of all models; they take no memory."""
        return [Resident(name) for name in dict.fromkeys(model.info.name for model in self.models)]

    def close(self) -> None:
        """Does nothing."""


def _lookup(completions: Mapping[str, str] | Sequence[str]) -> Callable[[str], str]:
    queue = None if isinstance(completions, Mapping) else list(completions)

    def complete(prompt: str) -> str:
        if queue:
            return queue.pop(0)
        if not isinstance(completions, Mapping):
            raise IndexError(f"FakeModel has no completion left for the prompt {prompt!r}.")
        for key in (prompt, prompt.rsplit("\nuser: ", 1)[-1].removeprefix("user: ")):
            if key in completions:
                return completions[key]
        raise KeyError(f"FakeModel has no completion for the prompt {prompt!r}.")

    return complete


def _one_hot(tag: str, labels: Sequence[str]) -> tuple[float, ...]:
    if tag not in labels:
        raise ValueError(f"tags: expected one of {', '.join(labels)}, found {tag!r}.")
    return tuple(_MARGIN * (label == tag) for label in labels)


def _words(text: str) -> list[re.Match[str]]:
    return list(re.finditer(r"\S+", text))


def _pieces(text: str) -> list[str]:
    """Words with the white space before them; together they are the text."""
    return re.findall(r"\s*\S+(?:\s+\Z)?|\s+\Z", text)


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).digest()


def _unit(*parts: str) -> float:
    """A number between 0 and 1, never either."""
    return (int.from_bytes(_digest(*parts)[:6], "big") + 1) / (2**48 + 2)


def _unit_vector(text: str) -> tuple[float, ...]:
    values = [2 * _unit(text, str(index)) - 1 for index in range(_HIDDEN_SIZE)]
    length = math.sqrt(sum(value * value for value in values))
    return tuple(value / length for value in values)
