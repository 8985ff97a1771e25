"""Typed results. Each names the model that produced it, and whether any input was cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from nlptasks.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas

FinishReason = Literal["stop", "length", "cancelled"]


class Result(BaseModel):
    """Base of all results: frozen, JSON in and out, never a tensor.

    `main_field` names the field that is the answer itself, if the others only describe it; views show a field `note`
    below it. `flat_in_hf` says that a v4 pipeline gave a list of texts one dictionary each, not a list each.
    """

    main_field: ClassVar[str] = ""
    flat_in_hf: ClassVar[bool] = False

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(default="", description="Base model: catalog name, Hub id or folder.")
    adapter: str | None = Field(default=None, description="Adapter, or null for the bare base.")
    truncated: bool = Field(default=False, description="True when part of the input was not read.")
    num_tokens: int = Field(default=0, ge=0, description="Tokens of the input.")
    windows: int = Field(default=1, ge=1, description="Windows that the input was read in.")
    unknown: int = Field(default=0, ge=0, description="Tokens of the input that the model's vocabulary lacks.")
    note: str | None = Field(default=None, description="A remark for the reader of the answer.")
    windowed_by: Literal["tokens", "characters"] = Field(
        default="tokens",
        description="How a long input was cut: by `characters` if the model cannot count tokens; windows are then "
        "smaller than necessary, and `num_tokens` may be an estimate.",
    )

    def noted(self, note: str | None) -> Self:
        """The result with one more remark."""
        return self.model_copy(update={"note": "; ".join(filter(None, (self.note, note)))}) if note else self

    def remarks(self) -> list[str]:
        """Remarks on parts of the answer, one a line; the command line prints them below it."""
        return []

    def to_hf(self) -> Any:
        """The answer in the shape of transformers' v4 pipeline for this task."""
        return self.model_dump()

    def answer(self) -> dict[str, Any]:
        """The fields of the answer itself as JSON values, without those that all results have."""
        return self.model_dump(mode="json", exclude=set(Result.model_fields))

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """The answer first, then what differs from its default."""
        left_out = {name: field.exclude_if for name, field in type(self).model_fields.items() if field.exclude_if}
        pairs = [(str(name), value) for name, value in super().__repr_args__()]
        pairs = [(name, value) for name, value in pairs if name not in left_out or not left_out[name](value)]
        shared = Result.model_fields
        yield from (pair for pair in pairs if pair[0] not in shared)
        yield from (pair for pair in pairs if pair[0] in shared and pair[1] != shared[pair[0]].default)

    def _repr_html_(self) -> str:
        return _html_table([self.answer()])


R = TypeVar("R", bound=Result)


class Results(list[R]):
    """The results of several inputs, in their order: a list that notebooks show as a table."""

    def to_frame(self) -> pandas.DataFrame:
        """A pandas DataFrame with a row for each result and its fields as columns.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("A DataFrame", "train") from error
        return pandas.DataFrame([{**one.answer(), **one.model_dump(include=set(Result.model_fields))} for one in self])

    def to_hf(self, **options: Any) -> list[Any]:
        """The answers as a v4 pipeline returned them for a list; `options` go to the results' `to_hf`.

        A task with one dictionary for each text, such as classification, has a flat list of them.
        """
        answers = [one.to_hf(**options) for one in self]
        flat = not options and all(one.flat_in_hf for one in self)
        return [answer[0] for answer in answers] if flat else answers

    def _repr_html_(self) -> str:
        return _html_table([one.answer() for one in self])


def _html_table(rows: list[dict[str, Any]]) -> str:
    """Rows as an HTML table, escaped; the columns are those of the first."""
    names = list(rows[0]) if rows else []
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    cells = ("".join(f"<td>{escape(_cell(row.get(name)))}</td>" for name in names) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _cell(value: Any) -> str:
    match value:
        case float():
            return f"{value:.3f}"
        case list():
            return "; ".join(map(_cell, value))
        case Mapping():
            return " ".join(map(_cell, value.values()))
        case _:
            return str(value)


def _is_empty(value: Any) -> bool:
    """Explanations are no part of an answer that was not asked for them."""
    return not value


class WordWeight(BaseModel):
    """How much a word of the input, or a few neighbouring ones, speaks for an answer; negative: against it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    start: int = Field(ge=0, description="Code point of the first character.")
    end: int = Field(ge=0, description="Code point after the last character.")
    weight: float = Field(description="Log-odds of the answer, in nats, less those without these words.")
    field: str = Field(default="text", description="The field of the input that the words are in.")


class Explanation(BaseModel):
    """The weights of an input's words for one answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str = Field(description="What is explained: a label, an entity's label, or an answer's text.")
    start: int | None = Field(default=None, description="Code point of an entity's first character.")
    end: int | None = Field(default=None, description="Code point after an entity's last character.")
    words: tuple[WordWeight, ...] = Field(description="The words that were read, in their order.")
    method: Literal["leave-one-out"] = Field(
        default="leave-one-out", description="How the weights were computed: by answering again without each word."
    )


class LabelScore(BaseModel):
    """One label and its probability."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    score: float = Field(ge=0, le=1)


class Classification(Result):
    """A label with its probability; `scores` always holds every label, best first."""

    label: str | None = Field(description="Best label; null when its score is under the threshold.")
    score: float = Field(ge=0, le=1, description="Calibrated probability of the best label.")
    scores: tuple[LabelScore, ...] = Field(description="All labels, sorted by score, highest first.")
    labels: tuple[str, ...] = Field(description="Labels at or above the threshold; one at most unless multi-label.")
    explanations: tuple[Explanation, ...] = Field(
        default=(),
        exclude_if=_is_empty,
        description="With the option `explain`: how the words speak for each of the 20 best labels.",
    )

    flat_in_hf: ClassVar[bool] = True

    def to_hf(self, top_k: int | None = 1) -> list[dict[str, Any]]:
        """v4's `[{"label": ..., "score": ...}]`: the `top_k` best labels, None for all."""
        return [{"label": one.label, "score": one.score} for one in self.scores[:top_k]]


class Entity(BaseModel):
    """A named span of a text; `text == source[start:end]` in code points."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    text: str
    start: int = Field(ge=0, description="Code point of the first character.")
    end: int = Field(ge=0, description="Code point after the last character.")
    score: float = Field(ge=0, le=1, description="Calibrated probability that this span has this label.")


class Entities(Result):
    """The entities of a text, in reading order; no two overlap unless nested ones were requested (`flat=False`)."""

    entities: tuple[Entity, ...] = Field(
        description="Spans with a label; no two overlap, or with flat=False one may lie within another."
    )
    explanations: tuple[Explanation, ...] = Field(
        default=(),
        exclude_if=_is_empty,
        description="With the option `explain`: how the words around speak for each entity.",
    )

    def to_hf(self) -> list[dict[str, Any]]:
        """v4's grouped shape: `[{"entity_group", "score", "word", "start", "end"}]`."""
        return [
            {"entity_group": e.label, "score": e.score, "word": e.text, "start": e.start, "end": e.end}
            for e in self.entities
        ]


class AnswerSpan(BaseModel):
    """One possible answer; `text == context[start:end]` in code points."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    start: int = Field(ge=0, description="Code point of the first character.")
    end: int = Field(ge=0, description="Code point after the last character.")
    score: float = Field(ge=0, le=1, description="Probability among the candidates of all windows and no answer.")


class Answer(Result):
    """The answer to a question in a context, or that there is none."""

    text: str = Field(description="The answer, as it is in the context; empty when there is none.")
    start: int = Field(ge=0, description="Code point of the first character; 0 when there is no answer.")
    end: int = Field(ge=0, description="Code point after the last character; 0 when there is no answer.")
    score: float = Field(ge=0, le=1, description="Probability of this answer, or of there being none.")
    answerable: bool = Field(description="False when no answer is more likely than the threshold allows.")
    null_score: float = Field(
        description="Raw score of no answer minus that of the best span. There is no answer where it is above the "
        "threshold, which may be negative."
    )
    alternatives: tuple[AnswerSpan, ...] = Field(
        default=(), description="The `top_k` best spans that do not overlap, best first."
    )
    explanations: tuple[Explanation, ...] = Field(
        default=(),
        exclude_if=_is_empty,
        description="With the option `explain`: how the words of question and context speak for the answer.",
    )

    def to_hf(self) -> dict[str, Any]:
        """v4's `{"score", "start", "end", "answer"}`."""
        return {"score": self.score, "start": self.start, "end": self.end, "answer": self.text}


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_min_length=0)

    role: Literal["system", "user", "assistant"]
    content: str


class TokenLogprob(BaseModel):
    """A token that a language model wrote, and how likely it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: str = Field(description="Text of the token; U+FFFD where it is a part of a character.")
    logprob: float = Field(description="Natural logarithm of its probability.")


class GeneratedText(Result):
    """Text that a language model wrote."""

    text: str = Field(description="The new text, without the prompt.")
    finish_reason: FinishReason = Field(description="`stop`: the model or a stop string ended it; `length`: the limit.")
    num_generated_tokens: int = Field(default=0, ge=0, description="Tokens that the model wrote.")
    messages: tuple[Message, ...] | None = Field(
        default=None, description="For chat input: the conversation with the answer appended."
    )
    prompt: str | None = Field(default=None, description="For plain input: the prompt.")
    logprobs: tuple[TokenLogprob, ...] | None = Field(
        default=None, description="With the option logprobs: the tokens, a mark that ends the text included."
    )

    def to_hf(self) -> list[dict[str, Any]]:
        """v4's `[{"generated_text": ...}]`: prompt and new text, or the whole conversation for chat input."""
        if self.messages is not None:
            return [{"generated_text": [message.model_dump() for message in self.messages]}]
        return [{"generated_text": (self.prompt or "") + self.text}]


class SummaryChunk(BaseModel):
    """A part of a text that was summarized at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int = Field(ge=0, description="Code point of the first character.")
    end: int = Field(ge=0, description="Code point after the last character.")
    summary: str = Field(description="Summary of the part.")


class Summary(Result):
    """A text in fewer words; no longer than the text, and of whole sentences."""

    main_field: ClassVar[str] = "summary"
    flat_in_hf: ClassVar[bool] = True

    summary: str = Field(description="The text in fewer words.")
    chunks: tuple[SummaryChunk, ...] = Field(
        default=(), description="The parts that were read, in order; together all characters but white space."
    )
    coverage: float = Field(
        default=1.0, ge=0, le=1, description="Share of the text's characters, without white space, that were read."
    )

    def to_hf(self) -> list[dict[str, Any]]:
        """v4's `[{"summary_text": ...}]`."""
        return [{"summary_text": self.summary}]
