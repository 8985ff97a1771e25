"""QLoRA: what is refused before anything is loaded, and the settings of the base in 4 bits."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from nlptasks import Recipe
from nlptasks.cli import cli
from nlptasks.errors import InvalidInputError, MissingExtraError, TrainingError
from nlptasks.runtime.loading.devices import Placement
from nlptasks.settings import Settings
from nlptasks.testing import tiny_model
from nlptasks.training import finetune
from nlptasks.training.families.base import family_trainer
from nlptasks.training.loop import quantizing
from nlptasks.training.loop.models import build, on_plain_base
from nlptasks.training.recipes import override
from tests.sample_tasks import Title
from tests.store.test_adapters import base_folder

QLORA = Recipe(base="no/such-base", load_in_4bit=True, metric_for_best_model="loss")


def test_without_cuda_one_sentence_stands_before_anything_is_read(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    # Neither the data nor the base is there: whoever looks for them first says so.
    sentence = r"load_in_4bit \(QLoRA\) needs a CUDA GPU, and torch sees none here: train without it\."
    with pytest.raises(TrainingError, match=sentence):
        finetune(Title(), "nowhere.jsonl", name="x", recipe=QLORA, settings=settings)
    assert not settings.data.exists()
    result = CliRunner().invoke(cli, ["train", "generation", "nowhere.jsonl", "--name", "x", "--load-in-4bit"])
    assert isinstance(result.exception, TrainingError)
    assert str(result.exception).startswith("load_in_4bit (QLoRA) needs a CUDA GPU")


def test_what_4_bits_are_not_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="expected method lora, whose base stays as it is, found 'full'"):
        quantizing.check(QLORA.replace(method="full"), "generate", "auto")
    with pytest.raises(InvalidInputError, match="expected a task that writes"):
        quantizing.check(QLORA, "classify", "auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(TrainingError, match="needs a CUDA GPU, and the device is 'cpu': train without it"):
        quantizing.check(QLORA, "generate", "cpu")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"Training in 4 bits needs .*: pip install 'nlptasks\[qlora\]'"):
        quantizing.check(QLORA, "generate", "auto")


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_base_is_loaded_as_the_paper_says_and_never_computed_in_float16(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.46.0" if name == "bitsandbytes" else known(name))
    arguments = quantizing.loading(Placement("cuda", "asked for", dtype, "auto"))
    config: Any = arguments["quantization_config"]
    assert (config.load_in_4bit, config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert config.bnb_4bit_compute_dtype == getattr(torch, dtype)
    assert arguments["device_map"] == {"": "cuda"}
    with pytest.raises(
        InvalidInputError, match="setting 'dtype': input should be 'auto', 'float32' or 'bfloat16', found 'float16'"
    ):
        override(QLORA, {"dtype": "float16"})


@pytest.mark.long
def test_the_adapter_goes_on_the_plain_base_with_what_it_learnt(tmp_path: Path) -> None:
    base = base_folder(tiny_model(tmp_path / "t5", architecture="t5"))
    placement = Placement("cpu", "", "float32", "")
    family = family_trainer(Title())
    recipe = Recipe(base=base.id, metric_for_best_model="loss")
    # On the CPU nothing is packed; the way from one model to the other is the same.
    trained = build(base, family, (), recipe, placement)
    with torch.no_grad():
        for parameter in trained.trained.values():
            parameter.normal_()
    expected = {name: value.detach().clone() for name, value in trained.trained.items()}
    plain = on_plain_base(trained, base, family, recipe.replace(load_in_4bit=True), placement, "cpu")
    assert plain.trained.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in plain.trained.items())
    assert {parameter.dtype for parameter in plain.model.parameters()} == {torch.float32}
