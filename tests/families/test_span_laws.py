"""Laws of entities and answers over any Unicode, with the embedded base's own tokenizer and made-up scores."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations, pairwise
from operator import itemgetter
from random import Random
from typing import Any, cast

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nlptasks.families.question_answering import AnswerOptions, QuestionInput
from nlptasks.families.spans import Span, iob2, tokens_of_words, words
from nlptasks.families.token_classification import TaggingOptions
from nlptasks.families.windows import MARGIN
from nlptasks.model import Model, ModelInfo, Offsets, SpanLogits, TokenLogits
from nlptasks.results import Answer, AnswerSpan, Entities
from nlptasks.runtime.loading.base import load_tokenizer
from nlptasks.runtime.verbs.encoding import Encoded, Segment
from nlptasks.settings import Settings
from nlptasks.store.download import find_base
from nlptasks.task import TextInput
from nlptasks_plugins.ner import NamedEntities
from nlptasks_plugins.qa import Qa
from tests.examples import examples
from tests.tiny_base import bare_base

pytestmark = pytest.mark.embedded

NER, QA = NamedEntities(), Qa()
TAGS = iob2(NER.labels)
ONE_WINDOW = 100_000
QUESTION = "Who was it, then?"
KEYS = frozenset({"Anna", "river", "Quetzal", "1984"})

Scores = Callable[[str, Span], Sequence[float]]
"""Raw scores of a token from the text of its window and its span there."""

PIECES = (
    *("Ada", "Byron", "antidisestablishmentarianism", "UNESCO's", "1,000", "x_y", "a" * 120, "[SEP]", "##ing", "<s>"),
    *("Zu\u0308rich", "Zürich", "ﬁ", "İ", "ß", "Ω\u0301\u0302"),
    *("שָׁלוֹם", "مرحبا", "می\u200cخواهم", "क्षि", "ไทย", "한국어"),
    *("日本語", "中文没有空格", "カナ", "𠀀", "👩\u200d💻", "👋🏽", "🇩🇪🇫🇷", "❤\ufe0f", "good🙂day", "1\ufe0f\u20e3"),
    *(" ", "  ", "\r\n", "\n", "\t", "\u00a0", "\u3000", "\u2028", "\x85", "\x1c"),
    *("\u200b", "\u200d", "\ufeff", "\u00ad", "\u200f", "\u202e", "\u0301", "\x00", "\x07", "\ufffd", "\ue000"),
    *(".", ",", "'", "-", "(", "€", "“"),
)
LONG_TEXTS = st.builds(
    lambda some, joint, times: joint.join(some * times),
    st.lists(st.sampled_from(PIECES), min_size=6, max_size=30),
    st.sampled_from(["", " "]),
    st.integers(4, 12),
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=120),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=40).map("".join),
    LONG_TEXTS,
).filter(lambda text: re.search(r"\S", text) is not None)
LIMITS = st.integers(32, 64)
SEEDS = st.integers(0, 2**32)
SCALES = st.sampled_from([0.1, 4.0, 1e4])
AGGREGATIONS = st.sampled_from(["first", "average", "max"])


class Reader:
    """A model whose tokens are a real tokenizer's and whose scores are made up."""

    def __init__(self, tokenizer: Any, scores: Scores, null: float = 0.0, **info: Any) -> None:
        self.info = ModelInfo(**{"name": "reader", "kind": "encoder", "labels": TAGS, **info})
        self._root = bare_base(tokenizer)
        self._scores = scores
        self._null = null

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        encoding = self._root.tokenizer(
            list(texts), add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
        )
        return [Offsets(tuple((int(a), int(b)) for a, b in spans)) for spans in encoding["offset_mapping"]]

    def tag(self, texts: Sequence[str]) -> list[TokenLogits]:
        read = Encoded(self._root, texts, self.info.max_tokens, segment=0)
        return [
            TokenLogits(segment.spans, self._rows(text, segment), read.full_lengths[i], read.truncated(i))
            for i, (text, segment) in enumerate(zip(texts, read.segments, strict=True))
        ]

    def extract(self, pairs: Sequence[tuple[str, str]]) -> list[SpanLogits]:
        read = Encoded(self._root, pairs, self.info.max_tokens, segment=1)
        answers = []
        for i, ((_, context), segment) in enumerate(zip(pairs, read.segments, strict=True)):
            starts, ends = list(zip(*self._rows(context, segment), strict=True)) or ((), ())
            count, cut = read.full_lengths[i], read.truncated(i)
            answers.append(SpanLogits(segment.spans, starts, ends, self._null, count, cut))
        return answers

    def _rows(self, text: str, segment: Segment) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(self._scores(text, span)) for span in segment.spans)


@pytest.fixture(scope="session")
def tokenizer(embedded_settings: Settings) -> Any:
    return load_tokenizer(find_base("minilm", embedded_settings).path)


def noise(seed: int, count: int, scale: float) -> Scores:
    """Scores without sense that are the same for the same token of the same window."""
    return lambda text, span: [Random(f"{seed} {span} {i} {text}").uniform(-scale, scale) for i in range(count)]


def by_word(rows: Callable[[str], Sequence[float]]) -> Scores:
    """Scores that a token has of the first word it touches, wherever that word stands."""
    known = cache(words)

    def scores(text: str, span: Span) -> Sequence[float]:
        place = bisect_right(known(text), span[0], key=itemgetter(1))
        word = known(text)[place] if place < len(known(text)) and known(text)[place][0] < span[1] else span
        return rows(text[slice(*word)])

    return scores


def name_row(seed: int) -> Callable[[str], list[float]]:
    """A tag for each word, every second one outside, and a score of its own."""

    def row(word: str) -> list[float]:
        chance = Random(f"{seed} {word}")
        best = 0 if chance.random() < 0.5 else chance.randrange(len(TAGS))
        return [chance.uniform(0, 2) + 6 * (i == best) for i in range(len(TAGS))]

    return row


def read_as_one(text: str, tokens: Sequence[Span]) -> list[set[int]]:
    """The tokens of each word, or of several that one token touches, since the tokenizer drops what is between them."""
    runs: list[set[int]] = []
    for owned in tokens_of_words(words(text), tokens).values():
        if runs and not runs[-1].isdisjoint(owned):
            runs[-1].update(owned)
        else:
            runs.append(set(owned))
    return runs


def check_spans(source: str, spans: Sequence[Any]) -> None:
    """Spans are text of the source, whole words of it, and share nothing."""
    starts, ends = (set(column) for column in zip(*words(source), strict=True)) if words(source) else (set(), set())
    for span in spans:
        assert 0 <= span.start < span.end <= len(source)
        assert span.text == source[span.start : span.end]
        assert span.start in starts
        assert span.end in ends
        assert 0 <= span.score <= 1
    for one, other in combinations(spans, 2):
        assert one.end <= other.start or other.end <= one.start


def find(text: str, model: Reader, **options: Any) -> Entities:
    [result] = NER.run([TextInput.model_construct(text=text)], TaggingOptions(**options), cast(Model, model))
    assert Entities.model_validate_json(result.model_dump_json()) == result
    return result


def ask(context: str, model: Reader, **options: Any) -> Answer:
    item = QuestionInput.model_construct(question=QUESTION, context=context)
    [result] = QA.run([item], AnswerOptions(**options), cast(Model, model))
    assert Answer.model_validate_json(result.model_dump_json()) == result
    return result


# Entities


@pytest.mark.long
@examples(1000)
@given(
    text=TEXTS,
    seed=SEEDS,
    scale=SCALES,
    limit=LIMITS,
    aggregation=AGGREGATIONS,
    stride=st.integers(0, 64),
    labels=st.none() | st.lists(st.sampled_from(NER.labels), unique=True).map(tuple),
    threshold=st.none() | st.floats(0, 1),
)
def test_entities_keep_the_laws(
    tokenizer: Any,
    text: str,
    seed: int,
    scale: float,
    limit: int,
    aggregation: str,
    stride: int,
    labels: tuple[str, ...] | None,
    threshold: float | None,
) -> None:
    model = Reader(tokenizer, noise(seed, len(TAGS), scale), max_tokens=limit)
    result = find(text, model, aggregation=aggregation, stride=stride)
    check_spans(text, result.entities)
    assert all(before.end <= after.start for before, after in pairwise(result.entities))
    assert not result.truncated
    chosen = find(text, model, aggregation=aggregation, stride=stride, labels=labels, threshold=threshold)
    assert chosen.entities == tuple(
        e for e in result.entities if (labels is None or e.label in labels) and e.score >= (threshold or 0)
    )


@examples(1000)
@given(LONG_TEXTS, SEEDS, LIMITS, st.integers(8, 64), AGGREGATIONS)
@example("Ada[SEP]Ada.Byron👩\u200d💻" * 4, 0, 32, 8, "first")
def test_windows_give_the_entities_of_one_window(
    tokenizer: Any, text: str, seed: int, limit: int, stride: int, aggregation: str
) -> None:
    scores = by_word(name_row(seed))
    tokens = Reader(tokenizer, scores).offsets([text])[0].spans
    # A word that no window holds whole is read in parts, and parts may be tagged otherwise.
    longest = max(map(len, read_as_one(text, tokens)), default=0)
    assume(longest <= min(stride, (limit - MARGIN) // 2))
    whole = find(text, Reader(tokenizer, scores, max_tokens=ONE_WINDOW), aggregation=aggregation)
    cut = find(text, Reader(tokenizer, scores, max_tokens=limit), stride=stride, aggregation=aggregation)
    assert whole.windows == 1
    assert (cut.windows > 1) == (len(tokens) > limit - MARGIN)
    assert cut.entities == whole.entities


# Answers


@examples(1000)
@given(
    context=TEXTS,
    seed=SEEDS,
    scale=SCALES,
    null=st.floats(-30, 30),
    limit=LIMITS,
    stride=st.integers(0, 64),
    top_k=st.integers(1, 20),
    longest=st.integers(1, 30),
    allow=st.booleans(),
    threshold=st.floats(-30, 30),
    temperature=st.floats(0.1, 10),
)
def test_answers_keep_the_laws(
    tokenizer: Any,
    context: str,
    seed: int,
    scale: float,
    null: float,
    limit: int,
    stride: int,
    top_k: int,
    longest: int,
    allow: bool,
    threshold: float,
    temperature: float,
) -> None:
    model = Reader(tokenizer, noise(seed, 2, scale), null, max_tokens=limit, temperature=temperature)
    options = {"top_k": top_k, "max_answer_tokens": longest, "allow_no_answer": allow, "null_threshold": threshold}
    result = ask(context, model, stride=stride, **options)
    assert not result.truncated
    assert len(result.alternatives) <= top_k
    check_spans(context, result.alternatives)
    scores = [span.score for span in result.alternatives]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) + (0 if result.answerable else result.score) <= 1 + 1e-9
    assert result.answerable == bool(result.alternatives and not (allow and result.null_score > threshold))
    if result.answerable:
        check_spans(context, [result])
        best = AnswerSpan(text=result.text, start=result.start, end=result.end, score=result.score)
        assert result.alternatives[0] == best
    else:
        assert (result.text, result.start, result.end) == ("", 0, 0)
        assert 0 <= result.score <= 1


@st.composite
def contexts_with_keys(draw: st.DrawFn) -> str:
    """Any text with keys in some places, each one between spaces."""
    keys = draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, unique=True))
    fillers = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
    return draw(fillers) + "".join(f" {key} {draw(fillers)}" for key in keys)


@examples(1000)
@given(contexts_with_keys(), SEEDS, st.floats(-80, 80), LIMITS, st.data())
def test_windows_give_the_answer_of_one_window(
    tokenizer: Any, context: str, seed: int, null: float, limit: int, data: st.DataObject
) -> None:
    def row(word: str) -> list[float]:
        # Between keys and the rest lies so much that the best pair is among the best starts and ends everywhere.
        chance = Random(f"{seed} {word}")
        return [chance.uniform(10, 20) if word in KEYS else chance.uniform(-40, -20) for _ in range(2)]

    taken = len(Reader(tokenizer, by_word(row)).offsets([QUESTION])[0].spans)
    stride = data.draw(st.integers(4, (limit - MARGIN - taken) // 2))
    # A longer answer may stand in no window.
    options = {"top_k": 5, "max_answer_tokens": data.draw(st.integers(1, stride))}
    whole = ask(context, Reader(tokenizer, by_word(row), null, max_tokens=ONE_WINDOW), **options)
    cut = ask(context, Reader(tokenizer, by_word(row), null, max_tokens=limit), stride=stride, **options)
    assert (cut.text, cut.start, cut.end) == (whole.text, whole.start, whole.end)
    assert (cut.answerable, cut.null_score) == (whole.answerable, whole.null_score)
    # Windows bring more of the unlikely candidates, which share the rest of the probability.
    assert cut.score == pytest.approx(whole.score, abs=1e-6)
    assert by_keys(cut) == by_keys(whole)


def by_keys(result: Answer) -> list[tuple[int, int]]:
    """Places of the alternatives that begin and end with a key: the likely ones."""
    ends = [(span, {span.text.split(" ")[0], span.text.split(" ")[-1]}) for span in result.alternatives]
    return [(span.start, span.end) for span, keys in ends if keys <= KEYS]
