"""Adapters leave the store and enter it: whole, checked, and as plain PEFT reads and writes them."""

from __future__ import annotations

import json
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from nlptasks import Engine
from nlptasks.cli import cli
from nlptasks.errors import AdapterError, AdapterMismatchError, NlptasksError, UnknownNameError, UnsafeWeightsError
from nlptasks.plugins import default_plugins
from nlptasks.runtime.resident import ResidentModel
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore
from nlptasks.store.adapters import FILES, MANIFEST, PEFT_CONFIG, PEFT_WEIGHTS, open_adapter
from nlptasks.store.archives import size_fault
from nlptasks.store.catalog import CATALOG, HubSource
from nlptasks.store.exchange import Imported, export_adapter, find_adapter, import_adapter
from nlptasks.testing import tiny_model
from nlptasks_ui.training.library import _unusable
from tests.store.test_adapters import base_folder, peft_logits
from tests.tiny_adapters import LABELS, classifier_adapter, tagger_adapter, writer_adapter
from tests.training_rows import Feeling, base_finder, quick_training

TEXTS = ["plain words", "ça va? 🙂", "x"]
PLUGINS = default_plugins()


UNNAMED = (
    r"^from-peft: expected names for the 3 outputs of its head, found none, and sentiment has 2 labels \(negative, "
    r"positive\): name them, in the order of the outputs, with `nlptasks adapters import FOLDER --task sentiment "
    r"--labels A,B,\.\.\.`\.$"
)


def bring(source: Path, settings: Settings, **given: object) -> Imported:
    return import_adapter(source, settings, PLUGINS, **given)  # type: ignore[arg-type]


@pytest.fixture
def ours(tmp_path: Path, settings: Settings, tiny_encoder: Path) -> Path:
    """An adapter `films` for sentiment in the store."""
    folder = AdapterStore(settings).folder("sentiment", "films")
    return classifier_adapter(tiny_encoder, folder, labels=("negative", "positive"))[0]


def of_sentiment(folder: Path) -> Path:
    """The folder with its manifest for the built-in task."""
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, "task": "sentiment"}))
    return folder


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_what_is_exported_is_imported_as_it_was(tmp_path: Path, settings: Settings, ours: Path, name: str) -> None:
    of_sentiment(ours)
    (ours / "private.txt").write_text("not a part of it")
    target = export_adapter(open_adapter(ours), tmp_path / name)
    done = bring(target, settings, name="again")
    assert (done.task, done.notes) == ("sentiment", ())
    assert done.adapter.path == AdapterStore(settings).folder("sentiment", "again")
    assert {path.name for path in done.adapter.path.iterdir()} <= set(FILES)
    assert (done.adapter.path / PEFT_WEIGHTS).read_bytes() == (ours / PEFT_WEIGHTS).read_bytes()
    before = open_adapter(ours).manifest
    assert before
    assert done.adapter.manifest == before.model_copy(update={"name": "again"})
    with pytest.raises(AdapterError, match=r"expected a new folder or \.zip to write to, found one that exists"):
        export_adapter(open_adapter(ours), target)


@pytest.mark.long
def test_plain_peft_loads_what_is_trained_and_exported(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bases = base_finder(tmp_path / "bases")
    quick_training(settings, tmp_path, bases, monkeypatch)(name="notes")
    adapter = find_adapter(Feeling(), "notes", settings)
    folder = export_adapter(adapter, tmp_path / "out")
    base = bases("bert")
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    peft = PeftModel.from_pretrained(model, folder).eval()
    resident = ResidentModel(base_folder(base), dtype="float32")
    found = resident.bind(open_adapter(folder)).classify(TEXTS)
    resident.close()
    torch.testing.assert_close(
        torch.tensor([f.values for f in found]), peft_logits(peft, base, TEXTS), atol=1e-4, rtol=0
    )


def test_a_folder_of_plain_peft_is_served_and_imported(tmp_path: Path, settings: Settings, tiny_encoder: Path) -> None:
    labels = ("negative", "positive")
    folder, peft = classifier_adapter(tiny_encoder, tmp_path / "from-peft", labels=labels, manifest=False)
    assert not (folder / MANIFEST).exists()
    expected = peft_logits(peft, tiny_encoder, TEXTS).softmax(-1)[:, 1].tolist()
    done = bring(folder, settings, task="sentiment", labels=labels)
    with Engine(settings=settings, device="cpu", dtype="float32") as engine:
        for adapter in (str(folder), "from-peft"):
            results = engine.run("sentiment", TEXTS, adapter=adapter)
            found = [next(s.score for s in result.scores if s.label == "positive") for result in results]
            assert found == pytest.approx(expected, abs=1e-4)
    manifest = done.adapter.manifest
    assert manifest
    assert (manifest.base.id, manifest.verb, manifest.labels) == (str(tiny_encoder), "classify", labels)


def test_a_language_model_s_folder_needs_no_labels(tmp_path: Path, settings: Settings, tiny_causal: Path) -> None:
    folder, peft = writer_adapter(tiny_causal, tmp_path / "talk")
    done = bring(folder, settings, task="generation")
    assert done.adapter.manifest
    assert done.adapter.manifest.labels is None
    tokenizer = AutoTokenizer.from_pretrained(tiny_causal)
    ids = tokenizer("Once", return_tensors="pt")["input_ids"]
    said = peft.generate(input_ids=ids, max_new_tokens=8, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    with Engine(settings=settings, device="cpu", dtype="float32") as engine:
        result = engine.run("generation", {"prompt": "Once"}, adapter="talk", max_new_tokens=8, repetition_penalty=1.0)
    assert result.text == tokenizer.decode(said, skip_special_tokens=True)


def test_what_cannot_be_inferred_is_asked_for(tmp_path: Path, settings: Settings, tiny_encoder: Path) -> None:
    folder, _ = classifier_adapter(tiny_encoder, tmp_path / "from-peft", manifest=False)
    with pytest.raises(AdapterError, match=r"has no nlptasks\.json that names its task: name it with --task TASK"):
        bring(folder, settings)
    with pytest.raises(AdapterError, match=UNNAMED) as on_import:
        bring(folder, settings, task="sentiment")
    with Engine(settings=settings) as engine, pytest.raises(AdapterError, match=UNNAMED) as on_serving:
        engine.run("sentiment", "x", adapter=str(folder))
    assert str(on_serving.value) == str(on_import.value)
    with pytest.raises(AdapterError, match="--labels: expected 3 names, as many as the head has outputs, found 2"):
        bring(folder, settings, task="sentiment", labels=("a", "b"))
    with pytest.raises(AdapterError, match="expected an adapter for tag, as ner needs, found one for classify"):
        bring(folder, settings, task="ner", labels=LABELS)
    config = json.loads((folder / PEFT_CONFIG).read_text())
    (folder / PEFT_CONFIG).write_text(json.dumps({**config, "task_type": None, "base_model_name_or_path": None}))
    with pytest.raises(AdapterError, match="it does not name the base that it was trained on: name it with --model"):
        bring(folder, settings, task="sentiment", labels=LABELS)
    with Engine(settings=settings) as engine:
        with pytest.raises(NlptasksError, match="does not say which base it was trained on: name it as model"):
            engine.run("sentiment", "x", adapter=str(folder))
        with pytest.raises(AdapterError, match="Name its task with `nlptasks adapters import FOLDER --task TASK`"):
            engine.run("sentiment", "x", adapter=str(folder), model=str(tiny_encoder))
    done = bring(folder, settings, task="sentiment", labels=LABELS, model=str(tiny_encoder))
    assert done.adapter.manifest
    assert done.adapter.manifest.labels == LABELS
    assert AdapterStore(settings).names("sentiment") == ["from-peft"]


def test_labels_are_the_base_s_own_or_the_task_s_and_the_latter_is_told(
    tmp_path: Path, settings: Settings, tiny_encoder: Path
) -> None:
    two, _ = classifier_adapter(tiny_encoder, tmp_path / "two", labels=("x", "y"), manifest=False)
    done = bring(two, settings, task="sentiment")
    assert done.notes == ("its outputs are taken to be negative, positive, in this order; --labels sets others",)
    base = tiny_model(tmp_path / "base", "encoder", seed=3)
    config = json.loads((base / "config.json").read_text())
    named = {**config, "id2label": {"0": "bad", "1": "fine", "2": "good"}}
    (base / "config.json").write_text(json.dumps(named))
    three, _ = classifier_adapter(base, tmp_path / "three", manifest=False)
    done = bring(three, settings, task="sentiment")
    assert done.adapter.manifest
    assert (done.adapter.manifest.labels, done.notes) == (("bad", "fine", "good"), ())
    nine = ("O", *(f"{place}-{kind}" for kind in ("PER", "ORG", "LOC") for place in "BI"))
    tagger, _ = tagger_adapter(tiny_encoder, tmp_path / "tags", labels=nine, manifest=False)
    done = bring(tagger, settings, task="ner", labels=nine)
    assert done.adapter.manifest
    assert done.adapter.manifest.labels == nine


def test_a_base_that_the_catalog_knows_is_found_by_its_hub_name(tmp_path: Path, tiny_encoder: Path) -> None:
    folder, _ = classifier_adapter(tiny_encoder, tmp_path / "mood", manifest=False)
    config = json.loads((folder / PEFT_CONFIG).read_text())
    [source] = [source for source in CATALOG["minilm"].sources if isinstance(source, HubSource)]
    for revision, base_id in ((None, "minilm"), ("abc", f"{source.repo}@abc")):
        named = {**config, "base_model_name_or_path": source.repo, "revision": revision}
        (folder / PEFT_CONFIG).write_text(json.dumps(named))
        assert open_adapter(folder).base_id == base_id


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path: Path, settings: Settings, ours: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        for name in (PEFT_CONFIG, MANIFEST):
            content.write(of_sentiment(ours) / name, f"bomb/{name}")
        with content.open(f"bomb/{PEFT_WEIGHTS}", "w") as weights:
            for _ in range(80):
                weights.write(bytes(2**20))
    sentence = r"bomb\.zip: expected at most 67,108,864 bytes unpacked, found 83,\d{3},\d{3}: it was not imported\.$"
    assert archive.stat().st_size < 200_000
    with pytest.raises(AdapterError, match=sentence):
        bring(archive, settings)
    # Weights out of which little can be left out are no bomb, however large.
    whole = zipfile.ZipInfo("weights")
    whole.file_size = 10**12
    assert size_fault([whole], 10**11 - 1).startswith("expected at most 999,999,999,990 bytes unpacked, found 1,000,")
    assert size_fault([whole], 10**11) == ""


def test_names_and_tasks_clash_aloud(tmp_path: Path, settings: Settings, ours: Path) -> None:
    archive = export_adapter(open_adapter(of_sentiment(ours)), tmp_path / "out.zip")
    with pytest.raises(AdapterError, match=r"'films' for sentiment exists: give this one another --name, or --replace"):
        bring(archive, settings)
    assert bring(archive, settings, replace=True).adapter.path == ours
    with pytest.raises(AdapterError, match=r"expected lower-case letters, digits, - and _, found '\.\./\.\./films'"):
        bring(archive, settings, name="../../films")
    with pytest.raises(AdapterError, match="was trained for sentiment, expected one for ner"):
        bring(archive, settings, task="ner", name="other")
    with pytest.raises(AdapterError, match=r"its nlptasks\.json has its labels: import it without --labels"):
        bring(archive, settings, labels=("a", "b"), name="other")
    assert AdapterStore(settings).names("sentiment") == ["films"]


def test_the_base_is_compared_where_it_is_at_hand(tmp_path: Path, settings: Settings, ours: Path) -> None:
    other = tiny_model(tmp_path / "other", "encoder", seed=7)
    with pytest.raises(AdapterMismatchError, match=r"Adapter 'films' was trained on .*, the loaded base is .*other"):
        bring(of_sentiment(ours), settings, name="copy", model=str(other))
    content = json.loads((ours / MANIFEST).read_text())
    content["base"]["id"] = "somebody/elsewhere"
    (ours / MANIFEST).write_text(json.dumps(content))
    done = bring(ours, settings, name="copy")
    assert done.notes == (
        "its base somebody/elsewhere is not on this machine yet and is compared when the adapter is first used",
    )


def archive_of(path: Path, members: dict[str, bytes], link: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFLNK | 0o777 if name == link else 0o644) << 16
            archive.writestr(entry, content)
    return path


def hostile() -> Iterator[tuple[str, dict[str, str], str]]:
    lead = r"the archive holds a link or a path that leads out of it \({}\): it was not imported"
    yield "up", {"../../evil": "x"}, lead.format(r"\.\./\.\./evil")
    yield "absolute", {"/tmp/evil": "x"}, lead.format("/tmp/evil")
    yield "drive", {"C:evil": "x"}, lead.format("C:evil")
    yield "backslash", {"a\\..\\..\\evil": "x"}, "the archive holds a link or a path that leads out of it"
    yield "link", {"a/link": "/etc/passwd"}, lead.format("a/link")
    yield "two", {f"b/{PEFT_CONFIG}": "{}"}, "expected one adapter with its adapter_config.json, found 2"


@pytest.mark.parametrize(("name", "more", "sentence"), list(hostile()), ids=[name for name, *_ in hostile()])
def test_hostile_archives_are_refused_and_nothing_is_written(
    tmp_path: Path, settings: Settings, ours: Path, name: str, more: dict[str, str], sentence: str
) -> None:
    of_sentiment(ours)
    good = {f"a/{file}": (ours / file).read_bytes() for file in (PEFT_CONFIG, PEFT_WEIGHTS, MANIFEST)}
    bad = archive_of(tmp_path / "bad.zip", {**good, **{k: v.encode() for k, v in more.items()}}, link="a/link")
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(AdapterError, match=sentence):
        bring(bad, settings, name="bad")
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_broken_and_pickled_adapters_are_refused(tmp_path: Path, settings: Settings, ours: Path) -> None:
    of_sentiment(ours)
    files = {f"a/{file}": (ours / file).read_bytes() for file in (PEFT_CONFIG, PEFT_WEIGHTS, MANIFEST)}
    weights = files.pop(f"a/{PEFT_WEIGHTS}")
    pickled = archive_of(tmp_path / "pickled.zip", {**files, "a/adapter_model.bin": b"x"})
    with pytest.raises(UnsafeWeightsError, match=r"found a pickled adapter_model\.bin, which can run code"):
        bring(pickled, settings, name="bad")
    cut = archive_of(tmp_path / "cut.zip", {**files, f"a/{PEFT_WEIGHTS}": weights[:-9]})
    with pytest.raises(AdapterError, match=r"expected a whole safetensors file, found something else"):
        bring(cut, settings, name="bad")
    whole = export_adapter(open_adapter(ours), tmp_path / "whole.zip").read_bytes()
    (tmp_path / "damaged.zip").write_bytes(whole.replace(weights[-40:], b"0" * 40, 1))
    with pytest.raises(AdapterError, match=r"the archive cannot be read \(Bad CRC-32"):
        bring(tmp_path / "damaged.zip", settings, name="bad")
    for path in (tmp_path / "nowhere", ours / PEFT_CONFIG):
        with pytest.raises(AdapterError, match=r"expected an adapter folder or a \.zip archive of one, found"):
            bring(path, settings, name="bad")
    assert AdapterStore(settings).names("sentiment") == ["films"]


def nlptasks(*arguments: str, **settings: bool) -> Result:
    return CliRunner().invoke(cli, arguments, **settings)  # type: ignore[arg-type]


def test_the_commands(tmp_path: Path, settings: Settings, ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_sentiment(ours)
    monkeypatch.setenv("NLPTASKS_CACHE", str(settings.cache))
    monkeypatch.setenv("NLPTASKS_DATA", str(settings.data))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    archive = str(tmp_path / "films.zip")
    assert nlptasks("adapters", "export", "sentiment", "films", "--to", archive).stdout == f"{archive}\n"
    done = nlptasks("adapters", "import", archive, "--name", "copy")
    assert (done.stdout, done.exit_code) == ("sentiment/copy\n", 0)
    listed = nlptasks("adapters", "list", "sentiment").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["sentiment/copy", "sentiment/films"]
    assert json.loads(nlptasks("adapters", "show", "sentiment", "copy").stdout)["labels"] == ["negative", "positive"]
    # Without a name: the adapter that ships with the task.
    assert json.loads(nlptasks("adapters", "show", "sentiment").stdout)["base"]["id"] == "minilm"
    with pytest.raises(AdapterError, match="No adapter ships with generation: name one of yours"):
        nlptasks("adapters", "export", "generation", "--to", archive, catch_exceptions=False)
    assert nlptasks("adapters", "rm", "sentiment", "copy", "-y").exit_code == 0
    assert nlptasks("adapters", "import", archive, "--labels", "a,,b").exit_code == 2
    logged = nlptasks("--verbose", "run", "sentiment", "x", "-a", "films", catch_exceptions=False).stderr
    assert re.search(r"nlptasks\.runtime\.loading\.base: Loaded .*encoder from .*: \w+ on \w+\.", logged)
    assert f"Loaded the adapter films from {ours}." in logged
    assert "Loaded the adapter" not in nlptasks("run", "sentiment", "x", "-a", "films").stderr


def test_adapters_that_cannot_be_read_are_listed_with_their_faults(
    settings: Settings, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLPTASKS_DATA", str(settings.data))
    half, empty = ours.with_name("half"), settings.adapters / "ner" / "empty"
    shutil.copytree(ours, half)
    (half / PEFT_CONFIG).write_text("{")
    empty.mkdir(parents=True)
    faults = AdapterStore(settings).faults()
    assert [path.name for path in faults] == ["empty", "half"]
    assert faults[empty] == f"{empty}: expected {PEFT_WEIGHTS}, found none; the folder is no adapter or is incomplete."
    assert faults[half].startswith(f"{half / PEFT_CONFIG}: expected JSON, found something else (")
    lines = nlptasks("adapters", "list").stdout.splitlines()
    assert lines[0].startswith("sentiment/films  on ")
    assert lines[1:] == [f"{path.parent.name}/{path.name}  cannot be used: {fault}" for path, fault in faults.items()]
    rows = json.loads(nlptasks("adapters", "list", "sentiment", "--json").stdout)
    assert rows[1:] == [{"path": str(half), "fault": faults[half]}]
    assert "No adapters yet" not in nlptasks("adapters", "list", "ner").output
    assert _unusable({empty: faults[empty]}) == (
        f'<p class="nlp-note">ner/empty cannot be used: empty: expected {PEFT_WEIGHTS}, found none; the folder is no '
        "adapter or is incomplete.</p>"
    )
    assert nlptasks("adapters", "rm", "ner", "empty", "-y").exit_code == 0
    assert list(AdapterStore(settings).faults()) == [half]


def test_names_that_there_are_not_are_refused_before_a_question(
    tmp_path: Path, settings: Settings, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLPTASKS_DATA", str(settings.data))
    outside = tmp_path / "data" / "elsewhere" / "films"
    outside.mkdir(parents=True)
    refusals = {
        ("rm", "sentiment", "film"): "Unknown adapter 'film'. Did you mean 'films'? Available: films.",
        ("rm", "ner", "films"): "Unknown adapter 'films'. There are no adapters.",
        ("rm", "sentimant", "films"): "Unknown task 'sentimant'. Did you mean 'sentiment'?",
        ("rm", "../elsewhere", "films", "-y"): "Unknown task '../elsewhere'.",
        ("list", "sentimant"): "Unknown task 'sentimant'. Did you mean 'sentiment'?",
    }
    for arguments, sentence in refusals.items():
        refused = nlptasks("adapters", *arguments)
        assert isinstance(refused.exception, UnknownNameError), arguments
        assert str(refused.exception).startswith(sentence)
        assert "Delete" not in refused.output
    assert outside.is_dir()
    with pytest.raises(UnknownNameError):
        AdapterStore(settings).remove("../elsewhere", "films")
    # The adapters of a task whose plugin is gone can be seen and deleted.
    ours.parent.rename(ours.parent.with_name("left"))
    assert nlptasks("adapters", "list", "left").stdout.startswith("left/films")
    assert nlptasks("adapters", "rm", "left", "films", "-y").exit_code == 0


@pytest.mark.full
def test_an_adapter_on_a_folder_goes_to_another_machine(
    tmp_path: Path, settings: Settings, ours: Path, tiny_encoder: Path
) -> None:
    of_sentiment(ours)
    (ours / "README.md").write_text(f"base_model: {tiny_encoder}\n")
    archive = export_adapter(open_adapter(ours), tmp_path / "films.zip")
    with zipfile.ZipFile(archive) as content:
        assert not any(str(tiny_encoder).encode() in content.read(name) for name in content.namelist())
    there = Settings(cache=tmp_path / "there", data=tmp_path / "there", offline=True)
    done = bring(archive, there)
    assert done.notes == (
        f"its base {tiny_encoder.name} is not on this machine yet and is compared when the adapter is first used; if "
        "it is a folder, name it with --model",
    )
    base = shutil.copytree(tiny_encoder, tmp_path / "there" / "base")
    done = bring(archive, there, model=str(base), replace=True)
    assert done.adapter.manifest
    assert (done.adapter.manifest.base.id, done.notes) == (str(base), ())
    with Engine(settings=there, device="cpu") as engine:
        assert engine.run("sentiment", "x", adapter="films").adapter == "films"
    # Another one with the same fingerprint finds it, and so does one whose folder was moved.
    again = bring(archive, there, name="again")
    assert again.adapter.manifest
    assert (again.adapter.manifest.base.id, again.notes) == (str(base), ())
    content = json.loads((again.adapter.path / MANIFEST).read_text())
    content["base"]["id"] = str(tmp_path / "gone")
    (again.adapter.path / MANIFEST).write_text(json.dumps(content))
    with Engine(settings=there, device="cpu") as engine:
        assert engine.run("sentiment", "x", adapter="again").model == str(base)


def test_an_adapter_that_names_no_outputs_is_compared_with_the_task_too(
    tmp_path: Path, settings: Settings, tiny_encoder: Path
) -> None:
    folder, _ = classifier_adapter(tiny_encoder, tmp_path / "three")
    content = json.loads(of_sentiment(folder).joinpath(MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, "labels": None}))
    sentence = "three: expected names for the 3 outputs of its head, found none, and sentiment has 2 labels"
    with pytest.raises(AdapterError, match=sentence):
        bring(folder, settings)
    with Engine(settings=settings) as engine, pytest.raises(AdapterError, match=sentence):
        engine.run("sentiment", "x", adapter=str(folder))
    done = bring(folder, settings, labels=("a", "b", "c"))
    assert done.adapter.labels == ("a", "b", "c")
