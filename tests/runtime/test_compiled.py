"""What OpenVINO compiles answers as torch does, in int8 nearly; adapters come and go; refusals say why."""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoConfig

from nlptasks import Engine
from nlptasks.errors import NlptasksError, UnsupportedModelError
from nlptasks.runtime.compiled import graph
from nlptasks.runtime.compiled.graph import CompiledHead, Graph, import_openvino
from nlptasks.runtime.compiled.quantization import shrink
from nlptasks.runtime.loading import devices
from nlptasks.runtime.loading.base import HEAD_CLASSES, load_base
from nlptasks.runtime.loading.devices import choose_placement, int8_obstacle
from nlptasks.runtime.resident import ResidentModel
from nlptasks.store.adapters import open_adapter
from nlptasks.store.download import BaseFolder
from tests.tiny_adapters import classifier_adapter, tagger_adapter

needs_int8 = pytest.mark.skipif(bool(int8_obstacle()), reason=str(int8_obstacle()))
needs_openvino = pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="openvino is not installed")
compiled_dtypes = pytest.mark.parametrize("dtype", ["float32", pytest.param("int8", marks=needs_int8)])

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 60,
    "max_position_embeddings": 80,
}
SIZES: dict[str, dict[str, Any]] = {
    "albert": {**SMALL, "embedding_size": 16},
    "bert": SMALL,
    "deberta-v2": {**SMALL, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 16},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 60},
    "electra": SMALL,
    "modernbert": {**SMALL, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "cls_token_id": 1},
    "mpnet": SMALL,
    "roberta": SMALL,
}


def folder_of(path: Path) -> BaseFolder:
    return BaseFolder(id=str(path), revision=None, path=path, source="test")


def task_model(model_type: str, verb: str) -> Any:
    """A random task model whose answers differ clearly between texts."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, num_labels=2, **SIZES[model_type])
    model = getattr(transformers, HEAD_CLASSES[verb]).from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4 if weight.ndim == 2 and weight.shape[0] != 60 else 1)
    return model


def batch_of(rows: int, width: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.ones(rows, width, dtype=torch.long)
    mask[1, max(1, width // 2) :] = 0
    return {"input_ids": torch.randint(5, 60, (rows, width)), "attention_mask": mask}


def compiled_head(model: Any, example: dict[str, torch.Tensor], dtype: str = "float32") -> CompiledHead:
    return Graph.translate(model, example, dtype).compile(1)


def ask(head: CompiledHead, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = head(**{name: tensor.numpy() for name, tensor in batch.items()})
    return {name: torch.from_numpy(array) for name, array in vars(found).items()}


def near(found: torch.Tensor, expected: torch.Tensor, dtype: str) -> None:
    largest = max(0.1, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=0, atol=(0.05 if dtype == "int8" else 1e-4) * largest)


@needs_openvino
@compiled_dtypes
@pytest.mark.parametrize(
    "model_type", [pytest.param(name, marks=[] if name == "bert" else pytest.mark.full) for name in sorted(SIZES)]
)
def test_every_architecture_reads_batches_of_any_shape(model_type: str, dtype: str) -> None:
    model = task_model(model_type, "classify")
    head = compiled_head(model, batch_of(2, 4), dtype)
    for shape in ((3, 11), (2, 1), (5, 31), (3, 11)):
        batch = batch_of(*shape)
        with torch.inference_mode():
            near(ask(head, batch)["logits"], model(**batch).logits, dtype)


@needs_openvino
@compiled_dtypes
@pytest.mark.full
def test_a_tagger_and_an_extractor_answer_by_the_names_of_their_outputs(dtype: str) -> None:
    batch = batch_of(3, 9)
    read = batch["attention_mask"].bool()
    for verb, names in (("tag", ["logits"]), ("extract", ["start_logits", "end_logits"])):
        model = task_model("bert", verb)
        found = ask(compiled_head(model, batch_of(2, 4), dtype), batch)
        with torch.inference_mode():
            expected = model(**batch)
        for name in names:
            near(found[name][read], expected[name][read], dtype)


@needs_openvino
@compiled_dtypes
@pytest.mark.full
def test_a_text_s_answer_does_not_depend_on_the_texts_beside_it(dtype: str) -> None:
    head = compiled_head(task_model("bert", "classify"), batch_of(2, 4), dtype)
    ids = torch.randint(5, 60, (9, 12))
    together = ask(head, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})["logits"]
    alone = [
        ask(head, {"input_ids": row[None], "attention_mask": torch.ones_like(row[None])})["logits"][0] for row in ids
    ]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-4)


@needs_openvino
def test_weights_become_a_quarter_and_the_scores_layer_stays() -> None:
    model = task_model("bert", "classify")
    translated = graph._translate(model, batch_of(2, 4), "int8")
    large = [weight for weight in model.parameters() if weight.ndim == 2 and weight.shape[0] in (32, 64)]
    # The embeddings are looked up, not multiplied.
    products = [weight for weight in large if weight.shape != (80, 32)]
    assert shrink(translated, {}) == sum(weight.numel() + 4 * len(weight) for weight in products)
    kept = [
        np.asarray(op.data) for op in translated.get_ops() if op.get_type_name() == "Constant" and op.data.ndim == 2
    ]
    assert any(np.array_equal(weight, model.classifier.weight.detach().numpy()) for weight in kept)
    whole = [weight for weight in kept if weight.dtype == np.int8]
    assert {int(np.abs(weight).max()) for weight in whole} == {127}


@needs_openvino
@pytest.mark.full
def test_a_model_s_later_weights_are_not_the_compiled_one_s() -> None:
    model = task_model("bert", "classify")
    head = compiled_head(model, batch_of(2, 4))
    before = ask(head, batch_of(3, 7))["logits"]
    with torch.no_grad():
        for weight in model.parameters():
            weight.data = torch.zeros_like(weight)
    assert torch.equal(ask(head, batch_of(3, 7))["logits"], before)
    assert before.abs().max() > 0.01


@needs_openvino
@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_not_hidden(broken: float, dtype: str) -> None:
    model = task_model("bert", "classify")
    with torch.no_grad():
        model.bert.encoder.layer[1].intermediate.dense.weight[3, 5] = broken
    with pytest.raises(
        UnsupportedModelError, match=r"bert answers NaN: its weights or the adapter's are broken: fetch"
    ):
        Graph.translate(model, batch_of(2, 4), dtype)


@needs_openvino
def test_a_trace_that_takes_a_length_for_fixed_is_refused() -> None:
    class Fixed(torch.nn.Module):
        config = None

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
            # For tracing this is a number, not something to compute anew for each batch.
            return {"logits": (input_ids * attention_mask).sum(1, keepdim=True) / int(input_ids.shape[1])}

    with pytest.raises(UnsupportedModelError, match=r"OpenVINO's answers for Fixed differ from torch's by \d"):
        Graph.translate(Fixed(), batch_of(2, 4), "float32")


@needs_openvino
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="other systems do not tell a process's memory so")
@pytest.mark.full
def test_traces_do_not_stay_in_memory() -> None:
    model = task_model("bert", "classify")

    def pages() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1])

    def translate(times: int) -> int:
        for _ in range(times):
            graph._translate(model, batch_of(2, 4), "float32")
        return pages()

    before = translate(5)
    # A trace of this model that is kept has two thousand pages.
    assert translate(10) - before < 3000


@needs_openvino
@pytest.mark.parametrize(
    ("dtype", "sentence"),
    [
        ("float32", r"OpenVINO cannot translate Odd\."),
        ("int8", r"dtype 'int8' is computed by OpenVINO, which cannot translate Odd: use dtype='auto'\."),
    ],
)
def test_what_openvino_cannot_translate_is_refused(dtype: str, sentence: str) -> None:
    class Odd(torch.nn.Module):
        config = None

        def forward(self, **batch: torch.Tensor) -> object:
            return object()

    with pytest.raises(UnsupportedModelError, match=sentence):
        Graph.translate(Odd(), batch_of(2, 4), dtype)


@needs_openvino
def test_the_compiler_reports_nothing_to_its_makers() -> None:
    code = (
        "import sys; from nlptasks.runtime.compiled.graph import import_openvino; import_openvino().convert_model;"
        "print(sorted(name for name, module in sys.modules.items() if 'openvino_telemetry' in name and module))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@needs_openvino
def test_an_undocumented_setting_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = import_openvino()
    asked: list[dict[str, Any]] = []

    class Core:
        def compile_model(self, model: Any, device: str, settings: dict[str, Any]) -> str:
            asked.append(settings)
            if "SNIPPETS_MODE" in settings:
                raise RuntimeError("NotFound: unsupported property SNIPPETS_MODE")
            return "compiled"

    monkeypatch.setattr(openvino, "Core", Core)
    assert graph._compile(None, 32, 1, 1) == "compiled"
    assert [settings.keys() - asked[1].keys() for settings in asked] == [{"SNIPPETS_MODE"}, set()]


def answers(resident: ResidentModel, path: Path | None, verb: str, texts: list[str]) -> list[torch.Tensor]:
    bound = resident.bind(open_adapter(path) if path else None)
    return [torch.tensor(answer.values) for answer in getattr(bound, verb)(texts)]


@needs_openvino
@compiled_dtypes
@pytest.mark.full
def test_adapters_come_and_go(tmp_path: Path, tiny_encoder: Path, dtype: str) -> None:
    one, _ = classifier_adapter(tiny_encoder, tmp_path / "one", seed=1)
    two, _ = classifier_adapter(tiny_encoder, tmp_path / "two", seed=2)
    three, _ = tagger_adapter(tiny_encoder, tmp_path / "three", seed=3)
    calls = [
        (one, "classify"),
        (two, "classify"),
        (three, "tag"),
        (one, "classify"),
        (None, "embed"),
        (two, "classify"),
    ]
    texts = ["Ada met Bob", "a longer text for the other rows"]
    plain = ResidentModel(folder_of(tiny_encoder), "cpu", "float32")
    packed = ResidentModel(folder_of(tiny_encoder), "cpu", dtype, graphs=tmp_path / "graphs")

    def values(resident: ResidentModel) -> list[torch.Tensor]:
        return [found for path, verb in calls for found in answers(resident, path, verb, texts)]

    first = values(packed)
    for expected, found in zip(values(plain), first, strict=True):
        near(found, expected, dtype)
    # The same weights again, to the bit: nothing drifts.
    assert all(torch.equal(left, right) for left, right in zip(first, values(packed), strict=True))
    for resident in (plain, packed):
        resident.close()


@needs_openvino
@compiled_dtypes
@pytest.mark.full
def test_two_adapters_from_many_threads_answer_as_each_alone(tmp_path: Path, tiny_encoder: Path, dtype: str) -> None:
    paths = [classifier_adapter(tiny_encoder, tmp_path / str(seed), seed=seed)[0] for seed in (1, 2)]
    texts = ["Ada met Bob", "no", "a longer text for the other rows"]
    resident = ResidentModel(folder_of(tiny_encoder), "cpu", dtype, graphs=tmp_path / "graphs")
    alone = [answers(resident, path, "classify", texts) for path in paths]
    assert not torch.allclose(alone[0][0], alone[1][0], atol=0.05)
    wrong: list[Any] = []

    def call(number: int) -> None:
        for turn in range(8):
            which = (number + turn) % 2
            for found, expected in zip(answers(resident, paths[which], "classify", texts), alone[which], strict=True):
                if not torch.allclose(found, expected, atol=1e-4):
                    wrong.append((number, turn, found, expected))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    resident.close()


@needs_int8
def test_weights_are_loaded_in_float32_and_the_choice_says_int8(tiny_encoder: Path) -> None:
    base = load_base(folder_of(tiny_encoder), "cpu", "int8")
    assert (base.placement.dtype, base.placement.dtype_reason, base.model.dtype) == ("int8", "asked for", torch.float32)


@needs_int8
def test_a_decoder_is_refused(tiny_causal: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"dtype 'int8' is for encoders, and .* is a causal model .*: use"):
        load_base(folder_of(tiny_causal), "cpu", "int8")


def test_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(
        NlptasksError,
        match="dtype 'int8' is computed on the CPU, found device 'cuda': use device='cpu' or dtype='auto'",
    ):
        choose_placement("cuda", "int8")


@pytest.mark.parametrize(
    ("flags", "installed", "reason"),
    [
        ({"avx2"}, True, r"this CPU has no products of bytes \(AVX512-VNNI, AVX-VNNI or AMX\)"),
        ({"avx512_vnni"}, False, r"openvino is not installed \(pip install 'nlptasks\[fast\]'\)"),
        (set(), False, r"openvino is not installed \(pip install 'nlptasks\[fast\]'\)"),
    ],
)
def test_where_it_cannot_be_computed_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], installed: bool, reason: str
) -> None:
    monkeypatch.setattr(devices, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed else None)
    int8_obstacle.cache_clear()
    try:
        with pytest.raises(NlptasksError, match=f"'int8' cannot be computed here, because {reason}: use dtype='auto'"):
            choose_placement("cpu", "int8")
    finally:
        int8_obstacle.cache_clear()


def test_the_engine_takes_the_word_and_no_other() -> None:
    Engine(dtype="int8").close()
    with pytest.raises(NlptasksError, match="expected one of auto, float32, bfloat16, float16, int8, found 'int4'"):
        Engine(dtype="int4")


def test_the_cpu_s_features_are_read_once_and_may_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> str:
        raise OSError

    devices.cpu_flags.cache_clear()
    monkeypatch.setattr(Path, "read_text", missing)
    assert devices.cpu_flags() == frozenset()
    assert devices.native_bf16_flag() is None
    devices.cpu_flags.cache_clear()


@needs_int8
@pytest.mark.embedded
def test_the_embedded_tasks_answer_as_in_float32() -> None:
    texts = [
        "Marie Curie moved from Warsaw to Paris in 1891, and I loved every minute of her story.",
        "Siemens and the University of Oslo signed the contract in Munich, which bored me to tears.",
        "\N{PARTY POPPER} Congrats to everyone in Nairobi!!!",
        "A dull, lifeless film that wastes Simone Biles and half of Texas. " * 20,
    ]
    questions = [{"question": "Where did she move?", "context": texts[0]}, {"question": "Where?", "context": texts[3]}]
    found: dict[str, list[Any]] = {}
    for dtype in ("float32", "int8"):
        with Engine("minilm", dtype=dtype) as engine:
            found[dtype] = [*engine.run("sentiment", texts), *engine.run("ner", texts), *engine.run("qa", questions)]
    for plain, small in zip(found["float32"], found["int8"], strict=True):
        assert small.num_tokens == plain.num_tokens
        if hasattr(plain, "entities"):
            assert [(e.text, e.label) for e in small.entities] == [(e.text, e.label) for e in plain.entities]
        else:
            assert small.score == pytest.approx(plain.score, abs=0.05)
            assert getattr(small, "label", None) == getattr(plain, "label", None)
            assert getattr(small, "text", None) == getattr(plain, "text", None)
