"""A merged folder answers as base and adapter do, in its task, or is not written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from click.testing import CliRunner
from peft import LoraConfig, get_peft_model
from safetensors import safe_open

from nlptasks import Engine
from nlptasks.cli import cli
from nlptasks.errors import AdapterError, AdapterMismatchError, GateError, UnsupportedModelError
from nlptasks.plugins import default_plugins
from nlptasks.settings import Settings
from nlptasks.store.adapters import MANIFEST, AdapterFolder, open_adapter
from nlptasks.store.exchange import import_adapter
from nlptasks.testing import tiny_model
from nlptasks.training.publishing.merging import MergeReport, merge
from tests.store.test_exchange import of_sentiment
from tests.tiny_adapters import classifier_adapter

PLUGINS = default_plugins()
TAGS = ("O", *(f"{place}-{kind}" for kind in ("PER", "ORG", "LOC") for place in "BI"))
QUESTION = {"question": "Who keeps bees?", "context": "Ada keeps bees in Oslo. Bram has two boats in Porto."}
PAIR = {"text": "The train leaves at seven.", "source_language": "en", "target_language": "fr"}
CASES: dict[str, tuple[str, str, str, list[str], tuple[str, ...], Any]] = {
    "classify": ("sentiment", "bert", "SequenceClassification", ["query", "dense"], ("negative", "positive"), "Fine."),
    "classify-conv1d": ("sentiment", "gpt2", "SequenceClassification", ["c_attn"], ("negative", "positive"), "Fine."),
    "tag": ("ner", "roberta", "TokenClassification", ["query", "value"], TAGS, "Ada keeps bees in Oslo."),
    "extract": ("qa", "llama", "QuestionAnswering", ["q_proj", "up_proj"], (), QUESTION),
    "causal": ("generation", "qwen2", "CausalLM", ["q_proj", "down_proj"], (), "Once upon a time"),
    "seq2seq": ("translation", "t5", "Seq2SeqLM", ["q", "v", "wo"], (), PAIR),
}
TASK_TYPES = {
    "SequenceClassification": "SEQ_CLS",
    "TokenClassification": "TOKEN_CLS",
    "QuestionAnswering": "QUESTION_ANS",
    "CausalLM": "CAUSAL_LM",
    "Seq2SeqLM": "SEQ_2_SEQ_LM",
}


def adapter_of(case: str, tmp_path: Path, settings: Settings) -> AdapterFolder:
    """An adapter in the store that plain PEFT wrote and the import described."""
    task, architecture, head, targets, labels, _ = CASES[case]
    base = tiny_model(tmp_path / architecture, architecture=architecture)
    torch.manual_seed(1)
    counted = {"num_labels": len(labels)} if labels else {}
    model = getattr(transformers, f"AutoModelFor{head}").from_pretrained(base, **counted)
    whole = ["qa_outputs"] if head == "QuestionAnswering" else None
    lora = LoraConfig(
        task_type=TASK_TYPES[head],
        r=4,
        lora_alpha=16,
        target_modules=targets,
        modules_to_save=whole,
        fan_in_fan_out=architecture == "gpt2",
    )
    peft = get_peft_model(model, lora)
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.normal_(std=0.2)
    peft.save_pretrained(tmp_path / "peft", save_embedding_layers=False)
    return import_adapter(tmp_path / "peft", settings, PLUGINS, task=task, name="mine", labels=labels or None).adapter


def merged(adapter: AdapterFolder, settings: Settings, target: Path, **passed: Any) -> MergeReport:
    assert adapter.manifest
    return merge(PLUGINS.task(adapter.manifest.task), adapter, target, settings, PLUGINS, **passed)


def numbers(value: Any) -> Any:
    """A result without the model's name, its floats rounded."""
    if isinstance(value, dict):
        return {name: numbers(inner) for name, inner in value.items() if name != "model"}
    if isinstance(value, list):
        return [numbers(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_a_merged_folder_serves_in_its_task_as_the_adapter_does(case: str, tmp_path: Path, settings: Settings) -> None:
    adapter = adapter_of(case, tmp_path, settings)
    task, *_, text = CASES[case]
    # A temperature of its own, which a served model must divide by as well.
    content = json.loads((adapter.path / MANIFEST).read_text())
    (adapter.path / MANIFEST).write_text(json.dumps({**content, "temperature": 2.5, "max_length": 40}))
    report = merged(open_adapter(adapter.path), settings, tmp_path / "whole", rows=[text])
    assert report.largest <= 1e-5
    assert (report.rows, report.numbers > 1) == (1, True)
    options = {"max_new_tokens": 12} if task in {"generation", "translation"} else {}
    with Engine(settings=settings, device="cpu", dtype="float32") as engine:
        served = engine.run(task, text, model=str(report.path), **options)
        expected = engine.run(task, text, adapter="mine", **options)
        bare = engine.run(task, text, adapter="none", model=content["base"]["id"], **options) if options else None
    assert served.model == str(report.path)
    assert numbers(served.model_dump(mode="json")) == numbers(expected.model_dump(mode="json"))
    assert bare is None or bare.model_dump(exclude={"model", "adapter"}) != served.model_dump(
        exclude={"model", "adapter"}
    )
    assert {path.suffix for path in report.path.iterdir()} <= {".json", ".safetensors", ".md", ".model", ".jinja"}


def test_bfloat16_takes_half_the_room_and_is_refused_above_the_limit(
    tmp_path: Path, settings: Settings, tiny_encoder: Path
) -> None:
    folder = of_sentiment(classifier_adapter(tiny_encoder, settings.adapters / "sentiment" / "films")[0])
    adapter = open_adapter(folder)
    with pytest.raises(GateError, match=r"expected a difference of at most 1e-09 of the largest logit on 4 rows, fou"):
        merged(adapter, settings, tmp_path / "whole", dtype="bfloat16", limit=1e-9)
    assert not (tmp_path / "whole").exists()
    report = merged(adapter, settings, tmp_path / "whole", dtype="bfloat16")
    assert 0 < report.mean <= report.largest <= report.limit == 0.05
    with safe_open(report.path / "model.safetensors", framework="pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.bfloat16}  # noqa: SIM118


def test_what_cannot_be_merged_is_said_before_anything_is_loaded(
    tmp_path: Path, settings: Settings, tiny_encoder: Path
) -> None:
    folder = of_sentiment(classifier_adapter(tiny_encoder, settings.adapters / "sentiment" / "films")[0])
    adapter = open_adapter(folder)
    with pytest.raises(AdapterError, match="expected a new folder to write the merged model to, found one that exists"):
        merged(adapter, settings, tmp_path)
    other = tiny_model(tmp_path / "other", "encoder", seed=7)
    with pytest.raises(AdapterMismatchError, match="was trained on"):
        merged(adapter, settings, tmp_path / "whole", model=str(other))
    config = json.loads((tiny_encoder / "config.json").read_text())
    packed = tmp_path / "packed"
    packed.mkdir()
    for file in tiny_encoder.iterdir():
        (packed / file.name).write_bytes(file.read_bytes())
    (packed / "config.json").write_text(json.dumps({**config, "quantization_config": {"load_in_4bit": True}}))
    with pytest.raises(UnsupportedModelError, match=r"is stored quantised, .* give the unquantised base with --model"):
        merged(adapter, settings, tmp_path / "whole", model=str(packed))
    (folder / MANIFEST).unlink()
    with pytest.raises(
        AdapterError, match=r"bring it into the store first, with `nlptasks adapters import .*films --t"
    ):
        merge(PLUGINS.task("sentiment"), open_adapter(folder), tmp_path / "whole", settings, PLUGINS)


def test_the_command_prints_the_difference_and_how_to_use_it(
    tmp_path: Path, settings: Settings, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLPTASKS_CACHE", str(settings.cache))
    monkeypatch.setenv("NLPTASKS_DATA", str(settings.data))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    labels = ("negative", "positive")
    of_sentiment(classifier_adapter(tiny_encoder, settings.adapters / "sentiment" / "films", labels=labels)[0])
    (tmp_path / "rows.txt").write_text("One.\nTwo.\nThree.\n")
    arguments = ["adapters", "merge", "sentiment", "films", "--rows", str(tmp_path / "rows.txt"), "--lines"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    target = settings.data / "models" / "sentiment" / "films"
    assert f"{target}: {tiny_encoder} with films in float32; against the adapter on 3 rows (6 logits)" in result.stdout
    assert "the largest difference is " in result.stdout
    assert f"nlptasks run sentiment -m {target} " in result.stdout
    answer = CliRunner().invoke(cli, ["run", "sentiment", "One.", "-m", str(target), "--json"])
    assert json.loads(answer.stdout)["adapter"] == "films"
