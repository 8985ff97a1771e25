"""Translation: a text in another language, sentence by sentence; everything between sentences stays unchanged."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import Field, field_validator

from nlptasks import (
    Completion,
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
from nlptasks_plugins.translation import languages, parallel, side_by_side
from nlptasks_plugins.translation.doubts import doubt_of, is_better, likelihood, translated
from nlptasks_plugins.translation.results import TranslatedSegment, Translation
from nlptasks_plugins.translation.segments import joined, segments

EMBEDDED = "translator"
"""The base that ships with this plugin: a Marian model for English with French, German and Spanish."""

ADAPTER_ONLY = frozenset({"smollm2"})
"""Bases that translate with an adapter only."""

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

    @functools.cached_property
    def language(self) -> languages.Detected:
        """The text's language, given or detected: who chooses a model and who translates need it."""
        return languages.Detected(self.source_language, 1.0) if self.source_language else languages.detect(self.text)


class TranslationOptions(GenerationOptions):
    """How to translate. What is unset is left to the checkpoint's settings."""

    max_new_tokens: int = Field(default=256, ge=1, le=32768, description="Most tokens to write for a sentence.")
    num_beams: int | None = Field(default=None, ge=1, le=16, description="Beams of beam search; 1 for none.")  # type: ignore[assignment]
    repetition_penalty: float | None = Field(default=None, gt=0, le=5, description="Above 1 discourages repetition.")  # type: ignore[assignment]
    alternatives: int = Field(default=0, ge=0, le=8, description="Alternative translations of each sentence.")


@dataclass(frozen=True)
class _Job:
    """An input with its language and its sentences."""

    inputs: TranslationInput
    source: languages.Detected
    places: list[tuple[int, int]]


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
        jobs = [_job(item) for item in inputs]
        self._check(jobs, model.info)
        pieces = [piece for job in jobs if not _needs_no_model(job) for piece in _pieces(job)]
        pairs = iter(zip(pieces, self._settle(pieces, options, model), strict=True))
        return [_result(job, [] if _needs_no_model(job) else [next(pairs) for _ in job.places]) for job in jobs]

    def stream(
        self, inputs: TranslationInput, options: TranslationOptions, model: Model
    ) -> Generator[str, None, Translation]:
        """The text sentence by sentence, each with what stands before it."""
        job = _job(inputs)
        self._check([job], model.info)
        sentences: list[tuple[TranslationInput, Completion]] = []
        text, last = inputs.text, 0
        for piece, (start, end) in zip([] if _needs_no_model(job) else _pieces(job), job.places, strict=False):
            [completion] = self._settle([piece], options, model)
            sentences.append((piece, completion))
            yield text[last:start] + translated(piece.text, completion)
            last = end
        if text[last:]:
            yield text[last:]
        return _result(job, sentences)

    def _settle(
        self, pieces: Sequence[TranslationInput], options: TranslationOptions, model: Model
    ) -> list[Completion]:
        """A translation for each sentence; doubtful ones are tried again, alone and with a wider search."""
        written = self.write(pieces, options, model)
        doubtful = [place for place, first in enumerate(written) if doubt_of(pieces[place].text, first)]
        if not doubtful:
            return written
        # What failed greedily often succeeds with five beams.
        wider = options.model_copy(update={"num_beams": max(5, options.num_beams or 0)})
        for place, second in zip(doubtful, self.write([pieces[p] for p in doubtful], wider, model), strict=True):
            if is_better(pieces[place].text, second, written[place]):
                written[place] = second
        return written

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
            target = job.inputs.target_language
            if info.languages and info.model_type != "marian" and job.source.tag == languages.UNDETERMINED:
                problems.append(f"{place}: its language could not be told: give source_language.")
            if info.name == EMBEDDED and (strange := _beyond(job, info)):
                problems.append(f"{place}: {strange}")
            if info.direction and not info.languages and not languages.same(info.direction[1], target):
                problems.append(f"{place}: {info.name} writes {info.direction[1]}, found target_language {target!r}.")
        if problems:
            raise InvalidInputError("translation cannot run this", problems)


def _direction(inputs: TranslationInput) -> str:
    """What T5 and its like call a translation between two languages."""
    return f"translation_{inputs.source_language}_to_{inputs.target_language}"


def _job(inputs: TranslationInput) -> _Job:
    return _Job(inputs, inputs.language, segments(inputs.text))


def _beyond(job: _Job, info: ModelInfo) -> str | None:
    """Why the embedded translator cannot translate this, or None."""
    known = ", ".join(info.languages)
    source, target = (languages.primary(tag) for tag in (job.source.tag, job.inputs.target_language))
    other = "name another checkpoint with --model (facebook/m2m100_418M, ...)."
    for what, tag in (("source_language", source), ("target_language", target)):
        if tag not in info.languages and tag != languages.UNDETERMINED:
            return f"{EMBEDDED} knows {known}, found {what} {tag!r}: {other}"
    if _needs_no_model(job) or "en" in (source, target) or source == languages.UNDETERMINED:
        return None
    return (
        f"{EMBEDDED} translates from or into English, found {source} to {target}: translate into en first, or {other}"
    )


def _needs_no_model(job: _Job) -> bool:
    """Whether the text is already in the target language, or has no word at all."""
    return not job.places or languages.same(job.source.tag, job.inputs.target_language)


def _pieces(job: _Job) -> Iterator[TranslationInput]:
    known = None if job.source.tag == languages.UNDETERMINED else job.source.tag
    for start, end in job.places:
        # Not a copy, which would keep what was detected for the whole text.
        target = job.inputs.target_language
        yield TranslationInput(text=job.inputs.text[start:end], target_language=target, source_language=known)


def _result(job: _Job, pairs: Sequence[tuple[TranslationInput, Completion]]) -> Translation:
    text = job.inputs.text
    common: dict[str, Any] = {
        "source_language": job.source.tag,
        "target_language": job.inputs.target_language,
        "confidence": job.source.confidence,
    }
    if not pairs:
        note = f"the text is already {job.inputs.target_language}" if job.places else "there is no word to translate"
        return Translation(translation=text, note=note, **common)
    texts = [translated(piece.text, completion) for piece, completion in pairs]
    doubtful = sum(doubt_of(piece.text, completion) is not None for piece, completion in pairs)
    whole, starts = joined(text, job.places, texts.__getitem__)
    return Translation(
        translation=whole,
        segments=tuple(
            TranslatedSegment(
                source=piece.text,
                start=start,
                end=end,
                text=new,
                target_start=first,
                target_end=first + len(new),
                score=min(1.0, likelihood(completion)),
                doubt=doubt_of(piece.text, completion),
                alternatives=tuple(other.text.strip() for other in completion.alternatives),
            )
            for (piece, completion), (start, end), new, first in zip(pairs, job.places, texts, starts, strict=True)
        ),
        num_tokens=sum(completion.num_prompt_tokens for _, completion in pairs),
        truncated=any(completion.truncated for _, completion in pairs),
        note=f"{doubtful} of {len(pairs)} sentences are doubtful" if doubtful else None,
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
