"""What a translation is made of: a text, its languages, and how to translate."""

from __future__ import annotations

import functools
from typing import Any

from pydantic import Field, field_validator

from nlptasks import GenerationOptions, TaskInput
from nlptasks_plugins import languages
from nlptasks_plugins.translation import markup


class TranslationInput(TaskInput):
    """A text and the language to translate it to."""

    text: str = Field(min_length=1, pattern=r"\S", description="The text to translate.")
    target_language: str = Field(
        default="en", description="Language to write, as a BCP 47 tag: en, fr, pt-BR.", examples=[*languages.NAMES]
    )
    source_language: str | None = Field(
        default=None, description="Language of the text; detected when not given.", examples=[*languages.NAMES]
    )

    @field_validator("target_language", "source_language")
    @classmethod
    def _tag(cls, value: str | None) -> str | None:
        return None if value is None else languages.standard(value)

    @field_validator("source_language", mode="before")
    @classmethod
    def _detected(cls, value: Any) -> Any:
        return None if value == "auto" else value

    @functools.cached_property
    def language(self) -> languages.Detected:
        """The text's language, given or detected: who chooses a model and who translates need it."""
        return languages.Detected(self.source_language, 1.0) if self.source_language else languages.detect(self.text)


class TranslationOptions(GenerationOptions):
    """How to translate. What is unset is left to the checkpoint's settings."""

    max_new_tokens: int = Field(default=256, ge=1, le=32768, description="Most tokens to write for a sentence.")
    num_beams: int | None = Field(default=None, ge=1, le=16, description="Beams of beam search; 1 for none.")  # type: ignore[assignment]
    repetition_penalty: float | None = Field(default=None, ge=0.01, le=5, description="Above 1 discourages repetition.")  # type: ignore[assignment]
    format: markup.Format = Field(
        default="text", description="What the text is written in: the structure of html and markdown stays."
    )
    alternatives: int = Field(default=0, ge=0, le=8, description="Alternative translations of each sentence.")
