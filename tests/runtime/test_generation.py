"""Writing: streams equal texts, stops stop, counts are right, cancelling ends within one step."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from nlptasks.errors import CancelledError, OverflowRefusedError, UnsupportedModelError
from nlptasks.model import CancelToken, Decoding
from nlptasks.results import Message
from nlptasks.runtime.resident import ResidentModel
from nlptasks.runtime.verbs.completions import PieceWriter, completion_of, cut_at_stop
from nlptasks.runtime.verbs.encoding import pad
from nlptasks.runtime.verbs.generation import rescore
from nlptasks.store.download import BaseFolder
from nlptasks.testing import tiny_model

PROMPTS = ["Once", "The longest prompt of them all, with commas", "🙂 ça", ""]


@pytest.fixture(scope="module")
def resident(tiny_causal: Path) -> Iterator[ResidentModel]:
    model = ResidentModel(BaseFolder(str(tiny_causal), None, tiny_causal, "test"), dtype="float32")
    yield model
    model.close()


def greedy(path: Path, prompt: str, tokens: int) -> str:
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)
    inputs = tokenizer(prompt, return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=tokens, do_sample=False, pad_token_id=0)
    return str(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)).rstrip("\ufffd")


@pytest.mark.long
def test_a_batch_writes_what_each_prompt_writes_alone(resident: ResidentModel, tiny_causal: Path) -> None:
    together = resident.bind().generate(PROMPTS, Decoding(max_new_tokens=10))
    for prompt, done in zip(PROMPTS[:3], together, strict=False):
        assert done.text == greedy(tiny_causal, prompt, 10)
        alone = resident.bind().generate([prompt], Decoding(max_new_tokens=10))[0]
        assert (done.text, done.finish_reason, done.num_prompt_tokens) == (
            alone.text, alone.finish_reason, alone.num_prompt_tokens
        )  # fmt: skip
        assert done.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
        assert len(done.logprobs) == done.num_generated_tokens <= 10
        assert all(value <= 0 for value in done.logprobs)
    assert together[3].num_prompt_tokens == 1, "an empty prompt starts from one token"


def test_log_probabilities_are_the_models_own(resident: ResidentModel, tiny_causal: Path) -> None:
    done = resident.bind().generate(["abc"], Decoding(max_new_tokens=6))[0]
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_causal), AutoModelForCausalLM.from_pretrained(tiny_causal)
    prompt = tokenizer("abc", return_tensors="pt")["input_ids"]
    ids = model.generate(prompt, max_new_tokens=6, do_sample=False, pad_token_id=0)
    with torch.inference_mode():
        scores = torch.log_softmax(model(ids).logits[0].float(), -1)
    start = prompt.shape[1]
    expected = [float(scores[start + i - 1, ids[0, start + i]]) for i in range(ids.shape[1] - start)]
    assert list(done.logprobs) == pytest.approx(expected, abs=1e-4)


@pytest.mark.long
def test_a_checkpoint_s_own_settings_for_a_task_are_read_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model(tmp_path / "t5", architecture="t5")
    config = json.loads((folder / "config.json").read_text())
    # What t5-small has.
    own = {
        "summarization": {
            "early_stopping": True,
            "length_penalty": 2.0,
            "max_length": 200,
            "min_length": 30,
            "no_repeat_ngram_size": 3,
            "num_beams": 4,
            "prefix": "summarize: ",
        },
        "translation_en_to_de": {"early_stopping": True, "max_length": 300, "num_beams": 4, "prefix": "translate: "},
    }
    (folder / "config.json").write_text(json.dumps({**config, "task_specific_params": own}))
    model = ResidentModel(BaseFolder(str(folder), None, folder, "test"), dtype="float32")
    info = model.bind().info
    assert info.prefixes == {"summarization": "summarize: ", "translation_en_to_de": "translate: "}
    assert info.presets["translation_en_to_de"] == {"num_beams": 4, "early_stopping": True}
    names = ("num_beams", "length_penalty", "no_repeat_ngram_size", "min_new_tokens")
    open_ended = Decoding(max_new_tokens=40, **dict.fromkeys(names, None))
    given: list[dict[str, Any]] = []
    generate = model.load().model.generate
    monkeypatch.setattr(model.load().model, "generate", lambda **found: given.append(found) or generate(**found))
    for asked in (open_ended, dataclasses.replace(open_ended, num_beams=1, min_new_tokens=2)):
        model.bind().generate(["A text."], info.preset("summarization", asked))
    model.close()
    shared = ("num_beams", "no_repeat_ngram_size", "min_new_tokens", "length_penalty", "early_stopping")
    assert [given[0].get(name) for name in shared] == [4, 3, 29, 2.0, True]
    assert [given[1].get(name) for name in shared] == [1, 3, 2, None, None], "the user's own, and none of beams"


@pytest.mark.parametrize("prompt", PROMPTS)
def test_pieces_joined_are_the_text(resident: ResidentModel, prompt: str) -> None:
    decoding = Decoding(max_new_tokens=24)
    stream = resident.bind().stream(prompt, decoding)
    pieces = list(stream)
    assert "".join(pieces) == stream.result().text == resident.bind().generate([prompt], decoding)[0].text
    assert len(pieces) > 1 or len("".join(pieces)) <= 1


def test_a_stop_string_ends_the_text_and_is_not_in_it(resident: ResidentModel) -> None:
    whole = resident.bind().generate(["Once"], Decoding(max_new_tokens=40))[0].text
    stop = whole[5:8]
    decoding = Decoding(max_new_tokens=40, stop=(stop,))
    done = resident.bind().generate(["Once"], decoding)[0]
    assert done.text == cut_at_stop(whole, [stop])
    assert done.finish_reason == "stop"
    assert done.num_generated_tokens < 40
    assert "".join(resident.bind().stream("Once", decoding)) == done.text


@pytest.mark.long
def test_a_seed_repeats_a_text_and_another_changes_it(resident: ResidentModel) -> None:
    def write(seed: int, prompts: list[str]) -> str:
        decoding = Decoding(max_new_tokens=20, do_sample=True, temperature=1.5, seed=seed)
        return resident.bind().generate(prompts, decoding)[-1].text

    assert write(1, ["Once"]) == write(1, ["Once"]) == write(1, ["other", "neighbours", "Once"])
    assert write(1, ["Once"]) != write(2, ["Once"])


def test_a_closed_stream_ends_the_computation_within_a_step(resident: ResidentModel) -> None:
    steps: list[int] = []
    root = resident.load()
    hook = root.model.register_forward_hook(lambda *_: steps.append(1))
    try:
        stream = resident.bind().stream("Once", Decoding(max_new_tokens=400))
        for number, _ in enumerate(stream):
            if number == 2:
                break
        stream.close()
        resident.bind().embed(["wait for the thread"])
    finally:
        hook.remove()
    assert len(steps) < 60


def test_cancelling_from_another_thread_raises_and_frees_the_model(resident: ResidentModel) -> None:
    token = CancelToken()
    timer = threading.Timer(0.15, token.cancel)
    timer.start()
    with pytest.raises(CancelledError, match="was cancelled before it was finished"):
        resident.bind(cancel=token).generate(["Once"] * 8, Decoding(max_new_tokens=450))
    assert resident.bind().generate(["Once"], Decoding(max_new_tokens=2))[0].num_generated_tokens == 2


def test_a_prompt_that_does_not_fit_keeps_its_end_and_says_so_or_is_refused(resident: ResidentModel) -> None:
    long = "word " * 400
    done = resident.bind().generate([long], Decoding(max_new_tokens=4))[0]
    assert done.truncated
    assert done.num_prompt_tokens == 508
    with pytest.raises(OverflowRefusedError, match=r"The prompt has 2000 tokens; .* keep its end"):
        resident.bind().generate([long], Decoding(max_new_tokens=4, truncate_prompt=False))


def test_a_chat_goes_through_the_models_template(resident: ResidentModel, tiny_causal: Path) -> None:
    done = resident.bind().generate([[Message(role="user", content="Hi")]], Decoding(max_new_tokens=3))[0]
    text = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert done.num_prompt_tokens == len(AutoTokenizer.from_pretrained(tiny_causal)(text)["input_ids"])


def test_choices_are_scored_by_their_likelihood(resident: ResidentModel, tiny_causal: Path) -> None:
    prompts, choices = ["Is it? ", "A much longer question: "], ["yes", "no, never"]
    found = resident.bind().choose(prompts, choices)
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_causal), AutoModelForCausalLM.from_pretrained(tiny_causal)
    for prompt, row in zip(prompts, found, strict=True):
        for choice, value in zip(choices, row, strict=True):
            head = tokenizer(prompt)["input_ids"]
            ids = torch.tensor([head + tokenizer(choice, add_special_tokens=False)["input_ids"]])
            with torch.inference_mode():
                scores = torch.log_softmax(model(ids).logits[0].float(), -1)
            right = sum(float(scores[i - 1, ids[0, i]]) for i in range(len(head), ids.shape[1]))
            assert value == pytest.approx(right, abs=1e-3)


def test_seq2seq_models_write_too(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "t5", "seq2seq", "t5")
    model = ResidentModel(BaseFolder(str(path), None, path, "test"), dtype="float32")
    done = model.bind().generate(["translate this", "and that, please"], Decoding(max_new_tokens=5))
    assert [d.num_generated_tokens <= 5 for d in done] == [True, True]
    assert "".join(model.bind().stream("translate this", Decoding(max_new_tokens=5))) == done[0].text
    model.close()


def test_an_encoder_cannot_write(tiny_encoder: Path) -> None:
    model = ResidentModel(BaseFolder(str(tiny_encoder), None, tiny_encoder, "test"))
    with pytest.raises(UnsupportedModelError, match="bert is loaded without a language-model output and cannot write"):
        model.bind().generate(["x"], Decoding())
    model.close()


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["llama", "marian", "t5"])
def test_beams_give_each_prompt_its_own_texts(tmp_path: Path, architecture: str) -> None:
    base = tiny_model(tmp_path / "base", architecture=architecture)
    model = ResidentModel(BaseFolder("tiny", None, base, "test"), "cpu", "float32").bind()
    prompts = ["translate this", "and that, please", "x"]
    decoding = Decoding(max_new_tokens=6, num_beams=4)
    found = model.generate(prompts, dataclasses.replace(decoding, num_return_sequences=3))
    for prompt, done in zip(prompts, found, strict=True):
        texts = [done, *done.alternatives]
        assert len({text.logprobs for text in texts}) == 3
        assert all(len(text.logprobs) == text.num_generated_tokens for text in texts)
        assert model.generate([prompt], decoding)[0].text == done.text


@pytest.mark.parametrize("architecture", ["llama", "marian", "t5"])
def test_rescored_texts_have_the_probabilities_they_were_written_with(tmp_path: Path, architecture: str) -> None:
    base = tiny_model(tmp_path / "base", architecture=architecture)
    root = ResidentModel(BaseFolder("tiny", None, base, "test"), "cpu", "float32").load()
    rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in ([9, 8, 7], [9])]
    inputs = pad(rows, 0, "cpu", left=root.kind == "causal")
    start = 1 if root.kind == "seq2seq" else 3
    settings = {"max_new_tokens": 4, "do_sample": False, "forced_eos_token_id": None, "pad_token_id": 0}
    output = root.model.generate(**inputs, **settings, return_dict_in_generate=True, output_scores=True)
    expected = root.model.compute_transition_scores(output.sequences, output.scores, normalize_logits=True)
    found = torch.tensor(rescore(root, inputs, output.sequences, start))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_text_does_not_end_within_a_character(resident: ResidentModel, tiny_causal: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_causal)
    ids = tokenizer("ab 🙂 漢", add_special_tokens=False)["input_ids"]
    ends = {tokenizer.decode(ids[:n]) for n in range(1, len(ids))}
    assert any(text.endswith("\ufffd") for text in ends), "the tokenizer's tokens are parts of characters"
    for count in range(1, len(ids) + 1):
        written: list[str] = []
        writer = PieceWriter(tokenizer, (), written.append)
        for token in ids[:count]:
            writer.add([token])
        writer.end()
        whole = tokenizer.decode(ids[:count]).rstrip("\ufffd")
        assert "".join(written) == whole == completion_of(
            resident.load(), ids[:count], [0.0] * count, Decoding(), num_prompt=1, truncated=False, cancelled=False
        ).text  # fmt: skip
