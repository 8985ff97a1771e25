"""The model that is trained: a base with a new head, and LoRA where the recipe says so."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlptasks.errors import MissingExtraError, UnsupportedModelError
from nlptasks.runtime.description import describe
from nlptasks.runtime.loading.base import (
    BODY_CLASSES,
    LoadedBase,
    Weights,
    load_config,
    load_tokenizer,
    model_kind,
    quiet_transformers,
)
from nlptasks.store.adapters import NO_LAYERS
from nlptasks.store.folders import check_folder
from nlptasks.training.families.base import is_number
from nlptasks.training.loop import quantizing
from nlptasks.training.loop.targets import Targets, choose_targets, choose_writer_targets

if TYPE_CHECKING:
    from nlptasks.model import Head, ModelInfo
    from nlptasks.runtime.loading.devices import Placement
    from nlptasks.store.download import BaseFolder
    from nlptasks.task import Recipe
    from nlptasks.training.families.base import FamilyTrainer, Feature


@dataclass
class Trainable:
    """A task model ready for training, in float32.

    `config_changes` are the settings of the architecture that differ from the base's; serving the adapter needs them
    too. `targets` is None for full fine-tuning. `info` describes the model to the task.
    """

    model: Any
    tokenizer: Any
    targets: Targets | None
    max_length: int
    config_changes: dict[str, Any]
    info: ModelInfo

    @property
    def trained(self) -> dict[str, Any]:
        """Every parameter that training changes, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @property
    def task_model(self) -> Any:
        """The transformers model inside PEFT's wrapper."""
        return self.model.get_base_model() if self.targets else self.model

    @property
    def summary(self) -> str:
        """The layers that are trained and the share of parameters, to display."""
        trained = total = sum(p.numel() for p in self.model.parameters())
        if self.targets:
            # PEFT knows how many parameters a tensor of packed 4-bit numbers holds.
            trained, total = self.model.get_nb_trainable_parameters()
        what = self.targets.summary if self.targets else "all layers"
        return f"{what}; {trained:,} of {total:,} parameters ({trained / total:.1%})"


def build(
    folder: BaseFolder,
    family: FamilyTrainer,
    labels: Sequence[str],
    recipe: Recipe,
    placement: Placement,
    *,
    trust_remote_code: bool = False,
) -> Trainable:
    """Load a base with the family's head and prepare it for training.

    Raises:
        UnsupportedModelError: transformers has no such head for this architecture.
        TrainingError: the recipe's target_modules match no layer.
    """
    import transformers

    check_folder(folder.path)
    transformers.set_seed(recipe.seed)
    tokenizer = load_tokenizer(folder.path, trust_remote_code=trust_remote_code)
    settings = _dropout_settings(folder, recipe.base_dropout, trust_remote_code)
    if recipe.load_in_4bit:
        settings |= quantizing.loading(placement)
    model, fresh = load_task_model(folder, family, labels, trust_remote_code=trust_remote_code, **settings)
    changes = _align_padding(model, tokenizer)
    weights = Weights(model, model.base_model)
    loaded = LoadedBase(
        tokenizer, model.config, getattr(model, "generation_config", None), model_kind(model.config), placement,
        lambda: weights,
    )  # fmt: skip
    targets = None
    if recipe.method == "lora":
        if family.verb == "generate":
            targets = choose_writer_targets(model, recipe.target_modules)
        else:
            targets = choose_targets(model, recipe.target_modules, fresh)
        if recipe.few_shot and not recipe.contrastive_epochs:
            targets = Targets((), targets.whole)
        with quiet_transformers():
            if recipe.load_in_4bit:
                model = quantizing.prepared(model)
            model = _with_lora(model, targets, recipe, folder, family.trained_head)
    limit = min(recipe.max_length, loaded.max_tokens)
    # A task prompts a model that was trained for it differently from a bare one: training must see the same prompts.
    info = dataclasses.replace(describe(loaded, folder, None), adapter="in training", version="")
    return Trainable(model, tokenizer, targets, limit, changes, info)


def on_plain_base(
    trainable: Trainable, folder: BaseFolder, family: FamilyTrainer, recipe: Recipe, placement: Placement, device: str
) -> Trainable:
    """An adapter that was trained on a base in 4 bits, now on the unquantised base, as it is served."""
    import torch

    weights = {name: value.detach().cpu() for name, value in trainable.trained.items()}
    # Both bases need not be in the device's memory at once.
    trainable.model = None
    plain = build(folder, family, (), recipe.replace(load_in_4bit=False), placement)
    with torch.no_grad():
        for name, parameter in plain.trained.items():
            parameter.copy_(weights[name])
    plain.model.to(device)
    return plain


def load_task_model(
    folder: BaseFolder,
    family: FamilyTrainer,
    labels: Sequence[str],
    *,
    trust_remote_code: bool = False,
    **settings: Any,
) -> tuple[Any, list[str]]:
    """The task model in float32, and the names of the parameters that the checkpoint lacks.

    Raises:
        UnsupportedModelError: transformers has no such head, or the checkpoint no such body.
    """
    head = family.trained_head
    options = {"trust_remote_code": trust_remote_code, **settings}
    if head.make:
        return _with_new_head(folder, family, labels, options)
    try:
        # A checkpoint that is already a classifier may have another number of labels.
        model, fresh = _from_pretrained(
            _task_class(folder, head, trust_remote_code),
            folder,
            {"ignore_mismatched_sizes": True, **family.head_config(labels), **options},
        )
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        raise UnsupportedModelError(f"{folder.id}: transformers has no {family.verb} head for this model.") from error
    if head.model and _at_random(model, fresh):
        fresh = _load_body(model, fresh, folder, options)
    for config in (model.config, model.base_model.config):
        config.use_cache = False
    return model, sorted(fresh)


def _with_new_head(
    folder: BaseFolder, family: FamilyTrainer, labels: Sequence[str], options: Mapping[str, Any]
) -> tuple[Any, list[str]]:
    """The body with a head that the family makes itself."""
    from nlptasks.runtime.loading.new_head import HeadModel

    if model_kind(load_config(folder, options["trust_remote_code"])) == "seq2seq":
        raise UnsupportedModelError(
            f"{folder.id} is a seq2seq model; a {family.verb} head needs an encoder or a causal model."
        )
    body, missing = _from_pretrained("AutoModel", folder, options)
    body.config.use_cache = False
    if getattr(body, "pooler", None) is not None:
        # The head reads all hidden states: what BERT and its like make of the first would be trained for nothing.
        body.pooler = None
    for name, value in family.head_config(labels).items():
        setattr(body.config, name, value)
    prefix = HeadModel.base_model_prefix
    return HeadModel(body, family.trained_head.make, body.config), sorted(
        f"{prefix}.{name}" for name in missing if not name.startswith("pooler.")
    )


def _task_class(folder: BaseFolder, head: Head, trust_remote_code: bool) -> str:
    """The name of transformers' class for a head and a base.

    Raises:
        UnsupportedModelError: an encoder cannot write.
    """
    if head.model:
        return head.model
    kind = model_kind(load_config(folder, trust_remote_code))
    if kind == "encoder":
        raise UnsupportedModelError(
            f"{folder.id} reads and cannot write: use a causal or seq2seq base, for example smollm2."
        )
    return BODY_CLASSES[kind]


def _load_body(model: Any, fresh: set[str], folder: BaseFolder, options: Mapping[str, Any]) -> set[str]:
    """Put the checkpoint's body into a task model that has another name for it than the checkpoint.

    Llama's body is `model`, but `LlamaForQuestionAnswering` calls it `transformer`, and eleven other decoders (Qwen,
    SmolLM3, ...) do the same: transformers finds none of its weights and leaves it at random.
    """
    prefix = model.base_model_prefix
    body, missing = _from_pretrained("AutoModel", folder, options)
    setattr(model, prefix, body)
    fresh = {name for name in fresh if not name.startswith(f"{prefix}.")} | {f"{prefix}.{name}" for name in missing}
    if _at_random(model, fresh):
        raise UnsupportedModelError(
            f"{folder.id}: expected the weights of a {type(body).__name__}, found none for {len(missing)} of its "
            f"{len(list(body.parameters()))} parameters: use a checkpoint that transformers' AutoModel loads."
        )
    return fresh


def _at_random(model: Any, fresh: set[str]) -> bool:
    """Whether the checkpoint lacks more than half of the body's parameters; a pooler alone may be missing."""
    prefix = f"{model.base_model_prefix}."
    body = [name for name, _ in model.named_parameters() if name.startswith(prefix)]
    return 2 * len(fresh.intersection(body)) > len(body)


def _from_pretrained(auto: str, folder: BaseFolder, options: Mapping[str, Any]) -> tuple[Any, set[str]]:
    import torch
    import transformers

    with quiet_transformers():
        model, info = getattr(transformers, auto).from_pretrained(
            folder.path, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True,
            **options,
        )  # fmt: skip
    mismatched = (entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"])
    return model, {*info["missing_keys"], *mismatched}


def _dropout_settings(folder: BaseFolder, rate: float | None, trust_remote_code: bool) -> dict[str, Any]:
    """The settings of the base's configuration that make its layers drop out at `rate`; none for None.

    Architectures name them differently (`hidden_dropout_prob`, `attn_pdrop`, `dropout_rate`, ...); all have "drop".
    The head's own and the chance to leave out whole layers are other things.
    """
    if rate is None:
        return {}
    config = load_config(folder, trust_remote_code)
    other = ("classifier", "layerdrop", "layer_drop")
    return {
        name: rate
        for name, value in config.to_dict().items()
        if "drop" in name and not any(part in name for part in other) and is_number(value)
    }


def _align_padding(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Decoders find a text's last token by the padding id, which GPT-2 and its like do not name."""
    tokenizer.padding_side = "right"
    if model.config.pad_token_id == tokenizer.pad_token_id or tokenizer.pad_token_id is None:
        return {}
    model.config.pad_token_id = tokenizer.pad_token_id
    return {"pad_token_id": tokenizer.pad_token_id}


def _with_lora(model: Any, targets: Targets, recipe: Recipe, folder: BaseFolder, head: Head) -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("Training", "train") from error
    from transformers.pytorch_utils import Conv1D

    config = peft.LoraConfig(
        r=recipe.r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=list(targets.lora) or NO_LAYERS,
        use_rslora=recipe.use_rslora,
        use_dora=recipe.use_dora,
        modules_to_save=list(targets.whole) or None,
        # GPT-2's Conv1D stores its weight as (inputs, outputs).
        fan_in_fan_out=bool(targets.lora)
        and all(isinstance(model.get_submodule(name), Conv1D) for name in targets.lora),
        revision=folder.revision,
    )
    # Without a task type PEFT passes every input on; its wrapper for question answering drops token_type_ids.
    wrapped = peft.get_peft_model(model, config)
    wrapped.peft_config["default"].task_type = (
        "SEQ_2_SEQ_LM" if head.per == "prompt" and model.config.is_encoder_decoder else head.task_type
    )
    # Set afterwards: PEFT puts the folder that the model was loaded from here.
    wrapped.peft_config["default"].base_model_name_or_path = hub_name(folder)
    return wrapped


def hub_name(folder: BaseFolder) -> str:
    """The base's Hub id if the catalog has one, else its name here."""
    from nlptasks.store.catalog import CATALOG, HubSource

    base = CATALOG.get(folder.id)
    repos = [source.repo for source in base.sources if isinstance(source, HubSource)] if base else []
    return repos[0] if repos else folder.id


def logits_of(
    trainable: Trainable, family: FamilyTrainer, features: Sequence[Feature], device: str, batch_size: int = 64
) -> list[Any]:
    """The logits that the metrics need, one numpy array per feature, in order; in float32, without dropout."""
    import numpy as np
    import torch

    model = trainable.model
    model.eval()
    rows: list[Any] = []
    with torch.inference_mode(), torch.autocast(torch.device(device).type, enabled=False):
        for start in range(0, len(features), batch_size):
            batch = family.collate(features[start : start + batch_size], trainable.tokenizer)
            inputs = {name: tensor.to(device) for name, tensor in batch.items()}
            logits = family.preprocess_logits_for_metrics(family.forward(model, inputs), inputs["labels"])
            rows += list(logits.float().cpu().numpy().astype(np.float64))
    if not all(math.isfinite(float(np.abs(row).max())) for row in rows):
        raise UnsupportedModelError("The trained model answers NaN in float32: train with a lower learning_rate.")
    return rows


def mean_vectors(
    trainable: Trainable,
    family: FamilyTrainer,
    features: Sequence[Feature],
    batch_size: int = 64,
    *,
    frozen: bool = True,
) -> Any:
    """Means of the last hidden states over the tokens of each feature, of the base or with what was trained.

    An array of shape (features, hidden size), in float32.
    """
    import numpy as np
    import torch

    weights = trainable.model.disable_adapter() if trainable.targets and frozen else nullcontext()
    body = trainable.task_model.base_model
    if getattr(body.config, "is_encoder_decoder", False):
        body = body.get_encoder()
    body.eval()
    order = sorted(range(len(features)), key=lambda index: -len(features[index]))
    vectors: dict[int, Any] = {}
    with torch.inference_mode(), weights:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            batch = family.collate([features[place] for place in places], trainable.tokenizer)
            inputs = {name: tensor.to(body.device) for name, tensor in batch.items() if name != "labels"}
            states = body(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"].unsqueeze(-1)
            means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            vectors |= zip(places, means.cpu().numpy(), strict=True)
    return np.stack([vectors[index] for index in range(len(features))])
