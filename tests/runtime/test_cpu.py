"""The CPU's attention for short rows and its packed weights give what transformers' own code gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from nlptasks.runtime.cpu import attention as cpu
from nlptasks.runtime.cpu import packing
from nlptasks.runtime.cpu.packing import PackedLinear
from nlptasks.runtime.resident import ResidentModel
from nlptasks.store.adapters import open_adapter
from nlptasks.store.download import BaseFolder
from tests.tiny_adapters import classifier_adapter, tagger_adapter


def encoder(dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
    return BertModel(config).eval().to(dtype)


def padded_batch(width: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.ones(3, width, dtype=torch.long)
    mask[1, width // 2 :] = 0
    mask[2, 1:] = 0
    return {"input_ids": torch.randint(1, 50, (3, width)), "attention_mask": mask}


@pytest.mark.parametrize("width", [1, 2, 17, cpu.SHORT_ROW, cpu.SHORT_ROW + 1])
@pytest.mark.parametrize("padded", [True, False])
def test_hidden_states_are_those_of_the_fused_kernel(width: int, padded: bool) -> None:
    fused, tuned = encoder(torch.bfloat16), encoder(torch.bfloat16)
    cpu.tune(tuned, "bfloat16")
    batch = padded_batch(width)
    if not padded:
        batch["attention_mask"] = torch.ones_like(batch["attention_mask"])
    with torch.inference_mode():
        expected, found = fused(**batch).last_hidden_state, tuned(**batch).last_hidden_state
    read = batch["attention_mask"].bool()
    torch.testing.assert_close(found[read].float(), expected[read].float(), atol=0.06, rtol=0.02)


def test_short_rows_leave_the_fused_kernel_and_long_ones_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    original = torch.nn.functional.scaled_dot_product_attention

    def spy(query: torch.Tensor, *args: Any, **settings: Any) -> torch.Tensor:
        widths.append(query.shape[2])
        return original(query, *args, **settings)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    model = encoder(torch.bfloat16)
    cpu.tune(model, "bfloat16")
    with torch.inference_mode():
        model(**padded_batch(cpu.SHORT_ROW))
        assert widths == []
        model(**padded_batch(cpu.SHORT_ROW + 1))
    assert widths == [cpu.SHORT_ROW + 1] * 2


def test_float32_keeps_transformers_own_attention() -> None:
    model = encoder(torch.float32)
    cpu.tune(model, "float32")
    assert model.config._attn_implementation == "sdpa"


needs_packing = pytest.mark.skipif(not packing.packs_here(), reason="this torch has no packed linear layers")


@needs_packing
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (2, 5, 3), (64, 20)])
def test_a_packed_layer_gives_the_layer_s_values(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(24, 40, bias=bias, dtype=torch.bfloat16).requires_grad_(False)
    rows = torch.randn(*shape, 24, dtype=torch.bfloat16)
    # A slice, as a pooler takes the first token's.
    parts = torch.randn(shape[0], 5, 24, dtype=torch.bfloat16)[:, 1]
    expected, expected_part = layer(rows), layer(parts)
    PackedLinear.adopt(layer)
    torch.testing.assert_close(layer(rows), expected, atol=0.02, rtol=0.02)
    torch.testing.assert_close(layer(parts), expected_part, atol=0.02, rtol=0.02)
    assert list(layer.state_dict()) == (["weight", "bias"] if bias else ["weight"])


@needs_packing
def test_the_exact_gelu_is_computed_with_the_product_and_no_other_is() -> None:
    exact, approximate = encoder(torch.bfloat16), encoder(torch.bfloat16)
    approximate.encoder.layer[0].intermediate.intermediate_act_fn = torch.nn.GELU(approximate="tanh")
    for model in (exact, approximate):
        cpu.tune(model, "bfloat16")
    assert [layer.intermediate.dense.activation for layer in exact.encoder.layer] == ["gelu", "gelu"]
    assert [layer.intermediate.dense.activation for layer in approximate.encoder.layer] == ["none", "gelu"]


@needs_packing
def test_adapters_on_packed_layers_come_and_go(tmp_path: Path, tiny_encoder: Path) -> None:
    one, _ = classifier_adapter(tiny_encoder, tmp_path / "one", seed=1)
    two, _ = classifier_adapter(tiny_encoder, tmp_path / "two", seed=2)
    three, _ = tagger_adapter(tiny_encoder, tmp_path / "three", seed=3)
    texts = ["Ada met Bob", "a longer text for the other rows"]
    folder = BaseFolder(id=str(tiny_encoder), revision=None, path=tiny_encoder, source="test")
    plain, packed = ResidentModel(folder, "cpu", "float32"), ResidentModel(folder, "cpu", "bfloat16")

    def values(resident: ResidentModel) -> list[torch.Tensor]:
        found = []
        for path in (one, two, three, one, None, two, None):
            bound = resident.bind(open_adapter(path) if path else None)
            answers = bound.embed(texts) if path is None else (bound.tag if path == three else bound.classify)(texts)
            found += [torch.tensor(answer.values) for answer in answers]
        return found

    before, after = values(plain), values(packed)
    base = packed.load()
    assert packing.packed_layers(base.model)
    for expected, found in zip(before, after, strict=True):
        torch.testing.assert_close(found, expected, atol=0.1, rtol=0.1)
    # The same weights again, to the bit: nothing drifts.
    again = values(packed)
    assert all(torch.equal(left, right) for left, right in zip(after, again, strict=True))
    for resident in (plain, packed):
        resident.close()
