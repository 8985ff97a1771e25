"""Translation: a text in another language, sentence by sentence; everything between sentences stays unchanged."""

from __future__ import annotations

import functools
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import Field, field_validator

from nlptasks import (
    Decoding,
    GenerationOptions,
    InvalidInputError,
    Message,
    Model,
    ModelInfo,
    Prompt,
    Recipe,
    TaskInput,
    TextToText,
    TrainingExample,
    UnsupportedModelError,
    hookimpl,
)
from nlptasks_plugins import languages
from nlptasks_plugins.translation import markup, parallel, side_by_side
from nlptasks_plugins.translation.attempts import Attempt, Sentence, Write, chained, settle
from nlptasks_plugins.translation.doubts import is_copy, likelihood
from nlptasks_plugins.translation.results import TranslatedSegment, Translation
from nlptasks_plugins.translation.segments import joined
from nlptasks_plugins.translation.spans import WESTERN

EMBEDDED = "translator"
"""The base that ships with this plugin: a Marian model for English with French, German and Spanish."""

ADAPTER_ONLY = frozenset({"smollm2"})
"""Bases that translate with an adapter only."""

OTHERS = "Helsinki-NLP/opus-mt-en-fr and the like, or facebook/nllb-200-distilled-600M"
"""Checkpoints to name in place of the embedded translator."""

COPIED = "the text was kept: its language is not certain, and its translation is nearly the same: give source_language"
"""Note on a text that may be in the target language."""

OPUS = "Helsinki-NLP/opus-mt-{source}-{target}"
"""Checkpoints for one pair of languages (Tiedemann and Thottingal 2020, OPUS-MT)."""


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


@dataclass(frozen=True)
class _Job:
    """An input with its language, its sentences, and the language that is between its own and the one to write."""

    inputs: TranslationInput
    source: languages.Detected
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
        target, source = self.inputs.target_language, self.source.tag
        if languages.same(source, target):
            return []
        known = None if source == languages.UNDETERMINED else source
        return [Sentence(text, known, target, self.western) for text, _ in self.lifted]

    def lowered(self, number: int, text: str) -> str:
        """A sentence's translation with its marks; the sentence itself where nothing was written: nothing is lost."""
        return markup.lowered(text.strip() or self.lifted[number][0], self.lifted[number][1], self.format)


class TranslationTask(TextToText[TranslationInput, TranslationOptions, Translation]):
    """Translate a text of any length; lines, lists and numbers stay."""

    name = "translation"
    aliases = ("translate",)
    input_type = TranslationInput
    options_type = TranslationOptions
    result_type = Translation
    recipe = Recipe(
        base=EMBEDDED,
        learning_rate=5e-4,
        num_train_epochs=2,
        per_device_train_batch_size=16,
        max_length=256,
        min_steps=30,
        metric_for_best_model="loss",
    )
    bases = MappingProxyType({EMBEDDED: Path(__file__).parents[1] / "models" / EMBEDDED})
    hub_first = True
    text_metrics = ("bleu", "chrf")
    examples = (
        {"text": "The train is late. Thank you very much!", "source_language": "en", "target_language": "fr"},
        {"text": "Mein Vater ist Arzt.\n- Wo ist der Bahnhof?\n- Es ist heute kalt.", "target_language": "en"},
    )
    phrases = (
        "Translate this.",
        "Translate into French.",
        "Translate this text to German.",
        "How do you say this in Spanish?",
        "Put this into English.",
        "What does this mean in English?",
    )

    def hub_model(self, inputs: TranslationInput) -> str | None:
        pair = [languages.primary(tag) for tag in (inputs.language.tag, inputs.target_language)]
        return (
            None
            if languages.UNDETERMINED in pair or pair[0] == pair[1]
            else OPUS.format(source=pair[0], target=pair[1])
        )

    def prompt(self, inputs: TranslationInput, options: TranslationOptions) -> Prompt:
        source, target = languages.name(inputs.source_language or "und"), languages.name(inputs.target_language)
        what = f"Translate from {source} to {target}" if inputs.source_language else f"Translate to {target}"
        return [Message(role="user", content=f"{what}:\n{inputs.text}")]

    def ask(self, inputs: TranslationInput, options: TranslationOptions, info: ModelInfo) -> Prompt:
        if info.kind == "seq2seq":
            return info.prefixes.get(_direction(inputs), "") + inputs.text
        if info.has_chat_template or info.adapter:
            return self.prompt(inputs, options)
        return parallel.shots(inputs.text, inputs.source_language or "en", inputs.target_language)

    def decoding(self, inputs: TranslationInput, options: TranslationOptions, info: ModelInfo) -> Decoding:
        beams = options.num_beams
        texts = 1 + options.alternatives
        decoding = replace(
            options.decoding(), num_beams=max(beams or 4, texts) if texts > 1 else beams, num_return_sequences=texts
        )
        if info.kind != "seq2seq":
            # A sentence is one line; a model without a template would go on with the next example.
            return replace(decoding, stop=(*options.stop, "\n"), num_beams=decoding.num_beams or 1)
        decoding = info.preset(_direction(inputs), decoding)
        if info.languages:
            marked = info.model_type != "marian" and inputs.source_language not in (None, languages.UNDETERMINED)
            source = inputs.source_language if marked else None
            return replace(decoding, source_language=source, target_language=inputs.target_language)
        return decoding

    def parse(self, inputs: TranslationInput, completion: str) -> Translation:
        return Translation(
            translation=completion.strip(),
            source_language=inputs.source_language or languages.UNDETERMINED,
            target_language=inputs.target_language,
        )

    def target(self, result: Translation) -> str:
        return result.translation

    def training_examples(
        self, row: Mapping[str, Any], options: TranslationOptions
    ) -> Sequence[TrainingExample[TranslationInput, TranslationOptions]]:
        return [
            TrainingExample(
                self.validate([{"text": text, "source_language": source, "target_language": target}])[0],
                options,
                translation,
            )
            for text, source, translation, target in parallel.pairs(row)
        ]

    def run(self, inputs: Sequence[TranslationInput], options: TranslationOptions, model: Model) -> list[Translation]:
        jobs = [_job(item, options, model.info) for item in inputs]
        self._check(jobs, model.info)
        attempts = iter(self._settle([(job, s) for job in jobs for s in job.sentences], options, model))
        return [_result(job, [next(attempts) for _ in job.sentences], model.info) for job in jobs]

    def stream(
        self, inputs: TranslationInput, options: TranslationOptions, model: Model
    ) -> Generator[str, None, Translation]:
        """The text sentence by sentence, each with what stands before it."""
        job = _job(inputs, options, model.info)
        self._check([job], model.info)
        if job.source.tag == languages.UNDETERMINED:
            # Only the whole decides whether it is kept.
            [result] = self.run([inputs], options, model)
            yield result.translation
            return result
        attempts: list[Attempt] = []
        last = 0
        for sentence, (start, end) in zip(job.sentences, job.places, strict=False):
            attempts += self._settle([(job, sentence)], options, model)
            yield job.text[last:start] + job.lowered(len(attempts) - 1, attempts[-1].completion.text)
            last = end
        if job.text[last:]:
            yield job.text[last:]
        return _result(job, attempts, model.info)

    def _settle(
        self, sentences: Sequence[tuple[_Job, Sentence]], options: TranslationOptions, model: Model
    ) -> list[Attempt]:
        """A translation of each sentence of a job, through a third language where the job needs one."""
        # What failed greedily often succeeds with five beams.
        wider = options.model_copy(update={"num_beams": max(5, options.num_beams or 0)})

        def writer(settings: TranslationOptions) -> Write:
            return lambda parts: self.write([_input(part) for part in parts], settings, model)

        bridges = [replace(sentence, target=job.through) for job, sentence in sentences if job.through]
        bridged = iter(settle(bridges, writer(options), writer(wider)))
        firsts = [next(bridged) if job.through else None for job, _ in sentences]
        last = [
            replace(sentence, text=first.completion.text.strip() or sentence.text, source=job.through)
            if first
            else sentence
            for first, (job, sentence) in zip(firsts, sentences, strict=True)
        ]
        return [
            chained(sentence, first, second) if first else second
            for first, second, (_, sentence) in zip(
                firsts, settle(last, writer(options), writer(wider)), sentences, strict=True
            )
        ]

    def _check(self, jobs: Sequence[_Job], info: ModelInfo) -> None:
        """Whether the model translates at all, and these languages.

        Raises:
            UnsupportedModelError: the base translates with an adapter only.
            InvalidInputError: for all languages that it does not translate.
        """
        if info.name in ADAPTER_ONLY and not info.adapter:
            raise UnsupportedModelError(
                f"{info.name} has not learnt to translate: leave --model out, name a translation checkpoint "
                "(Helsinki-NLP/opus-mt-en-fr, facebook/m2m100_418M, ...), or an adapter that was trained on it."
            )
        problems = []
        for number, job in enumerate(jobs):
            place = f"input {number}" if len(jobs) > 1 else "input"
            if problem := _beyond(job, info):
                problems.append(f"{place}: {problem}")
        if problems:
            raise InvalidInputError("translation cannot run this", problems)


def _direction(inputs: TranslationInput) -> str:
    """What T5 and its like call a translation between two languages."""
    return f"translation_{inputs.source_language}_to_{inputs.target_language}"


def _input(sentence: Sentence) -> TranslationInput:
    # Checked when the text was; once for each sentence would take longer than short ones take to read.
    return TranslationInput.model_construct(
        text=sentence.text, target_language=sentence.target, source_language=sentence.source
    )


def _job(inputs: TranslationInput, options: TranslationOptions, info: ModelInfo) -> _Job:
    source = inputs.language
    if source.tag == languages.UNDETERMINED and info.languages:
        source = languages.detect(inputs.text, info.languages)
    pair = [languages.primary(tag) for tag in (source.tag, inputs.target_language)]
    through = info.name == EMBEDDED and not {"en", languages.UNDETERMINED} & set(pair) and pair[0] != pair[1]
    places = markup.places(inputs.text, options.format)
    # The embedded translator reads nothing else, whatever the text is in.
    western = info.name == EMBEDDED or set(pair) <= WESTERN
    return _Job(inputs, source, options.format, places, "en" if through else None, western)


def _beyond(job: _Job, info: ModelInfo) -> str | None:
    """Why the model cannot translate this, or None."""
    target = job.inputs.target_language
    named = job.inputs.source_language
    unknown = job.source.tag == languages.UNDETERMINED
    if info.languages and info.model_type != "marian" and unknown:
        return "its language could not be told: give source_language."
    if info.name == EMBEDDED:
        for what, tag in (("source_language", job.source.tag), ("target_language", target)):
            if languages.primary(tag) not in (*info.languages, languages.UNDETERMINED):
                known = ", ".join(info.languages)
                return f"{EMBEDDED} knows {known}, found {what} {languages.described(tag)}: name {OTHERS} with --model."
        if unknown and job.sentences and not languages.has_latin(job.text):
            return "its language could not be told: give source_language."
    elif info.direction and not info.languages:
        reads, writes = info.direction
        if not languages.same(writes, target):
            return f"{info.name} writes {writes}, found target_language {target!r}."
        # Codes of families (ROMANCE, mul) are no single language.
        if named and reads in languages.NAMES and not languages.same(reads, named):
            return f"{info.name} reads {reads}, found source_language {named!r}."
    return None


def _result(job: _Job, attempts: Sequence[Attempt], info: ModelInfo) -> Translation:
    common: dict[str, Any] = {
        "source_language": job.source.tag,
        "target_language": job.inputs.target_language,
        "confidence": job.source.confidence,
    }
    small = [f"{EMBEDDED} is a small model for everyday sentences: for others name {OTHERS} with --model"]
    notes = small if info.name == EMBEDDED else []
    if not attempts:
        why = f"the text is already {job.inputs.target_language}" if job.places else "there is no word to translate"
        return Translation(translation=job.text, note="; ".join([why, *notes]), **common)
    texts = [job.lowered(number, attempt.completion.text) for number, attempt in enumerate(attempts)]
    whole, starts = joined(job.text, job.places, texts.__getitem__)
    if job.source.tag == languages.UNDETERMINED and is_copy(job.text, whole):
        return Translation(translation=job.text, note="; ".join([COPIED, *notes]), **common)
    doubtful = sum(attempt.doubt is not None for attempt in attempts)
    remarks = [f"{doubtful} of {len(attempts)} sentences are doubtful"] if doubtful else []
    remarks += [f"translated through {languages.name(job.through)}"] if job.through else []
    return Translation(
        translation=whole,
        segments=tuple(
            TranslatedSegment(
                source=job.text[start:end],
                start=start,
                end=end,
                text=new,
                target_start=first,
                target_end=first + len(new),
                score=min(1.0, likelihood(attempt.completion)),
                doubt=attempt.doubt,
                alternatives=tuple(job.lowered(number, other.text) for other in attempt.completion.alternatives),
            )
            for number, (attempt, (start, end), new, first) in enumerate(
                zip(attempts, job.places, texts, starts, strict=True)
            )
        ),
        num_tokens=sum(attempt.completion.num_prompt_tokens for attempt in attempts),
        truncated=any(attempt.completion.truncated for attempt in attempts),
        note="; ".join([*remarks, *notes]) or None,
        **common,
    )


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(TranslationTask())


@hookimpl
def register_views(register):  # type: ignore[no-untyped-def]
    """Show a translation beside its text in the web app."""
    register(Translation, side_by_side.view)
