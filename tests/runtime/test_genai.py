"""Texts written by OpenVINO GenAI: the torch model's whole words and numbers, many at once, one adapter at a time."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nlptasks.errors import CancelledError
from nlptasks.model import CancelToken, Completion, Decoding
from nlptasks.results import Message
from nlptasks.runtime.bound import BoundModel
from nlptasks.runtime.loading.base import load_tokenizer
from nlptasks.runtime.resident import ResidentModel
from nlptasks.runtime.verbs.prompts import encode_prompt, prompt_ids
from nlptasks.settings import Settings
from nlptasks.store.adapters import AdapterFolder, open_adapter
from nlptasks.store.download import BaseFolder, find_base

pytest.importorskip("openvino_genai")

from nlptasks.runtime.fast import genai, gguf_graph

pytestmark = pytest.mark.embedded

GREEDY = Decoding(max_new_tokens=24)
PROMPTS = [
    "The ferry to the island leaves at noon, and the harbour master said that",
    "Once upon a time, a baker in a small town",
    "Water boils when",
    "My grandmother's garden has tall sunflowers and",
]


@pytest.fixture(scope="module")
def base() -> BaseFolder:
    return find_base("smollm2", Settings.from_env())


@pytest.fixture(scope="module")
def quick(base: BaseFolder) -> Iterator[ResidentModel]:
    model = ResidentModel(base, graphs=Settings.from_env().graphs)
    yield model
    model.close()


@pytest.fixture(scope="module")
def plain(base: BaseFolder) -> Iterator[ResidentModel]:
    model = ResidentModel(base, dtype="float32")
    yield model
    model.close()


@pytest.fixture(scope="module")
def summarizer() -> AdapterFolder:
    import nlptasks_plugins

    return open_adapter(Path(nlptasks_plugins.__path__[0]) / "adapters" / "summarization")


@pytest.fixture(scope="module")
def other(summarizer: AdapterFolder, tmp_path_factory: pytest.TempPathFactory) -> AdapterFolder:
    """The summarizer turned round: what it adds is taken away."""
    folder = tmp_path_factory.mktemp("adapters") / "other"
    folder.mkdir()
    for path in summarizer.path.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "adapter_model.safetensors")
    turned = {name: -tensor if "lora_B" in name else tensor for name, tensor in weights.items()}
    save_file(turned, folder / "adapter_model.safetensors")
    return open_adapter(folder)


def torch_logprobs(model: ResidentModel, prompt: str, text: Completion, adapter: AdapterFolder | None) -> torch.Tensor:
    """The log-probabilities that torch gives to all tokens, shape (tokens, vocabulary), where `text` was written."""

    def work(module: Any, tokenizer: Any) -> torch.Tensor:
        ids, _ = encode_prompt(model.load(), prompt, GREEDY)
        written = tokenizer(text.text, add_special_tokens=False)["input_ids"]
        assert len(written) == text.num_generated_tokens
        scores = torch.log_softmax(module(torch.tensor([ids + written])).logits[0].float(), -1)[len(ids) - 1 : -1]
        return scores.gather(1, torch.tensor(written)[:, None])[:, 0], scores.max(-1).values

    return torch.stack(model.bind(adapter).submit(work))


def writes_itself(model: ResidentModel) -> bool:
    return model.load().num_bytes > 0


@pytest.mark.parametrize(
    "name", ["summarizer", *(pytest.param(name, marks=pytest.mark.full) for name in (None, "other"))]
)
def test_the_words_and_numbers_are_those_of_torch(
    quick: ResidentModel, plain: ResidentModel, request: pytest.FixtureRequest, name: str | None
) -> None:
    adapter = request.getfixturevalue(name) if name else None
    for prompt, text in zip(PROMPTS, quick.bind(adapter).generate(PROMPTS, GREEDY), strict=True):
        chosen, best = torch_logprobs(plain, prompt, text, adapter)
        torch.testing.assert_close(torch.tensor(text.logprobs), chosen, atol=0.08, rtol=0)
        # Greedy: no other token is better by more than rounding.
        assert float((best - chosen).max()) <= 0.05
    assert not writes_itself(quick)


@pytest.mark.full
def test_perplexity_is_that_of_torch(quick: ResidentModel, plain: ResidentModel) -> None:
    """With the zero points that GenAI rounds to 4 bits it is 1.28 times as large."""
    quick.bind().generate([PROMPTS[0]], GREEDY)
    assert quick.writers._pipelines
    writer = quick.writers._pipelines.get(None)
    assert writer
    story = Path(__file__).read_text("utf-8")

    def work(module: Any, tokenizer: Any) -> tuple[list[int], torch.Tensor]:
        ids = tokenizer(story)["input_ids"][:600]
        scores = torch.log_softmax(module(torch.tensor([ids])).logits[0].float(), -1)[:-1]
        return ids, scores.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]

    ids, expected = plain.bind().submit(work)
    config = genai._config(genai.Writing(ids, GREEDY, 1, CancelToken()), writer._ends)
    config.echo = True
    writer.close()
    handle = writer._pipeline.add_request(10**6, genai._tensor(ids), config)
    while writer._pipeline.has_non_finished_requests():
        writer._pipeline.step()
    found = torch.tensor(handle.read_all()[0].generated_log_probs[1 : len(ids)])
    assert float((expected.mean() - found.mean()).exp()) == pytest.approx(1, abs=0.01)


@pytest.mark.full
def test_one_prompt_with_several_adapters_in_turn(
    quick: ResidentModel, base: BaseFolder, summarizer: AdapterFolder, other: AdapterFolder
) -> None:
    """No adapter's keys and values are taken for another's."""
    prompt = PROMPTS[0]
    turns = [summarizer, other, summarizer, None, other, None]
    found = [quick.bind(adapter).generate([prompt], GREEDY)[0] for adapter in turns]
    for adapter in (summarizer, other, None):
        fresh = ResidentModel(base, graphs=Settings.from_env().graphs)
        expected = fresh.bind(adapter).generate([prompt], GREEDY)[0]
        fresh.close()
        for text in [text for text, turn in zip(found, turns, strict=True) if turn is adapter]:
            assert text.text == expected.text
            assert text.logprobs == pytest.approx(expected.logprobs, abs=1e-2)
    assert len({text.text for text in found}) == 3


def test_a_seed_gives_the_same_text_alone_and_beside_others(quick: ResidentModel) -> None:
    # In a longer text the last bits, which depend on who is in the batch, may decide between two tokens.
    decoding = Decoding(max_new_tokens=10, do_sample=True, temperature=0.8, top_p=0.9, seed=7)
    alone = quick.bind().generate([PROMPTS[1]], decoding)[0]
    others = threading.Thread(target=quick.bind().generate, args=(PROMPTS * 2, GREEDY))
    others.start()
    beside = quick.bind().generate([PROMPTS[1]], decoding)[0]
    others.join()
    assert beside.text == alone.text
    assert quick.bind().generate([PROMPTS[1]], dataclasses.replace(decoding, seed=8))[0].text != alone.text


def test_log_probabilities_are_those_before_the_temperature(quick: ResidentModel, plain: ResidentModel) -> None:
    text = quick.bind().generate([PROMPTS[1]], Decoding(max_new_tokens=16, do_sample=True, temperature=0.5, seed=1))[0]
    chosen, _ = torch_logprobs(plain, PROMPTS[1], text, None)
    torch.testing.assert_close(torch.tensor(text.logprobs), chosen, atol=0.08, rtol=0)


def test_a_text_ends_at_a_stop_string_at_its_length_and_at_its_end(quick: ResidentModel, plain: ResidentModel) -> None:
    whole = quick.bind().generate([PROMPTS[1]], GREEDY)[0]
    assert (whole.finish_reason, whole.num_generated_tokens, len(whole.logprobs)) == ("length", 24, 24)
    stop = whole.text[len(whole.text) // 2 :][:6]
    cut = quick.bind().generate([PROMPTS[1]], Decoding(max_new_tokens=24, stop=(stop,)))[0]
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.num_generated_tokens < 24
    # An answer that is sure to end: where it is not, rounding decides when.
    chat = [Message(role="user", content="What is the capital of France?")]
    for decoding in (Decoding(max_new_tokens=60), Decoding(max_new_tokens=60, repetition_penalty=1.2)):
        found, expected = (model.bind().generate([chat], decoding)[0] for model in (quick, plain))
        assert (found.text, found.finish_reason) == (expected.text, "stop")
    longer = quick.bind().generate([PROMPTS[2]], Decoding(max_new_tokens=30, min_new_tokens=30))[0]
    assert longer.num_generated_tokens == 30


def test_a_penalty_counts_the_prompt_as_in_torch(quick: ResidentModel, plain: ResidentModel) -> None:
    decoding = Decoding(max_new_tokens=16, repetition_penalty=1.3)
    found, expected = (model.bind().generate(PROMPTS, decoding) for model in (quick, plain))
    same = [a.text == b.text for a, b in zip(found, expected, strict=True)]
    assert sum(same) >= 3, [(a.text, b.text) for a, b in zip(found, expected, strict=True)]


def test_pieces_join_to_the_text(quick: ResidentModel) -> None:
    stream = quick.bind().stream("Write three emoji: 🙂 🎉", GREEDY)
    assert "".join(stream) == stream.result().text
    assert stream.result().num_generated_tokens <= 24


def test_a_cancelled_text_ends_within_a_step_and_the_others_go_on(quick: ResidentModel) -> None:
    expected = quick.bind().generate([PROMPTS[0]], Decoding(max_new_tokens=60))[0].text
    stream = quick.bind(None, CancelToken()).stream(PROMPTS[1], Decoding(max_new_tokens=4000))
    texts: list[Completion] = []
    beside = threading.Thread(
        target=lambda: texts.extend(quick.bind().generate([PROMPTS[0]], Decoding(max_new_tokens=60)))
    )
    beside.start()
    next(iter(stream))
    stream.close()
    beside.join(60)
    assert [text.text for text in texts] == [expected]
    deadline = time.monotonic() + 5
    while not quick.idle:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError):
        quick.bind(None, token).generate([PROMPTS[0]], GREEDY)


@pytest.mark.full
def test_a_text_that_somebody_waits_for_goes_before_a_list(quick: ResidentModel) -> None:
    finished: list[int] = []
    prompts = [f"{prompt} {number}" for number, prompt in enumerate(PROMPTS * 12)]

    class Counter:
        def ask(self, count: int) -> None:
            pass

        def advance(self, count: int) -> None:
            finished.append(count)

    bulk = threading.Thread(
        target=BoundModel(quick, None, CancelToken(), Counter()).generate,  # type: ignore[arg-type]
        args=(prompts, Decoding(max_new_tokens=12)),
    )
    bulk.start()
    while not finished:
        time.sleep(0.005)
    quick.bind().generate([PROMPTS[0]], Decoding(max_new_tokens=4))
    assert len(finished) <= len(prompts) / 2
    bulk.join(120)
    assert len(finished) == len(prompts)


def test_torch_writes_what_the_engine_cannot(
    base: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(gguf: Path, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(genai, "make_graph", refuse)
    model = ResidentModel(base, graphs=tmp_path)
    assert model.writers.shares_steps(Decoding())
    for other in ({"num_beams": 2}, {"no_repeat_ngram_size": 3}, {"repetition_penalty": None}):
        assert not model.writers.shares_steps(Decoding(**other))
    with caplog.at_level(logging.WARNING):
        text = model.bind().generate([PROMPTS[2]], Decoding(max_new_tokens=3))[0]
    assert text.num_generated_tokens == 3
    assert "torch writes for smollm2: [Errno 28] No space left on device" in caplog.text
    assert model.load().num_bytes > 0
    model.close()
    with pytest.raises(CancelledError):
        model.bind(None, _cancelled()).generate([PROMPTS[2]], GREEDY)


def _cancelled() -> CancelToken:
    token = CancelToken()
    token.cancel()
    return token


def test_a_lossy_file_is_left_to_torch(tmp_path: Path) -> None:
    assert gguf_graph.gguf_file(tmp_path) is None
    (tmp_path / "a.gguf").touch()
    assert gguf_graph.gguf_file(tmp_path) == tmp_path / "a.gguf"
    (tmp_path / "b.gguf").touch()
    assert gguf_graph.gguf_file(tmp_path) is None


def test_a_process_that_writes_needs_neither_torch_nor_transformers(quick: ResidentModel) -> None:
    """The tokenizer that is kept beside the graphs reads and decodes as transformers' whole."""
    quick.bind().generate([PROMPTS[0]], GREEDY)
    base = quick.readers.stored
    assert base
    whole = load_tokenizer(quick.folder.path)
    for text in ["Ça va? 🙂 漢字", " two  spaces\n\nand <|im_end|> spelt out", "don't , stop . now !", ""]:
        ids = whole(text)["input_ids"]
        assert base.tokenizer(text)["input_ids"] == ids
        assert base.tokenizer.decode(ids, skip_special_tokens=True) == whole.decode(ids, skip_special_tokens=True)
    chat = [Message(role="user", content="Say <|im_end|> twice.")]
    assert prompt_ids(base.tokenizer, chat) == prompt_ids(whole, chat)
    code = (
        "import sys, nlptasks\n"
        f"text = nlptasks.run('generation', {PROMPTS[0]!r}, max_new_tokens=3).text\n"
        "print(repr(text), [name for name in ('torch', 'transformers') if name in sys.modules])\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert process.stdout.endswith("[]\n")
    assert process.stderr == ""


@pytest.mark.full
def test_nothing_is_left_behind_by_a_text_that_is_left() -> None:
    code = (
        "import nlptasks\n"
        "with nlptasks.Engine() as engine:\n"
        f"    pieces = iter(engine.stream('generation', {PROMPTS[1]!r}))\n"
        "    print(len([next(pieces), next(pieces)]))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert process.stdout == "2\n"
    assert process.stderr == ""


class SlowPipeline:
    """Takes a request when `gate` is open, and writes nothing."""

    def __init__(self) -> None:
        self.gate, self.entered = threading.Event(), threading.Event()

    def add_request(self, *_: Any) -> SlowPipeline:
        self.entered.set()
        self.gate.wait(10)
        return self

    def can_read(self) -> bool:
        return False

    def get_status(self) -> Any:
        return SimpleNamespace(name="RUNNING")

    def cancel(self) -> None:
        pass

    def step(self) -> None:
        pass

    def has_non_finished_requests(self) -> bool:
        return False


def test_a_text_that_is_just_joining_is_under_way_and_closing_cancels_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = SlowPipeline()
    monkeypatch.setattr(genai, "_load", lambda folder, adapter: pipeline)
    writer = genai.Writer(Path(), "tiny", [2])
    text = genai.Writing([1], GREEDY, 5, CancelToken())
    writer.submit([text])
    assert pipeline.entered.wait(10)
    assert not writer.idle
    writer.close(wait=False)
    pipeline.gate.set()
    with pytest.raises(CancelledError):
        text.finished.result(10)


def test_a_text_whose_reader_fails_fails_alone(quick: ResidentModel) -> None:
    def fail(tokens: list[int]) -> bool:
        raise ValueError("no such token")

    expected = quick.bind().generate([PROMPTS[0]], GREEDY)[0]
    assert quick.writers._pipelines
    writer = quick.writers._pipelines.get(None)
    assert writer
    bad, good = (genai.Writing([1, 400], GREEDY, 5, CancelToken(), on_tokens=read) for read in (fail, None))
    writer.submit([bad, good])
    with pytest.raises(ValueError, match="no such token"):
        bad.finished.result(60)
    good.finished.result(60)
    assert len(good.tokens) == 5
    assert quick.bind().generate([PROMPTS[0]], GREEDY)[0].text == expected.text
