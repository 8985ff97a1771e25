"""Adapters on a resident base: equal to plain PEFT, several on one base, never on another base."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from nlptasks.errors import AdapterError, AdapterMismatchError, UnknownNameError, UnsafeWeightsError
from nlptasks.model import Decoding
from nlptasks.runtime.loading.folding import Adapters
from nlptasks.runtime.resident import ResidentModel
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore, writing
from nlptasks.store.adapters import MANIFEST, PEFT_CONFIG, PEFT_WEIGHTS, open_adapter
from nlptasks.store.download import BaseFolder
from nlptasks.store.weights import fingerprint
from nlptasks.testing import tiny_model
from tests.tiny_adapters import BERT_LINEAR, classifier_adapter, tagger_adapter, writer_adapter

TEXTS = ["plain words", "ça va? 🙂", "a much longer text that makes the other rows carry padding", "x"]


def base_folder(path: Path) -> BaseFolder:
    return BaseFolder(id=str(path), revision=None, path=path, source="test")


def peft_logits(model: object, path: Path, texts: list[str]) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(path)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return model(**batch).logits  # type: ignore[operator]


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "gpt2", "llama"])
@pytest.mark.parametrize("extra", [{}, {"use_rslora": True}, {"use_dora": True}], ids=["lora", "rslora", "dora"])
def test_an_adapter_answers_as_in_plain_peft(tmp_path: Path, architecture: str, extra: dict[str, bool]) -> None:
    kind = "causal" if architecture in {"gpt2", "llama"} else "encoder"
    base = tiny_model(tmp_path / "base", kind, architecture)
    targets = {"roberta": ["query", "value"], "distilbert": ["q_lin", "v_lin"]}.get(architecture)
    chosen = {"target_modules": targets, **extra} if targets else extra
    if architecture == "distilbert":
        chosen["modules_to_save"] = ["pre_classifier", "classifier"]
    if architecture == "gpt2":
        chosen = {"fan_in_fan_out": True, **chosen}
    folder, peft = classifier_adapter(base, tmp_path / "mood", **chosen)
    peft.base_model.model.config.pad_token_id = AutoTokenizer.from_pretrained(base).pad_token_id
    resident = ResidentModel(base_folder(base), dtype="float32")
    found = resident.bind(open_adapter(folder)).classify(TEXTS)
    expected = peft_logits(peft, base, TEXTS)
    torch.testing.assert_close(torch.tensor([f.values for f in found]), expected, atol=1e-4, rtol=1e-4)
    resident.close()


def test_a_writer_adapter_of_plain_peft_writes_the_same(tmp_path: Path, tiny_causal: Path) -> None:
    folder, peft = writer_adapter(tiny_causal, tmp_path / "style")
    resident = ResidentModel(base_folder(tiny_causal), dtype="float32")
    decoding = Decoding(max_new_tokens=12)
    adapter = open_adapter(folder)
    base_text = resident.bind().generate(["hello"], decoding)[0].text
    own = resident.bind(adapter).generate(["hello"], decoding)[0].text
    tokenizer = AutoTokenizer.from_pretrained(tiny_causal)
    inputs = tokenizer("hello", return_tensors="pt")
    ids = peft.generate(**inputs, max_new_tokens=12, do_sample=False, pad_token_id=0)
    assert own == tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert own != base_text
    assert resident.bind().generate(["hello"], decoding)[0].text == base_text, "the base is untouched"
    resident.close()


@pytest.mark.long
def test_sixteen_threads_on_two_adapters_and_the_base_get_no_wrong_answer(tmp_path: Path, tiny_encoder: Path) -> None:
    adapters = [
        open_adapter(classifier_adapter(tiny_encoder, tmp_path / "a", seed=1)[0]),
        open_adapter(classifier_adapter(tiny_encoder, tmp_path / "b", seed=2, labels=("no", "yes"))[0]),
    ]
    alone = []
    for adapter in adapters:
        single = ResidentModel(base_folder(tiny_encoder), dtype="float32")
        alone.append({text: single.bind(adapter).classify([text])[0].values for text in TEXTS})
        single.close()
    shared = ResidentModel(base_folder(tiny_encoder), dtype="float32")
    vectors = {text: shared.bind().embed([text])[0].values for text in TEXTS}
    wrong: list[str] = []

    def ask(number: int) -> None:
        for turn in range(12):
            which, text = (number + turn) % 3, TEXTS[(number * 7 + turn) % len(TEXTS)]
            if which == 2:
                got, right = shared.bind().embed([text])[0].values, vectors[text]
            else:
                got, right = shared.bind(adapters[which]).classify([text])[0].values, alone[which][text]
            if got != pytest.approx(right, abs=1e-4):
                wrong.append(f"thread {number}: {text!r}")

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    shared.close()


@pytest.mark.long
def test_folded_weights_beyond_the_budget_are_forgotten_and_folded_again(tmp_path: Path, tiny_encoder: Path) -> None:
    adapters = [open_adapter(classifier_adapter(tiny_encoder, tmp_path / str(i), seed=i)[0]) for i in range(3)]
    resident = ResidentModel(base_folder(tiny_encoder), dtype="float32")
    inputs = AutoTokenizer.from_pretrained(tiny_encoder)(TEXTS, padding=True, return_tensors="pt")

    def visit(budget: int) -> tuple[torch.Tensor, int]:
        """The logits of all adapters in turns, and the bytes that are kept in the end."""
        kept = Adapters(resident.load(), budget)
        with torch.inference_mode():
            logits = [kept.activate(adapter)(**inputs).logits for adapter in [*adapters, *adapters]]
        kept.activate(None)
        return torch.stack(logits), kept.num_bytes

    logits, three = visit(2**30)
    size = {name: p.numel() * p.element_size() for name, p in resident.load().model.named_parameters()}
    linear = sum(size[name] for name in size if re.fullmatch(rf"{BERT_LINEAR}\.weight", name))
    pooler = size["pooler.dense.weight"] + size["pooler.dense.bias"]
    folded = linear + pooler
    again, one = visit(folded)
    assert torch.equal(again, logits)
    again, two = visit(3 * folded - 1)
    assert torch.equal(again, logits)
    assert (two - one, three - two) == (folded, folded)
    again, none = visit(folded - 1)
    torch.testing.assert_close(again, logits, atol=1e-5, rtol=1e-5)
    # The poolers, which are replaced as a whole, are small enough to be kept all three.
    assert none == one - linear + 2 * pooler, "what is larger than the budget is computed beside the layers"
    resident.close()


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("use_dora", [False, True])
def test_a_large_adapter_is_computed_beside_its_layers(tmp_path: Path, architecture: str, use_dora: bool) -> None:
    base = tiny_model(tmp_path / "base", architecture=architecture)
    resident = ResidentModel(base_folder(base), dtype="float32")
    loaded = resident.load()
    inputs = AutoTokenizer.from_pretrained(base)(TEXTS, padding=True, return_tensors="pt")
    folders = [writer_adapter(base, tmp_path / str(i), seed=i, use_dora=use_dora)[0] for i in range(2)]

    def visit(kept: Adapters) -> torch.Tensor:
        found = []
        with torch.inference_mode():
            for adapter in [None, *map(open_adapter, folders), None]:
                kept.activate(adapter)
                found.append(loaded.model(**inputs).logits)
        return torch.stack(found)

    folding, beside = Adapters(loaded, 2**30), Adapters(loaded, 1)
    folded, added = visit(folding), visit(beside)
    torch.testing.assert_close(added, folded, atol=1e-5, rtol=1e-4)
    assert torch.equal(added[0], added[-1])
    assert not torch.allclose(folded[0], folded[1], atol=1e-3)
    # DoRA scales the sum of both, which only folding has.
    assert (beside.num_bytes < folding.num_bytes / 4) is not use_dora
    resident.close()


def test_an_adapter_of_another_base_is_refused_before_its_weights_are_read(tmp_path: Path, tiny_encoder: Path) -> None:
    other = tiny_model(tmp_path / "other", "encoder", seed=7)
    folder, _ = classifier_adapter(tiny_encoder, tmp_path / "mood")
    # Damaged weights under a whole header: whoever reads them before the check gets another error.
    weights = (folder / PEFT_WEIGHTS).read_bytes()
    start = 8 + int.from_bytes(weights[:8], "little")
    (folder / PEFT_WEIGHTS).write_bytes(weights[:start] + b"\xff" * (len(weights) - start))
    resident = ResidentModel(base_folder(other))
    with pytest.raises(AdapterMismatchError) as caught:
        resident.bind(open_adapter(folder))
    message = str(caught.value)
    assert message.startswith(f"Adapter 'mood' was trained on {tiny_encoder} ({fingerprint(tiny_encoder)})")
    assert f"the loaded base is {other} ({fingerprint(other)})" in message
    assert resident.loaded is None


def test_a_foreign_adapter_of_another_width_is_refused(tmp_path: Path, tiny_encoder: Path) -> None:
    wide = tmp_path / "wide"
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=99, hidden_size=48, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96)
    BertModel(config).save_pretrained(wide)
    folder, _ = classifier_adapter(tiny_encoder, tmp_path / "mood", manifest=False)
    with pytest.raises(AdapterMismatchError, match="is 32 wide in the adapter and 48 in the base"):
        ResidentModel(base_folder(wide)).bind(open_adapter(folder))
    config = json.loads((folder / PEFT_CONFIG).read_text())
    (folder / PEFT_CONFIG).write_text(json.dumps({**config, "base_model_name_or_path": str(wide)}))
    with pytest.raises(
        AdapterMismatchError,
        match=r"does not fit .*wide, which it names as its base: .* Name the base that it was trained on as model",
    ):
        ResidentModel(base_folder(wide)).bind(open_adapter(folder))


def test_fingerprints_tell_fine_tuned_weights_from_their_parents(tmp_path: Path, tiny_encoder: Path) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_encoder)
    with torch.no_grad():
        model.encoder.layer[1].attention.self.query.weight[0, 0] += 0.01
    model.save_pretrained(tmp_path / "tuned")
    assert fingerprint(tmp_path / "tuned") != fingerprint(tiny_encoder)
    assert fingerprint(tiny_encoder) == fingerprint(tiny_encoder)


def test_incomplete_and_unsafe_folders_are_named(tmp_path: Path, tiny_encoder: Path) -> None:
    folder, _ = classifier_adapter(tiny_encoder, tmp_path / "mood")
    weights = folder / PEFT_WEIGHTS
    weights.rename(folder / "adapter_model.bin")
    with pytest.raises(UnsafeWeightsError, match=r"found a pickled adapter_model\.bin"):
        open_adapter(folder)
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(AdapterError, match=r"expected adapter_model\.safetensors, found none"):
        open_adapter(folder)
    with pytest.raises(AdapterError, match="expected an adapter folder, found none"):
        open_adapter(tmp_path / "nowhere")


def test_a_broken_manifest_is_an_error_that_names_the_field(tmp_path: Path, tiny_encoder: Path) -> None:
    folder, _ = classifier_adapter(tiny_encoder, tmp_path / "mood")
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, "temperature": 0}))
    with pytest.raises(AdapterError, match=r"nlptasks\.json: temperature: .*train or export it again"):
        open_adapter(folder)
    (folder / MANIFEST).write_text(json.dumps({**content, "verb": "sing"}))
    resident = ResidentModel(base_folder(tiny_encoder))
    with pytest.raises(
        UnknownNameError,
        match=r"Unknown verb 'sing'\. Available: classify, classify_mean, embed, extract, generate, tag",
    ):
        resident.bind(open_adapter(folder))
    assert resident.loaded is None


def test_a_decoder_that_reads_both_ways_is_refused(settings: Settings, tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", architecture="gpt2")
    store = AdapterStore(settings)
    folder = store.folder("mood", "both")
    tagger_adapter(base, folder, settings={"config": {"is_causal": False, "pad_token_id": 0}})
    sentence = (
        "expected a model that reads from left to right, found a decoder that was trained to read in both directions "
        "(extra.bidirectional), which is no longer served: train it again, best on an encoder."
    )
    with pytest.raises(AdapterError) as caught:
        store.find("mood", "both")
    assert str(caught.value) == f"{folder}: {sentence}"
    assert store.names("mood") == []
    # A folder with all weights trained, or merged ones, has the same file.
    (base / MANIFEST).write_bytes((folder / MANIFEST).read_bytes())
    with pytest.raises(AdapterError, match=re.escape(sentence)):
        ResidentModel(base_folder(base), dtype="float32").load()


def test_the_store_finds_by_name_and_by_folder_and_suggests(settings: Settings, tiny_encoder: Path) -> None:
    store = AdapterStore(settings)
    classifier_adapter(tiny_encoder, store.folder("mood", "films"))
    assert store.names("mood") == ["films"]
    assert store.find("mood", "films").path == store.find("mood", str(store.folder("mood", "films"))).path
    with pytest.raises(UnknownNameError, match=r"Unknown adapter 'film'\. Did you mean 'films'\?"):
        store.find("mood", "film")
    with pytest.raises(AdapterError, match=r"expected lower-case letters, digits, - and _, found '\.\./films'"):
        store.folder("mood", "../films")
    store.remove("mood", "films")
    assert store.names("mood") == []


def test_a_failed_write_leaves_the_old_adapter(tmp_path: Path) -> None:
    target = tmp_path / "mood" / "films"
    with writing(target) as folder:
        (folder / "file").write_text("old")

    def fail() -> None:
        with writing(target) as folder:
            (folder / "file").write_text("new")
            raise RuntimeError("bang")

    with pytest.raises(RuntimeError, match="bang"):
        fail()
    assert (target / "file").read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["films"]


def test_a_process_killed_while_it_saves_leaves_nothing_that_counts(settings: Settings, tiny_encoder: Path) -> None:
    target = AdapterStore(settings).folder("mood", "films")
    source, _ = classifier_adapter(tiny_encoder, settings.data / "source")
    code = (
        "import shutil, sys, time; from pathlib import Path; from nlptasks.store.adapter_store import writing\n"
        f"with writing(Path({str(target)!r})) as folder:\n"
        f"    shutil.copytree({str(source)!r}, folder, dirs_exist_ok=True)\n"
        "    print('copied', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "copied\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert AdapterStore(settings).list() == []
    with writing(target) as folder:
        (folder / "file").write_text("x")
    assert [path.name for path in target.parent.iterdir()] == ["films"], "the leftover is gone"


def test_an_adapter_of_the_store_gets_another_name(settings: Settings, tiny_encoder: Path) -> None:
    store = AdapterStore(settings)
    for name in ("films", "books"):
        classifier_adapter(tiny_encoder, settings.adapters / "mood" / name)
    assert store.rename("mood", "films", "movies").name == "movies"
    assert store.names("mood") == ["books", "movies"]
    with pytest.raises(AdapterError, match="An adapter 'books' for mood exists: choose another name"):
        store.rename("mood", "movies", "books")
    with pytest.raises(AdapterError, match="expected lower-case letters"):
        store.rename("mood", "movies", "../../gone")
    with pytest.raises(UnknownNameError, match="Did you mean 'movies'"):
        store.rename("mood", "movie", "other")


def test_a_fingerprint_is_read_once_and_again_when_a_file_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_model(tmp_path / "base", seed=1)
    opened: list[Path] = []
    whole = Path.open

    def counted(path: Path, *arguments: Any, **named: Any) -> Any:
        opened.append(path)
        return whole(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", counted)
    first = fingerprint(base)
    assert [path.name for path in opened] == ["model.safetensors"] * 2, "the header, and the samples"
    assert fingerprint(base) == first
    assert len(opened) == 2, "nothing was read a second time"
    other = tiny_model(tmp_path / "other", seed=2) / "model.safetensors"
    stat = (base / "model.safetensors").stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert other.stat().st_size == stat.st_size
    other.replace(base / "model.safetensors")
    assert fingerprint(base) != first, "another file of the same size and time is seen"
    second = fingerprint(base)
    weights = bytearray((base / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (base / "model.safetensors").write_bytes(weights)
    assert fingerprint(base) != second, "and so are other bytes in the same file"


def test_an_adapter_is_read_once_and_again_when_a_file_is_replaced(tmp_path: Path, tiny_encoder: Path) -> None:
    folder, _ = classifier_adapter(tiny_encoder, tmp_path / "mood")

    def age() -> None:
        """Make the files a minute older: those of the last second are read each time."""
        for file in folder.iterdir():
            before = file.stat().st_mtime_ns - 60 * 10**9
            os.utime(file, ns=(before, before))

    assert open_adapter(folder) is not open_adapter(folder)
    age()
    opened = open_adapter(folder)
    assert open_adapter(folder) is opened
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    for change in ({"temperature": 2.0}, {"temperature": 3.0}):
        (folder / MANIFEST).write_text(json.dumps(manifest | change), "utf-8")
        again = open_adapter(folder)
        assert again.manifest
        assert again.manifest.temperature == change["temperature"]
        assert again.key == opened.key, "the weights are the same"
    classifier_adapter(tiny_encoder, tmp_path / "other", seed=1)
    (tmp_path / "other" / PEFT_WEIGHTS).replace(folder / PEFT_WEIGHTS)
    age()
    assert open_adapter(folder).key != opened.key
    (folder / PEFT_CONFIG).unlink()
    with pytest.raises(AdapterError, match=f"expected {PEFT_CONFIG}, found none"):
        open_adapter(folder)
