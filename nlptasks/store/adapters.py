"""An adapter on disk: a standard PEFT folder with one file of nlptasks, `nlptasks.json`.

    adapter_config.json          PEFT's settings
    adapter_model.safetensors    LoRA factors, head, every other layer that was trained
    nlptasks.json                task, labels, base and its fingerprint, metrics, data hash, versions
    ranges.safetensors           the input ranges that fix the scales of dtype int8, if they were measured

Nothing here imports torch: a mismatch is refused before any weight is read.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer

from nlptasks.errors import AdapterError, UnsafeWeightsError, clip
from nlptasks.model import HEADS
from nlptasks.store.catalog import CATALOG, HubSource
from nlptasks.store.weights import RANGES, Header, read_header

MANIFEST = "nlptasks.json"
PEFT_CONFIG = "adapter_config.json"
PEFT_WEIGHTS = "adapter_model.safetensors"
PEFT_PICKLE = "adapter_model.bin"
CONFIG = "config.json"
FILES = (PEFT_CONFIG, PEFT_WEIGHTS, MANIFEST, RANGES, CONFIG, "README.md")
"""The files of an adapter's folder; the configuration of its model is there if another tool wrote it."""

JSON_LIMIT = 16 * 1024**2
"""Bytes of a JSON file at most."""

PICKLED = (
    f"expected {PEFT_WEIGHTS}, found a pickled {PEFT_PICKLE}, which can run code. "
    "Load it once where you trust it and save it again with PEFT's save_pretrained."
)

_VERB_OF_TASK_TYPE = {"SEQ_2_SEQ_LM": "generate", **{head.task_type: verb for verb, head in HEADS.items()}}
"""An adapter's verb by its `task_type` in PEFT."""

_NAMED = ("classify", "classify_mean", "tag")
"""The verbs whose head's outputs have names."""

FACTOR = re.compile(r"(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
"""The name of a LoRA factor's tensor."""

NO_LAYERS = "dummy-target-modules"
"""PEFT's `target_modules` of an adapter that is a head on an unchanged base, without LoRA factors."""

_NUMBERS = frozenset({"F64", "F32", "F16", "BF16", "I64"})
"""The types of an adapter's tensors; integers are tables of positions, which the base has too."""


class BaseReference(BaseModel):
    """The base that an adapter was trained on."""

    model_config = ConfigDict(frozen=True)

    id: str
    revision: str | None = None
    fingerprint: str
    model_type: str
    hidden_size: int | None = None


class BaseSettings(BaseModel):
    """Settings of the base's configuration that an adapter was trained with: no other one reaches transformers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pad_token_id: int | None = Field(default=None, ge=0, lt=2**31)
    is_causal: bool = Field(default=True, description="False in folders of old versions, which are refused.")

    @property
    def changes(self) -> dict[str, int]:
        """The settings that differ from the base's."""
        return {} if self.pad_token_id is None else {"pad_token_id": self.pad_token_id}


class AdapterSettings(BaseModel):
    """Values that serving needs beside the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: BaseSettings = BaseSettings()


class Manifest(BaseModel):
    """The content of `nlptasks.json`."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, ser_json_inf_nan="constants")

    format: Literal[1] = 1
    name: str
    task: str
    family: str
    verb: str
    base: BaseReference
    method: Literal["lora", "full"] = "lora"
    labels: tuple[str, ...] | None = None
    multi_label: bool = False
    temperature: float = Field(
        default=1.0, ge=1e-3, le=1e3, description="Logits are divided by it; fitted on held-out rows."
    )
    threshold: float | None = Field(default=None, description="Default decision threshold on calibrated scores.")
    bias: float | None = Field(default=None, description="Raw score at which a label named at call time may apply.")
    max_length: int | None = Field(default=None, ge=16)
    settings: AdapterSettings = AdapterSettings()
    recipe: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Annotated[float, Field(allow_inf_nan=True)]] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict, description="File names, rows, SHA-256, licence if given.")
    versions: dict[str, str] = Field(default_factory=dict)
    created: str = ""

    @field_serializer("settings")
    def _plain(self, settings: AdapterSettings) -> dict[str, Any]:
        # Older versions apply what stands here, a null too.
        return settings.model_dump(exclude_unset=True)


class _PeftConfig(BaseModel):
    """What is read of `adapter_config.json`, as PEFT writes it; each setting may be null."""

    task_type: str | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None
    r: Annotated[int, Field(ge=1)] | None = None
    lora_alpha: Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)] | None = None
    use_rslora: bool | None = None
    use_dora: bool | None = None
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]] | None = None
    modules_to_save: list[str] | None = None
    id2label: dict[int, str] | None = None


class _ModelConfig(BaseModel):
    """What is read of a model's `config.json`."""

    id2label: dict[int, str] | None = None


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class AdapterFolder:
    """A readable adapter whose files fit each other. `manifest` is None for a PEFT folder that another tool wrote;
    `labels` are the names of its head's outputs, None where it has none of its own."""

    path: Path
    peft: dict[str, Any]
    manifest: Manifest | None
    labels: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        return self.manifest.name if self.manifest else self.path.name

    @functools.cached_property
    def key(self) -> tuple[str, int]:
        """Another one when the folder is opened again after its weights were replaced."""
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
    """Read an adapter's JSON files and the header of its weights, and check that they fit each other.

    Read once, and again when one of the files is replaced.

    Raises:
        AdapterError: a missing, unreadable or damaged file, a value out of its range, a PEFT method other than LoRA, or
            weights that cannot be those of such an adapter.
        UnsafeWeightsError: pickled weights only.
    """
    states = tuple(_state(path / name) for name in (PEFT_CONFIG, PEFT_WEIGHTS, MANIFEST, CONFIG))
    # Within one tick of the file system's clock a file may change and keep its time.
    return (_read_once if time.time_ns() - max(states)[0] >= SETTLED else _read_adapter)(path, states)


SETTLED = 1_000_000_000
"""Nanoseconds after which a change of a file shows in its time."""


def _state(file: Path) -> tuple[int, int, int]:
    """Time, size and inode of a file; zeros where there is none."""
    try:
        stat = file.stat()
    except OSError:
        return 0, 0, 0
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _read_adapter(path: Path, _: object) -> AdapterFolder:
    if not path.is_dir():
        raise AdapterError(f"{path}: expected an adapter folder, found none.")
    if not (path / PEFT_WEIGHTS).is_file():
        if (path / PEFT_PICKLE).is_file():
            raise UnsafeWeightsError(f"{path}: {PICKLED}")
        raise AdapterError(f"{path}: expected {PEFT_WEIGHTS}, found none; the folder is no adapter or is incomplete.")
    peft = _read_json(path / PEFT_CONFIG)
    if peft.get("peft_type", "LORA") != "LORA":
        raise AdapterError(f"{path}: expected a LoRA adapter, found {peft['peft_type']}.")
    known = _checked(_PeftConfig, peft, path / PEFT_CONFIG)
    manifest = read_manifest(path)
    names = known.id2label
    if names is None and (path / CONFIG).is_file():
        names = _checked(_ModelConfig, _read_json(path / CONFIG), path / CONFIG).id2label
    labels = (manifest.labels or None) if manifest else config_labels(names)
    adapter = AdapterFolder(path, peft, manifest, labels)
    _check_weights(adapter, read_header(path / PEFT_WEIGHTS))
    return adapter


_read_once = functools.lru_cache(maxsize=256)(_read_adapter)


def read_manifest(path: Path) -> Manifest | None:
    """The `nlptasks.json` of an adapter, or of a model whose weights were trained here; None where there is none.

    Raises:
        AdapterError: it cannot be read, or is of a kind that is no longer served.
    """
    if not (path / MANIFEST).is_file():
        return None
    manifest = _checked(Manifest, _read_json(path / MANIFEST), path / MANIFEST)
    if not manifest.settings.config.is_causal:
        raise AdapterError(
            f"{path}: expected a model that reads from left to right, found a decoder that was trained to read in both "
            "directions (extra.bidirectional), which is no longer served: train it again, best on an encoder."
        )
    return manifest


def config_labels(id2label: Mapping[Any, Any] | None) -> tuple[str, ...] | None:
    """The names of a head's outputs by a configuration; None where they are transformers' default, LABEL_0 and on."""
    names = {int(number): str(label) for number, label in (id2label or {}).items()}
    if sorted(names) != list(range(len(names))) or all(label == f"LABEL_{n}" for n, label in names.items()):
        return None
    return tuple(names[number] for number in range(len(names)))


def _checked(model: type[M], content: dict[str, Any], file: Path) -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        unknown = fault["type"] == "extra_forbidden"
        # Pydantic's input is all that stands around a missing value.
        value = "none" if fault["type"] == "missing" else clip(repr(fault["input"]))
        message = "this setting is not known" if unknown else f"{fault['msg']}, found {value}"
        raise AdapterError(
            f"{file}: {'.'.join(map(str, fault['loc']))}: {message}; train or export it again."
        ) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise AdapterError(f"{path}: expected at most {JSON_LIMIT} bytes of JSON, found {path.stat().st_size}.")
        content = json.loads(path.read_text(encoding="utf-8"))
        # A lone surrogate can be written as JSON, but not printed or saved again.
        json.dumps(content, ensure_ascii=False).encode()
    except FileNotFoundError:
        raise AdapterError(f"{path.parent}: expected {path.name}, found none.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{path}: expected JSON, found something else ({clip(str(error), 200)}).") from None
    if not isinstance(content, dict):
        raise AdapterError(f"{path}: expected a JSON object, found {type(content).__name__}.")
    return content


def _check_weights(adapter: AdapterFolder, header: Header) -> None:
    """Refuse tensors that cannot be LoRA factors and a head with outputs as the adapter names them."""
    where = f"{adapter.path / PEFT_WEIGHTS}:"
    for name, tensor in header.items():
        if tensor.dtype not in _NUMBERS:
            raise AdapterError(f"{where} expected numbers of type F32, F16 or BF16, found {tensor.dtype} in {name}.")
    pairs: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, tensor in header.items():
        if match := FACTOR.fullmatch(name):
            if len(tensor.shape) != 2 or 0 in tensor.shape:
                raise AdapterError(
                    f"{where} expected a matrix for the LoRA factor {name}, found shape {list(tensor.shape)}."
                )
            pairs.setdefault(match["layer"], {})[match["side"]] = tensor.shape
    if not any(".lora_" in name for name in header) and adapter.peft.get("target_modules") != NO_LAYERS:
        raise AdapterError(f"{where} expected LoRA factors, found {', '.join(list(header)[:3]) or 'no tensor'}.")
    for layer, pair in pairs.items():
        if len(pair) != 2:
            raise AdapterError(f"{where} expected both LoRA factors of {layer}, found one.")
        if pair["A"][0] != pair["B"][1]:
            raise AdapterError(
                f"{where} expected LoRA factors of one rank for {layer}, found {pair['A'][0]} and {pair['B'][1]}."
            )
    verb = adapter.manifest.verb if adapter.manifest else adapter.peft_verb
    if (verb in _NAMED and adapter.labels) or verb == "extract":
        outputs = len(adapter.labels or ()) if verb in _NAMED else 2
        if outputs not in _head_rows(header):
            raise AdapterError(
                f"{where} expected a head with {outputs} outputs{_as_many(adapter)}, found {head_outputs(adapter)}."
            )


def _as_many(adapter: AdapterFolder) -> str:
    return f", as many as its labels ({clip(', '.join(adapter.labels))})" if adapter.labels else ""


def head_outputs(adapter: AdapterFolder) -> int:
    """How many outputs the task head in an adapter has: the rows of its last layer, which are the fewest.

    Raises:
        AdapterError: it has no head.
    """
    rows = _head_rows(read_header(adapter.path / PEFT_WEIGHTS))
    if not rows:
        raise AdapterError(f"{adapter.path.name}: expected the weights of a task head, found none.")
    return min(rows)


def _head_rows(header: Header) -> list[int]:
    return [tensor.shape[0] for name, tensor in header.items() if ".lora_" not in name and len(tensor.shape) == 2]
