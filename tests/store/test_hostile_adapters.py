"""Adapters that lie or are damaged: one sentence by every way in, before memory is taken."""

from __future__ import annotations

import json
import math
import random
import re
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nlptasks import Engine
from nlptasks.errors import AdapterError, NlptasksError, UnsupportedModelError
from nlptasks.plugins import default_plugins
from nlptasks.settings import Settings
from nlptasks.store.adapters import CONFIG, MANIFEST, PEFT_CONFIG, PEFT_WEIGHTS
from nlptasks.store.exchange import import_adapter
from nlptasks.store.weights import HEADER_LIMIT, fingerprint, read_header
from nlptasks.testing import tiny_model
from tests.tiny_adapters import classifier_adapter, extractor_adapter, tagger_adapter

TWO = ("negative", "positive")
LARGE = 2**20 * 400
"""Bytes that a refused adapter may take at most; torch and transformers are loaded before."""

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(cache=home / "cache", data=home / "data", offline=True)
    with Engine(settings=settings, device="cpu", dtype="float32") as engine:
        yield engine


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> dict[bool, Path]:
    """An adapter for `sentiment` with a manifest, and one as PEFT alone writes it."""
    home = tmp_path_factory.mktemp("sources")
    ours, _ = classifier_adapter(tiny_encoder, home / "ours", labels=TWO)
    change_json(MANIFEST, task="sentiment")(ours)
    plain, _ = classifier_adapter(tiny_encoder, home / "plain", labels=TWO, manifest=False)
    return {True: ours, False: plain}


def change_json(file: str, **changes: Any) -> Change:
    def change(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**content, **changes}))

    return change


def config(**changes: Any) -> Change:
    return change_json(MANIFEST, settings={"config": changes})


def base_config(value: Any) -> Change:
    return change_json(MANIFEST, settings={"config": value})


def text(file: str, content: str) -> Change:
    return lambda folder: (folder / file).write_text(content, "utf-8", "surrogatepass") and None


def weights(content: bytes) -> Change:
    return lambda folder: (folder / PEFT_WEIGHTS).write_bytes(content) and None


def sliced(start: int, end: int | None, tail: bytes = b"") -> Change:
    def change(folder: Path) -> None:
        content = (folder / PEFT_WEIGHTS).read_bytes()
        (folder / PEFT_WEIGHTS).write_bytes(content[start:end] + tail)

    return change


def header(alter: Callable[[dict[str, Any]], Any]) -> Change:
    """Another header before the same tensors."""

    def change(folder: Path) -> None:
        content = (folder / PEFT_WEIGHTS).read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        entries = json.loads(content[8:start])
        entries.pop("__metadata__", None)
        lines = json.dumps(alter(entries) or entries).encode()
        (folder / PEFT_WEIGHTS).write_bytes(len(lines).to_bytes(8, "little") + lines + content[start:])

    return change


def entry(**changes: Any) -> Change:
    """Another description of the first tensor; None leaves a value out."""

    def alter(entries: dict[str, Any]) -> None:
        first = entries[min(entries)]
        first.update(changes)
        for key in [key for key, value in changes.items() if value is None]:
            del first[key]

    return header(alter)


def tensors(part: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Other tensors in place of the first whose name has `part`."""

    def change(folder: Path) -> None:
        state = {name: tensor.clone() for name, tensor in load_file(folder / PEFT_WEIGHTS).items()}
        name = min(name for name in state if part in name)
        state[name] = make(state[name]).contiguous()
        save_file(state, folder / PEFT_WEIGHTS)

    return change


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 5900000\n"
DEEP = "[" * 100_000
SETTINGS = "settings.config"

MANIFESTS: dict[str, tuple[Change, str]] = {
    "kernel": (config(_attn_implementation="evil/kernel"), rf"{SETTINGS}\._attn_implementation: this setting is not"),
    "layers": (config(num_hidden_layers=1_000_000), rf"{SETTINGS}\.num_hidden_layers: this setting is not known"),
    "outputs": (config(num_labels=9), rf"{SETTINGS}\.num_labels: this setting is not known"),
    "names": (config(id2label=5), rf"{SETTINGS}\.id2label: this setting is not known"),
    "activation": (config(hidden_act="evil"), rf"{SETTINGS}\.hidden_act: this setting is not known"),
    "dtype": (config(dtype="evil"), rf"{SETTINGS}\.dtype: this setting is not known"),
    "class": (config(__class__="evil"), rf"{SETTINGS}\.__class__: this setting is not known"),
    "number": (base_config(5), rf"{SETTINGS}: Input should be .*, found 5"),
    "list": (base_config([]), rf"{SETTINGS}: Input should be .*, found \[\]"),
    "padding": (config(pad_token_id="x"), rf"{SETTINGS}\.pad_token_id: Input should be a valid integer, found 'x'"),
    "padding below": (config(pad_token_id=-1), rf"{SETTINGS}\.pad_token_id: Input should be greater .*, found -1"),
    "padding above": (config(pad_token_id=2**30), "pad_token_id: expected a token of the base, which has .* found 107"),
    "cold": (change_json(MANIFEST, temperature=1e-320), "temperature: Input should be greater than or equal to 0.001"),
    "hot": (change_json(MANIFEST, temperature=math.inf), "temperature: Input should be .*, found inf"),
    "short": (change_json(MANIFEST, max_length=2), "max_length: Input should be greater than or equal to 16, found 2"),
    "empty": (text(MANIFEST, "{}"), "Field required, found none; train or export it again"),
    "digits": (text(MANIFEST, f'{{"max_length": {"9" * 5000}}}'), "expected JSON, found something else"),
    "deep": (text(MANIFEST, DEEP), "expected JSON, found something else"),
    "surrogate": (text(MANIFEST, '{"name": "\\ud800"}'), "expected JSON, found something else"),
    "bytes": (lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe") and None, "expected JSON, found something"),
    "one label": (change_json(MANIFEST, labels=["x"]), r"a head with 1 outputs, as many as its labels \(x\), found 2"),
    "nine labels": (change_json(MANIFEST, labels=[*"abcdefghi"]), "expected a head with 9 outputs, as many as its"),
}

PEFT: dict[str, tuple[Change, str]] = {
    "alpha": (change_json(PEFT_CONFIG, lora_alpha="x"), "lora_alpha: Input should be a valid number, .* found 'x'"),
    "alpha nan": (change_json(PEFT_CONFIG, lora_alpha=math.nan), "lora_alpha: Input should be a finite number"),
    "patterns": (change_json(PEFT_CONFIG, alpha_pattern=[1]), "alpha_pattern: Input should be a valid dictionary"),
    "no pattern": (change_json(PEFT_CONFIG, alpha_pattern={"(": 1}), r"alpha_pattern: expected a regular expression"),
    "slow pattern": (
        change_json(PEFT_CONFIG, alpha_pattern={"(?:.|..)*[0-9]": 1}),
        r"alpha_pattern: expected a regular expression, found .* \(.*timed out\)",
    ),
    "base": (change_json(PEFT_CONFIG, base_model_name_or_path=[]), "base_model_name_or_path: Input should be a valid"),
    "revision": (change_json(PEFT_CONFIG, revision=5), "revision: Input should be a valid string, found 5"),
    "names": (change_json(PEFT_CONFIG, id2label=5), "id2label: Input should be a valid dictionary, found 5"),
    "method": (change_json(PEFT_CONFIG, peft_type=5), "expected a LoRA adapter, found 5"),
    "deep": (text(PEFT_CONFIG, DEEP), "expected JSON, found something else"),
    "list": (text(PEFT_CONFIG, "[]"), "expected a JSON object, found list"),
}

WEIGHTS: dict[str, tuple[Change, str]] = {
    "pointer": (weights(LFS), "found a Git LFS pointer: fetch the file itself with `git lfs pull`"),
    "empty": (weights(b""), "found a file of 0 bytes: copy or download the file again"),
    "eight": (weights(b"\0" * 8), "found something else .*: copy or download the file again"),
    "half": (sliced(0, 9000), "expected a whole safetensors file"),
    "tail": (sliced(0, None, b"tail"), "expected a whole safetensors file"),
    "2**40": (weights((2**40).to_bytes(8, "little") + b"{}"), f"found a header of {2**40} bytes in a file of 10"),
    "2**63": (weights((2**63).to_bytes(8, "little") + b"{}"), f"found a header of {2**63} bytes in a file of 10"),
    "deep": (weights(len(DEEP).to_bytes(8, "little") + DEEP.encode()), "found something else"),
    "list": (header(lambda entries: [entries]), "found something else"),
    "entry": (header(lambda entries: {**entries, "x": 5}), "found something else"),
    "no type": (entry(dtype=None), "found something else"),
    "odd type": (entry(dtype="F13"), "found something else"),
    "other type": (entry(dtype="I32"), "expected numbers of type F32, F16 or BF16, found I32"),
    "below": (entry(data_offsets=[-4, 60]), "found something else"),
    "overlap": (entry(data_offsets=[4, 68]), "found something else"),
    "shape": (entry(shape=[2**62, 2**62]), "found something else"),
    "rank 0": (tensors("lora_A", lambda a: a[:0]), r"expected a matrix for the LoRA factor .*, found shape \[0, "),
    "1-D": (tensors("lora_A", lambda a: a[0]), r"expected a matrix for the LoRA factor .*, found shape \[32\]"),
    "3-D": (tensors("lora_A", lambda a: a[None]), "expected a matrix for the LoRA factor"),
    "narrow": (tensors("lora_A", lambda a: a[:, :8]), "wide in the adapter|expected LoRA factors for the shape"),
    "low": (tensors("lora_B", lambda b: b[:8]), "expected LoRA factors for the shape"),
    "two ranks": (tensors("lora_A", lambda a: a[:2]), "expected LoRA factors of one rank for .*, found 2 and 4"),
    "nan": (tensors("lora_A", lambda a: a * math.nan), "expected finite weights, found NaN or infinity in .*lora_A"),
    "endless": (tensors("classifier.bias", lambda b: b + math.inf), "expected finite weights, found NaN or infinity"),
    "3-D head": (tensors("classifier.weight", lambda w: w[None]), "expected .*head"),
    "wide head": (tensors("classifier.weight", lambda w: w.repeat(1, 2)), r"expected shape \[2, 32\] for classifier"),
    "pooler": (tensors("pooler.dense.weight", lambda w: w[:, :4]), "expected shape .* for pooler.dense.weight, as in"),
}
CASES = [
    *(pytest.param(True, *case, id=f"manifest {name}") for name, case in MANIFESTS.items()),
    *(pytest.param(False, *case, id=f"peft {name}") for name, case in PEFT.items()),
    *(
        pytest.param(ours, *case, id=f"weights {name} {ours}")
        for name, case in WEIGHTS.items()
        for ours in (True, False)
    ),
]


def faults(engine: Engine, source: Path) -> list[NlptasksError | None]:
    """What serving by folder, and import with serving by name, refuse; an answer has finite scores."""
    found: list[NlptasksError | None] = []
    peak, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        answered(engine, str(source))
        found.append(None)
    except NlptasksError as error:
        found.append(error)
    try:
        done = import_adapter(source, engine.settings, engine.plugins, task="sentiment", name="copy", replace=True)
        try:
            answered(engine, done.adapter.path.name)
            found.append(None)
        finally:
            shutil.rmtree(done.adapter.path)
    except NlptasksError as error:
        found.append(error)
    assert time.monotonic() - started < 20
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024 < LARGE
    return found


def answered(engine: Engine, adapter: str) -> None:
    [result] = engine.run("sentiment", ["A text of a few words."], adapter=adapter)
    assert all(math.isfinite(score.score) for score in result.scores)


@pytest.mark.long
@pytest.mark.parametrize(("ours", "change", "sentence"), CASES)
def test_a_damaged_or_lying_adapter_is_refused_by_folder_and_by_name(
    tmp_path: Path, engine: Engine, sources: dict[bool, Path], ours: bool, change: Change, sentence: str
) -> None:
    folder = shutil.copytree(sources[ours], tmp_path / "copy")
    change(folder)
    for error in faults(engine, folder):
        assert error is not None
        assert "\n" not in str(error)
        assert re.search(sentence, str(error)), str(error)


def test_what_is_whole_is_served_and_imported(engine: Engine, sources: dict[bool, Path]) -> None:
    assert faults(engine, sources[True]) == faults(engine, sources[False]) == [None, None]


def mutated(chance: random.Random, folder: Path) -> None:
    """One to three random faults in an adapter's files."""
    files = [file for file in (PEFT_CONFIG, PEFT_WEIGHTS, MANIFEST) if (folder / file).is_file()]
    for _ in range(chance.randint(1, 3)):
        file = folder / chance.choice(files)
        content = bytearray(file.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little") if file.name == PEFT_WEIGHTS else len(content)
        kind = chance.choice(("byte", "value", "cut", "value", "value"))
        if kind == "byte":
            content[chance.randrange(min(start, len(content)))] = chance.randrange(256)
        elif kind == "cut":
            del content[chance.randrange(len(content)) :]
        else:
            lead = 8 if file.name == PEFT_WEIGHTS else 0
            try:
                entries = json.loads(content[lead:start])
                spot = entries
                while isinstance(spot, dict) and len(spot) and chance.random() < 0.8:
                    key = chance.choice(sorted(spot))
                    if not isinstance(spot[key], dict) or chance.random() < 0.3:
                        spot[key] = chance.choice(VALUES)
                        break
                    spot = spot[key]
            except (ValueError, UnicodeDecodeError):
                continue
            lines = json.dumps(entries).encode()
            content[:start] = (len(lines).to_bytes(8, "little") if lead else b"") + lines
        file.write_bytes(content)


VALUES = (
    None, True, 0, -1, 3, 2**31, 2**63, 2**64, 10**300, 1e-320, math.nan, math.inf, "", "x", "../x", "~nobody", "\0",
    "y" * 5000, "F32", "generate", [], [1], [0, 2**62], ["a", "b", "c"], {}, {"a": 1}, {"config": {"pad_token_id": 1}},
)  # fmt: skip


def fuzz(engine: Engine, sources: dict[bool, Path], home: Path, seeds: range) -> None:
    refused = 0
    for seed in seeds:
        chance = random.Random(seed)
        folder = shutil.copytree(sources[seed % 2 == 0], home / str(seed))
        mutated(chance, folder)
        refused += sum(error is not None for error in faults(engine, folder))
        shutil.rmtree(folder)
    assert refused > len(seeds) / 2


def test_random_faults_give_answers_or_our_own_errors(
    tmp_path: Path, engine: Engine, sources: dict[bool, Path]
) -> None:
    fuzz(engine, sources, tmp_path, range(12))


@pytest.mark.full
def test_many_random_faults_give_answers_or_our_own_errors(
    tmp_path: Path, engine: Engine, sources: dict[bool, Path]
) -> None:
    fuzz(engine, sources, tmp_path, range(1000, 1400))


def test_a_damaged_base_is_named(tmp_path: Path, settings: Settings) -> None:
    base = tiny_model(tmp_path / "base", "encoder")
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    sentence = "model.safetensors: expected a whole safetensors file, found something else"
    with pytest.raises(UnsupportedModelError, match=sentence):
        fingerprint(base)
    with Engine(settings=settings) as engine, pytest.raises(UnsupportedModelError, match=sentence):
        engine.run("sentiment", "x", model=str(base), adapter="none")
    with file.open("wb") as stream:
        stream.write((HEADER_LIMIT + 1).to_bytes(8, "little"))
        stream.truncate(HEADER_LIMIT * 2)
    with pytest.raises(AdapterError, match=f"found a header of {HEADER_LIMIT + 1} bytes"):
        read_header(file)


NINE = ("O", *(f"{place}-{kind}" for kind in ("MISC", "PER", "ORG", "LOC") for place in "BI"))


def test_a_head_with_other_outputs_than_the_task_s_is_refused_for_every_verb(
    tmp_path: Path, engine: Engine, tiny_encoder: Path
) -> None:
    folder, _ = tagger_adapter(tiny_encoder, tmp_path / "tags", labels=NINE, manifest=False)
    sentence = r"^tags: expected names for the 9 outputs of its head, found none, and ner has 7 labels \(O, B-PER, "
    with pytest.raises(AdapterError, match=sentence):
        engine.run("ner", "Anna works.", adapter=str(folder))
    with pytest.raises(AdapterError, match=sentence):
        import_adapter(folder, engine.settings, default_plugins(), task="ner")
    one, _ = classifier_adapter(tiny_encoder, tmp_path / "one", labels=("x",), manifest=False)
    with pytest.raises(AdapterError, match="expected names for the 1 outputs of its head, found none, and sentiment"):
        engine.run("sentiment", "Terrible food", adapter=str(one))
    spans, _ = extractor_adapter(tiny_encoder, tmp_path / "spans", manifest=False)
    tensors("qa_outputs.weight", lambda w: w.repeat(2, 1)[:3])(spans)
    tensors("qa_outputs.bias", lambda b: b.repeat(2)[:3])(spans)
    for use in (
        lambda: engine.run("qa", question="Who?", context="Anna works.", adapter=str(spans)),
        lambda: import_adapter(spans, engine.settings, default_plugins(), task="qa"),
    ):
        with pytest.raises(AdapterError, match="expected a head with 2 outputs, found 3"):
            use()


@pytest.mark.parametrize("file", [CONFIG, PEFT_CONFIG])
def test_an_adapter_s_labels_are_those_of_its_configuration(
    tmp_path: Path, engine: Engine, tiny_encoder: Path, file: str
) -> None:
    folder, _ = classifier_adapter(tiny_encoder, tmp_path / "moods", manifest=False)
    (folder / CONFIG).write_text("{}")
    change_json(file, id2label={"0": "bad", "1": "neither", "2": "good"})(folder)
    by_folder = engine.run("sentiment", "A text.", adapter=str(folder))
    assert {score.label for score in by_folder.scores} == {"bad", "neither", "good"}
    done = import_adapter(folder, engine.settings, default_plugins(), task="sentiment", name=f"own-{len(file)}")
    assert done.notes == ()
    by_name = engine.run("sentiment", "A text.", adapter=done.adapter.path.name)
    assert by_name.scores == by_folder.scores
