"""Compiled graphs of encoders: kept in the cache, answered without torch, and torch where there can be none."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nlptasks.errors import AdapterMismatchError
from nlptasks.runtime.compiled import graph
from nlptasks.runtime.compiled.graph import Graph
from nlptasks.runtime.compiled.heads import CompiledHeads
from nlptasks.runtime.loading.base import load_base, load_tokenizer
from nlptasks.runtime.loading.devices import Placement, choose_placement
from nlptasks.runtime.loading.kept import keep, read_kept
from nlptasks.runtime.resident import ResidentModel
from nlptasks.store.adapters import open_adapter
from tests.runtime.test_compiled import answers, batch_of, folder_of, needs_openvino, task_model
from tests.tiny_adapters import classifier_adapter, extractor_adapter, tagger_adapter

TEXTS = ["Ada met Bob", "no", "a longer text for the other rows", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"]
PAIRS = [("Who met Bob?", "Ada met Bob in the bright garden"), ("Who?", "no")]


def resident_of(base: Path, graphs: Path | None) -> ResidentModel:
    return ResidentModel(folder_of(base), "cpu", "float32", graphs=graphs)


def every_answer(resident: ResidentModel, folder: Path) -> list[Any]:
    """Of all verbs that read, with what their answers say beside the scores."""
    ask = {verb: resident.bind(open_adapter(folder / verb)) for verb in ("classify", "tag", "extract")}
    spans = ask["extract"].extract(PAIRS)
    scores = [answer.values for answer in [*ask["classify"].classify(TEXTS), *resident.bind().embed(TEXTS)]]
    scores += [row for answer in ask["tag"].tag(TEXTS) for row in answer.values]
    scores += [part for answer in spans for part in (answer.starts, answer.ends, (answer.null,))]
    words = [(a.spans, a.num_tokens, a.truncated, a.unknown, a.unread) for a in [*ask["tag"].tag(TEXTS), *spans]]
    return [torch.tensor([score for row in scores for score in row]), words, resident.bind().offsets(TEXTS)]


@pytest.fixture
def adapters(tmp_path: Path, tiny_encoder: Path) -> Path:
    for verb, make in (("classify", classifier_adapter), ("tag", tagger_adapter), ("extract", extractor_adapter)):
        make(tiny_encoder, tmp_path / verb, seed=2)  # type: ignore[operator]
    return tmp_path


@needs_openvino
@pytest.mark.full
def test_every_verb_answers_as_torch_does_when_a_graph_is_made_and_when_it_is_read(
    adapters: Path, tiny_encoder: Path
) -> None:
    expected = every_answer(resident_of(tiny_encoder, None), adapters)
    for turn in range(2):
        resident = resident_of(tiny_encoder, adapters / "graphs")
        scores, *others = every_answer(resident, adapters)
        torch.testing.assert_close(scores, expected[0], rtol=0, atol=1e-4)
        assert others == expected[1:]
        # What has made graphs has let go of torch's weights; what reads them has loaded none.
        assert resident.loaded is None if turn else resident.loaded.num_bytes == 0  # type: ignore[union-attr]
        resident.close()


@needs_openvino
@pytest.mark.full
def test_a_process_with_graphs_imports_neither_torch_nor_transformers(adapters: Path, tiny_encoder: Path) -> None:
    every_answer(resident_of(tiny_encoder, adapters / "graphs"), adapters)
    code = f"""
import sys
from pathlib import Path
from nlptasks.runtime.resident import ResidentModel
from nlptasks.store.adapters import open_adapter
from nlptasks.store.download import BaseFolder
folder = BaseFolder({str(tiny_encoder)!r}, None, Path({str(tiny_encoder)!r}), "test")
resident = ResidentModel(folder, "cpu", "float32", graphs=Path({str(adapters / "graphs")!r}))
print(resident.bind(open_adapter(Path({str(adapters / "tag")!r}))).tag(["Ada met Bob"])[0].num_tokens > 2)
resident.close()
print([name for name in ("torch", "transformers", "peft") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[:2] == ["True", "[]"]


@pytest.mark.parametrize(
    "text",
    [
        "Ada met Bob.",
        "[SEP] is a [CLS] text </s>",
        "",
        "\ufffd",
        "caf\u0065\u0301 \U0001f44d\u200d\U0001f33e",
        "a " * 90,
    ],
)
def test_a_kept_tokenizer_answers_as_transformers_does(tmp_path: Path, tiny_encoder: Path, text: str) -> None:
    base = load_base(folder_of(tiny_encoder), "cpu", "float32")
    keep(base, tmp_path)
    kept, whole = read_kept(tmp_path, tiny_encoder, base.placement).tokenizer, load_tokenizer(tiny_encoder)
    pairs = [("no", text), ("Who?", "no")]
    for texts, truncation in (
        ([text, "no"], False),
        ([text, "no"], "longest_first"),
        (pairs, False),
        (pairs, "longest_first"),
        (pairs, "only_second"),
    ):
        options: dict[str, Any] = {"truncation": truncation, "verbose": False, "return_offsets_mapping": True}
        if truncation:
            options["max_length"] = 12
        found, expected = kept(texts, **options), whole(texts, **options)
        assert dict(found) == dict(expected)
        for row in range(2):
            assert found.sequence_ids(row) == expected.sequence_ids(row)
    assert kept(text, add_special_tokens=False) == dict(whole(text, add_special_tokens=False, verbose=False))
    for name in ("pad_token_id", "unk_token_id", "cls_token_id", "bos_token_id", "eos_token_id", "model_max_length"):
        assert getattr(kept, name) == getattr(whole, name)
    for pair in (False, True):
        assert kept.num_special_tokens_to_add(pair) == whole.num_special_tokens_to_add(pair)


@needs_openvino
@pytest.mark.full
def test_a_damaged_graph_is_made_again(adapters: Path, tiny_encoder: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = answers(resident_of(tiny_encoder, adapters / "graphs"), adapters / "classify", "classify", TEXTS)
    (file,) = (adapters / "graphs").glob("*-classify-*/graph.xml")
    (settings,) = (adapters / "graphs").glob("*-base-*/settings.json")
    for damaged in (file, settings):
        damaged.write_bytes(b"x" * damaged.stat().st_size)
    for _ in range(2):
        again = answers(resident_of(tiny_encoder, adapters / "graphs"), adapters / "classify", "classify", TEXTS)
        assert all(torch.equal(left, right) for left, right in zip(first, again, strict=True))
    assert caplog.text.count("is damaged and") == 2


@needs_openvino
@pytest.mark.full
def test_where_nothing_can_be_kept_the_graph_is_in_memory(
    adapters: Path, tiny_encoder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (adapters / "graphs").write_text("a file where the folder would be")
    plain = answers(resident_of(tiny_encoder, None), adapters / "tag", "tag", TEXTS)
    found = answers(resident_of(tiny_encoder, adapters / "graphs"), adapters / "tag", "tag", TEXTS)
    for left, right in zip(plain, found, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-4)
    assert "The graph of tag cannot be kept in" in caplog.text


@needs_openvino
def test_what_openvino_cannot_translate_is_left_to_torch_and_tried_once(
    adapters: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[str] = []

    def convert(*_: Any, **__: Any) -> Any:
        tries.append("convert")
        raise RuntimeError("no such operation")

    monkeypatch.setattr(graph.import_openvino(), "convert_model", convert)
    plain = answers(resident_of(tiny_encoder, None), adapters / "classify", "classify", TEXTS)
    for _ in range(2):
        resident = resident_of(tiny_encoder, adapters / "graphs")
        found = answers(resident, adapters / "classify", "classify", TEXTS)
        assert all(torch.equal(left, right) for left, right in zip(plain, found, strict=True))
    assert tries == ["convert"]
    assert "torch computes classify, because OpenVINO cannot translate BertForSequenceClassification." in caplog.text


@needs_openvino
@pytest.mark.full
def test_a_retrained_adapter_gets_a_graph_of_its_own(adapters: Path, tiny_encoder: Path) -> None:
    resident = resident_of(tiny_encoder, adapters / "graphs")
    before = answers(resident, adapters / "classify", "classify", TEXTS)
    shutil.rmtree(adapters / "classify")
    classifier_adapter(tiny_encoder, adapters / "classify", seed=7)
    expected = answers(resident_of(tiny_encoder, None), adapters / "classify", "classify", TEXTS)
    for old, found, right in zip(
        before, answers(resident, adapters / "classify", "classify", TEXTS), expected, strict=True
    ):
        assert not torch.allclose(old, found, atol=1e-3)
        torch.testing.assert_close(found, right, rtol=0, atol=1e-4)


@needs_openvino
def test_another_base_s_adapter_is_refused_before_a_graph_is_looked_for(
    adapters: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "base"
    shutil.copytree(tiny_encoder, other)
    weights = other / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(AdapterMismatchError):
        resident_of(other, adapters / "graphs").bind(open_adapter(adapters / "classify"))
    assert not (adapters / "graphs").exists()


@needs_openvino
@pytest.mark.full
def test_the_least_recently_used_leave_the_memory(tmp_path: Path, tiny_encoder: Path) -> None:
    heads = CompiledHeads(tiny_encoder, 1, None)
    made: list[str] = []

    def translate(verb: str) -> Graph:
        made.append(verb)
        return Graph.translate(task_model("bert", "classify"), batch_of(2, 4), "float32")

    for number in [*range(9), 8, 1, 0]:
        heads.get(f"verb{number}", None, "float32", lambda number=number: translate(f"verb{number}"))  # type: ignore[misc]
    assert made == [*(f"verb{number}" for number in range(9)), "verb0"]


@pytest.mark.parametrize(
    ("placement", "installed", "expected"),
    [
        (("cpu", "int8"), True, ("openvino", "dtype int8 is computed by it")),
        (("cpu", "float32"), True, ("openvino", "a compiled graph is quicker than torch on a CPU")),
        (("cpu", "float32"), False, ("torch", "openvino is not installed (pip install 'nlptasks[fast]')")),
        (("cpu", "bfloat16"), True, ("torch", "graphs are in float32, and the dtype is bfloat16")),
        (("cuda", "float32"), True, ("torch", "graphs are for CPUs, and the device is cuda")),
    ],
)
def test_the_engine_of_readers_has_a_reason(
    placement: tuple[str, str], installed: bool, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object() if installed else None)
    device, dtype = placement
    assert Placement(device, "", dtype, "").reading_engine(Path("graphs")) == expected


def test_the_backend_torch_leaves_all_to_torch() -> None:
    assert choose_placement("cpu", "float32").reading_engine(None) == (
        "torch",
        "NLPTASKS_BACKEND or backend=... says so",
    )
