"""Export and import of adapters, as a standard PEFT folder or as one archive of it.

A folder that another tool wrote has no `nlptasks.json`. It is written on import from the adapter's and the base's
configuration; an error names what is missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.errors import AdapterError, NlptasksError, clip
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore, check_name, writing
from nlptasks.store.adapters import (
    MANIFEST,
    PEFT_CONFIG,
    AdapterFolder,
    BaseReference,
    Manifest,
    config_labels,
    head_outputs,
    open_adapter,
)
from nlptasks.store.archives import copy_files, opened, pack
from nlptasks.store.base_check import check_base
from nlptasks.store.catalog import CATALOG
from nlptasks.store.download import BaseFolder, cached_bases, find_base
from nlptasks.store.folders import existing_folder
from nlptasks.store.sources import ProgressCallback
from nlptasks.store.weights import fingerprint

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
    if target.suffix != ".zip":
        with writing(target) as staging:
            copy_files(adapter.path, staging)
            _hide_path(adapter, staging)
        return target
    with tempfile.TemporaryDirectory(prefix="nlptasks-export-") as scratch:
        copy_files(adapter.path, Path(scratch))
        _hide_path(adapter, Path(scratch))
        pack(Path(scratch), target)
    return target


def _hide_path(adapter: AdapterFolder, folder: Path) -> None:
    """Name a base that is a folder by its last part only: on another machine it has another path."""
    base = Path(adapter.base_id)
    if not base.is_absolute():
        return
    for name in (MANIFEST, PEFT_CONFIG, "README.md"):
        if (folder / name).is_file():
            text = (folder / name).read_text(encoding="utf-8")
            for path in (json.dumps(str(base))[1:-1], str(base)):
                text = text.replace(path, base.name)
            (folder / name).write_text(text, encoding="utf-8")


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
        target_task = _task(adapter, task, plugins)
        new_name = check_name(name or (adapter.name if adapter.manifest else source.stem.lower()))
        target = AdapterStore(settings).folder(target_task.name, new_name)
        if target.exists() and not replace:
            raise AdapterError(
                f"An adapter {new_name!r} for {target_task.name} exists: give this one another --name, or --replace it."
            )
        bases = plugins.bases
        if adapter.manifest:
            if labels and adapter.labels:
                raise AdapterError(f"{source}: its nlptasks.json has its labels: import it without --labels.")
            reference, notes = _check_known(adapter, model, settings, bases)
            manifest = adapter.manifest.model_copy(
                update={"name": new_name, "task": target_task.name, "base": reference}
            )
            named, more = name_outputs(adapter, target_task, dict, labels)
            if named.labels and target_task.verb in ("classify", "tag"):
                manifest = manifest.model_copy(update={"labels": named.labels})
            notes += more
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


def base_of(adapter: AdapterFolder, settings: Settings, shipped: Mapping[str, Path]) -> str:
    """The name of an adapter's base on this machine, "" if it names none.

    A folder has another path on another machine: its place is taken by a base with the adapter's fingerprint, if this
    machine's cache, its plugins or other adapters know one.
    """
    name = adapter.base_id
    if not adapter.manifest or ("/" in name and not Path(name).is_absolute()) or name in {*CATALOG, *shipped}:
        return name
    if existing_folder(name):
        return name
    others = (each.base_id for each in AdapterStore(settings).list() if Path(each.base_id).is_absolute())
    for other in dict.fromkeys((*(base.name for base in cached_bases(settings)), *shipped, *others)):
        with contextlib.suppress(NlptasksError, OSError):
            base = find_base(other, dataclasses.replace(settings, offline=True), shipped=shipped)
            if fingerprint(base.path) == adapter.manifest.base.fingerprint:
                return base.id
    return name


def _base(
    adapter: AdapterFolder,
    model: str | None,
    settings: Settings,
    bases: Any,
    on_progress: ProgressCallback | None = None,
) -> BaseFolder:
    name = model or base_of(adapter, settings, bases)
    if not name:
        raise AdapterError(
            f"{adapter.path.name}: it does not name the base that it was trained on: name it with --model."
        )
    return find_base(name, settings, on_progress=on_progress, shipped=bases)


def _check_known(
    adapter: AdapterFolder, model: str | None, settings: Settings, bases: Any
) -> tuple[BaseReference, list[str]]:
    """The base as this machine knows it, its fingerprint compared, and notes; none is fetched only to compare."""
    assert adapter.manifest
    trained = adapter.manifest.base
    try:
        base = _base(adapter, model, settings if model else dataclasses.replace(settings, offline=True), bases)
    except NlptasksError:
        if model:
            raise
        return trained, [
            f"its base {trained.id} is not on this machine yet and is compared when the adapter is first used"
            + ("; if it is a folder, name it with --model" if "/" not in trained.id.strip("/") else "")
        ]
    check_base(adapter, base.id, base.path)
    if base.id != trained.id:
        trained = trained.model_copy(update={"id": base.id, "revision": base.revision})
    return trained, []


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
    config = read_config(base)
    adapter, notes = name_outputs(adapter, task, lambda: config, labels)
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
        labels=adapter.labels if verb in ("classify", "tag") else None,
        multi_label=bool(getattr(task, "multi_label", False)),
    )
    return manifest, notes


def read_config(base: BaseFolder) -> dict[str, Any]:
    """A base's `config.json`."""
    config: dict[str, Any] = json.loads((base.path / "config.json").read_text(encoding="utf-8"))
    return config


def name_outputs(
    adapter: AdapterFolder, task: AnyTask, config: Callable[[], Mapping[str, Any]], names: Sequence[str] | None = None
) -> tuple[AdapterFolder, list[str]]:
    """The adapter with the names of its head's outputs, and notes: `names`, else those in its own files, else the
    base's, else the task's if they are as many. A head whose outputs have no names stays as it is.

    Args:
        adapter: an adapter.
        task: the task that it is for.
        config: gives the base's configuration; called only if it is needed.
        names: names in the order of the outputs.

    Raises:
        AdapterError: there are no names, or another number of them than the head has outputs.
    """
    verb = task.verb
    if verb not in ("classify", "tag") or (adapter.labels and not names):
        return adapter, []
    count = head_outputs(adapter)
    if names and len(names) != count:
        raise AdapterError(f"--labels: expected {count} names, as many as the head has outputs, found {len(names)}.")
    of_base = config_labels(config().get("id2label")) if not names else None
    if of_base and len(of_base) == count:
        names = of_base
    if names:
        return dataclasses.replace(adapter, labels=tuple(names)), []
    tags = getattr(task, "tags", None)
    known = tuple(tags()) if tags else tuple(getattr(task, "labels", ()))
    if len(known) != count:
        listed = f" ({clip(', '.join(known))})" if known else ""
        raise AdapterError(
            f"{adapter.path.name}: expected names for the {count} outputs of its head, found none, and {task.name} has "
            f"{len(known)} labels{listed}: name them, in the order of the outputs, "
            f"with `nlptasks adapters import FOLDER --task {task.name} --labels A,B,...`."
        )
    note = f"its outputs are taken to be {', '.join(known)}, in this order; --labels sets others"
    return dataclasses.replace(adapter, labels=known), [note]
