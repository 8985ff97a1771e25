"""CTranslate2 writes what torch writes, leaves to torch what it cannot do, and is quick to stop."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nlptasks.errors import CancelledError
from nlptasks.model import CancelToken, Completion, Decoding
from nlptasks.runtime.fast import ctranslate
from nlptasks.runtime.resident import ResidentModel
from nlptasks.store.download import BaseFolder
from nlptasks.testing import tiny_model
from nlptasks_plugins.translation.task import EMBEDDED, TranslationTask
from tests.tiny_translators import KINDS, SENTENCES, tiny_translator

pytest.importorskip("ctranslate2")

ARCHITECTURES = ("bart", "marian", "mbart", "pegasus", "t5")
TEXTS = list(SENTENCES[:4])


def resident(path: Path, graphs: Path | None, dtype: str = "float32") -> ResidentModel:
    folder = BaseFolder(id=path.name, revision=None, path=path, source="test")
    return ResidentModel(folder, "cpu", dtype, graphs=graphs)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_translator("m2m100", tmp_path_factory.mktemp("translator") / "m2m100")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def fast(checkpoint: Path, graphs: Path) -> Iterator[ResidentModel]:
    model = resident(checkpoint, graphs)
    yield model
    model.close()


@pytest.fixture(scope="module")
def torch_model(checkpoint: Path) -> Iterator[ResidentModel]:
    model = resident(checkpoint, None)
    yield model
    model.close()


def uses_torch(model: ResidentModel) -> bool:
    """Whether torch's weights are in memory."""
    loaded = model.loaded
    assert loaded is not None
    return loaded.num_bytes > 0


def assert_equal(ours: list[Completion], theirs: list[Completion]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.text == other.text
        # A checkpoint's end token at the limit is written by transformers only.
        assert one.logprobs == pytest.approx(other.logprobs[: len(one.logprobs)], abs=1e-3)
        assert (one.num_prompt_tokens, one.truncated) == (other.num_prompt_tokens, other.truncated)
        assert [a.text for a in one.alternatives] == [a.text for a in other.alternatives]


@pytest.mark.long
@pytest.mark.parametrize("kind", [*KINDS, *ARCHITECTURES])
def test_it_writes_what_torch_writes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    if kind in ARCHITECTURES:
        tiny_model(path, architecture=kind)
    else:
        tiny_translator(kind, path)
    languages: dict[str, Any] = {"target_language": "fr"} if kind in KINDS[1:] else {}
    ours, theirs = resident(path, tmp_path / "graphs"), resident(path, None)
    # With random weights of the usual size all words are nearly equally likely, and beam search is a matter of chance.
    for settings in ({}, {"num_beams": 3, "num_return_sequences": 2} if kind in KINDS else {"min_new_tokens": 8}):
        decoding = Decoding(max_new_tokens=12, **languages, **settings)
        assert_equal(ours.bind().generate(TEXTS, decoding), theirs.bind().generate(TEXTS, decoding))
    assert ours.writers.translator
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"min_new_tokens": 9},
        {"min_new_tokens": 12},
        {"no_repeat_ngram_size": 2},
        {"num_beams": 4, "length_penalty": 0.2},
        {"num_beams": None, "min_new_tokens": None, "repetition_penalty": None, "no_repeat_ngram_size": None},
        {"stop": ("r",)},
        {"max_new_tokens": 1},
    ],
    ids=str,
)
def test_settings_mean_the_same(settings: dict[str, Any], fast: ResidentModel, torch_model: ResidentModel) -> None:
    decoding = Decoding(**{"max_new_tokens": 12, "target_language": "de", **settings})
    ours = fast.bind().generate(TEXTS, decoding)
    assert_equal(ours, torch_model.bind().generate(TEXTS, decoding))
    assert {one.finish_reason for one in ours} <= {"length", "stop"}
    assert not uses_torch(fast)


def test_the_repetition_penalty_is_the_same(tmp_path: Path) -> None:
    path = tiny_translator("marian", tmp_path / "marian")
    ours, theirs = resident(path, tmp_path / "graphs"), resident(path, None)
    decoding = Decoding(max_new_tokens=12, repetition_penalty=1.5)
    assert_equal(ours.bind().generate(TEXTS, decoding), theirs.bind().generate(TEXTS, decoding))
    assert not uses_torch(ours)
    ours.close()
    theirs.close()


def test_a_text_that_is_cut_says_so(fast: ResidentModel) -> None:
    [cut] = fast.bind().generate(TEXTS[:1], Decoding(max_new_tokens=5, target_language="fr"))
    assert (cut.finish_reason, cut.num_generated_tokens, len(cut.logprobs)) == ("length", 4, 4)
    [long] = fast.bind().generate([TEXTS[0] * 20], Decoding(max_new_tokens=5, target_language="fr"))
    assert long.truncated
    assert long.num_prompt_tokens == 128


@pytest.mark.parametrize("settings", [{}, {"stop": ("ou",)}, {"num_beams": 2}], ids=str)
def test_a_stream_is_the_text(settings: dict[str, Any], fast: ResidentModel) -> None:
    decoding = Decoding(max_new_tokens=20, target_language="fr", **settings)
    [whole] = fast.bind().generate(TEXTS[:1], decoding)
    stream = fast.bind().stream(TEXTS[0], decoding)
    pieces = list(stream)
    assert "".join(pieces) == whole.text == stream.result().text
    assert bool(stream.result().note) == ("num_beams" in settings)


@pytest.mark.parametrize(
    "settings",
    [{"do_sample": True, "seed": 3, "temperature": 2.0}, {"num_beams": 2, "stop": ("r",)}, {"repetition_penalty": 1.5}],
    ids=str,
)
def test_the_rest_is_left_to_torch(
    settings: dict[str, Any], checkpoint: Path, graphs: Path, torch_model: ResidentModel
) -> None:
    model = resident(checkpoint, graphs)
    decoding = Decoding(max_new_tokens=12, target_language="fr", **settings)
    assert model.bind().generate(TEXTS, decoding) == torch_model.bind().generate(TEXTS, decoding)
    assert uses_torch(model)
    model.close()


class CountingToken(CancelToken):
    """Cancelled after it was looked at so many times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def cancelled(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def test_cancelling_ends_within_a_step(fast: ResidentModel) -> None:
    decoding = Decoding(max_new_tokens=100, target_language="fr")
    token = CountingToken(40)
    with pytest.raises(CancelledError, match="was cancelled before it was finished"):
        fast.bind(cancel=token).generate(TEXTS, decoding)
    # Each of four texts looks once a step; a whole text would look a hundred times.
    assert token.looks > -30
    done = fast.bind().generate(TEXTS, decoding)
    assert [one.finish_reason for one in done] == ["length"] * 4


def test_one_cancelled_call_leaves_the_others_of_its_batch(fast: ResidentModel) -> None:
    decoding = Decoding(max_new_tokens=60, target_language="fr")
    stream = fast.bind().stream(TEXTS[0], decoding)
    next(iter(stream))
    stream.close()
    [after] = fast.bind().generate(TEXTS[:1], decoding)
    assert after.num_generated_tokens == 59


class CancelAtFirst:
    """A counter that cancels the call when its first answer comes."""

    def __init__(self) -> None:
        self.token = CancelToken()
        self.answers = 0

    def ask(self, number: int) -> None: ...

    def advance(self, number: int) -> None:
        self.answers += number
        self.token.cancel()


def test_beam_search_ends_after_a_small_portion(fast: ResidentModel) -> None:
    counter = CancelAtFirst()
    model = fast.bind(cancel=counter.token, counter=counter)  # type: ignore[arg-type]
    with pytest.raises(CancelledError, match="was cancelled before it was finished"):
        model.generate(TEXTS * 20, Decoding(max_new_tokens=8, num_beams=4, target_language="fr"))
    assert counter.answers == ctranslate.ROWS


def test_beam_search_of_a_large_model_takes_a_text_at_a_time(fast: ResidentModel) -> None:
    base, translator = fast.load(), fast.writers.translator
    assert translator
    beams = Decoding(num_beams=4)
    assert translator.batches(base, Decoding()).max_rows == ctranslate.ROWS
    assert translator.batches(base, beams).max_rows == ctranslate.ROWS
    size, translator.num_bytes = translator.num_bytes, ctranslate.BEAM_BYTES // 8
    assert translator.batches(base, beams).max_rows == 2
    translator.num_bytes = ctranslate.BEAM_BYTES
    assert translator.batches(base, beams).max_rows == 1
    translator.num_bytes = size


def test_a_converted_base_needs_no_weights_of_torch(checkpoint: Path, fast: ResidentModel, graphs: Path) -> None:
    fast.bind().generate(TEXTS[:1], Decoding(max_new_tokens=3, target_language="fr"))
    [folder] = (file.parent for file in graphs.rglob("model.bin"))
    made = (folder / "model.bin").stat().st_mtime_ns
    model = resident(checkpoint, graphs)
    model.bind().generate(TEXTS[:1], Decoding(max_new_tokens=3, target_language="fr"))
    assert not uses_torch(model)
    assert model.num_bytes == (folder / "model.bin").stat().st_size
    assert model.described.placement == "float32 on cpu, by CTranslate2"
    assert (folder / "model.bin").stat().st_mtime_ns == made
    model.close()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_numbers_are_torchs(dtype: str, checkpoint: Path, graphs: Path) -> None:
    model = resident(checkpoint, graphs, dtype)
    assert model.writers.translator is None
    model.close()


def test_weights_that_8_bits_would_change_much_are_torchs(
    checkpoint: Path, graphs: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How much they change a tiny model's answers depends on the CPU.
    monkeypatch.setitem(ctranslate.TOLERANCES, "int8", 1e-6)
    for first_time in (True, False):
        caplog.clear()
        model = resident(checkpoint, graphs, "auto")
        with caplog.at_level(logging.INFO):
            model.load()
            assert model.writers.translator is None
        assert "m2m100 is computed by torch: log-probabilities by CTranslate2 in int8 differ by" in caplog.text
        assert ("Made the graph" in caplog.text) == first_time
        model.close()
    [folder] = (file.parent for file in graphs.rglob(ctranslate.UNFIT))
    assert not (folder / "model.bin").exists()


def test_a_setting_that_it_does_not_have_is_torchs(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model"
    shutil.copytree(checkpoint, path)
    file = path / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "encoder_no_repeat_ngram_size": 2}))
    model = resident(path, tmp_path / "graphs")
    with caplog.at_level(logging.INFO):
        model.load()
        assert model.writers.translator is None
    assert "model is computed by torch: its setting 'encoder_no_repeat_ngram_size' is unknown to CTranslate2." in (
        caplog.text
    )
    model.close()


def test_a_folder_that_cannot_be_written_to_is_a_warning(
    checkpoint: Path, tmp_path: Path, torch_model: ResidentModel, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "graphs"
    blocked.write_text("no folder")
    model = resident(checkpoint, blocked)
    decoding = Decoding(max_new_tokens=5, target_language="fr")
    assert model.bind().generate(TEXTS, decoding) == torch_model.bind().generate(TEXTS, decoding)
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith(
        "m2m100 is computed by torch, which takes longer: it could not be converted ("
    )
    model.close()


@pytest.mark.embedded
def test_the_embedded_translator_is_converted_to_8_bits(tmp_path: Path) -> None:
    path = TranslationTask.bases[EMBEDDED]
    model, exact = resident(path, tmp_path, "auto"), resident(path, None)
    decoding = Decoding(target_language="fr")
    texts = ["I am tired.", "My father is a doctor.", "Where is the station?", "She has two brothers."]
    ours, theirs = model.bind().generate(texts, decoding), exact.bind().generate(texts, decoding)
    assert [one.text for one in ours] == [one.text for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=0.3)
    assert not uses_torch(model)
    model.close()
    exact.close()
