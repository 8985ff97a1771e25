"""What a translation gives: the whole text, and each of its sentences."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from nlptasks import Result

MAX_DOUBTS = 4
"""The most doubtful sentences that are remarked on."""


class TranslatedSegment(BaseModel):
    """One sentence: `source == text[start:end]`, `text == translation[target_start:target_end]`, in code points."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(description="The sentence.")
    start: int = Field(ge=0, description="Code point of its first character.")
    end: int = Field(ge=0, description="Code point after its last character.")
    text: str = Field(description="Its translation.")
    target_start: int = Field(ge=0, description="Code point of the translation's first character.")
    target_end: int = Field(ge=0, description="Code point after the translation's last character.")
    score: float = Field(ge=0, le=1, description="Geometric mean of the probabilities of the tokens written.")
    doubt: str | None = Field(default=None, description="Why this translation may be wrong; null if nothing says so.")
    alternatives: tuple[str, ...] = Field(default=(), description="Other translations, the likeliest first.")


class Translation(Result):
    """A text in another language. What stands between the sentences is the source's own."""

    main_field: ClassVar[str] = "translation"
    flat_in_hf: ClassVar[bool] = True

    translation: str = Field(description="The whole text, translated.")
    segments: tuple[TranslatedSegment, ...] = Field(default=(), description="The sentences, in order.")
    source_language: str = Field(description="BCP 47 tag, given or detected; `und` where it could not be told.")
    target_language: str = Field(description="BCP 47 tag.")
    confidence: float = Field(default=1.0, ge=0, le=1, description="Of the detected language; 1 where it was given.")

    def remarks(self) -> list[str]:
        """The first doubtful sentences, each with its reason, and how many more there are."""
        doubtful = [one for one in self.segments if one.doubt]
        lines = [f"“{_clipped(one.text)}”: {one.doubt}" for one in doubtful[:MAX_DOUBTS]]
        return [*lines, f"and {len(doubtful) - MAX_DOUBTS} more"] if len(doubtful) > MAX_DOUBTS else lines

    def to_hf(self) -> list[dict[str, Any]]:
        """v4's `[{"translation_text": ...}]`."""
        return [{"translation_text": self.translation}]


def _clipped(text: str, width: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
