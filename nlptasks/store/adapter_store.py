"""The user's adapters: one folder each under `<data>/adapters/<task>/<name>`, written atomically."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nlptasks.errors import AdapterError, DownloadError, NlptasksError, OfflineError, UnknownNameError
from nlptasks.settings import Settings
from nlptasks.store.adapters import FILES, MANIFEST, PEFT_CONFIG, AdapterFolder, open_adapter
from nlptasks.store.archives import copy_files
from nlptasks.store.folders import existing_folder, sync
from nlptasks.store.hub import endpoint
from nlptasks.store.sources import Probe

_NAME = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?:@[\w./-]+)?")
_STAGING = ".writing-"


def check_name(name: str) -> str:
    """Return a valid adapter name; raises AdapterError with the rule otherwise."""
    if not _NAME.fullmatch(name):
        raise AdapterError(f"Adapter name: expected lower-case letters, digits, - and _, found {name!r}.")
    return name


class AdapterStore:
    """Finds, lists, writes and removes the user's adapters."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.adapters

    def folder(self, task: str, name: str) -> Path:
        """Where an adapter of this name lives, whether or not it exists."""
        return self._root / task / check_name(name)

    def find(self, task: str, name: str) -> AdapterFolder:
        """An adapter by folder, by name in the store, or by Hub id `ORG/NAME[@revision]`, in this order.

        Raises:
            UnknownNameError: no such adapter; names the near miss.
            OfflineError: a Hub id that is not cached while the network is off.
        """
        path = existing_folder(name)
        if path and (os.sep in name or (path / PEFT_CONFIG).is_file()):
            return open_adapter(path)
        if _NAME.fullmatch(name) and (self._root / task / name).is_dir():
            return open_adapter(self._root / task / name)
        if _HUB_ID.fullmatch(name) and not name.startswith((".", "/", "~")):
            return open_adapter(self._from_hub(name))
        raise UnknownNameError("adapter", name, self.names(task), hint="A folder or a Hub id ORG/NAME works too.")

    def names(self, task: str) -> list[str]:
        """Names of the whole adapters of a task."""
        return [adapter.path.name for adapter in self.list(task)]

    def tasks(self) -> list[str]:
        """The tasks that have adapters, installed or not."""
        return sorted(path.name for path in self._root.glob("[!.]*") if path.is_dir())

    def list(self, task: str | None = None) -> list[AdapterFolder]:
        """All readable adapters, by task and name; `faults` has the others, half-written ones are hidden."""
        return [each for each in self._opened(task).values() if isinstance(each, AdapterFolder)]

    def faults(self, task: str | None = None) -> dict[Path, str]:
        """What is wrong with each folder of the store that cannot be read, in one line."""
        opened = self._opened(task).items()
        return {path: " ".join(str(each).split()) for path, each in opened if isinstance(each, NlptasksError)}

    def _opened(self, task: str | None) -> dict[Path, AdapterFolder | NlptasksError]:
        opened: dict[Path, AdapterFolder | NlptasksError] = {}
        for path in sorted(self._root.glob(f"{task or '*'}/[!.]*")):
            try:
                opened[path] = open_adapter(path)
            except NlptasksError as error:
                opened[path] = error
        return opened

    def remove(self, task: str, name: str) -> None:
        """Delete an adapter of the store; raises UnknownNameError if there is none."""
        path = self.existing(task, name)
        # Renamed first: a killed removal leaves a hidden folder, not half an adapter.
        doomed = Path(tempfile.mkdtemp(prefix=_STAGING, dir=path.parent))
        path.rename(doomed / name)
        shutil.rmtree(doomed)

    def rename(self, task: str, name: str, new: str) -> AdapterFolder:
        """Give an adapter of the store another name; a killed renaming leaves it under both.

        Raises:
            AdapterError: `new` is no name, or taken.
            UnknownNameError: there is no adapter of this name.
        """
        path, target = self.existing(task, name), self.folder(task, new)
        if target.exists():
            raise AdapterError(f"An adapter {new!r} for {task} exists: choose another name.")
        manifest = open_adapter(path).manifest
        with writing(target) as staging:
            copy_files(path, staging)
            if manifest:
                text = manifest.model_copy(update={"name": new}).model_dump_json(indent=2)
                (staging / MANIFEST).write_text(text + "\n", encoding="utf-8")
        self.remove(task, name)
        return open_adapter(target)

    def existing(self, task: str, name: str) -> Path:
        """The folder of an adapter of the store, readable or not; raises UnknownNameError if there is none."""
        path = self._root / task / name
        if task not in self.tasks() or not _NAME.fullmatch(name) or not path.is_dir():
            raise UnknownNameError("adapter", name, self.names(task) if task in self.tasks() else ())
        return path

    def _from_hub(self, name: str) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        repo, _, revision = name.partition("@")
        # The library itself would try for a long time; a probe of the address ends sooner when the network is cut.
        unreachable = self._settings.offline or Probe(endpoint()).failure() is not None
        try:
            folder = snapshot_download(
                repo,
                revision=revision or None,
                allow_patterns=list(FILES),
                local_files_only=unreachable,
                endpoint=endpoint(),
            )
        except LocalEntryNotFoundError as error:
            raise OfflineError(
                f"Adapter {name} is not in the cache and the network is off or the Hub cannot be reached: "
                "go online once, or give the folder of a copy."
            ) from error
        except Exception as error:
            raise DownloadError(f"Adapter {name}: the Hub did not deliver it ({error}).") from error
        return Path(folder)


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """A staging folder that becomes `target` in one rename when the block ends without an error.

    A killed process leaves only a hidden staging folder, which the next write removes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f"{_STAGING}{target.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f"{_STAGING}{target.name}-", dir=target.parent))
    try:
        yield staging
        sync(staging)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=_STAGING, dir=target.parent))
            target.rename(old / "old")
            staging.rename(target)
            shutil.rmtree(old)
        else:
            staging.rename(target)
        target.chmod(0o755)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
