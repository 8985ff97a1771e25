"""Entities lie on words, do not overlap and are the same however a text is cut into windows."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks import Entities, InvalidInputError, OverflowRefusedError, TaggingOptions, TextInput, TokenClassification
from nlptasks import UnsupportedModelError as Unsupported
from nlptasks.families import spans
from nlptasks.model import Model, ModelInfo, Offsets, TokenLogits
from nlptasks.testing import check_task
from nlptasks_plugins.ner import NamedEntities
from tests.examples import examples

Row = tuple[float, ...]
Spans = tuple[tuple[int, int], ...]

ODD = (
    "ab Zé1'-.,_  \t\n\r\u00a0\u0301\u0308\u200d\u200b\u200f\u00ad\ufe0f👩💻👋🏽🇩🇪שלום_ال日本カタไทยक्ष\u2028\ufeff\x00"
)
TEXTS = st.one_of(
    st.text(st.sampled_from(ODD), min_size=1, max_size=60), st.text(min_size=1, max_size=40), st.just("a\r\nb\r\n")
)
IOB = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG")
SCHEMES = (IOB, ("O", "PER", "LOC"), ("B-A", "I-A", "E-A", "S-A", "O", "U-B", "L-B", "I-B"), ("PER", "LABEL_1", "O"))


class Names(TokenClassification):
    """Names in a text."""

    name = "names"
    labels = ("PER", "ORG")


@dataclass
class Stub:
    """A tagger whose scores depend on a token's text alone; tokens are matches of `pattern`."""

    row: Callable[[str], Sequence[float]]
    labels: tuple[str, ...] | None = IOB
    pattern: str = r"\w+|[^\w\s]"
    max_tokens: int = 512
    temperature: float = 1.0
    threshold: float | None = None
    calls: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(
            "stub",
            "encoder",
            labels=self.labels,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            threshold=self.threshold,
        )

    def spans(self, text: str) -> Spans:
        return tuple(m.span() for m in re.finditer(self.pattern, text, re.DOTALL))

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        self.calls.append(("offsets", list(texts)))
        return [Offsets(self.spans(text)) for text in texts]

    def tag(self, texts: Sequence[str]) -> list[TokenLogits]:
        self.calls.append(("tag", list(texts)))
        return [self._tag(text) for text in texts]

    def _tag(self, text: str) -> TokenLogits:
        whole = self.spans(text)
        spans_read = whole[: self.max_tokens - 2]
        rows = tuple(tuple(self.row(text[a:b])) for a, b in spans_read)
        return TokenLogits(spans_read, rows, len(whole) + 2, len(spans_read) < len(whole))


@dataclass
class Given:
    """A tagger that answers one text with these tokens and scores."""

    labels: tuple[str, ...]
    tokens: Spans
    rows: tuple[Row, ...]
    temperature: float = 1.0
    adapter: str | None = None

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("given", "encoder", self.adapter, self.labels, temperature=self.temperature, max_tokens=10_000)

    def tag(self, texts: Sequence[str]) -> list[TokenLogits]:
        return [TokenLogits(self.tokens, self.rows, len(self.tokens)) for _ in texts]


def read(text: str, model: Any, **options: Any) -> Entities:
    return Names().run([TextInput.model_construct(text=text)], TaggingOptions(**options), cast(Model, model))[0]


def pairs(result: Entities) -> list[tuple[str, str]]:
    return [(entity.label, entity.text) for entity in result.entities]


def votes(table: dict[str, str], labels: tuple[str, ...] = IOB) -> Callable[[str], list[float]]:
    """Scores that make the label of a token certain; O for the others."""
    return lambda token: [9.0 if label == table.get(token, "O") else 0.0 for label in labels]


def tagged(text: str, tags: str, labels: tuple[str, ...] = IOB) -> list[tuple[str, str]]:
    """Entities of a text of one-token words with these tags."""
    tokens = tuple(m.span() for m in re.finditer(r"\S+", text))
    rows = tuple(tuple(9.0 if label == tag else 0.0 for label in labels) for tag in tags.split())
    return pairs(read(text, Given(labels, tokens, rows)))


def tagged_words(text: str, tags: str, task: TokenClassification | None = None, adapter: str | None = None) -> Entities:
    """The result for a text whose words, as the model reads them, have these tags."""
    tokens = tuple(spans.words(spans.unescape(text)[0]))
    rows = tuple(tuple(9.0 if label == tag else 0.0 for label in IOB) for tag in tags.split())
    assert len(rows) == len(tokens)
    model = cast(Model, Given(IOB, tokens, rows, adapter=adapter))
    return (task or Names()).run([TextInput(text=text)], TaggingOptions(), model)[0]


def check_laws(text: str, result: Entities) -> None:
    words = spans.words(text)
    starts, ends = {a for a, _ in words}, {b for _, b in words}
    for entity in result.entities:
        assert entity.start < entity.end
        assert entity.text == text[entity.start : entity.end]
        assert entity.start in starts
        assert entity.end in ends
        assert entity.text == entity.text.strip()
        check_border(text, entity.start)
        check_border(text, entity.end)
        assert 0 < entity.score <= 1
    for before, after in pairwise(result.entities):
        assert before.end <= after.start


def check_border(text: str, at: int) -> None:
    """What no entity may be cut at, told without the code under test."""
    if 0 < at < len(text):
        before, after = text[at - 1], text[at]
        assert not (is_latin(before) and is_latin(after))
        if unicodedata.category(after)[0] == "M" or after == "\u200d":
            assert before.isspace() or unicodedata.category(before) in {"Cc", "Cf"}
        assert not (before == "\u200d" and after in "👩💻" and at > 1 and text[at - 2] in "👩💻")


def is_latin(char: str) -> bool:
    return char.isalnum() and char < "\u0250"


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, Given]:
    text = draw(TEXTS)
    labels = draw(st.sampled_from(SCHEMES))
    place = st.integers(0, len(text) + 2)
    tokens = draw(st.lists(st.tuples(place, place), max_size=30))
    if draw(st.booleans()):
        tokens = sorted((min(t), max(t)) for t in tokens)
    score = st.floats(-1e6, 1e6)
    rows = draw(st.lists(st.tuples(*[score] * len(labels)), min_size=len(tokens), max_size=len(tokens)))
    return text, Given(labels, tuple(tokens), tuple(rows), draw(st.floats(0.1, 10)))


@pytest.mark.long
@examples(1000)
@given(cases(), st.sampled_from(["first", "average", "max"]))
def test_laws_hold_for_any_text_tokens_and_scores(case: tuple[str, Given], aggregation: str) -> None:
    text, model = case
    check_laws(text, read(text, model, aggregation=aggregation))


@pytest.mark.long
@examples(500)
@given(TEXTS, st.integers(12, 30), st.integers(0, 20), st.randoms(use_true_random=False))
def test_laws_hold_for_any_text_in_windows(text: str, limit: int, stride: int, random: Any) -> None:
    model = Stub(lambda token: [random.uniform(-5, 5) for _ in IOB], pattern=".", max_tokens=limit)
    result = read(text * 3, model, stride=stride)
    check_laws(text * 3, result)
    assert not result.truncated


@examples(1000)
@given(TEXTS)
def test_words_are_disjoint_and_leave_out_only_what_is_invisible(text: str) -> None:
    words = spans.words(text)
    covered = [i for start, end in words for i in range(start, end)]
    assert covered == sorted(set(covered))
    for i in set(range(len(text))) - set(covered):
        assert text[i].isspace() or unicodedata.category(text[i]) in {"Cc", "Cf"}
    for start, end in words:
        assert not any(char.isspace() for char in text[start:end])
        check_border(text, start)
        check_border(text, end)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop-it, now", "Don|'|t|stop|-|it|,|now"),
        ("Cafe\u0301 x\u0301\u0308!", "Cafe\u0301|x\u0301\u0308|!"),
        ("a\u00a0b\r\nc\u200bd", "a|b|c|d"),
        ("👩\u200d💻👋🏽 🇩🇪🇫🇷 ❤\ufe0f", "👩\u200d💻|👋🏽|🇩🇪|🇫🇷|❤\ufe0f"),
        ("日本のA1 カナ", "日|本|の|A1|カ|ナ"),
        ("शक्ति می\u200cخواهم", "शक्ति|می\u200cخواهم"),
        ("שלום, (x)", "שלום|,|(|x|)"),
        (" \u0301a", "\u0301a"),
    ],
)
def test_words(text: str, words: str) -> None:
    assert [text[a:b] for a, b in spans.words(text)] == words.split("|")


WORDS = ["Ada", "Byron", "Acme", "Inc", "met", "in", ",", "."]
TABLE = {"Ada": "B-PER", "Byron": "I-PER", "Acme": "B-ORG", "Inc": "I-ORG"}


@examples(500)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=120), st.integers(14, 40), st.integers(0, 64))
def test_windows_give_the_answer_of_one_window(words: list[str], limit: int, stride: int) -> None:
    text = " ".join(words)
    narrow = Stub(votes(TABLE), max_tokens=limit)
    whole = read(text, Stub(votes(TABLE), max_tokens=100_000))
    cut = read(text, narrow, stride=stride)
    assert cut.entities == whole.entities
    assert whole.windows == 1
    assert (cut.windows > 1) == (len(words) > limit - 8)
    assert [verb for verb, _ in narrow.calls].count("tag") == 1


def test_characters_as_tokens_give_the_same_entities_in_windows() -> None:
    text = "Ada Byron met Acme Inc, " * 20
    first = {"A": "B-PER", "B": "I-PER", "I": "I-ORG"}
    whole = read(text, Stub(votes(first), pattern=r"\S", max_tokens=100_000))
    cut = read(text, Stub(votes(first), pattern=r"\S", max_tokens=50), stride=12)
    assert cut.windows > 5
    assert cut.entities == whole.entities


def test_all_inputs_share_one_call_and_short_ones_are_not_counted() -> None:
    model = Stub(votes(TABLE), max_tokens=30)
    texts = ["Ada met Acme", "Ada Byron met Acme Inc. " * 10, "x"]
    short, long, last = Names().run([TextInput(text=t) for t in texts], TaggingOptions(), cast(Model, model))
    assert [verb for verb, _ in model.calls] == ["offsets", "tag"]
    assert model.calls[0][1] == [texts[1]]
    assert (short.num_tokens, long.num_tokens, last.num_tokens) == (5, 60, 3)
    assert (short.windows, last.windows) == (1, 1)
    assert len(model.calls[1][1]) == long.windows + 2
    assert pairs(short) == [("PER", "Ada"), ("ORG", "Acme")]
    assert pairs(long) == [("PER", "Ada Byron"), ("ORG", "Acme Inc")] * 10
    assert Names().run([], TaggingOptions(), cast(Model, model)) == []


def test_a_text_is_cut_or_refused_when_asked() -> None:
    text = "Ada Byron met Acme Inc. " * 10
    cut = read(text, Stub(votes(TABLE), max_tokens=30), on_overflow="truncate")
    assert (cut.truncated, cut.windows, cut.num_tokens) == (True, 1, 60)
    assert 0 < len(cut.entities) < 20
    with pytest.raises(OverflowRefusedError, match="names: the model reads 22 tokens at a time, input 0 has 60 tokens"):
        read(text, Stub(votes(TABLE), max_tokens=30), on_overflow="error")


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("B-PER I-PER O I-PER", ["a b", "d"]),
        ("B-PER B-PER I-PER I-PER", ["a", "b c d"]),
        ("I-PER I-PER I-ORG I-PER", ["a b", "c", "d"]),
        ("B-PER I-ORG I-ORG O", ["a", "b c"]),
    ],
)
def test_iob_and_its_repair(tags: str, entities: list[str]) -> None:
    assert [text for _, text in tagged("a b c d", tags)] == entities


@pytest.mark.parametrize("place", ["BIES", "BILU"])
@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("B I E S", ["a b c", "d"]),
        ("B E I E", ["a b", "c d"]),
        ("S I S S", ["a", "b", "c", "d"]),
        ("E O B E", ["a", "c d"]),
        ("B S E E", ["a", "b", "c", "d"]),
    ],
)
def test_schemes_with_ends_and_singles(place: str, tags: str, entities: list[str]) -> None:
    labels = ("O", *(f"{p}-PER" for p in place))
    written = " ".join(t if t == "O" else f"{place['BIES'.index(t)]}-PER" for t in tags.split())
    assert [text for _, text in tagged("a b c d", written, labels)] == entities


def test_bare_types_merge_neighbours_and_take_the_tasks_spelling() -> None:
    assert tagged("a b c d", "per per O org", ("O", "per", "org")) == [("PER", "a b"), ("ORG", "d")]


@pytest.mark.parametrize("labels", [None, ("LABEL_0", "LABEL_1"), ("O",)])
def test_a_model_without_entity_labels_is_refused(labels: tuple[str, ...] | None) -> None:
    with pytest.raises(Unsupported, match="expected a model whose labels name entities"):
        read("a", Stub(votes({}), labels=labels))


def test_score_is_the_geometric_mean_of_the_types_probability() -> None:
    model = Given(IOB, ((0, 1), (2, 3)), ((0, 4, 2, 0, 0), (0, 0, 2, 0, 0)), temperature=2.0)
    p = (math.exp(2) + math.exp(1)) / (math.exp(2) + math.exp(1) + 3)
    q = (math.exp(1) + 1) / (math.exp(1) + 4)
    assert read("a b", model).entities[0].score == pytest.approx(math.sqrt(p * q))


def test_aggregation_of_a_words_tokens() -> None:
    rows = ((3.0, 2.0), (0.0, 2.5), (0.0, 9.0), (4.0, 0.0))
    text, model = "abcd", Given(("O", "PER"), ((0, 1), (1, 2), (2, 3), (3, 4)), rows)
    assert pairs(read(text, model)) == []
    assert pairs(read(text, model, aggregation="average")) == [("PER", "abcd")]
    assert pairs(read(text, model, aggregation="max")) == [("PER", "abcd")]
    assert read(text, model, aggregation="max").entities[0].score == pytest.approx(1 / (1 + math.exp(-9)))


def test_odd_tokens() -> None:
    person, other = (0.0, 5.0), (5.0, 0.0)
    text = "x Ada 語 y"
    tokens = ((0, 1), (1, 1), (1, 5), (5, 6), (6, 7), (6, 7), (6, 6))
    model = Given(("O", "PER"), tokens, (other, person, person, other, person, other, other))
    assert pairs(read(text, model)) == [("PER", "Ada 語")]


def test_an_empty_token_decides_nothing() -> None:
    model = Given(("O", "PER"), ((1, 1), (0, 3)), ((5.0, 0.0), (0.0, 5.0)))
    assert pairs(read("Ada", model)) == [("PER", "Ada")]


def test_a_word_is_read_where_it_is_deepest() -> None:
    words = [(0, 3), (40, 43), (52, 55), (56, 66), (90, 93)]
    left: dict[int, spans.Row] = dict.fromkeys(range(4), (1.0,))
    right: dict[int, spans.Row] = dict.fromkeys(range(1, 5), (2.0,))
    windows = [((0, 60), left), ((40, 100), right)]
    expected = {0: (1.0,), 1: (1.0,), 2: (2.0,), 3: (2.0,), 4: (2.0,)}
    assert spans.merge(words, windows) == spans.merge(words, windows[::-1]) == expected
    assert spans.depth(words[3], (0, 60)) < 0
    assert spans.merge(words, [((0, 60), left)])[3] == (1.0,), "a word that no window holds whole is still read"


def test_threshold_and_labels_choose() -> None:
    def row(token: str) -> list[float]:
        return {"Ada": [0.0, 9.0, 0, 0, 0], "Acme": [0.0, 0, 0, 1.5, 0]}.get(token, [9.0, 0, 0, 0, 0])

    text = "Ada met Acme"
    both = [("PER", "Ada"), ("ORG", "Acme")]
    assert pairs(read(text, Stub(row))) == both
    assert pairs(read(text, Stub(row), threshold=0.9)) == both[:1]
    assert pairs(read(text, Stub(row, threshold=0.9))) == both[:1]
    assert pairs(read(text, Stub(row, threshold=0.9), threshold=0)) == both
    assert pairs(read(text, Stub(row), labels=("ORG",))) == both[1:]
    with pytest.raises(InvalidInputError, match="'labels' 'ogr' is not known; did you mean 'ORG'"):
        read(text, Stub(row), labels=("ogr",))
    with pytest.raises(InvalidInputError, match="known: PER, ORG"):
        read(text, Stub(row), labels=("street",))


@pytest.mark.parametrize(
    ("text", "tags", "entities"),
    [
        ("Rolls-Royce grew", "B-ORG I-PER I-PER O", [("PER", "Rolls-Royce")]),
        ("a Rolls-Royce", "O B-ORG I-ORG B-ORG", [("ORG", "Rolls-Royce")]),
        ("Jean-Luc Picard-Smith", "B-PER I-PER I-PER I-PER B-ORG I-PER", [("PER", "Jean-Luc Picard-Smith")]),
        ("an-de\u0301-No\u0308 x", "B-ORG B-ORG B-PER I-ORG B-ORG O", [("ORG", "an-de\u0301-No\u0308")]),
        ("Oslo-Acme talks", "B-PER O B-ORG O", [("PER", "Oslo"), ("ORG", "Acme")]),
        ("Oslo - Acme", "B-PER I-PER B-ORG", [("PER", "Oslo -"), ("ORG", "Acme")]),
        ("Oslo--Acme", "B-PER I-PER I-PER B-ORG", [("PER", "Oslo--"), ("ORG", "Acme")]),
        ("Ada Acme-Oslo", "B-PER B-ORG I-ORG I-PER", [("PER", "Ada"), ("ORG", "Acme-Oslo")]),
        ("in the U.K.", "O O B-PER B-ORG I-ORG O", [("ORG", "U.K.")]),
        ("U.K and U.S. x", "B-ORG O B-ORG O B-PER O B-PER O O", [("ORG", "U.K"), ("PER", "U.S.")]),
        ("Ada J.K. Acme.", "B-PER I-PER O I-PER O I-PER O", [("PER", "Ada J.K. Acme")]),
        ("e.g. Oslo a.b c", "O B-ORG O O B-PER O O O O", [("ORG", "."), ("PER", "Oslo")]),
        ("Plan B. C is A.D", "O B-ORG O B-ORG O O O O", [("ORG", "B"), ("ORG", "C")]),
    ],
)
def test_a_compound_is_one_entity(text: str, tags: str, entities: list[tuple[str, str]]) -> None:
    assert pairs(tagged_words(text, tags)) == entities


@pytest.mark.parametrize(
    ("text", "tags", "name"),
    [
        ("He left AT&amp;T for", "O O B-ORG I-ORG I-ORG O", "AT&amp;T"),
        ("He left AT&#38;T for", "O O B-ORG I-ORG I-ORG O", "AT&#38;T"),
        ("He left AT&amp;amp;T", "O O B-ORG I-ORG I-ORG I-ORG I-ORG", "AT&amp;amp;T"),
        ("&lt;b&gt;Z&#xfc;rich&nbsp;AG&lt;", "O O O B-ORG I-ORG O", "Z&#xfc;rich&nbsp;AG"),
        ("R&D; &none; &#0; x", "B-ORG I-ORG I-ORG O O O O O O O O O", "R&D"),
    ],
)
def test_character_references_are_read_as_their_characters(text: str, tags: str, name: str) -> None:
    [entity] = tagged_words(text, tags).entities
    assert entity.text == name == text[entity.start : entity.end]


@given(st.text(st.sampled_from("ab&;#x3amp; -éA\u0301"), max_size=20))
def test_the_places_of_an_unescaped_text(text: str) -> None:
    read, places = spans.unescape(text)
    assert len(places) == len(read) + 1
    assert (places[0], places[-1]) == (0, len(text))
    assert all(before < after for before, after in pairwise(places))


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "tags", "names"),
    [
        ("Ms Nguyen met Dr. Chen", "B-PER I-PER O B-PER I-PER I-PER", ["Nguyen", "Chen"]),
        ("Ms Nguyen met Mrs", "B-PER B-PER O B-PER", ["Nguyen"]),
        ("Drake and Ms_Lee", "B-PER O B-PER I-PER I-PER", ["Drake", "Ms_Lee"]),
        ("Prof Acme", "B-ORG I-ORG", ["Prof Acme"]),
        ('Toys "R" Us and " Us', "B-ORG I-ORG I-ORG I-ORG I-ORG O B-ORG I-ORG", ['Toys "R" Us', "Us"]),
        ("- Ada, (Acme) and Inc.", "B-PER I-PER I-PER O B-ORG I-ORG O B-ORG I-ORG", ["Ada", "Acme", "Inc."]),
        ("@ met Ada' in 's-Bosch", "B-PER O B-PER I-PER O B-ORG I-ORG I-ORG I-ORG", ["Ada", "'s-Bosch"]),
    ],
)
def test_the_shipped_adapter_s_names_have_no_titles_or_stray_marks(text: str, tags: str, names: list[str]) -> None:
    result = tagged_words(text, tags, NamedEntities(), "ner")
    assert [text[entity.start : entity.end] for entity in result.entities] == names
    assert [entity.text for entity in result.entities] == names


def test_an_adapter_of_one_s_own_keeps_the_borders_of_its_data() -> None:
    result = tagged_words("Ms Nguyen -", "B-PER I-PER I-PER", NamedEntities(), "mine")
    assert pairs(result) == [("PER", "Ms Nguyen -")]


def test_tags_for_training_and_the_shape_of_transformers() -> None:
    assert Names().tags() == ("O", "B-PER", "I-PER", "B-ORG", "I-ORG")
    (entity,) = read("So Ada Byron", Stub(votes(TABLE))).to_hf()
    assert entity == {"entity_group": "PER", "score": entity["score"], "word": "Ada Byron", "start": 3, "end": 12}


def test_the_built_in_task_has_valid_examples() -> None:
    from nlptasks_plugins.ner import NamedEntities

    task = NamedEntities()
    assert task.validate(task.examples)
    assert task.tags()[0] == "O"
    assert len(task.tags()) == 7


def test_the_built_in_task_keeps_the_contract() -> None:
    check_task(NamedEntities())
