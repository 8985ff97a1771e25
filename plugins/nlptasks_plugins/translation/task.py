"""Translation: a text in another language, sentence by sentence; everything between sentences stays unchanged."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nlptasks import (
    Decoding,
    InvalidInputError,
    Message,
    Model,
    ModelInfo,
    Prompt,
    Recipe,
    TextToText,
    TrainingExample,
    UnsupportedModelError,
    hookimpl,
)
from nlptasks_plugins import languages
from nlptasks_plugins.translation import parallel, side_by_side
from nlptasks_plugins.translation.attempts import Attempt, Sentence, Write, chained, settle
from nlptasks_plugins.translation.doubts import likelihood
from nlptasks_plugins.translation.inputs import TranslationInput, TranslationOptions
from nlptasks_plugins.translation.jobs import EMBEDDED, Job, job_of, opus, refusal
from nlptasks_plugins.translation.results import TranslatedSegment, Translation
from nlptasks_plugins.translation.segments import joined

ADAPTER_ONLY = frozenset({"smollm2"})
"""Bases that translate with an adapter only."""

COPIED = "the text was kept: its language is not certain, and its translation is nearly the same: give source_language"
"""Note on a text that may be in the target language."""

GUESSED = "its language was guessed to be {language}: if it is another, give source_language"
"""Note on a text whose language is likely, but not certain."""


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
        return opus(inputs.language.tag, inputs.target_language)

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
        jobs = [job_of(item, options, model.info) for item in inputs]
        self._check(jobs, model.info)
        attempts = iter(self._settle([(job, s) for job in jobs for s in job.sentences], options, model))
        return [_result(job, [next(attempts) for _ in job.sentences], model.info) for job in jobs]

    def stream(
        self, inputs: TranslationInput, options: TranslationOptions, model: Model
    ) -> Generator[str, None, Translation]:
        """The text sentence by sentence, each with what stands before it."""
        job = job_of(inputs, options, model.info)
        self._check([job], model.info)
        if not job.certain:
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
        self, sentences: Sequence[tuple[Job, Sentence]], options: TranslationOptions, model: Model
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

    def _check(self, jobs: Sequence[Job], info: ModelInfo) -> None:
        """Whether the model translates at all, and these languages.

        Raises:
            UnsupportedModelError: the base translates with an adapter only.
            InvalidInputError: for all languages that it does not translate.
        """
        if info.name in ADAPTER_ONLY and not info.adapter:
            raise UnsupportedModelError(
                f"{info.name} has not learnt to translate: leave model out, name a translation checkpoint "
                "(Helsinki-NLP/opus-mt-en-fr, facebook/m2m100_418M, ...), or an adapter that was trained on it."
            )
        problems = []
        for number, job in enumerate(jobs):
            place = f"input {number}" if len(jobs) > 1 else "input"
            if problem := refusal(job, info):
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


def _result(job: Job, attempts: Sequence[Attempt], info: ModelInfo) -> Translation:
    common: dict[str, Any] = {
        "source_language": job.source.tag if job.certain or job.known else languages.UNDETERMINED,
        "target_language": job.inputs.target_language,
        "confidence": job.source.confidence,
    }
    if not attempts:
        same = f"the text is already in {languages.name(job.inputs.target_language)}: choose another target_language"
        note = same if job.places else "there is no word to translate"
        return Translation(translation=job.text, note=note, **common)
    texts = [job.lowered(number, attempt.completion.text) for number, attempt in enumerate(attempts)]
    whole, starts = joined(job.text, job.places, texts.__getitem__)
    if job.is_kept(whole, info.languages):
        unknown = {**common, "source_language": languages.UNDETERMINED}
        return Translation(translation=job.text, note=COPIED, **unknown)
    doubtful = sum(attempt.doubt is not None for attempt in attempts)
    remarks = [f"{doubtful} of {len(attempts)} sentences are doubtful"] if doubtful else []
    if job.known and not job.certain:
        remarks.append(GUESSED.format(language=languages.name(job.known)))
    remarks += [f"translated through {languages.name(job.through)}"] if job.through else []
    if doubtful and info.name == EMBEDDED and job.known and (larger := opus(job.known, job.inputs.target_language)):
        remarks.append(f"{EMBEDDED} is a small model: {larger} as model may do better")
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
        note="; ".join(remarks) or None,
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
