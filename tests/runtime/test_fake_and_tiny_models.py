"""FakeModel keeps the verbs' promises without weights; tiny_model writes a real one without a network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nlptasks.errors import CancelledError, NlptasksError, OverflowRefusedError, UnsupportedModelError
from nlptasks.model import CancelToken, Decoding
from nlptasks.results import Message
from nlptasks.testing import ARCHITECTURES, FakeModel, tiny_model

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def test_fake_model_is_deterministic_and_records_calls() -> None:
    first, second = FakeModel(labels="ab"), FakeModel(labels="ab")
    assert first.classify(["one", ("two", "three")]) == second.classify(["one", ("two", "three")])
    assert first.classify(["one"]) != first.classify(["two"])
    assert first.calls[0] == ("classify", ["one", ("two", "three")])
    assert [logits.num_tokens for logits in first.classify(["one", ("two", "three")])] == [3, 5]


def test_fake_model_says_what_it_cannot_do() -> None:
    with pytest.raises(UnsupportedModelError, match="no labels"):
        FakeModel().classify(["x"])
    with pytest.raises(UnsupportedModelError, match="is an encoder and cannot write"):
        FakeModel().generate(["x"], Decoding())
    with pytest.raises(UnsupportedModelError, match="tiny_model"):
        FakeModel().submit(lambda model, tokenizer: None)
    with pytest.raises(ValueError, match="expected 2 logits"):
        FakeModel(labels="ab", scores=lambda text: [1.0]).classify(["x"])


@given(TEXTS)
@settings(max_examples=50)
def test_fake_offsets_are_the_words(text: str) -> None:
    [offsets] = FakeModel().offsets([text])
    assert [text[start:end] for start, end in offsets.spans] == text.split()


@given(TEXTS)
@settings(max_examples=50)
def test_fake_vectors_have_unit_length(text: str) -> None:
    [vector] = FakeModel().embed([text])
    assert math.isclose(sum(value * value for value in vector.values), 1)


def test_fake_model_writes_what_it_is_told() -> None:
    def ask(completions: Any, prompt: Any = "a question", **decoding: Any) -> Any:
        return FakeModel(kind="causal", completions=completions).generate([prompt], Decoding(**decoding))[0]

    assert ask(str.upper).text == "A QUESTION"
    assert ask({"a question": "yes"}).text == "yes"
    assert ask({"a question": "yes"}, [Message(role="user", content="a question")]).text == "yes"
    assert ask(["queued"]).text == "queued"
    with pytest.raises(KeyError, match="no completion for the prompt"):
        ask({})
    with pytest.raises(IndexError, match="no completion left"):
        ask([])
    cut = ask(["one two three"], max_new_tokens=2)
    assert (cut.text, cut.finish_reason, cut.num_generated_tokens, len(cut.logprobs)) == ("one two", "length", 2, 2)
    stopped = ask(["one END two"], stop=("END",))
    assert (stopped.text, stopped.finish_reason) == ("one ", "stop")
    assert ask(["x"], "word " * 600).truncated
    with pytest.raises(OverflowRefusedError, match="has 600 tokens"):
        ask(["x"], "word " * 600, truncate_prompt=False)


def test_fake_model_chooses() -> None:
    model = FakeModel(kind="causal", likelihoods=lambda prompt, choice: -1.0 if choice in prompt else -9.0)
    assert model.choose(["is it a?"], ["b", "a?"]) == [(-9.0, -1.0)]
    assert all(value < 0 for value in FakeModel(kind="causal").choose(["p"], ["x", "y"])[0])


@given(TEXTS)
@settings(max_examples=50)
def test_fake_stream_is_the_completion(text: str) -> None:
    model = FakeModel(kind="causal", completions=lambda prompt: text)
    stream = model.stream("p", Decoding())
    assert "".join(stream) == text == stream.result().text
    assert stream.result().finish_reason == "stop"
    assert list(stream) == [], "a stream is read once"
    model.embed(["the end of a text cancels nothing"])


def test_fake_stream_stops() -> None:
    def model(token: CancelToken) -> FakeModel:
        return FakeModel(kind="causal", completions=lambda prompt: "one two three", cancel=token)

    closed = CancelToken()
    stream = model(closed).stream("p", Decoding())
    pieces = iter(stream)
    assert next(pieces) == "one"
    stream.close()
    stream.close()
    assert list(pieces) == []
    assert closed.cancelled
    with pytest.raises(NlptasksError, match="closed before its end: there is no result"):
        stream.result()
    left = CancelToken()
    for _ in model(left).stream("p", Decoding()):
        break
    assert left.cancelled
    cancelled = CancelToken()
    fake = model(cancelled)
    pieces = iter(fake.stream("p", Decoding()))
    next(pieces)
    cancelled.cancel()
    with pytest.raises(CancelledError):
        list(pieces)
    with pytest.raises(CancelledError):
        fake.generate(["p"], Decoding())


@pytest.mark.parametrize("architecture", [name for names in ARCHITECTURES.values() for name in names])
def test_tiny_models_load_and_run(tmp_path: Path, architecture: str) -> None:
    import torch
    import transformers

    kind = next(kind for kind, names in ARCHITECTURES.items() if architecture in names)
    folder = tiny_model(tmp_path / "model", architecture=architecture)
    assert not list(folder.glob("*.bin"))
    automatic: Any = {
        "encoder": transformers.AutoModel,
        "causal": transformers.AutoModelForCausalLM,
        "seq2seq": transformers.AutoModelForSeq2SeqLM,
    }[kind]
    model, report = automatic.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    assert model.config.model_type == architecture
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    batch = dict(tokenizer(["a longer text", "hi"], padding=True, return_tensors="pt"))
    with torch.inference_mode():
        if kind == "encoder":
            full = tokenizer("word " * 200, truncation=True, return_tensors="pt")
            assert model(**full).last_hidden_state.shape == (1, 128, 32)
        else:
            assert model.generate(**batch, max_new_tokens=4, min_new_tokens=4).shape[0] == 2
    if kind == "causal":
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
        )
        assert chat == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_tiny_models_depend_on_the_seed_alone(tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> bytes:
        return (tiny_model(tmp_path / name, seed=seed) / "model.safetensors").read_bytes()

    assert weights("a", 1) == weights("b", 1) != weights("c", 2)


def test_tiny_model_names_what_it_can_build(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of bert, roberta"):
        tiny_model(tmp_path, architecture="mamba")


@given(text=TEXTS)
@settings(max_examples=100, deadline=None)
def test_byte_tokenizer_has_exact_offsets(text: str) -> None:
    tokenizer = _tokenizer()
    # Hypothesis knows "<pad>"; every tokenizer reads its own special tokens as one.
    assume(not any(special in text for special in tokenizer.all_special_tokens))
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    expected = [(index, index + 1) for index, char in enumerate(text) for _ in char.encode()]
    assert [tuple(span) for span in encoded["offset_mapping"]] == expected
    assert tokenizer.decode(encoded["input_ids"]) == text


_CACHE: dict[str, Any] = {}


def _tokenizer() -> Any:
    if not _CACHE:
        from nlptasks.testing.tiny import _byte_tokenizer

        _CACHE["tokenizer"] = _byte_tokenizer("encoder")
    return _CACHE["tokenizer"]
