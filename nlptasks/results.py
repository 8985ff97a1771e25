"""Typed answers. Every result says which model gave it and whether anything was cut."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FinishReason = Literal["stop", "length", "cancelled"]


class Result(BaseModel):
    """What every task answers with; frozen, JSON in and out, never a tensor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(default="", description="Base model that answered: catalog name, Hub id or folder.")
    adapter: str | None = Field(default=None, description="Adapter that was active, or null for none.")
    truncated: bool = Field(default=False, description="True when part of the input was not read.")
    num_tokens: int = Field(default=0, ge=0, description="Tokens of the input.")
    windows: int = Field(default=1, ge=1, description="Windows that the input was read in.")

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


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
