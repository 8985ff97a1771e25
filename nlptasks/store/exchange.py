"""Export and import of adapters, as a standard PEFT folder or as one archive of it.

A folder that another tool wrote has no `nlptasks.json`. It is written on import from the adapter's and the base's
configuration; an error names what is missing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.errors import AdapterError, NlptasksError
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore, check_name, writing
from nlptasks.store.adapters import (
    MANIFEST,
    AdapterFolder,
    BaseReference,
    Manifest,
    check_base,
    check_weights,
    fingerprint,
    head_outputs,
    open_adapter,
)
from nlptasks.store.archives import copy_files, opened, pack
from nlptasks.store.download import BaseFolder, find_base
from nlptasks.store.sources import ProgressCallback

if TYPE_CHECKING:
    from nlptasks.plugins import Plugins
    from nlptasks.task import AnyTask


@dataclasses.dataclass(frozen=True)
class Imported:
    """An adapter in the store, with notes on the import for the user."""

    adapter: AdapterFolder
    task: str
    notes: tuple[str, ...]


def find_adapter(task: AnyTask, name: str | None, settings: Settings) -> AdapterFolder:
    """An adapter by name, folder or Hub id; without a name the one that ships with the task.

    Raises:
        AdapterError: no name, and none ships with the task.
    """
    if name is not None:
        return AdapterStore(settings).find(task.name, name)
    if task.adapter is None or not task.adapter.is_dir():
        raise AdapterError(f"No adapter ships with {task.name}: name one of yours (`nlptasks adapters list`).")
    return open_adapter(task.adapter)


def export_adapter(adapter: AdapterFolder, target: Path) -> Path:
    """Write an adapter to the new folder `target`, or to one archive if it ends in .zip; atomic.

    Raises:
        AdapterError: `target` exists, or its folder does not.
    """
    if target.exists():
        raise AdapterError(f"{target}: expected a new folder or .zip to write to, found one that exists.")
    if not target.absolute().parent.is_dir():
        raise AdapterError(f"{target}: expected a folder {target.parent} to write into, found none.")
    if target.suffix == ".zip":
        pack(adapter.path, target)
    else:
        with writing(target) as staging:
            copy_files(adapter.path, staging)
    return target


def import_adapter(
    source: Path,
    settings: Settings,
    plugins: Plugins,
    *,
    task: str | None = None,
    name: str | None = None,
    labels: Sequence[str] | None = None,
    model: str | None = None,
    replace: bool = False,
    on_progress: ProgressCallback | None = None,
) -> Imported:
    """Check an adapter's folder or archive and put it into the user's store; atomic.

    Args:
        source: a folder, or a .zip of one.
        settings: where the store and the bases are.
        plugins: the tasks there are.
        task: its task; by default the one in its `nlptasks.json`.
        name: its name in the store; by default the one that it has.
        labels: the names of a head's outputs, in their order, for a folder that another tool wrote.
        model: the base; by default the one that the adapter names.
        replace: whether an adapter of this name may be replaced.
        on_progress: called with every step of fetching the base.

    Raises:
        AdapterError: a file or an argument is missing or broken.
        AdapterMismatchError: the base has another fingerprint, or other shapes, than the adapter was trained on.
        UnknownNameError: no such task, base or name.
    """
    with opened(source) as folder:
        adapter = open_adapter(folder)
        check_weights(adapter)
        target_task = _task(adapter, task, plugins)
        new_name = check_name(name or (adapter.name if adapter.manifest else source.stem.lower()))
        target = AdapterStore(settings).folder(target_task.name, new_name)
        if target.exists() and not replace:
            raise AdapterError(
                f"An adapter {new_name!r} for {target_task.name} exists: give this one another --name, or --replace it."
            )
        bases = plugins.bases
        if adapter.manifest:
            if labels:
                raise AdapterError(f"{source}: its nlptasks.json has its labels: import it without --labels.")
            notes = _check_known(adapter, model, settings, bases)
            manifest = adapter.manifest.model_copy(update={"name": new_name, "task": target_task.name})
        else:
            base = _base(adapter, model, settings, bases, on_progress)
            manifest, notes = _described(adapter, target_task, new_name, labels, base)
        with writing(target) as staging:
            copy_files(folder, staging)
            (staging / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return Imported(open_adapter(target), target_task.name, tuple(notes))


def _task(adapter: AdapterFolder, named: str | None, plugins: Plugins) -> AnyTask:
    """The task that the adapter is imported for."""
    manifest = adapter.manifest
    if named is None and manifest is None:
        raise AdapterError(f"{adapter.path.name}: it has no {MANIFEST} that names its task: name it with --task TASK.")
    task = plugins.task(named or (manifest.task if manifest else ""))
    if manifest and manifest.family != task.family:
        raise AdapterError(f"Adapter {adapter.name!r} was trained for {manifest.task}, expected one for {task.name}.")
    return task


def _base(
    adapter: AdapterFolder,
    model: str | None,
    settings: Settings,
    bases: Any,
    on_progress: ProgressCallback | None = None,
) -> BaseFolder:
    if not (model or adapter.base_id):
        raise AdapterError(
            f"{adapter.path.name}: it does not name the base that it was trained on: name it with --model."
        )
    return find_base(model or adapter.base_id, settings, on_progress=on_progress, shipped=bases)


def _check_known(adapter: AdapterFolder, model: str | None, settings: Settings, bases: Any) -> list[str]:
    """Compare fingerprints if the base is on this machine; no base is fetched only to compare."""
    try:
        base = _base(adapter, model, settings if model else dataclasses.replace(settings, offline=True), bases)
    except NlptasksError:
        if model:
            raise
        return [f"its base {adapter.base_id} is not on this machine yet and is compared when the adapter is first used"]
    check_base(adapter, base.id, base.path)
    return []


def _described(
    adapter: AdapterFolder, task: AnyTask, name: str, labels: Sequence[str] | None, base: BaseFolder
) -> tuple[Manifest, list[str]]:
    """The manifest for another tool's folder, and notes on what was inferred."""
    check_base(adapter, base.id, base.path)
    verb = task.verb or "generate"
    if adapter.peft_verb not in (None, verb):
        raise AdapterError(
            f"{adapter.path.name}: expected an adapter for {verb}, as {task.name} needs, "
            f"found one for {adapter.peft_verb}."
        )
    config = json.loads((base.path / "config.json").read_text(encoding="utf-8"))
    names, notes = _labels(adapter, task, verb, labels, config)
    manifest = Manifest(
        name=name,
        task=task.name,
        family=task.family,
        verb=verb,
        base=BaseReference(
            id=base.id,
            revision=base.revision,
            fingerprint=fingerprint(base.path),
            model_type=config["model_type"],
            hidden_size=config.get("hidden_size"),
        ),
        labels=names,
        multi_label=bool(getattr(task, "multi_label", False)),
    )
    return manifest, notes


def _labels(
    adapter: AdapterFolder, task: AnyTask, verb: str, names: Sequence[str] | None, config: dict[str, Any]
) -> tuple[tuple[str, ...] | None, list[str]]:
    """The names of a head's outputs: `names`, else the base's, else the task's if they are as many."""
    if verb not in ("classify", "tag"):
        return None, []
    count = head_outputs(adapter)
    if names:
        if len(names) != count:
            raise AdapterError(
                f"--labels: expected {count} names, as many as the head has outputs, found {len(names)}."
            )
        return tuple(names), []
    of_base = {int(number): str(label) for number, label in (config.get("id2label") or {}).items()}
    if len(of_base) == count and any(label != f"LABEL_{number}" for number, label in of_base.items()):
        return tuple(of_base[number] for number in sorted(of_base)), []
    tags = getattr(task, "tags", None)
    known = tuple(tags()) if tags else tuple(getattr(task, "labels", ()))
    if len(known) != count:
        raise AdapterError(
            f"{adapter.path.name}: expected names for the {count} outputs of its head, found none: "
            "name them with --labels A,B,..., in the order of the outputs."
        )
    return known, [f"its outputs are taken to be {', '.join(known)}, in this order; --labels sets others"]
