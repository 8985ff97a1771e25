"""Typed results. Each names the model that produced it, and whether any input was cut."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

FinishReason = Literal["stop", "length", "cancelled"]


class Result(BaseModel):
    """Base of all results: frozen, JSON in and out, never a tensor.

    `main_field` names the field that is the answer itself, if the others only describe it; views show a field `note`
    below it.
    """

    main_field: ClassVar[str] = ""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(default="", description="Base model: catalog name, Hub id or folder.")
    adapter: str | None = Field(default=None, description="Adapter, or null for the bare base.")
    truncated: bool = Field(default=False, description="True when part of the input was not read.")
    num_tokens: int = Field(default=0, ge=0, description="Tokens of the input.")
    windows: int = Field(default=1, ge=1, description="Windows that the input was read in.")
    windowed_by: Literal["tokens", "characters"] = Field(
        default="tokens",
        description="How a long input was cut: by `characters` if the model cannot count tokens; windows are then "
        "smaller than necessary, and `num_tokens` may be an estimate.",
    )
    note: str | None = Field(default=None, description="A remark on how the answer came about.")

    def noted(self, note: str | None) -> Self:
        """The result with one more remark."""
        return self.model_copy(update={"note": "; ".join(filter(None, (self.note, note)))}) if note else self

    def to_hf(self) -> Any:
        """The answer in the shape of transformers' v4 pipeline for this task."""
        return self.model_dump()


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

    def to_hf(self) -> list[dict[str, Any]]:
        """v4's `[{"label": ..., "score": ...}]`: the best label only, as its default `top_k=1` gave."""
        return [{"label": self.scores[0].label, "score": self.scores[0].score}]


class Entity(BaseModel):
    """A named span of a text; `text == source[start:end]` in code points."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    text: str
    start: int = Field(ge=0, description="Code point of the first character.")
    end: int = Field(ge=0, description="Code point after the last character.")
    score: float = Field(ge=0, le=1, description="Calibrated probability that this span has this label.")


class Entities(Result):
    """The entities of a text, in reading order; no two overlap."""

    entities: tuple[Entity, ...] = Field(description="Spans with a label; no two overlap.")

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
    null_score: float = Field(description="Raw score of no answer minus that of the best span.")
    alternatives: tuple[AnswerSpan, ...] = Field(
        default=(), description="The `top_k` best spans that do not overlap, best first."
    )

    def to_hf(self) -> dict[str, Any]:
        """v4's `{"score", "start", "end", "answer"}`."""
        return {"score": self.score, "start": self.start, "end": self.end, "answer": self.text}


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_min_length=0)

    role: Literal["system", "user", "assistant"]
    content: str


class GeneratedText(Result):
    """Text that a language model wrote."""

    text: str = Field(description="The new text, without the prompt.")
    finish_reason: FinishReason = Field(description="`stop`: the model or a stop string ended it; `length`: the limit.")
    num_generated_tokens: int = Field(default=0, ge=0, description="Tokens that the model wrote.")
    messages: tuple[Message, ...] | None = Field(
        default=None, description="For chat input: the conversation with the answer appended."
    )
    prompt: str | None = Field(default=None, description="For plain input: the prompt.")

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

    summary: str = Field(description="The text in fewer words.")
    chunks: tuple[SummaryChunk, ...] = Field(
        default=(), description="The parts that were read, in order; together all characters but white space."
    )
    coverage: float = Field(
        default=1.0, ge=0, le=1, description="Share of the text's characters, without white space, that were read."
    )
    note: str | None = Field(default=None, description="A remark, e.g. that the summary is not the model's.")

    def to_hf(self) -> list[dict[str, Any]]:
        """v4's `[{"summary_text": ...}]`."""
        return [{"summary_text": self.summary}]
