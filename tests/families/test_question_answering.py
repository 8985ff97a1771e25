"""Extractive question answering: spans at word borders, windows on raw logits, no answer, one call a batch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks.errors import InvalidInputError, OverflowRefusedError
from nlptasks.families import candidates
from nlptasks.families.question_answering import AnswerOptions, QuestionInput
from nlptasks.families.spans import words
from nlptasks.model import Model, ModelInfo, Offsets, SpanLogits
from nlptasks.results import Answer, AnswerSpan
from nlptasks.testing import FakeModel, check_task
from nlptasks_plugins.qa import Qa
from tests.examples import examples

Scorer = Callable[[str, str], SpanLogits]

TASK = Qa()
TOKEN = re.compile(r"\w+|[^\w\s]")


def marked(question: str, context: str) -> SpanLogits:
    """Tokens are words; those written in capitals score high, and no answer scores 0."""
    spans = tuple(match.span() for match in TOKEN.finditer(context))
    scores = tuple(6.0 if context[a:b].isupper() else -6.0 for a, b in spans)
    return SpanLogits(spans, scores, scores, 0.0, len(spans) + len(TOKEN.findall(question)) + 3)


def fixed(**logits: Any) -> Scorer:
    """The same logits for every pair."""
    return lambda question, context: SpanLogits(**{"num_tokens": 5, "null": 0.0, **logits})


class Stub:
    """The two verbs that question answering asks for."""

    def __init__(self, scorer: Scorer = marked, **info: Any) -> None:
        self.info = ModelInfo(**{"name": "stub", "kind": "encoder", "max_tokens": 48, **info})
        self.calls: list[tuple[str, list[Any]]] = []
        self._scorer = scorer

    def extract(self, pairs: Sequence[tuple[str, str]]) -> list[SpanLogits]:
        self.calls.append(("extract", list(pairs)))
        return [self._scorer(*pair) for pair in pairs]

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        self.calls.append(("offsets", list(texts)))
        return [Offsets(tuple(match.span() for match in TOKEN.finditer(text))) for text in texts]

    def inputs_of(self, verb: str) -> list[list[Any]]:
        return [inputs for name, inputs in self.calls if name == verb]


def answer_all(inputs: Sequence[Any], model: Stub, **options: Any) -> list[Answer]:
    return TASK.run(TASK.validate(inputs), TASK.validate_options(options), cast(Model, model))


def answer(context: str, model: Stub, question: str = "What is it?", **options: Any) -> Answer:
    return answer_all([(question, context)], model, **options)[0]


# Laws of spans

LOGIT = st.floats(-30, 30)


@st.composite
def readings(draw: st.DrawFn) -> tuple[str, SpanLogits]:
    """A context and any logits over any spans: with leading spaces, inside words, empty, or past the end."""
    mixed = st.text(alphabet=st.sampled_from("ab9 \n.é🙂👩語\u0301\u200d\u00a0_"), min_size=1, max_size=30)
    unicode = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
    context = draw((mixed | unicode).filter(lambda text: re.search(r"\S", text)))
    place = st.integers(0, len(context) + 1)
    spans = draw(st.lists(st.tuples(place, place), max_size=12))
    if draw(st.booleans()):
        spans = sorted((min(span), max(span)) for span in spans)
    values = st.lists(LOGIT, min_size=len(spans), max_size=len(spans)).map(tuple)
    return context, SpanLogits(tuple(spans), draw(values), draw(values), draw(LOGIT), len(spans))


@pytest.mark.long
@examples(1000)
@given(readings(), st.integers(1, 20), st.integers(1, 6), st.booleans(), st.none() | LOGIT)
def test_every_span_is_whole_words_of_the_context(
    reading: tuple[str, SpanLogits], top_k: int, longest: int, allow: bool, threshold: float | None
) -> None:
    context, logits = reading
    options = AnswerOptions(
        top_k=top_k, max_answer_tokens=longest, allow_no_answer=allow, null_threshold=threshold, on_overflow="truncate"
    )
    model = cast(Model, Stub(lambda question, piece: logits, max_tokens=512))
    item = QuestionInput.model_construct(question="What?", context=context)
    result = TASK.run([item], options, model)[0]
    given_spans: list[Answer | AnswerSpan] = [*result.alternatives, *([result] if result.answerable else [])]
    for span in given_spans:
        assert span.text == context[span.start : span.end]
        assert span.text
        assert not span.text[0].isspace()
        assert not span.text[-1].isspace()
        assert span.start in {start for start, _ in words(context)}
        assert span.end in {end for _, end in words(context)}
    assert len(result.alternatives) <= top_k
    for one, other in combinations(result.alternatives, 2):
        assert one.end <= other.start or other.end <= one.start
        assert one.score >= other.score
    if result.answerable:
        assert result.alternatives[0].text == result.text
        assert result.alternatives[0].score == result.score
    else:
        assert (result.text, result.start, result.end) == ("", 0, 0)
    if not allow and result.alternatives:
        assert result.answerable
    assert Answer.model_validate_json(result.model_dump_json()) == result


@pytest.mark.long
@examples(500)
@given(readings())
def test_the_best_candidate_is_the_best_pair_of_all(reading: tuple[str, SpanLogits]) -> None:
    context, logits = reading
    words = candidates.Words(context)
    snapped = [words.snap(*span) for span in logits.spans]
    scores = [
        logits.starts[i] + logits.ends[j]
        for i, first in enumerate(snapped)
        for j, last in enumerate(snapped)
        if first and last and i <= j < i + 3 and first[0] < last[1]
    ]
    ranked = candidates.find(logits, 0, words, longest=3)
    assert max(ranked.values(), default=None) == max(scores, default=None)


@pytest.mark.parametrize(
    ("context", "token", "text"),
    [
        ("in the lighthouse now", (10, 12), "lighthouse"),
        ("in the lighthouse now", (6, 12), "lighthouse"),
        ("cafe\u0301 noir", (0, 3), "cafe\u0301"),
        ("(Paris)", (0, 1), "("),
        ("می\u200cخواهم بروم", (0, 2), "می\u200cخواهم"),
        ("one two", (3, 4), None),
        ("one two", (1, 1), None),
    ],
)
def test_a_token_grows_to_the_words_it_touches(context: str, token: tuple[int, int], text: str | None) -> None:
    snapped = candidates.Words(context).snap(*token)
    assert (snapped and context[slice(*snapped)]) == text


def test_a_word_in_pieces_is_one_candidate_with_its_best_score() -> None:
    scorer = fixed(spans=((0, 5), (5, 10)), starts=(1.0, 2.0), ends=(1.0, 4.0))
    result = answer("lighthouse", Stub(scorer), allow_no_answer=False, top_k=5)
    assert [span.text for span in result.alternatives] == ["lighthouse"]
    assert result.score == 1
    assert result.null_score == -6


def test_an_answer_is_not_longer_than_asked() -> None:
    scorer = fixed(spans=((0, 1), (2, 3), (4, 5)), starts=(9.0, 0, 0), ends=(0, 1.0, 9.0))
    assert answer("a b c", Stub(scorer)).text == "a b c"
    assert answer("a b c", Stub(scorer), max_answer_tokens=2).text == "a b"


def test_ends_before_starts_still_give_an_answer() -> None:
    count = 60
    context = " ".join("x" * count)
    spans = tuple((2 * i, 2 * i + 1) for i in range(count))
    rising = tuple(float(i) for i in range(count))
    scorer = fixed(spans=spans, starts=rising, ends=rising[::-1])
    result = answer(context, Stub(scorer, max_tokens=512), allow_no_answer=False)
    assert result.answerable
    assert result.text == "x"


# No answer


@pytest.mark.parametrize(
    ("options", "info", "answerable"),
    [
        ({}, {}, False),
        ({"null_threshold": 1.0}, {}, True),
        ({"null_threshold": 0.9}, {}, False),
        ({}, {"threshold": 1.0}, True),
        ({"null_threshold": 0.0}, {"threshold": 1.0}, False),
        ({"allow_no_answer": False}, {}, True),
    ],
)
def test_no_answer_wins_by_more_than_the_threshold(
    options: dict[str, Any], info: dict[str, Any], answerable: bool
) -> None:
    scorer = fixed(spans=((0, 3),), starts=(1.0,), ends=(1.0,), null=3.0)
    result = answer("yes", Stub(scorer, **info), **options)
    assert result.answerable is answerable
    assert result.null_score == 1
    assert result.alternatives[0].text == "yes"
    # The adapter's threshold is where both are as likely; the call's moves the border alone.
    share = 1 / (1 + math.exp(1 - info.get("threshold", 0)))
    if answerable:
        assert result.text == "yes"
        assert result.score == pytest.approx(1 if options.get("allow_no_answer") is False else share)
    else:
        assert result.text == ""
        assert result.score == pytest.approx(1 - share)


def test_a_context_without_tokens_has_no_answer() -> None:
    result = answer("\u200b", Stub(fixed(spans=(), starts=(), ends=())), allow_no_answer=False)
    assert not result.answerable
    assert result.score == 1
    assert result.alternatives == ()


def test_the_adapters_temperature_calibrates_the_score_alone() -> None:
    scorer = fixed(spans=((0, 3),), starts=(2.0,), ends=(2.0,))
    result = answer("yes", Stub(scorer, temperature=2.0))
    assert result.score == pytest.approx(1 / (1 + math.exp(-2)))
    assert result.null_score == -4


# Long contexts


def filler(count: int) -> str:
    return " ".join(f"word{i}" for i in range(count))


def test_the_answer_is_found_in_the_last_window() -> None:
    context = f"{filler(300)} the KEY lies here."
    model = Stub()
    result = answer(context, model)
    assert result.text == "KEY"
    assert result.start == context.index("KEY")
    assert result.windows > 3
    assert result.windows == len(model.inputs_of("extract")[0])
    assert result.num_tokens == 4 + len(TOKEN.findall(context))
    assert not result.truncated
    assert max(marked(*pair).num_tokens for pair in model.inputs_of("extract")[0]) <= model.info.max_tokens


def test_the_stride_is_what_windows_share() -> None:
    context = filler(100)
    apart, shared = Stub(), Stub()
    assert answer(context, apart, stride=0).windows < answer(context, shared, stride=10).windows
    assert "".join(piece for _, piece in apart.inputs_of("extract")[0]) == context
    first, second = (piece.split() for _, piece in shared.inputs_of("extract")[0][:2])
    assert first[-10:] == second[:10]


def test_windows_are_compared_on_raw_logits() -> None:
    """transformers v4 normalised each window alone: a sure window without the answer then won."""

    def scorer(question: str, piece: str) -> SpanLogits:
        spans = tuple(match.span() for match in re.finditer(r"\S+", piece))
        # The right window has a close rival and a high score for no answer; the wrong one has neither.
        best = {"RIGHT": 9.0, "RIVAL": 8.9, "WRONG": 2.0}
        scores = tuple(best.get(piece[a:b], -20.0) for a, b in spans)
        return SpanLogits(spans, scores, scores, 17.0 if "RIGHT" in piece else -9.0, len(spans))

    context = f"WRONG {filler(100)} RIGHT {' '.join('and' for _ in range(9))} RIVAL"
    result = answer(context, Stub(scorer), stride=0, top_k=3, max_answer_tokens=1)
    assert [span.text for span in result.alternatives] == ["RIGHT", "RIVAL", "WRONG"]
    assert result.text == "RIGHT"
    assert result.null_score == -9.0 - 18.0, "the score of no answer is the lowest of any window"
    weights = {"RIGHT": math.exp(18), "RIVAL": math.exp(17.8), "WRONG": math.exp(4), "": math.exp(-9)}
    for span in result.alternatives:
        assert span.score == pytest.approx(weights[span.text] / sum(weights.values()), rel=1e-6)


def test_a_span_seen_by_two_windows_keeps_its_best_score() -> None:
    merged = candidates.merge([{(0, 3): 1.0, (4, 6): 0.0}, {(0, 3): 2.0}])
    assert [(c.start, c.score) for c in merged] == [(0, 2.0), (4, 0.0)]


def test_a_long_context_may_be_cut_or_refused() -> None:
    context = f"{filler(60)} KEY"
    cut = answer(context, Stub(), on_overflow="truncate")
    assert cut.truncated
    assert cut.windows == 1
    assert not cut.answerable
    with pytest.raises(OverflowRefusedError, match=r"reads 40 tokens at a time.*input 0 has 65 tokens: shorten"):
        answer(context, Stub(), on_overflow="error")
    assert not answer("a short KEY.", Stub(), on_overflow="error").truncated


@pytest.mark.parametrize("on_overflow", ["window", "truncate"])
def test_a_question_without_room_for_the_context_is_refused(on_overflow: str) -> None:
    with pytest.raises(OverflowRefusedError, match=r"the question of input 0 has 30 and leaves no room.*shorten"):
        answer(filler(60), Stub(), question=filler(30), on_overflow=on_overflow)


# Batches


def test_a_shared_context_is_measured_once_and_all_pairs_go_in_one_call() -> None:
    context = f"{filler(100)} KEY"
    model = Stub()
    results = answer_all([("Who?", context), ("What is the key?", context), ("Who?", "a short KEY.")], model)
    assert [result.text for result in results] == ["KEY"] * 3
    assert model.inputs_of("offsets") == [[context, "Who?", "What is the key?"]]
    (pairs,) = model.inputs_of("extract")
    assert len(pairs) == sum(result.windows for result in results)


def test_an_answer_does_not_depend_on_what_else_is_asked_of_its_context() -> None:
    context = f"{filler(100)} KEY"
    together, alone = Stub(), Stub()
    both = answer_all([("Who?", context), (filler(9), context)], together)
    assert both == [*answer_all([("Who?", context)], alone), *answer_all([(filler(9), context)], alone)]
    assert together.inputs_of("extract")[0] == [pair for pairs in alone.inputs_of("extract") for pair in pairs]


def test_short_inputs_are_not_measured() -> None:
    model = Stub(max_tokens=512)
    results = answer_all([("Who?", "It was ME."), ("Who?", "nobody")] * 4, model)
    assert [result.text for result in results] == ["ME", ""] * 4
    assert [result.num_tokens for result in results[:2]] == [4 + 2 + 3, 1 + 2 + 3]
    assert [verb for verb, _ in model.calls] == ["extract"]


def test_options_never_change_the_shape() -> None:
    one, many = (answer("It was ME or YOU or HER.", Stub(), top_k=k) for k in (1, 3))
    assert one.model_dump().keys() == many.model_dump().keys()
    assert len(one.alternatives) == 1
    assert one.model_copy(update={"alternatives": many.alternatives}) == many
    assert one.to_hf().keys() == {"score", "start", "end", "answer"}
    assert answer_all([], Stub()) == []


def test_the_task_keeps_the_contract() -> None:
    check_task(TASK)
    check_task(TASK, model=FakeModel(answers=lambda question, context: (0, len(context.split()[0]))))


# Inputs


def test_a_pair_and_a_mapping_are_one_input() -> None:
    assert TASK.is_one(("Who?", "Me."))
    assert TASK.is_one({"question": "Who?", "context": "Me."})
    assert not TASK.is_one([("Who?", "Me.")])
    assert not TASK.is_one(["Who?", "Me."])
    assert TASK.validate([("Who?", "Me.")]) == TASK.validate([{"question": "Who?", "context": "Me."}])


@pytest.mark.parametrize("value", ["Who?", 3, ("a", "b", "c"), None])
def test_anything_else_is_told_that_both_are_needed(value: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        TASK.validate([value])
    (problem,) = caught.value.problems
    assert problem == (
        "input 'question and context': expected both a question and a context, as "
        f'{{"question": ..., "context": ...}} or (question, context), found {value!r}.'
    )


def test_every_fault_of_every_input_is_told() -> None:
    with pytest.raises(InvalidInputError) as caught:
        TASK.validate(
            ["Who?", (" ", "Me."), {"question": "Who?"}, {"question": "Who?", "contxt": "Me.", "context": ""}]
        )
    places = [problem.split(":")[0].split(" is not")[0] for problem in caught.value.problems]
    assert places == [
        "input 0 'question and context'",
        "input 1 'question'",
        "input 2 'context'",
        "input 3 'context'",
        "input 3 'contxt'",
    ]


@pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": 21}, {"max_answer_tokens": 0}, {"stride": -1}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        TASK.validate_options(options)
