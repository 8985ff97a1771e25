"""No engine opens a connection: neither OpenVINO's telemetry nor GenAI's, nor CTranslate2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.embedded, pytest.mark.full]

PROGRAM = """
import sys

opened = []
sys.addaudithook(lambda event, details: opened.append((event, details)) if event in WATCHED else None)
WATCHED = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"}

import nlptasks

print(nlptasks.run("sentiment", "A fine day.").label)
print(nlptasks.run("generation", "One, two,", max_new_tokens=2).text)
print(nlptasks.run("translation", "Good day.", target_language="fr").translation)
assert not opened, opened
"""


def test_engines_open_no_connection(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Telemetry would write the file of its consent into the home folder, and call out from a process of its own."""
    home = tmp_path / "home"
    home.mkdir()
    settings = {name: value for name, value in os.environ.items() if name != "NLPTASKS_BACKEND"}
    # Without a network at all where the system lets a process have none.
    alone = ["unshare", "--net", "--map-root-user"]
    prefix = alone if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0 else []
    cache = os.environ.get("NLPTASKS_CACHE") or str(Path("~/.cache/nlptasks").expanduser())
    run = subprocess.run(
        [*prefix, sys.executable, "-c", PROGRAM],
        env={**settings, "HOME": str(home), "NLPTASKS_CACHE": cache},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert len(run.stdout.splitlines()) >= 3
    assert not [path for path in home.rglob("*") if "intel" in str(path).lower() or "openvino" in str(path).lower()]
