"""Weights from the Hugging Face Hub, or from the mirror that HF_ENDPOINT names; safetensors only."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.errors import DownloadError, OfflineError, UnsafeWeightsError, UnsupportedModelError
from nlptasks.store.catalog import HubSource
from nlptasks.store.folders import check_shards, check_weights
from nlptasks.store.sources import Probe, Progress, ProgressCallback, SourceError, bytes_under

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

_TICK_SECONDS = 0.1
_METADATA_SECONDS = 5.0
# Of the top folder only: repositories keep exports for other runtimes below it.
_WANTED = ("model*.safetensors", "*.json", "*.txt", "*.model", "*.spm", "*.jinja", "*.tiktoken", "LICENSE*")
_UNWANTED = ("*/*", "model.*.safetensors")

CONVERTER = "SFconvertbot"
"""The Hub's account that offers pickled weights as safetensors in a pull request, which few owners ever merge."""


def endpoint() -> str:
    """The address of the Hub: HF_ENDPOINT as it stands now, else the library's default."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def fetch_hub(
    source: HubSource, weights: str, staging: Path, probe: Probe, label: str, report: ProgressCallback
) -> Path:
    """Fetch a catalog base from the Hub into the staging folder; files that an earlier attempt finished are kept.

    Raises:
        SourceError: the Hub cannot be reached, or has no such repository, revision or file.
    """
    if reason := probe.failure():
        raise SourceError(reason, unreachable=True)
    target = staging / "hub"
    info = _info(source.repo, source.revision)
    if weights not in _sizes(info):
        raise SourceError(f"the repository has no {weights}")
    # A GGUF contains its config and tokenizer.
    wanted = [glob.escape(weights)] if weights.endswith(".gguf") else _WANTED
    _snapshot(info, source.revision, wanted, target, label, report, local=target)
    shutil.rmtree(target / ".cache", ignore_errors=True)
    return target


def check_hub(source: HubSource, timeout: float) -> str | None:
    """Ask the Hub for the repository without fetching it: None when it is there, else why not."""
    if reason := Probe(endpoint(), timeout=timeout).failure():
        return reason
    try:
        _info(source.repo, source.revision, timeout=timeout)
    except SourceError as error:
        return str(error)
    return None


def find_snapshot(
    repo: str,
    revision: str | None,
    *,
    offline: bool,
    label: str,
    report: ProgressCallback,
    patience: float | None = None,
) -> tuple[Path, str]:
    """Find ORG/NAME in the Hugging Face cache, after bringing it up to date when the Hub answers.

    `patience` bounds the seconds until the Hub's answer; a connection alone may take `PROBE_SECONDS` of them.

    Returns:
        The folder and its commit.

    Raises:
        OfflineError: it is not in the cache, and the network is off or the Hub unreachable.
        DownloadError: the Hub has no such repository or revision, or the download broke.
        UnsafeWeightsError: there are weights, but only in pickle formats.
        UnsupportedModelError: there are no weights that transformers can load.
    """
    reason: str | None = "the network is off (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set)"
    if not offline:
        start = time.monotonic()
        reason = Probe(endpoint()).failure()
        if reason is None:
            left = _METADATA_SECONDS if patience is None else max(0.1, patience - (time.monotonic() - start))
            try:
                return _online(repo, revision, label, report, left)
            except SourceError as error:
                if not error.unreachable:
                    raise DownloadError(f"Base model {label!r} could not be fetched from the Hub: {error}.") from error
                reason = str(error)
    if (cached := _cached(repo, revision)) is not None:
        return cached
    raise OfflineError(
        f"Base model {label!r} is not whole in the Hugging Face cache and {reason}: "
        f"run `nlptasks models pull {label}` while online."
    )


def _online(repo: str, revision: str | None, label: str, report: ProgressCallback, timeout: float) -> tuple[Path, str]:
    info = _info(repo, revision, timeout)
    try:
        # Before a byte is fetched: pickled weights are of no use here.
        check_weights(f"The Hub repository {repo}", _sizes(info))
    except UnsafeWeightsError:
        if revision or (converted := _converted(repo)) is None:
            raise
        return _online(repo, converted, label, report, timeout)
    path = _snapshot(info, revision, _WANTED, _cache_of(repo) / "blobs", label, report)
    check_shards(f"The Hub repository {repo}", path)
    return path, path.name


def _converted(repo: str) -> str | None:
    """The revision at which the Hub's converter offers a repository's weights as safetensors, or None."""
    from huggingface_hub import HfApi

    try:
        offers = HfApi(endpoint=endpoint()).get_repo_discussions(
            repo, author=CONVERTER, discussion_type="pull_request", discussion_status="open"
        )
        return next((f"refs/pr/{offer.num}" for offer in offers if offer.author == CONVERTER), None)
    # As in `_info`. Without an answer the weights count as pickled.
    except Exception:
        return None


def _cache_of(repo: str) -> Path:
    """Where the Hugging Face cache has a repository."""
    from huggingface_hub import constants, file_download

    return Path(constants.HF_HUB_CACHE) / file_download.repo_folder_name(repo_id=repo, repo_type="model")


def _cached(repo: str, revision: str | None) -> tuple[Path, str] | None:
    """The folder and commit of a revision in the cache; without one the converter's offer, else the main branch."""
    offers = sorted((_cache_of(repo) / "refs" / "refs" / "pr").glob("*"))
    revisions = [revision] if revision else [*(f"refs/pr/{offer.name}" for offer in offers), None]
    return next(filter(None, (_cached_revision(repo, each) for each in revisions)), None)


def _cached_revision(repo: str, revision: str | None) -> tuple[Path, str] | None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = _download(repo, revision, _WANTED, local_files_only=True)
        what = f"The cached repository {repo}"
        check_weights(what, [file.name for file in path.iterdir()])
        check_shards(what, path)
    except (LocalEntryNotFoundError, UnsupportedModelError):
        return None
    return path, path.name


def _info(repo: str, revision: str | None, timeout: float = _METADATA_SECONDS) -> ModelInfo:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    address = endpoint()
    try:
        return HfApi(endpoint=address).model_info(repo, revision=revision, timeout=timeout, files_metadata=True)
    except GatedRepoError as error:
        raise SourceError(f"{repo} is gated; accept its licence on its page and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise SourceError(f"{address} has no repository {repo}, or it is private and HF_TOKEN is not set") from error
    except RevisionNotFoundError as error:
        raise SourceError(f"{repo} has no revision {revision!r}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise SourceError(f"{address} answered with status {status}", unreachable=status >= 500) from error
    # The HTTP library under huggingface_hub changed from release to release, and its errors share no base class.
    except Exception as error:
        raise SourceError(f"{address}: {type(error).__name__}: {error}", unreachable=True) from error


def _sizes(info: ModelInfo) -> dict[str, int]:
    return {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _download(repo: str, revision: str | None, wanted: Sequence[str], **options: Any) -> Path:
    from huggingface_hub import snapshot_download

    options |= {"allow_patterns": list(wanted), "ignore_patterns": list(_UNWANTED)}
    return Path(snapshot_download(repo, revision=revision, **options))


def _snapshot(
    info: ModelInfo,
    revision: str | None,
    wanted: Sequence[str],
    watched: Path,
    label: str,
    report: ProgressCallback,
    *,
    local: Path | None = None,
) -> Path:
    """Run snapshot_download on a thread and report the bytes on disk from this one."""
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    sizes = _sizes(info)
    names = filter_repo_objects(sizes, allow_patterns=list(wanted), ignore_patterns=list(_UNWANTED))
    total = sum(sizes[name] for name in names) or None
    outcome: list[Path | Exception] = []

    def fetch() -> Path:
        return _download(info.id, revision, wanted, local_dir=local, endpoint=endpoint())

    def work() -> None:
        # huggingface_hub 1.x does not resume after a broken connection by itself, but does at a second call.
        # The calling thread turns its error into a reason.
        try:
            try:
                outcome.append(fetch())
            except Exception:
                outcome.append(fetch())
        except Exception as error:
            outcome.append(error)

    with _no_bars():
        worker = threading.Thread(target=work, name="nlptasks-hub", daemon=True)
        worker.start()
        while worker.is_alive():
            fetched = bytes_under(watched)
            report(Progress(f"{label}: downloading", fetched if total is None else min(fetched, total), total))
            worker.join(_TICK_SECONDS)
    result = outcome[0]
    if isinstance(result, Exception):
        first_line = str(result).strip().partition("\n")[0]
        raise SourceError(f"the download broke ({type(result).__name__}: {first_line})")
    return result


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
