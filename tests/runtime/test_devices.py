"""Device and number format are chosen with a reason, and unsafe choices are refused."""

from __future__ import annotations

import pytest
import torch

from nlptasks.errors import NlptasksError
from nlptasks.runtime.loading import devices
from nlptasks.runtime.loading.devices import choose_placement


def test_the_cpu_uses_bfloat16_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(devices, "native_bf16_flag", lambda: "amx_bf16")
    found = choose_placement()
    assert (found.device, found.dtype) == ("cpu", "bfloat16")
    assert found.dtype_reason == "the CPU computes bfloat16 natively (amx_bf16)"
    assert found.torch_dtype is torch.bfloat16
    monkeypatch.setattr(devices, "native_bf16_flag", lambda: None)
    assert choose_placement().dtype == "float32"
    assert choose_placement().dtype_reason == "the CPU has no native bfloat16"


@pytest.mark.parametrize(("gain", "dtype"), [(2.0, "bfloat16"), (devices.WORTH_IT, "bfloat16"), (0.6, "float32")])
def test_without_amx_the_cpu_s_speed_decides(monkeypatch: pytest.MonkeyPatch, gain: float, dtype: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(devices, "native_bf16_flag", lambda: "avx512_bf16")
    monkeypatch.setattr(devices, "bf16_gain", lambda: gain)
    found = choose_placement()
    assert found.dtype == dtype
    assert found.dtype_reason == f"the CPU has avx512_bf16 and multiplies bfloat16 {gain:.1f} times as fast as float32"


def test_a_language_model_takes_half_the_memory_wherever_the_cpu_knows_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(devices, "native_bf16_flag", lambda: "avx512_bf16")
    monkeypatch.setattr(devices, "bf16_gain", lambda: 0.5)
    found = choose_placement(writes=True)
    assert found.dtype == "bfloat16"
    assert found.dtype_reason == "the CPU has avx512_bf16, and a text costs the reading of all weights for each token"
    monkeypatch.setattr(devices, "native_bf16_flag", lambda: None)
    assert choose_placement(writes=True).dtype == "float32"


def test_the_gain_is_measured_once() -> None:
    assert 0 < devices.bf16_gain() < 100
    assert devices.bf16_gain() == devices.bf16_gain()


@pytest.mark.parametrize(("native", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_uses_bfloat16_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch, native: bool, dtype: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    found = choose_placement()
    assert (found.device, found.device_reason, found.dtype) == ("cuda", "CUDA sees a GPU", dtype)


def test_t5_never_runs_in_float16() -> None:
    with pytest.raises(
        NlptasksError, match="t5 overflows in float16 and answers NaN: use dtype='bfloat16' or 'float32'"
    ):
        choose_placement("cpu", "float16", "t5")
    assert choose_placement("cpu", "float16", "bert").dtype == "float16"


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NlptasksError, match="device 'cuda:1' was asked for, but torch sees none here"):
        choose_placement("cuda:1")
    with pytest.raises(NlptasksError, match="expected auto, cpu, cuda, cuda:N or mps, found 'gpu'"):
        choose_placement("gpu")


def test_what_is_asked_for_is_taken() -> None:
    found = choose_placement("cpu", "float32")
    assert (found.device_reason, found.dtype_reason) == ("asked for", "asked for")


def test_measuring_leaves_the_number_of_threads_alone() -> None:
    before = torch.get_num_threads()
    devices.bf16_gain.cache_clear()
    devices.bf16_gain()
    assert torch.get_num_threads() == before
