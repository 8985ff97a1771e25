"""The CPU's attention for short rows gives what transformers' own gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from nlptasks.runtime import cpu


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
    cpu.tune(tuned)
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
    cpu.tune(model)
    with torch.inference_mode():
        model(**padded_batch(cpu.SHORT_ROW))
        assert widths == []
        model(**padded_batch(cpu.SHORT_ROW + 1))
    assert widths == [cpu.SHORT_ROW + 1] * 2


def test_float32_keeps_transformers_own_attention() -> None:
    model = encoder(torch.float32)
    cpu.tune(model)
    assert model.config._attn_implementation == "sdpa"


def test_memory_is_given_back_without_complaint_on_any_system() -> None:
    cpu.keep_freed_memory()
    cpu.trim_memory()
