"""The one protocol in which tasks and models meet: a few batched verbs, list in, list out.

A task never sees a tensor and a model never sees a task. A `Model` is bound to one adapter and to
one cancel token; calls from many threads meet in its queue and share batches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Generic, Literal, Protocol, TypeVar

from nlptasks.errors import CancelledError, NlptasksError, UnknownNameError
from nlptasks.results import FinishReason, Message

Text = str | tuple[str, str]
"""A text, or a pair that the tokenizer joins with its separator."""

Prompt = str | Sequence[Message]
"""Plain text to continue, or a chat to answer through the model's own template."""

ModelKind = Literal["encoder", "causal", "seq2seq"]


@dataclass(frozen=True)
class Head:
    """The layers that answer a verb on top of a base, and what the gate lets pass. All of it is JSON.

    `per` is what the head reads and answers with: `Logits` for a `text` or a pair, `TokenLogits` for each `token` of a
    text, `TokenVectors` for the `vectors` of its tokens, `SpanLogits` for a (question, context), a `Vector` for a text;
    a `prompt` is continued by the base's own output layer. Vectors of texts and prompts need no layers of a head: such
    adapters change the base only.

    `model` names transformers' class of the task model. A head that transformers does not have is made by `make`,
    "package.module:function": from the base's configuration, with `num_labels` set, to a torch module that maps hidden
    states of shape (rows, tokens, hidden) and their mask of shape (rows, tokens) to (rows, outputs) for a `text`,
    (rows, tokens, outputs) for each `token` or its `vectors`. Its layers are trained and saved whole.

    `task_type` is PEFT's name for such adapters. `tolerance` bounds the difference between trained and served numbers,
    as a share of the largest; folding LoRA in float32 differs by about 1e-6.
    """

    verb: str
    per: Literal["text", "token", "vectors", "span", "vector", "prompt"] = "text"
    model: str = ""
    make: str = ""
    task_type: str = "FEATURE_EXTRACTION"
    tolerance: float = 1e-3

    @property
    def has_layers(self) -> bool:
        """Whether layers stand on the base."""
        return self.per not in ("vector", "prompt")


CLASSIFY = Head("classify", "text", "AutoModelForSequenceClassification", task_type="SEQ_CLS")
CLASSIFY_MEAN = Head("classify_mean", "text", make="nlptasks.runtime.loading.new_head:MeanClassifier")
TAG = Head("tag", "token", "AutoModelForTokenClassification", task_type="TOKEN_CLS")
EXTRACT = Head("extract", "span", "AutoModelForQuestionAnswering", task_type="QUESTION_ANS")
EMBED = Head("embed", "vector")
GENERATE = Head("generate", "prompt", task_type="CAUSAL_LM")

# EMBED last of those with its task_type: a folder of PEFT that says no more holds no head.
HEADS: Mapping[str, Head] = MappingProxyType(
    {head.verb: head for head in (CLASSIFY, CLASSIFY_MEAN, TAG, EXTRACT, EMBED, GENERATE)}
)
"""The heads of nlptasks by their verbs. A plugin's task may define others: `Task.head`, `Task.other_heads`."""


def find_head(verb: str, heads: Mapping[str, Head] = HEADS, hint: str = "") -> Head:
    """The head that answers a verb; raises UnknownNameError if there is none."""
    if verb not in heads:
        raise UnknownNameError("verb", verb, heads, hint)
    return heads[verb]


class CancelToken:
    """Cancels the computation of one request."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Request the end of the computation; returns at once."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise CancelledError once `cancel` was called."""
        if self.cancelled:
            raise CancelledError("The request was cancelled before it was finished.")


@dataclass(frozen=True)
class ModelInfo:
    """The properties of a model that a task may use."""

    name: str
    kind: ModelKind
    adapter: str | None = None
    """The adapter's name; the model's name if all its weights were trained here, or an adapter was merged into it."""
    labels: tuple[str, ...] | None = None
    multi_label: bool = False
    temperature: float = 1.0
    threshold: float | None = None
    bias: float | None = None
    """The raw score at which a label that a caller names applies as likely as not; None if that was not measured."""
    max_tokens: int = 512
    has_chat_template: bool = False
    model_type: str = ""
    """transformers' name of the architecture: `llama`, `marian`, ..."""
    prefixes: Mapping[str, str] = field(default_factory=dict)
    """The prefix of an input by task, as the checkpoint was trained: T5's `summarization`, `translation_en_to_fr`."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The checkpoint's generation settings by task, as in `prefixes`: fields of `Decoding`."""
    languages: tuple[str, ...] = ()
    """BCP 47 tags of the languages that the tokenizer marks texts with; `Decoding` takes them. Empty for most."""
    direction: tuple[str, str] | None = None
    """BCP 47 tags of the (source, target) languages of a bilingual checkpoint."""
    trained_for: frozenset[str] = frozenset()
    """Verbs that have a trained head here: `classify`, `generate`, ..."""
    reads_emoji: bool = True
    """Whether the vocabulary has emoji; where it lacks them, a text is read with their names instead."""
    has_offsets: bool = True
    """Whether the model has `offsets`; without them long texts are cut by their characters."""
    version: str = ""
    """Differs wherever the weights of base or adapter do, so that answers may be kept by it; "" if that is unknown."""

    def preset(self, task: str, decoding: Decoding) -> Decoding:
        """`decoding` with the checkpoint's settings for a task, if it has some, in place of None."""
        preset = {name: value for name, value in self.presets.get(task, {}).items() if getattr(decoding, name) is None}
        if "min_new_tokens" in preset:
            preset["min_new_tokens"] = min(preset["min_new_tokens"], decoding.max_new_tokens)
        return replace(decoding, **preset)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """How much of a text the vocabulary holds: its number of `unknown` tokens; `unread` if no token is known."""

    unknown: int = 0
    unread: bool = False


@dataclass(frozen=True)
class Logits(Vocabulary):
    """`values[i]` is the raw score of the i-th label of `ModelInfo.labels`."""

    values: tuple[float, ...]
    num_tokens: int
    truncated: bool = False


@dataclass(frozen=True)
class Offsets:
    """`spans[i]` is the (start, end) code points of the i-th token, special tokens left out."""

    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TokenLogits(Vocabulary):
    """`values[i][j]` is the raw score of the j-th label for the i-th token, special tokens left out.

    `spans[i]` is the token's (start, end) in code points of the text, as the tokenizer gives it.
    """

    spans: tuple[tuple[int, int], ...]
    values: tuple[tuple[float, ...], ...]
    num_tokens: int
    truncated: bool = False


@dataclass(frozen=True)
class TokenVectors(Vocabulary):
    """`values`, a numpy array in float32 of shape (tokens, outputs), has a head's numbers for each token.

    Special tokens are left out; `spans` is as in `TokenLogits`.
    """

    spans: tuple[tuple[int, int], ...]
    values: Any = field(compare=False)
    num_tokens: int
    truncated: bool = False


@dataclass(frozen=True)
class SpanLogits(Vocabulary):
    """Raw scores that an answer starts, or ends, at each token of the context.

    `spans[i]` is the i-th token's (start, end) in code points of the context. `null` is the raw score of "no
    answer here": the start and end scores of the first special token together.
    """

    spans: tuple[tuple[int, int], ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]
    null: float
    num_tokens: int
    truncated: bool = False


@dataclass(frozen=True)
class Vector(Vocabulary):
    """A text's embedding, unit length; `values` has the model's hidden size."""

    values: tuple[float, ...]
    num_tokens: int
    truncated: bool = False


class Likelihoods(tuple[float, ...]):
    """Natural-log likelihoods of choices after a prompt, in nats; `truncated` if the prompt's start was not read."""

    num_tokens: int = 0
    truncated: bool = False


@dataclass(frozen=True)
class Decoding:
    """Generation settings, with transformers' names and meanings. Greedy unless `do_sample`.

    None leaves a setting to the checkpoint's own generation config. `num_return_sequences` is the number of texts
    for each prompt, the best first; more than one needs as many beams. The languages are BCP 47
    tags, for models that have `ModelInfo.languages`.
    """

    max_new_tokens: int = 256
    min_new_tokens: int | None = 0
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float | None = 1.0
    no_repeat_ngram_size: int | None = 0
    num_beams: int | None = 1
    length_penalty: float | None = 1.0
    early_stopping: bool | None = None
    num_return_sequences: int = 1
    source_language: str | None = None
    target_language: str | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    """Fill `Completion.tokens`."""
    truncate_prompt: bool = True
    """Keep the end of a prompt that does not fit; False raises OverflowRefusedError."""


@dataclass(frozen=True)
class Completion:
    """One finished text; `logprobs[i]` belongs to the i-th generated token, in nats.

    `tokens` are the texts of the tokens, with `Decoding.logprobs`.
    `alternatives` are the other texts of `num_return_sequences`, best first. `note` is a remark for the result.
    """

    text: str
    finish_reason: FinishReason
    num_prompt_tokens: int
    num_generated_tokens: int
    logprobs: tuple[float, ...] = field(default=(), repr=False)
    tokens: tuple[str, ...] = field(default=(), repr=False)
    truncated: bool = False
    alternatives: tuple[Completion, ...] = ()
    note: str | None = None


T = TypeVar("T")


class Stream(Generic[T]):
    """Pieces of one text as they are written, then the value that they end in: a `Completion`, or a task's result.

    `pieces` is a generator that yields them and returns the value, so that `value = yield from stream` makes one
    stream part of another. Iterate once. To leave the loop early, `close` and the end of a with-block set `cancel`,
    which stops the computation within one step.
    """

    def __init__(self, pieces: Generator[str, None, T], cancel: CancelToken | None = None) -> None:
        self._pieces = pieces
        self._cancel = cancel or CancelToken()
        self._values: list[T] = []
        self._closed = False

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Generator[str, None, T]:
        try:
            while not self._values and not self._closed:
                try:
                    piece = next(self._pieces)
                except StopIteration as end:
                    self._values.append(end.value)
                else:
                    yield piece
        finally:
            self.close()
        return self._values[0] if self._values else None  # type: ignore[return-value]

    def close(self) -> None:
        """Stop the computation within one step; safe to call twice, and from another thread than the reader's."""
        self._closed = True
        if not self._values:
            self._cancel.cancel()
            # A reader that waits for a piece just now ends by the token; its generator cannot be closed from here.
            with suppress(ValueError):
                self._pieces.close()

    def result(self) -> T:
        """The value at the end; reads the rest of the pieces first.

        Raises:
            NlptasksError: the stream was closed before its end.
        """
        for _ in self:
            pass
        if not self._values:
            raise NlptasksError("The stream was closed before its end: there is no result.")
        return self._values[0]


TextStream = Stream[Completion]
"""What a model writes for one prompt, piece by piece."""


class Model(Protocol):
    """What a task can do with a model."""

    @property
    def info(self) -> ModelInfo: ...

    def classify(self, texts: Sequence[Text]) -> list[Logits]:
        """Raw label scores of each text."""
        ...

    def tag(self, texts: Sequence[str]) -> list[TokenLogits]:
        """Raw label scores of each text's tokens."""
        ...

    def extract(self, pairs: Sequence[tuple[str, str]]) -> list[SpanLogits]:
        """Raw start and end scores over the tokens of the context, for each (question, context)."""
        ...

    def apply(self, verb: str, items: Sequence[Text]) -> list[Any]:
        """The answer of a verb's trained head to each item, of the type that `Head.per` names.

        `classify`, `tag` and `extract` are this for the heads of nlptasks.

        Raises:
            AdapterError: the adapter is for another verb.
            UnsupportedModelError: there is no adapter, and the base has no such head.
        """
        ...

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        """Character spans of each text's tokens, whatever its length; only where `info.has_offsets`."""
        ...

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One unit vector for each text: mean of the last hidden states."""
        ...

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Completion]:
        """A continuation or an answer for each prompt."""
        ...

    def stream(self, prompt: Prompt, decoding: Decoding) -> TextStream:
        """The same as `generate` for one prompt, piece by piece; beam search writes one piece at the end."""
        ...

    def choose(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[tuple[float, ...]]:
        """Natural-log likelihood of each choice after each prompt, in nats, in the order of `choices`.

        `Likelihoods` also say whether the prompt was cut.
        """
        ...

    def submit(self, work: Callable[[Any, Any], Any]) -> Any:
        """Run `work(transformers_model, tokenizer)` on the model's own thread and return what it returns.

        Raises:
            UnsupportedModelError: the backend has no model of transformers.
        """
        ...
