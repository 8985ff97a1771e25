"""The verbs that point into a text: equal to plain PEFT, exact about characters, at home on a shared base."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification, AutoTokenizer

from nlptasks.errors import AdapterError, OverflowRefusedError, UnsupportedModelError
from nlptasks.model import SpanLogits, TokenLogits
from nlptasks.runtime.bound import BoundModel
from nlptasks.runtime.resident import ResidentModel
from nlptasks.runtime.verbs.encoding import Encoded
from nlptasks.store.adapters import PEFT_WEIGHTS, open_adapter
from nlptasks.store.download import BaseFolder
from nlptasks.testing import FakeModel, tiny_model
from tests.tiny_adapters import TAGS, classifier_adapter, extractor_adapter, tagger_adapter
from tests.tiny_base import bare_base

TEXTS = ["Ada met Bob", "ça va? 🙂", "a much longer text that makes the other rows carry padding", "x", ""]
PAIRS = [
    ("who?", "Ada met Bob in Zürich."),
    ("ça va?", "🙂 oui, très bien 日本語"),
    ("a much longer question than the others?", "and a longer context so that rows carry padding"),
    ("x", "y"),
]
ARCHITECTURES = ["bert", "roberta", "distilbert", "gpt2"]


def resident_on(path: Path) -> ResidentModel:
    return ResidentModel(BaseFolder(id=str(path), revision=None, path=path, source="test"), dtype="float32")


def bound(base: Path, adapter: Path | None = None) -> BoundModel:
    return resident_on(base).bind(open_adapter(adapter) if adapter else None)


def alone(model: Any, base: Path, *segments: str) -> tuple[Any, Any]:
    """What plain transformers or PEFT answers for one text or pair, and its encoding."""
    encoding = AutoTokenizer.from_pretrained(base)(*segments, return_tensors="pt", return_offsets_mapping=True)
    inputs = {name: tensor for name, tensor in encoding.items() if name != "offset_mapping"}
    with torch.inference_mode():
        return model(**inputs), encoding


def assert_tags_equal(found: list[TokenLogits], model: Any, base: Path, texts: list[str]) -> None:
    for answer, text in zip(found, texts, strict=True):
        output, encoding = alone(model, base, text)
        kept = [i for i, part in enumerate(encoding.sequence_ids(0)) if part == 0]
        expected = output.logits[0, kept]
        torch.testing.assert_close(
            torch.tensor(answer.values).reshape(expected.shape), expected, atol=1e-4, rtol=1e-4, msg=text
        )
        assert answer.spans == tuple(tuple(encoding["offset_mapping"][0, i].tolist()) for i in kept)
        assert (answer.num_tokens, answer.truncated) == (encoding["input_ids"].shape[1], False)


def assert_answers_equal(found: list[SpanLogits], model: Any, base: Path, pairs: list[tuple[str, str]]) -> None:
    for answer, pair in zip(found, pairs, strict=True):
        output, encoding = alone(model, base, *pair)
        kept = [i for i, part in enumerate(encoding.sequence_ids(0)) if part == 1]
        assert answer.starts == pytest.approx(output.start_logits[0, kept].tolist(), abs=1e-4)
        assert answer.ends == pytest.approx(output.end_logits[0, kept].tolist(), abs=1e-4)
        assert answer.null == pytest.approx(float(output.start_logits[0, 0] + output.end_logits[0, 0]), abs=1e-4)
        assert answer.spans == tuple(tuple(encoding["offset_mapping"][0, i].tolist()) for i in kept)
        assert (answer.num_tokens, answer.truncated) == (encoding["input_ids"].shape[1], False)


def base_of(tmp_path: Path, architecture: str) -> Path:
    return tiny_model(tmp_path / "base", architecture=architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("manifest", [True, False])
def test_a_tag_adapter_answers_as_in_plain_peft(tmp_path: Path, architecture: str, manifest: bool) -> None:
    base = base_of(tmp_path, architecture)
    folder, peft = tagger_adapter(base, tmp_path / "names", manifest=manifest)
    model = bound(base, folder)
    texts = TEXTS[:4] if architecture == "gpt2" else TEXTS
    assert_tags_equal(model.tag(texts), peft, base, texts)
    assert model.info.labels == (TAGS if manifest else None)
    assert "tag" in model.info.trained_for


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "gpt2"])
@pytest.mark.parametrize("manifest", [True, False])
def test_an_extract_adapter_answers_as_in_plain_peft(tmp_path: Path, architecture: str, manifest: bool) -> None:
    base = base_of(tmp_path, architecture)
    folder, peft = extractor_adapter(base, tmp_path / "answers", manifest=manifest)
    model = bound(base, folder)
    assert_answers_equal(model.extract(PAIRS), peft, base, PAIRS)
    assert model.info.labels is None
    assert "extract" in model.info.trained_for


def test_extract_reads_what_a_tokenizer_without_special_tokens_gives(tmp_path: Path) -> None:
    base = base_of(tmp_path, "gpt2")
    folder, peft = extractor_adapter(base, tmp_path / "answers")
    assert_answers_equal(bound(base, folder).extract(PAIRS), peft, base, PAIRS)


@pytest.mark.parametrize("verb", ["tag", "extract"])
def test_a_checkpoint_with_a_head_of_its_own_needs_no_adapter(tmp_path: Path, tiny_encoder: Path, verb: str) -> None:
    base = tmp_path / "native"
    names: dict[str, Any] = {"id2label": dict(enumerate(TAGS)), "label2id": {name: i for i, name in enumerate(TAGS)}}
    if verb == "tag":
        native = AutoModelForTokenClassification.from_pretrained(tiny_encoder, **names)
    else:
        native = AutoModelForQuestionAnswering.from_pretrained(tiny_encoder)
    native.eval().save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(base)
    model = bound(base)
    if verb == "tag":
        assert_tags_equal(model.tag(TEXTS), native, base, TEXTS)
        assert model.info.labels == TAGS
    else:
        assert_answers_equal(model.extract(PAIRS), native, base, PAIRS)
        assert model.info.labels is None


def test_many_lengths_come_back_in_their_own_order(tmp_path: Path, tiny_encoder: Path) -> None:
    words = ["w" * (1 + 37 * i % 90) for i in range(120)]
    tagged = bound(tiny_encoder, tagger_adapter(tiny_encoder, tmp_path / "names")[0]).tag(words)
    assert [len(answer.spans) for answer in tagged] == [len(word) for word in words]
    assert [len(answer.values) for answer in tagged] == [len(word) for word in words]
    pairs = [("who?", word) for word in words]
    extracted = bound(tiny_encoder, extractor_adapter(tiny_encoder, tmp_path / "answers")[0]).extract(pairs)
    assert [len(answer.starts) for answer in extracted] == [len(word) for word in words]


def test_spans_are_code_points(tmp_path: Path, tiny_encoder: Path) -> None:
    text = "é 🙂 日"
    # The tiny tokenizer has one token a byte, and each byte has the span of its character.
    expected = tuple((i, i + 1) for i, char in enumerate(text) for _ in char.encode())
    tagger = bound(tiny_encoder, tagger_adapter(tiny_encoder, tmp_path / "names")[0])
    assert tagger.tag([text])[0].spans == expected
    extractor = bound(tiny_encoder, extractor_adapter(tiny_encoder, tmp_path / "answers")[0])
    question = "où est 日本?"
    [answer] = extractor.extract([(question, text)])
    assert answer.spans == expected, "the question is left out"
    assert len(answer.starts) == len(answer.ends) == len(text.encode())


def test_long_texts_are_cut_and_say_so(tmp_path: Path, tiny_encoder: Path) -> None:
    long = "".join(chr(ord("a") + i % 26) for i in range(300))
    tagger = bound(tiny_encoder, tagger_adapter(tiny_encoder, tmp_path / "names")[0])
    short, cut, other = tagger.tag(["ab", long, "x" * 127])
    assert (short.truncated, short.num_tokens, len(short.spans)) == (False, 4, 2)
    assert (cut.truncated, cut.num_tokens, cut.spans[-1]) == (True, 302, (125, 126))
    assert (other.truncated, other.num_tokens, len(other.values)) == (True, 129, 126)
    extractor = bound(tiny_encoder, extractor_adapter(tiny_encoder, tmp_path / "answers")[0])
    whole, trimmed = extractor.extract([("who?", "Ada"), ("who?", long)])
    assert (whole.truncated, whole.num_tokens) == (False, 10)
    assert (trimmed.truncated, trimmed.num_tokens) == (True, 307)
    assert trimmed.spans == tuple((i, i + 1) for i in range(128 - 7)), "only the context is cut"


def test_an_adapters_max_length_is_the_limit(tmp_path: Path, tiny_encoder: Path) -> None:
    tagger = bound(tiny_encoder, tagger_adapter(tiny_encoder, tmp_path / "names", max_length=16)[0])
    assert tagger.info.max_tokens == 16
    assert len(tagger.tag(["x" * 40])[0].spans) == 14
    extractor = bound(tiny_encoder, extractor_adapter(tiny_encoder, tmp_path / "answers", max_length=16)[0])
    assert len(extractor.extract([("who?", "x" * 40)])[0].spans) == 9


@pytest.mark.parametrize(("size", "room"), [(12, 1), (13, 0), (40, 0)])
def test_a_question_that_leaves_no_room_is_refused(tmp_path: Path, tiny_encoder: Path, size: int, room: int) -> None:
    model = bound(tiny_encoder, extractor_adapter(tiny_encoder, tmp_path / "answers", max_length=16)[0])
    pair = ("q" * size, "the context")
    if room:
        assert len(model.extract([pair])[0].spans) == room
        return
    with pytest.raises(OverflowRefusedError) as caught:
        model.extract([pair])
    assert str(caught.value) == (
        "Expected a question that leaves room for its context within 16 tokens, "
        f"found one that takes {size + 3} with the special tokens: shorten the question."
    )


def test_null_is_the_score_of_the_classifier_token_wherever_it_stands(tiny_encoder: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    # XLNet's order; the question spells the token out, which makes it none of the tokenizer's own.
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A </s> <s>", pair="$A </s> $B </s> <s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    base = bare_base(tokenizer)
    [segment] = Encoded(base, [("<s>?", "Ada")], 64, segment=1).segments
    assert (segment.tokens, segment.null) == (slice(3, 6), 7)


def test_a_tokenizer_without_offsets_is_refused() -> None:
    base: Any = SimpleNamespace(tokenizer=SimpleNamespace(is_fast=False))
    with pytest.raises(UnsupportedModelError) as caught:
        Encoded(base, ["text"], 64, segment=0)
    assert str(caught.value) == (
        "Expected a fast tokenizer, which knows the characters of each token, found SimpleNamespace: "
        "use a base that has a tokenizer.json."
    )


@pytest.mark.long
def test_three_kinds_of_adapter_share_a_base_and_none_gets_a_wrong_answer(tmp_path: Path, tiny_encoder: Path) -> None:
    folders = [
        tagger_adapter(tiny_encoder, tmp_path / "names", seed=1)[0],
        extractor_adapter(tiny_encoder, tmp_path / "answers", seed=2)[0],
        classifier_adapter(tiny_encoder, tmp_path / "mood", seed=3)[0],
    ]

    def ask(model: BoundModel, which: int) -> list[float]:
        if which == 0:
            return [value for row in model.tag(["Ada met Bob"])[0].values for value in row]
        if which == 1:
            [answer] = model.extract([PAIRS[0]])
            return [*answer.starts, *answer.ends, answer.null]
        return list(model.classify(["Ada met Bob"])[0].values)

    right = [ask(bound(tiny_encoder, folder), which) for which, folder in enumerate(folders)]
    shared = resident_on(tiny_encoder)
    models = [shared.bind(open_adapter(folder)) for folder in folders]
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(9):
            which = (number + turn) % 3
            if ask(models[which], which) != pytest.approx(right[which], abs=1e-4):
                wrong.append(f"thread {number}: {folders[which].name}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    shared.close()


def test_an_adapter_for_another_verb_and_a_base_without_a_head_are_named(tmp_path: Path, tiny_encoder: Path) -> None:
    tagger = bound(tiny_encoder, tagger_adapter(tiny_encoder, tmp_path / "names")[0])
    with pytest.raises(AdapterError, match=r"^Adapter 'names' is for tag, expected one for extract\.$"):
        tagger.extract(PAIRS)
    extractor = bound(tiny_encoder, extractor_adapter(tiny_encoder, tmp_path / "answers")[0])
    with pytest.raises(AdapterError, match=r"^Adapter 'answers' is for extract, expected one for tag\.$"):
        extractor.tag(TEXTS)
    with pytest.raises(UnsupportedModelError, match="has no trained head for tag: name an adapter"):
        bound(tiny_encoder).tag(TEXTS)


def test_no_items_give_no_answers(tmp_path: Path, tiny_encoder: Path) -> None:
    assert bound(tiny_encoder, tagger_adapter(tiny_encoder, tmp_path / "names")[0]).tag([]) == []
    assert bound(tiny_encoder, extractor_adapter(tiny_encoder, tmp_path / "answers")[0]).extract([]) == []


def test_fake_model_tags_words() -> None:
    model = FakeModel(labels=["O", "NAME"], tags=lambda text: ["NAME" if w.istitle() else "O" for w in text.split()])
    assert model.info.trained_for == {"embed", "classify", "tag"}
    [answer] = model.tag(["Ada met  Bob"])
    assert answer == TokenLogits(((0, 3), (4, 7), (9, 12)), ((0, 6), (6, 0), (0, 6)), num_tokens=5)
    assert model.calls == [("tag", ["Ada met  Bob"])]
    hashed = FakeModel(labels=["O", "NAME"])
    assert hashed.tag(["a b"]) == FakeModel(labels=["O", "NAME"]).tag(["a b"]) != hashed.tag(["a c"])
    assert FakeModel(labels=["O"], max_tokens=4).tag(["a b c"])[0].spans == ((0, 1), (2, 3))
    assert FakeModel(labels=["O"], max_tokens=4).tag(["a b c"])[0].truncated


def test_fake_model_extracts_the_words_that_cover_an_answer() -> None:
    def answers(question: str, context: str) -> tuple[int, int] | None:
        start = context.find(question)
        return (start, start + len(question)) if start >= 0 else None

    model = FakeModel(answers=answers)
    assert model.info.trained_for == {"embed", "extract"}
    found, none = model.extract([("met Bob", "Ada met Bob."), ("Eve", "Ada met Bob.")])
    assert found == SpanLogits(((0, 3), (4, 7), (8, 12)), (0, 6, 0), (0, 0, 6), null=0, num_tokens=8)
    assert (none.starts, none.ends, none.null) == ((0, 0, 0), (0, 0, 0), 12)
    [cut] = FakeModel(answers=answers, max_tokens=6).extract([("Bob", "Ada met Bob.")])
    assert (cut.spans, cut.null, cut.truncated) == (((0, 3), (4, 7)), 12, True), "an answer out of sight is none"


def test_fake_model_says_why_it_cannot_tag_or_extract() -> None:
    with pytest.raises(UnsupportedModelError, match=r"no labels to tag with: FakeModel\(labels=\[\.\.\.\]\)"):
        FakeModel().tag(["x"])
    with pytest.raises(UnsupportedModelError, match=r"no answers to extract: FakeModel\(answers=\.\.\.\)"):
        FakeModel().extract([("x", "y")])
    with pytest.raises(ValueError, match="tags: expected 2 labels, one a word, found 1 for 'a b'"):
        FakeModel(labels="ab", tags=lambda text: ["a"]).tag(["a b"])
    with pytest.raises(ValueError, match="tags: expected one of a, b, found 'c'"):
        FakeModel(labels="ab", tags=lambda text: ["c"]).tag(["x"])
    with pytest.raises(ValueError, match=r"answers: expected a span of characters in the context, found \(0, 9\)"):
        FakeModel(answers=lambda question, context: (0, 9)).extract([("x", "y")])
    with pytest.raises(OverflowRefusedError, match=r"within 4 tokens, found one that takes 4 .*: shorten the question"):
        FakeModel(answers=lambda question, context: None, max_tokens=4).extract([("x", "y")])


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        ("float32", "its weights or the adapter's are broken: fetch or train them again."),
        ("bfloat16", "use dtype='float32'."),
    ],
)
@pytest.mark.parametrize(
    ("verb", "make"), [("classify", classifier_adapter), ("tag", tagger_adapter), ("extract", extractor_adapter)]
)
def test_a_model_that_answers_nan_is_refused(
    tiny_encoder: Path, tmp_path: Path, verb: str, make: Any, dtype: str, advice: str
) -> None:
    folder, _ = make(tiny_encoder, tmp_path / "broken")
    weights = load_file(folder / PEFT_WEIGHTS)
    for name in weights:
        if ".query.lora_" in name:
            # Finite themselves, their product is not.
            weights[name] *= 1e30
    save_file(weights, folder / PEFT_WEIGHTS)
    base = BaseFolder(id="tiny", revision=None, path=tiny_encoder, source="test")
    model: Any = ResidentModel(base, dtype=dtype).bind(open_adapter(folder))
    with pytest.raises(UnsupportedModelError) as caught:
        getattr(model, verb)(PAIRS if verb == "extract" else TEXTS)
    assert str(caught.value) == f"bert answers NaN in {dtype}: {advice}"
