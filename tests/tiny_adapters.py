"""Adapters for tiny bases, made by plain PEFT: random, but far from zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from nlptasks.store.adapters import MANIFEST, BaseReference, Manifest
from nlptasks.store.weights import fingerprint

LABELS = ("negative", "neutral", "positive")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
BERT_LINEAR = r".*encoder\.layer\.\d+\..*(query|key|value|dense)"
ALL_LINEAR = {"bert": ["query", "key", "value", "dense"], "gpt2": ["c_attn", "c_fc", "c_proj"]}


def classifier_adapter(
    base: Path, folder: Path, *, seed: int = 0, labels: tuple[str, ...] = LABELS, manifest: bool = True, **lora: Any
) -> tuple[Path, Any]:
    """A sequence-classification adapter in `folder`, and the PEFT model that wrote it."""
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels))
    targets = ALL_LINEAR.get(model.config.model_type, ["q_proj", "v_proj", "up_proj"])
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 16, "target_modules": targets, **lora}
    if model.config.model_type == "bert":
        settings["target_modules"] = BERT_LINEAR
        settings["modules_to_save"] = ["classifier", "pooler"]
    return _save(get_peft_model(model, LoraConfig(task_type="SEQ_CLS", **settings)), base, folder, labels, manifest)


def tagger_adapter(
    base: Path, folder: Path, *, seed: int = 0, labels: tuple[str, ...] = TAGS, manifest: bool = True, **changes: Any
) -> tuple[Path, Any]:
    """A token-classification adapter in `folder`, and the PEFT model that wrote it."""
    torch.manual_seed(seed)
    model = AutoModelForTokenClassification.from_pretrained(base, num_labels=len(labels))
    peft = get_peft_model(model, _lora(model, "TOKEN_CLS"))
    return _save(peft, base, folder, labels, manifest, verb="tag", **changes)


def extractor_adapter(
    base: Path, folder: Path, *, seed: int = 0, manifest: bool = True, **changes: Any
) -> tuple[Path, Any]:
    """A question-answering adapter in `folder`, and the PEFT model that wrote it."""
    torch.manual_seed(seed)
    model = AutoModelForQuestionAnswering.from_pretrained(base)
    peft = get_peft_model(model, _lora(model, "QUESTION_ANS"))
    return _save(peft, base, folder, None, manifest, verb="extract", **changes)


def _lora(model: Any, task_type: str) -> LoraConfig:
    targets = {
        "bert": BERT_LINEAR,
        "roberta": ["query", "value"],
        "xlm-roberta": ["query", "value"],
        "distilbert": ["q_lin", "v_lin"],
        "llama": ["v_proj"],
    }
    chosen = targets.get(model.config.model_type, ["c_attn"])
    return LoraConfig(task_type=task_type, r=4, lora_alpha=16, target_modules=chosen)


def writer_adapter(base: Path, folder: Path, *, seed: int = 0, **lora: Any) -> tuple[Path, Any]:
    """A causal-LM adapter without a manifest, as another tool would leave it."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    targets = ALL_LINEAR.get(model.config.model_type, ["q_proj", "v_proj", "up_proj"])
    peft = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=32, target_modules=targets, **lora))
    return _save(peft, base, folder, None, manifest=False)


def _save(
    model: Any,
    base: Path,
    folder: Path,
    labels: tuple[str, ...] | None,
    manifest: bool,
    verb: str = "classify",
    task: str = "mood",
    **changes: Any,
) -> tuple[Path, Any]:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # PEFT starts B at zero, which would make every adapter equal to its base.
            if "lora_B" in name or "modules_to_save" in name:
                parameter.normal_(std=0.2)
    model.eval()
    model.save_pretrained(folder, save_embedding_layers=False)
    if manifest:
        config = model.base_model.model.config
        content = Manifest(
            name=folder.name,
            task=task,
            family="text_classification",
            verb=verb,
            labels=labels,
            base=BaseReference(id=str(base), fingerprint=fingerprint(base), model_type=config.model_type),
            **changes,
        )
        (folder / MANIFEST).write_text(content.model_dump_json(), encoding="utf-8")
    return folder, model
