"""Summarization: a text of any length in fewer words, nothing left unread.

A text longer than what the model reads at once is cut into chunks, each is summarized, and the summaries are read as
the next text, until one chunk holds it. Every level is one call to the model for all chunks of all inputs. A chunk's
part in the next level has at most half the characters of the chunk, so there is an end whatever the model writes.

class Minutes(Summarization[TextInput, SummarizationOptions]):
    '''What a meeting decided.'''
    name = "minutes"
    examples = ("Ana: We ship in May, then. Ben: Agreed. Ana: And Carl writes the notes.",)

    def prompt(self, inputs, options):
        return [Message(role="user", content=f"What did this meeting decide?\\n\\n{inputs.text}")]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field

from nlptasks.errors import CancelledError, OverflowRefusedError, UnparsableOutputError, UnsupportedModelError
from nlptasks.families import windows
from nlptasks.families.summaries import bullets
from nlptasks.families.summaries.chunks import chunk, lead, units
from nlptasks.families.summaries.facts import Facts
from nlptasks.families.text_to_text import GenerationOptions, TextToText, prompt_text
from nlptasks.model import Completion, Decoding, Model, ModelInfo, Prompt
from nlptasks.results import Summary, SummaryChunk
from nlptasks.task import Recipe, TextInput

WORDS = {"short": 30, "medium": 70, "long": 150}
"""About how many words each length has."""

FEW_SENTENCES, FEW_TOKENS = 2, 128
"""A text with no more of either is its own summary."""

CAUSAL_CHUNK = 1024
"""Tokens that a causal model reads at once by default: small ones lose the thread of longer texts."""

LEAST_ROOM = 64
"""Fewest tokens of a text in one chunk; less text has nothing to summarize."""

_TEMPLATE = 40
"""Tokens that a chat template may put around a message."""

SHORT_TEXT = "the text has one or two sentences and is its own summary"
REFUSED = "the model's summary was longer than the text and was refused: this is the text"
REFUSED_PARTS = "the summary of the parts was longer than the parts and was refused: these are the parts' summaries"
LOST = "the text has U+FFFD in place of characters that were lost when it was decoded"
NOTHING = "the model wrote no whole sentence: these are the text's first ones"

FIRST_WORDS = "the model wrote no whole sentence and the text has none: these are the text's first words"


class SummarizationOptions(GenerationOptions):
    """How to summarize. Unset options are those of a seq2seq checkpoint, else greedy decoding."""

    length: Literal["short", "medium", "long"] | Annotated[int, Field(ge=5, le=5000)] = Field(
        default="medium", description="short, medium, long (about 30, 70, 150 words), or a number of words."
    )
    style: Literal["paragraph", "bullets"] = Field(default="paragraph", description="One paragraph, or a list.")
    chunk_tokens: int | None = Field(
        default=None,
        ge=64,
        description="Most tokens of the text to read at once, within the model's window. Unset: the whole window of a "
        "seq2seq model, 1024 for a causal one.",
    )
    max_new_tokens: int | None = Field(  # type: ignore[assignment]
        default=None, ge=1, le=32768, description="Most tokens to write. Unset: twice the words of the length, and 32."
    )
    min_new_tokens: int | None = Field(default=None, ge=0, description="Fewest tokens to write.")
    num_beams: int | None = Field(  # type: ignore[assignment]
        default=None, ge=1, le=16, description="Beams of beam search; 1 for none."
    )
    repetition_penalty: float | None = Field(  # type: ignore[assignment]
        default=None, ge=0.01, le=5, description="Above 1 discourages repetition, and words of the text."
    )
    no_repeat_ngram_size: int | None = Field(
        default=None, ge=0, description="No sequence of so many tokens comes twice; 0 for no such rule."
    )
    length_penalty: float | None = Field(default=None, description="Above 0 beam search favours longer summaries.")
    check_facts: bool = Field(
        default=True, description="Leave out sentences with a number or a name that the text does not have."
    )
    on_overflow: str = Field(
        default="window",
        pattern="^(window|error)$",
        description="A text longer than one chunk: read it in chunks (window), or refuse it (error).",
    )

    @property
    def words(self) -> int:
        """About how many words the summary should have."""
        return WORDS[self.length] if isinstance(self.length, str) else self.length

    def decoding(self) -> Decoding:
        return dataclasses.replace(super().decoding(), max_new_tokens=self.max_new_tokens or 2 * self.words + 32)


I = TypeVar("I", bound=TextInput)  # noqa: E741 - Input, Options
O = TypeVar("O", bound=SummarizationOptions)  # noqa: E741


@dataclass
class _Work(Generic[I]):
    """One input on its way through the levels: the text that this level reads, and its chunks."""

    inputs: I
    text: str
    ranges: Sequence[tuple[int, int]] = ()
    num_tokens: int = 0
    chunks: tuple[SummaryChunk, ...] = ()
    truncated: bool = False
    read: int = 0
    unusable: int = 0
    unsupported: int = 0
    result: Summary | None = None

    @cached_property
    def facts(self) -> Facts:
        """The numbers and names of the whole text."""
        return Facts(self.inputs.text)

    def parts(self) -> list[I]:
        """The chunks as inputs of their own."""
        return [self.inputs.model_copy(update={"text": self.text[start:end]}) for start, end in self.ranges]

    def take(self, summaries: Sequence[str]) -> None:
        """Go on with the summaries of the chunks as the text of the next level."""
        if not self.chunks:
            self.chunks = tuple(
                SummaryChunk(start=start, end=end, summary=summary)
                for (start, end), summary in zip(self.ranges, summaries, strict=True)
            )
        self.text = "\n\n".join(summaries)

    def finish(self, summary: str, note: str | None) -> None:
        """End with a summary; a text without visible characters is its own."""
        self.take([summary if summary.strip() else self.inputs.text.strip()])
        notes = [note] if note else []
        if "\ufffd" in self.inputs.text:
            notes.append(LOST)
        if self.unsupported:
            what = "1 sentence was" if self.unsupported == 1 else f"{self.unsupported} sentences were"
            notes.append(f"{what} left out, with a number or a name that the text does not have")
        if self.unusable:
            notes.append(
                f"for {self.unusable} of {self.read} parts the model wrote nothing usable: "
                "their first sentences stand for them"
            )
        self.result = Summary(
            summary=self.text,
            chunks=self.chunks,
            coverage=_coverage(self.inputs.text, self.chunks),
            note="; ".join(notes) or None,
            truncated=self.truncated,
            num_tokens=self.num_tokens,
            windows=len(self.chunks),
        )


class Summarization(TextToText[I, O, Summary], Generic[I, O]):
    """A shorter version of a text. A subclass writes the `prompt`; all the rest is here."""

    input_type = TextInput
    options_type = SummarizationOptions
    result_type = Summary
    recipe = Recipe(base="smollm2", max_length=1024, per_device_train_batch_size=8, metric_for_best_model="loss")
    text_metrics = ("rouge",)

    def ask(self, inputs: I, options: O, info: ModelInfo) -> Prompt:
        """The prompt for one model: `prompt` for a causal one, the text behind its prefix for a seq2seq one."""
        if info.kind == "seq2seq":
            return info.prefixes.get(self.name, "") + inputs.text
        return self.prompt(inputs, options)

    def parse(self, inputs: I, completion: str) -> Summary:
        text = bullets.tidy(completion)
        if not text:
            raise UnparsableOutputError(self.name, "a text", completion)
        return Summary(summary=text)

    def target(self, result: Summary) -> str:
        return result.summary

    def decoding(self, inputs: I, options: O, info: ModelInfo) -> Decoding:
        """The settings of the options; unset ones are those of a seq2seq checkpoint, or else greedy."""
        decoding = options.decoding()
        unset: dict[str, Any] = {"min_new_tokens": 0}
        if info.kind == "seq2seq":
            # The checkpoint's minimum belongs to its usual length, which is about the medium one.
            unset["min_new_tokens"] = {"short": 0, "medium": None}.get(str(options.length), options.words)
        else:
            unset |= {"num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "length_penalty": 1.0}
        chosen = {name: value for name, value in unset.items() if getattr(decoding, name) is None}
        most = min(decoding.max_new_tokens, max(1, info.max_tokens // 2))
        return info.preset(self.name, dataclasses.replace(decoding, max_new_tokens=most, **chosen))

    def run(self, inputs: Sequence[I], options: O, model: Model) -> list[Summary]:
        works = self._open(inputs, options, model)
        while pending := [work for work in works if work.result is None]:
            self._level(pending, options, model)
        return [work.result for work in works if work.result is not None]

    def stream(self, inputs: I, options: O, model: Model) -> Generator[str, None, Summary]:
        """The last level as the model writes it; a text that needs no model comes in one piece.

        The pieces are the model's own words. The result has whole sentences only, in the style of the options.
        """
        [work] = self._open([inputs], options, model)
        while work.result is None and len(work.ranges) > 1:
            self._level([work], options, model)
        if work.result is not None:
            yield work.result.summary
            return work.result
        [part] = work.parts()
        prompt, decoding = self.ask(part, options, model.info), self.decoding(part, options, model.info)
        completion = yield from model.stream(prompt, decoding)
        self._take(work, [completion], options)
        assert work.result is not None, "a text that was read in one piece has its summary"
        return work.result.noted(completion.note)

    def _open(self, inputs: Sequence[I], options: O, model: Model) -> list[_Work[I]]:
        """The inputs with their chunks; a text of few sentences has its result already.

        Raises:
            UnsupportedModelError: the model can only translate.
        """
        if model.info.model_type == "marian" and not model.info.adapter:
            raise UnsupportedModelError(
                f"{model.info.name} is a translation model, and {self.name} expects one that writes summaries: leave "
                "the model out, or name another (sshleifer/distilbart-cnn-12-6, ...) or an adapter that was trained "
                "on it."
            )
        works = [_Work(item, item.text) for item in inputs]
        counts, room = self._cut(works, options, model)
        if options.on_overflow == "error":
            windows.refuse_long(self.name, dict(enumerate(counts)), room)
        for work, count in zip(works, counts, strict=True):
            work.num_tokens = count
            if count <= min(room, FEW_TOKENS) and len(units(work.text)) <= FEW_SENTENCES:
                work.finish(work.text.strip(), SHORT_TEXT)
        return works

    def _cut(self, works: Sequence[_Work[I]], options: O, model: Model) -> tuple[list[int], int]:
        """Give each text its chunks; the tokens of each text, and of a chunk at most."""
        if not works:
            return [], 0
        bare = works[0].inputs.model_copy(update={"text": "."})
        prompt = prompt_text(self.ask(bare, options, model.info))
        around, *texts = windows.offsets(model, [prompt, *(work.text for work in works)])
        most = self.decoding(bare, options, model.info).max_new_tokens
        room = self._room(len(around.spans), most, options, model.info)
        for work, offsets in zip(works, texts, strict=True):
            work.ranges = chunk(work.text, offsets.spans, room)
        return [len(offsets.spans) for offsets in texts], room

    def _room(self, around: int, most: int, options: O, info: ModelInfo) -> int:
        """Tokens of the text that the model reads at once, beside the rest of the prompt and its answer."""
        written = 0 if info.kind == "seq2seq" else most
        template = _TEMPLATE if info.has_chat_template else 0
        room = info.max_tokens - written - around - template - windows.MARGIN
        if room < LEAST_ROOM:
            raise OverflowRefusedError(
                f"{self.name}: the model reads {info.max_tokens} tokens, the prompt takes {around + template} and the "
                f"summary {written}, which leaves no room for the text: ask for a shorter one or take another model."
            )
        wanted = options.chunk_tokens or (room if info.kind == "seq2seq" else CAUSAL_CHUNK)
        return min(room, wanted)

    def _level(self, works: Sequence[_Work[I]], options: O, model: Model) -> None:
        """Read one level of all texts in one call; each then has its result, or a shorter text with new chunks."""
        completions = iter(self.write([part for work in works for part in work.parts()], options, model))
        for work in works:
            self._take(work, [next(completions) for _ in work.ranges], options)
        self._cut([work for work in works if work.result is None], options, model)

    def _take(self, work: _Work[I], completions: Sequence[Completion], options: O) -> None:
        """Read what the model wrote for the chunks of one text."""
        parts = work.parts()
        written = [self._read(work, part, each, options) for part, each in zip(parts, completions, strict=True)]
        work.truncated |= any(completion.truncated for completion in completions)
        if len(parts) == 1:
            work.finish(*_chosen(written[0], parts[0].text, options, whole=not work.chunks))
            return
        texts = []
        for items, part in zip(written, parts, strict=True):
            text = bullets.paragraph(items)
            usable = bool(text) and len(text) <= len(part.text)
            work.unusable += not usable
            texts.append(lead(text if usable else part.text, max(1, len(part.text) // 2)))
        work.read += len(parts)
        work.take(texts)

    def _read(self, work: _Work[I], part: I, completion: Completion, options: O) -> list[str]:
        """The whole sentences and items that the model wrote, within the length of the options; none if it has none."""
        if completion.finish_reason == "cancelled":
            raise CancelledError("The request was cancelled before it was finished.")
        try:
            text = self.parse(part, completion.text).summary
        except UnparsableOutputError:
            return []
        items = bullets.distinct(bullets.split(text, finished=completion.finish_reason == "stop"))
        if options.check_facts:
            supported = [item for item in items if not work.facts.missing(item)]
            work.unsupported += len(items) - len(supported)
            items = supported
        return bullets.within(items, options.words * 3 // 2)


def _chosen(items: list[str], source: str, options: SummarizationOptions, *, whole: bool) -> tuple[str, str | None]:
    """The summary of a text read in one piece, and a note on where it comes from.

    `source` is the input when it is `whole`, else the summaries of its parts.
    """
    note = None
    if not items:
        places = units(source)
        whole_items = [source[start:end] for start, end in places]
        items, note = bullets.within(whole_items, options.words), NOTHING
        if items[0] != whole_items[0]:
            note = FIRST_WORDS
        elif options.style == "paragraph":
            return source[places[0][0] : places[len(items) - 1][1]], note
    elif len(bullets.paragraph(items)) > len(source):
        if whole:
            return source, REFUSED
        items, note = bullets.split(source), REFUSED_PARTS
    return (bullets.bulleted if options.style == "bullets" else bullets.paragraph)(items), note


def _coverage(text: str, chunks: Sequence[SummaryChunk]) -> float:
    """Share of a text's characters that are in a chunk, white space not counted."""
    whole, *parts = (len("".join(part.split())) for part in (text, *(text[c.start : c.end] for c in chunks)))
    return sum(parts) / whole
