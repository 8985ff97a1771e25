"""An adapter on disk: a standard PEFT folder with one file of nlptasks, `nlptasks.json`.

    adapter_config.json          PEFT's settings
    adapter_model.safetensors    LoRA factors, head, every other layer that was trained
    nlptasks.json                task, labels, base and its fingerprint, metrics, data hash, versions
    ranges.safetensors           the input ranges that fix the scales of dtype int8, if they were measured

Nothing here imports torch: a mismatch is refused before any weight is read.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nlptasks.errors import AdapterError, AdapterMismatchError, UnsafeWeightsError
from nlptasks.model import HEADS
from nlptasks.store.catalog import CATALOG, HubSource

MANIFEST = "nlptasks.json"
PEFT_CONFIG = "adapter_config.json"
PEFT_WEIGHTS = "adapter_model.safetensors"
PEFT_PICKLE = "adapter_model.bin"
RANGES = "ranges.safetensors"
FILES = (PEFT_CONFIG, PEFT_WEIGHTS, MANIFEST, RANGES, "README.md")
"""The files of an adapter's folder."""

PICKLED = (
    f"expected {PEFT_WEIGHTS}, found a pickled {PEFT_PICKLE}, which can run code. "
    "Load it once where you trust it and save it again with PEFT's save_pretrained."
)

WeightFiles = tuple[tuple[Path, int, int, int], ...]
"""Files with size, time and inode: another one of the same name, or other bytes in it, differs in one of them."""

_VERB_OF_TASK_TYPE = {"SEQ_2_SEQ_LM": "generate", **{head.task_type: verb for verb, head in HEADS.items()}}
"""An adapter's verb by its `task_type` in PEFT."""


class BaseReference(BaseModel):
    """The base that an adapter was trained on."""

    model_config = ConfigDict(frozen=True)

    id: str
    revision: str | None = None
    fingerprint: str
    model_type: str
    hidden_size: int | None = None


class Manifest(BaseModel):
    """The content of `nlptasks.json`."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    name: str
    task: str
    family: str
    verb: str
    base: BaseReference
    method: Literal["lora", "full"] = "lora"
    labels: tuple[str, ...] | None = None
    multi_label: bool = False
    temperature: float = Field(default=1.0, gt=0, description="Logits are divided by it; fitted on held-out rows.")
    threshold: float | None = Field(default=None, description="Default decision threshold on calibrated scores.")
    max_length: int | None = None
    settings: dict[str, Any] = Field(default_factory=dict, description="The family's own values.")
    recipe: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict, description="File names, rows, SHA-256, licence if given.")
    versions: dict[str, str] = Field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True)
class AdapterFolder:
    """A readable adapter. `manifest` is None for a PEFT folder that another tool wrote."""

    path: Path
    peft: dict[str, Any]
    manifest: Manifest | None

    @property
    def name(self) -> str:
        return self.manifest.name if self.manifest else self.path.name

    @property
    def key(self) -> tuple[str, int]:
        """Changes when the folder's weights are replaced."""
        return str(self.path.resolve()), (self.path / PEFT_WEIGHTS).stat().st_mtime_ns

    @property
    def verb(self) -> str:
        if self.manifest:
            return self.manifest.verb
        if self.peft_verb is None:
            known = ", ".join(_VERB_OF_TASK_TYPE)
            raise AdapterError(
                f"{self.path}: expected a task_type of {known}, found {self.peft.get('task_type')}. "
                "Name its task with `nlptasks adapters import FOLDER --task TASK`."
            )
        return self.peft_verb

    @property
    def peft_verb(self) -> str | None:
        """The verb by PEFT's `task_type`, if it has one."""
        return _VERB_OF_TASK_TYPE.get(str(self.peft.get("task_type")))

    @property
    def base_id(self) -> str:
        """The base to load for this adapter; "" if another tool wrote the folder and named none."""
        if self.manifest:
            return self.manifest.base.id
        repo = str(self.peft.get("base_model_name_or_path") or "")
        revision = self.peft.get("revision")
        if repo and revision:
            return f"{repo}@{revision}"
        sources = ((base.name, source) for base in CATALOG.values() for source in base.sources)
        return next((name for name, source in sources if isinstance(source, HubSource) and source.repo == repo), repo)


def open_adapter(path: Path) -> AdapterFolder:
    """Read an adapter's two JSON files and check that its weights are there.

    Raises:
        AdapterError: a missing or unreadable file, or a PEFT method other than LoRA.
        UnsafeWeightsError: pickled weights only.
    """
    if not path.is_dir():
        raise AdapterError(f"{path}: expected an adapter folder, found none.")
    if not (path / PEFT_WEIGHTS).is_file():
        if (path / PEFT_PICKLE).is_file():
            raise UnsafeWeightsError(f"{path}: {PICKLED}")
        raise AdapterError(f"{path}: expected {PEFT_WEIGHTS}, found none; the folder is no adapter or is incomplete.")
    peft = _read_json(path / PEFT_CONFIG)
    if peft.get("peft_type", "LORA") != "LORA":
        raise AdapterError(f"{path}: expected a LoRA adapter, found {peft['peft_type']}.")
    return AdapterFolder(path, peft, read_manifest(path))


def read_manifest(path: Path) -> Manifest | None:
    """The `nlptasks.json` of an adapter, or of a model whose weights were trained here; None where there is none.

    Raises:
        AdapterError: it cannot be read, or is of a kind that is no longer served.
    """
    if not (path / MANIFEST).is_file():
        return None
    try:
        manifest = Manifest.model_validate(_read_json(path / MANIFEST))
    except ValidationError as error:
        fault = error.errors()[0]
        raise AdapterError(
            f"{path / MANIFEST}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}; train or export it again."
        ) from None
    if manifest.settings.get("config", {}).get("is_causal") is False:
        raise AdapterError(
            f"{path}: expected a model that reads from left to right, found a decoder that was trained to read in both "
            "directions (extra.bidirectional), which is no longer served: train it again, best on an encoder."
        )
    return manifest


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AdapterError(f"{path.parent}: expected {path.name}, found none.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AdapterError(f"{path}: expected JSON, found something else ({error}).") from None
    if not isinstance(content, dict):
        raise AdapterError(f"{path}: expected a JSON object, found {type(content).__name__}.")
    return content


def check_base(adapter: AdapterFolder, base_id: str, base_path: Path) -> None:
    """Refuse an adapter that was trained on another base (law: an adapter only meets its own base).

    With a manifest the fingerprints must be equal. Without one the shapes must fit, which is all that a
    plain PEFT folder allows to check.

    Raises:
        AdapterMismatchError: naming both bases.
    """
    if adapter.manifest:
        trained = adapter.manifest.base
        loaded = fingerprint(base_path)
        if trained.fingerprint != loaded:
            raise AdapterMismatchError(
                f"Adapter {adapter.name!r} was trained on {trained.id} ({trained.fingerprint}), "
                f"the loaded base is {base_id} ({loaded}). Use --model {trained.id}, or train an adapter on {base_id}."
            )
        return
    unfit = _unfit_shapes(tensor_shapes(adapter.path / PEFT_WEIGHTS), _base_shapes(_weight_files(base_path)))
    if unfit:
        raise AdapterMismatchError(
            f"Adapter {adapter.name!r} was trained on {adapter.base_id or 'an unnamed base'}, "
            f"the loaded base is {base_id}: {unfit}. Use --model {adapter.base_id or 'with its own base'}."
        )


def fingerprint(base: Path) -> str:
    """Identity of a base: tensor names, types, shapes and a sample of every tensor's bytes.

    The sample (64 bytes at each end) distinguishes fine-tuned weights from their parents within a few milliseconds,
    where a full hash would read every byte. Computed once, and again when a file is replaced.
    """
    return _fingerprint(_weight_files(base))


@functools.lru_cache(maxsize=256)
def _fingerprint(files: WeightFiles) -> str:
    digest = hashlib.sha256()
    for path, *_ in files:
        with path.open("rb") as stream:
            size = struct.unpack("<Q", stream.read(8))[0]
            header = json.loads(stream.read(size))
            header.pop("__metadata__", None)
            for name in sorted(header):
                start, end = header[name]["data_offsets"]
                digest.update(f"{name}|{header[name]['dtype']}|{header[name]['shape']}|".encode())
                for offset in (start, max(start, end - 64)):
                    stream.seek(8 + size + offset)
                    digest.update(stream.read(min(64, end - start)))
    return digest.hexdigest()[:16]


WeightFile = tuple[Path, int, int, int]
"""The state of a file: its path, size, time and inode; with other content one of them differs."""


def _weight_files(base: Path) -> tuple[WeightFile, ...]:
    files = [(path, path.stat()) for path in sorted(base.glob("*.safetensors")) if path.name != RANGES]
    return tuple((path, stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in files)


def check_weights(adapter: AdapterFolder) -> None:
    """Raise AdapterError unless the weights are a whole safetensors file with at least one LoRA factor."""
    names = list(tensor_shapes(adapter.path / PEFT_WEIGHTS))
    if not any(".lora_" in name for name in names):
        raise AdapterError(f"{PEFT_WEIGHTS}: expected LoRA factors, found {', '.join(names[:3]) or 'no tensor'}.")


def head_outputs(adapter: AdapterFolder) -> int:
    """How many outputs the task head in an adapter has: the rows of its last layer, which are the fewest."""
    shapes = tensor_shapes(adapter.path / PEFT_WEIGHTS)
    rows = [shape[0] for name, shape in shapes.items() if ".lora_" not in name and len(shape) == 2]
    if not rows:
        raise AdapterError(f"{adapter.path.name}: expected the weights of a task head, found none.")
    return min(rows)


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file's tensors; reads its header only."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as content:
            return {name: tuple(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{file.name}: expected a whole safetensors file, found something else ({error}).") from None


@functools.lru_cache(maxsize=16)
def _base_shapes(files: tuple[WeightFile, ...]) -> dict[str, tuple[int, ...]]:
    return {name: shape for path, *_ in files for name, shape in tensor_shapes(path).items()}


def _unfit_shapes(adapter: dict[str, tuple[int, ...]], base: dict[str, tuple[int, ...]]) -> str:
    """Why the LoRA factors do not fit these weights, or "" if they do."""
    for name, shape in adapter.items():
        match = re.fullmatch(r"base_model\.model\.(.+)\.lora_A\.weight", name)
        if not match:
            continue
        layer = match[1]
        # Each task model has its own name for the body: bert., model., transformer., ...
        endings = (f".{layer}.weight", f".{layer.split('.', 1)[-1]}.weight")
        weight = next((shape for name, shape in base.items() if f".{name}".endswith(endings)), None)
        if weight is None:
            return f"it has no layer {layer}"
        if shape[1] not in weight:
            return f"{layer} is {shape[1]} wide in the adapter and {max(weight)} in the base"
    return ""
