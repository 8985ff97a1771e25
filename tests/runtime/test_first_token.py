"""Classifiers that read the first token only answer the same without the others' last layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from nlptasks.runtime.cpu.first_token import FIRST_TOKEN_READERS, FirstTokenLayer, for_first_token
from nlptasks.runtime.resident import ResidentModel
from nlptasks.store.adapters import open_adapter
from nlptasks.store.download import BaseFolder
from tests.tiny_adapters import classifier_adapter, tagger_adapter

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 60}


def padded_batch(width: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.ones(3, width, dtype=torch.long)
    mask[1, max(1, width // 2) :] = 0
    return {"input_ids": torch.randint(5, 60, (3, width)), "attention_mask": mask}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("model_type", sorted(FIRST_TOKEN_READERS))
def test_the_scores_are_the_whole_model_s(model_type: str, attention: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, num_labels=3, attn_implementation=attention, **SMALL)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    body = model.base_model
    for width in (1, 2, 17, 300):
        batch = padded_batch(width)
        with torch.inference_mode():
            setattr(model, model.base_model_prefix, body)
            whole, states = model(**batch).logits, body(**batch).last_hidden_state
            setattr(model, model.base_model_prefix, for_first_token(body))
            torch.testing.assert_close(model(**batch).logits, whole, atol=1e-6, rtol=1e-5)
            first = model.base_model(**batch).last_hidden_state
        torch.testing.assert_close(first, states[:, :1], atol=1e-6, rtol=1e-5)
    # The body itself still gives all its states.
    assert not any(isinstance(layer, FirstTokenLayer) for layer in body.encoder.layer)


def test_other_architectures_are_left_alone() -> None:
    body = AutoModel.from_config(AutoConfig.for_model("mpnet", **SMALL))
    assert for_first_token(body) is body


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_last_layer_works_for_one_token_of_a_classifier_and_for_all_of_a_tagger(
    dtype: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    classifier, _ = classifier_adapter(tiny_encoder, tmp_path / "classifier")
    tagger, _ = tagger_adapter(tiny_encoder, tmp_path / "tagger")
    resident = ResidentModel(BaseFolder(id="tiny", revision=None, path=tiny_encoder, source="test"), "cpu", dtype)
    sizes: list[int] = []

    def spy(_: Any, inputs: tuple[torch.Tensor, ...], __: Any) -> None:
        sizes.append(inputs[0].shape[1])

    resident.load().backbone.encoder.layer[-1].output.dense.register_forward_hook(spy)
    text = "a text of more than one token"
    resident.bind(open_adapter(classifier)).classify([text])
    (tags,) = resident.bind(open_adapter(tagger)).tag([text])
    assert sizes[0] == 1
    assert sizes[1] >= len(tags.values) > 1
    resident.close()
