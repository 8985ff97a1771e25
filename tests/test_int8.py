"""dtype int8: products in 8 bits near float32's, adapters that come and go, and refusals that say why."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from nlptasks import Engine
from nlptasks.errors import NlptasksError, UnsupportedModelError
from nlptasks.runtime import cpu, devices, formats, packing
from nlptasks.runtime.adapters import open_adapter
from nlptasks.runtime.devices import choose_placement
from nlptasks.runtime.download import BaseFolder
from nlptasks.runtime.formats import FORMATS, Packed
from nlptasks.runtime.packing import PackedLinear
from nlptasks.runtime.resident import ResidentModel
from nlptasks.runtime.roots import load_root
from tests.test_cpu import encoder, padded_batch
from tests.tiny_adapters import classifier_adapter, tagger_adapter

needs_int8 = pytest.mark.skipif(bool(formats.obstacle("int8")), reason=str(formats.obstacle("int8")))
INT8 = FORMATS["int8"]


def multiply(rows: torch.Tensor, packed: Packed, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    return INT8.multiply(INT8.prepare(rows), packed, bias, activation)


def folder_of(path: Path) -> BaseFolder:
    return BaseFolder(id=str(path), revision=None, path=path, source="test")


@needs_int8
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(), (1, 1), (7, 3), (2, 5, 3), (64, 20), (0,), (3, 0)])
@pytest.mark.parametrize("sizes", [(24, 40), (23, 5), (33, 1), (1, 3)])
def test_a_layer_gives_nearly_the_layer_s_values(shape: tuple[int, ...], sizes: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(*sizes, bias=bias).requires_grad_(False)
    rows = torch.randn(*shape, sizes[0])
    expected = layer(rows)
    PackedLinear.adopt(layer, INT8)
    found = layer(rows)
    assert (found.dtype, found.shape) == (torch.float32, expected.shape)
    # Each of the two factors is off by at most half a step of 1/127 of its largest value.
    assert not expected.numel() or (found - expected).abs().max() < 0.02
    torch.testing.assert_close(
        torch.nn.functional.gelu(found), multiply(rows, INT8.pack(layer.weight), layer.bias, "gelu")
    )


@needs_int8
def test_zeros_and_slices_and_rows_of_any_size() -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 16)
    weight[3] = 0
    packed, bias = INT8.pack(weight), torch.arange(8.0)
    assert torch.equal(multiply(torch.zeros(2, 16), packed, bias, "none"), bias.expand(2, 8))
    rows = torch.randn(4, 3, 16) * torch.tensor([1e-6, 1.0, 1e6]).reshape(1, 3, 1)
    for part in (rows[:, 1], rows[:, 2], rows[:, 0]):
        expected = part @ weight.T
        found = multiply(part, packed, None, "none")
        assert torch.equal(found[:, 3], torch.zeros(4))
        torch.testing.assert_close(found, expected, rtol=0, atol=0.02 * float(expected.abs().max()))


@needs_int8
def test_a_row_s_answer_does_not_depend_on_the_rows_beside_it() -> None:
    torch.manual_seed(0)
    packed, rows = INT8.pack(torch.randn(40, 24)), torch.randn(9, 24)
    rows[4] *= 1000
    together = multiply(rows, packed, torch.randn(40, generator=torch.Generator().manual_seed(1)), "gelu")
    alone = [multiply(r, packed, torch.randn(40, generator=torch.Generator().manual_seed(1)), "gelu") for r in rows]
    torch.testing.assert_close(together, torch.stack(alone))


@needs_int8
def test_what_is_not_a_number_stays_none() -> None:
    rows = torch.ones(3, 16)
    rows[1, 2] = float("nan")
    found = multiply(rows, INT8.pack(torch.ones(8, 16)), None, "none")
    assert torch.isnan(found).any(1).tolist() == [False, True, False]


@needs_int8
@pytest.mark.parametrize("width", [1, 17, cpu.SHORT_ROW, cpu.SHORT_ROW + 1])
def test_hidden_states_are_near_those_of_float32(width: int) -> None:
    plain, tuned = encoder(torch.float32), encoder(torch.float32)
    cpu.tune(tuned, "int8")
    # Four of attention and two of the feed-forward part in each of two layers, and the pooler.
    assert len(packing.packed_layers(tuned)) == 13
    assert [layer.intermediate.dense.activation for layer in tuned.encoder.layer] == ["gelu", "gelu"]
    batch = padded_batch(width)
    with torch.inference_mode():
        expected, found = plain(**batch).last_hidden_state, tuned(**batch).last_hidden_state
    read = batch["attention_mask"].bool()
    torch.testing.assert_close(found[read], expected[read], atol=0.06, rtol=0.02)


@needs_int8
def test_an_attention_prepares_its_rows_once_and_lets_go_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = encoder(torch.float32)
    cpu.tune(model, "int8")
    seen: list[torch.Tensor] = []
    original = INT8.prepare

    def spy(rows: torch.Tensor) -> Any:
        seen.append(rows)
        return original(rows)

    monkeypatch.setattr(INT8, "prepare", spy)
    with torch.inference_mode():
        model(**padded_batch(5))
    # Query, key and value together, output, and the two of the feed-forward part; and the pooler.
    assert len(seen) == 2 * 4 + 1
    attention = model.encoder.layer[0].attention.self
    assert attention.query.shared is attention.value.shared
    assert attention.query.shared.rows is None
    # Key and value of other rows than the query's, as in cross-attention.
    one, two = torch.randn(3, 32), torch.randn(3, 32)
    with torch.inference_mode():
        attention.query(one)
        found = attention.key(two), attention.value(two)
    for layer, values in zip((attention.key, attention.value), found, strict=True):
        layer.requires_grad_(False)
        torch.testing.assert_close(values, multiply(two, INT8.pack(layer.weight), layer.bias, "none"))


def answers(resident: ResidentModel, path: Path | None, verb: str, texts: list[str]) -> list[torch.Tensor]:
    bound = resident.bind(open_adapter(path) if path else None)
    return [torch.tensor(answer.values) for answer in getattr(bound, verb)(texts)]


@needs_int8
def test_adapters_come_and_go(tmp_path: Path, tiny_encoder: Path) -> None:
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
    plain, packed = (ResidentModel(folder_of(tiny_encoder), "cpu", dtype) for dtype in ("float32", "int8"))

    def values(resident: ResidentModel) -> list[torch.Tensor]:
        return [found for path, verb in calls for found in answers(resident, path, verb, texts)]

    first = values(packed)
    for expected, found in zip(values(plain), first, strict=True):
        torch.testing.assert_close(found, expected, atol=0.1, rtol=0.1)
    # The same weights again, to the bit: nothing drifts.
    assert all(torch.equal(left, right) for left, right in zip(first, values(packed), strict=True))
    # A folded weight in 8 bits is a quarter of float32's, beside the factors, which are the same.
    assert packed.num_bytes < plain.num_bytes
    for resident in (plain, packed):
        resident.close()


@needs_int8
def test_two_adapters_from_many_threads_answer_as_each_alone(tmp_path: Path, tiny_encoder: Path) -> None:
    paths = [classifier_adapter(tiny_encoder, tmp_path / str(seed), seed=seed)[0] for seed in (1, 2)]
    texts = ["Ada met Bob", "no", "a longer text for the other rows"]
    resident = ResidentModel(folder_of(tiny_encoder), "cpu", "int8")
    alone = [answers(resident, path, "classify", texts) for path in paths]
    assert not torch.allclose(alone[0][0], alone[1][0], atol=0.05)
    wrong: list[Any] = []

    def ask(number: int) -> None:
        for turn in range(8):
            which = (number + turn) % 2
            for found, expected in zip(answers(resident, paths[which], "classify", texts), alone[which], strict=True):
                if not torch.allclose(found, expected, atol=1e-4):
                    wrong.append((number, turn, found, expected))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    resident.close()


@needs_int8
def test_weights_are_loaded_in_float32_and_the_choice_says_int8(tiny_encoder: Path) -> None:
    root = load_root(folder_of(tiny_encoder), "cpu", "int8")
    assert (root.placement.dtype, root.placement.dtype_reason, root.model.dtype) == ("int8", "asked for", torch.float32)


@needs_int8
def test_a_decoder_is_refused(tiny_causal: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"dtype 'int8' is for encoders, and .* is a causal model .*: use"):
        load_root(folder_of(tiny_causal), "cpu", "int8")


def test_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(
        NlptasksError,
        match="dtype 'int8' is computed on the CPU, found device 'cuda': use device='cpu' or dtype='auto'",
    ):
        choose_placement("cuda", "int8")


@pytest.mark.parametrize(
    ("flags", "works", "reason"),
    [
        ({"avx2"}, True, "this CPU has no products of bytes"),
        ({"avx512_vnni"}, False, "the operations of torch .* give wrong values on this CPU"),
        ({"avx512_vnni"}, AttributeError("no such operation"), "torch .* lacks the operations here"),
        (set(), RuntimeError("not on this system"), "torch .* lacks the operations here"),
    ],
)
def test_where_it_cannot_be_computed_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], works: bool | Exception, reason: str
) -> None:
    def trial() -> bool:
        if isinstance(works, Exception):
            raise works
        return works

    monkeypatch.setattr(formats, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(INT8, "works", trial)
    formats.obstacle.cache_clear()
    try:
        with pytest.raises(
            NlptasksError, match=f"'int8' cannot be computed here, because {reason}.*: use dtype='auto'"
        ):
            choose_placement("cpu", "int8")
    finally:
        formats.obstacle.cache_clear()


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
