"""An input with its language and its sentences, as a model can translate it; or why it cannot."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from nlptasks import ModelInfo
from nlptasks_plugins import languages
from nlptasks_plugins.translation import markup
from nlptasks_plugins.translation.attempts import Sentence
from nlptasks_plugins.translation.doubts import is_copy, is_near_copy
from nlptasks_plugins.translation.inputs import TranslationInput, TranslationOptions
from nlptasks_plugins.translation.spans import WESTERN

EMBEDDED = "translator"
"""The base that ships with this plugin: a Marian model for English with French, German and Spanish."""

OPUS = "Helsinki-NLP/opus-mt-{source}-{target}"
"""Checkpoints for one pair of languages (Tiedemann and Thottingal 2020, OPUS-MT)."""

ANY_PAIR = "facebook/m2m100_418M (100 languages)"
"""A checkpoint for most pairs, free for any use; others are in docs/guide.md."""


@dataclass(frozen=True)
class Job:
    """An input with its language, its sentences, and the language that is between its own and the one to write.

    The language is the likeliest one, or `und`, if it is not `certain`.
    """

    inputs: TranslationInput
    source: languages.Detected
    certain: bool
    format: markup.Format
    places: list[tuple[int, int]]
    through: str | None
    western: bool

    @property
    def text(self) -> str:
        return self.inputs.text

    @functools.cached_property
    def lifted(self) -> list[tuple[str, list[str]]]:
        """Each sentence without its marks, and the marks."""
        return [markup.lifted(self.text[start:end], self.format) for start, end in self.places]

    @functools.cached_property
    def sentences(self) -> list[Sentence]:
        """What is to be translated: nothing if the text is in the target language already."""
        target = self.inputs.target_language
        if self.certain and languages.same(self.source.tag, target):
            return []
        return [Sentence(text, self.known, target, self.western) for text, _ in self.lifted]

    @functools.cached_property
    def known(self) -> str | None:
        """The language to translate from; None if none is likely, or only the one to write."""
        tag = self.source.tag
        unsure = not self.certain and languages.same(tag, self.inputs.target_language)
        return None if tag == languages.UNDETERMINED or unsure else tag

    def is_kept(self, translation: str, known: tuple[str, ...]) -> bool:
        """Whether a text whose language is not certain seems to be in the target language: it is translated to itself.

        Nearly so is enough where none of the languages that the model knows is likelier than all others.
        """
        if self.certain:
            return False
        near = bool(known) and self.known is None
        return is_copy(self.text, translation) or (near and is_near_copy(self.text, translation))

    def lowered(self, number: int, text: str) -> str:
        """A sentence's translation with its marks; the sentence itself where nothing was written: nothing is lost."""
        return markup.lowered(text.strip() or self.lifted[number][0], self.lifted[number][1], self.format)


def job_of(inputs: TranslationInput, options: TranslationOptions, info: ModelInfo) -> Job:
    """An input as this model would translate it."""
    source, certain = _language(inputs, info)
    pair = [languages.primary(tag) for tag in (source.tag, inputs.target_language)]
    through = info.name == EMBEDDED and not {"en", languages.UNDETERMINED} & set(pair) and pair[0] != pair[1]
    places = markup.places(inputs.text, options.format)
    # The embedded translator reads nothing else, whatever the text is in.
    western = info.name == EMBEDDED or set(pair) <= WESTERN
    return Job(inputs, source, certain, options.format, places, "en" if through else None, western)


def opus(source: str, target: str) -> str | None:
    """The checkpoint for a pair of languages, None for a language that is not known, or one and the same."""
    pair = [languages.primary(tag) for tag in (source, target)]
    return None if languages.UNDETERMINED in pair or pair[0] == pair[1] else OPUS.format(source=pair[0], target=pair[1])


def _language(inputs: TranslationInput, info: ModelInfo) -> tuple[languages.Detected, bool]:
    """A text's language, or the likeliest of those that the model reads, and whether it is certain."""
    source = inputs.language
    if source.tag != languages.UNDETERMINED:
        return source, True
    # Codes of families (ROMANCE, mul) are no single language.
    if info.direction and info.direction[0] in languages.NAMES:
        return languages.Detected(info.direction[0], source.confidence), False
    if not info.languages:
        return source, False
    best = languages.likeliest(inputs.text, info.languages)
    likely = best if best.confidence > languages.LIKELY else languages.Detected(languages.UNDETERMINED, best.confidence)
    return likely, best.confidence >= languages.SURE_AMONG_KNOWN


def refusal(job: Job, info: ModelInfo) -> str | None:
    """Why the model cannot translate this, or None."""
    target = job.inputs.target_language
    named = job.inputs.source_language
    if info.languages and info.model_type != "marian" and job.sentences and job.known is None:
        return "its language could not be told: give source_language."
    if info.name == EMBEDDED:
        for what, tag in (("source_language", job.source.tag), ("target_language", target)):
            if languages.primary(tag) not in (*info.languages, languages.UNDETERMINED):
                known = f"{EMBEDDED} knows {', '.join(info.languages)}"
                return f"{known}, found {what} {languages.described(tag)}: name another as model, such as {ANY_PAIR}."
        if not job.certain and job.sentences and not languages.has_latin(job.text):
            return "its language could not be told: give source_language."
    elif info.direction and not info.languages:
        reads, writes = info.direction
        if not languages.same(writes, target):
            return f"{info.name} writes {writes}, found target_language {target!r}."
        if named and reads in languages.NAMES and not languages.same(reads, named):
            return f"{info.name} reads {reads}, found source_language {named!r}."
    return None
