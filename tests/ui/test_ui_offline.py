"""With the network cut, the app and all six tasks work from the cache, and the browser asks nobody but the app."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from nlptasks.settings import Settings
from nlptasks.store.download import find_base
from tests.ui_browser import CHROMIUM

pytestmark = [pytest.mark.embedded, pytest.mark.browser, pytest.mark.full]

ROOT = Path(__file__).parents[2]
OWN_NETWORK = ["unshare", "--net", *(["--map-root-user"] if hasattr(os, "geteuid") and os.geteuid() else [])]


@pytest.fixture(scope="module")
def told(embedded_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/ui/offline_app.py saw in a namespace without a network."""
    pytest.importorskip("playwright", reason="browser tests need pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt install chromium, or put one on PATH")
    if shutil.which("unshare") is None or subprocess.run([*OWN_NETWORK, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody make a network namespace here: unshare --net is refused")
    for base in ("minilm", "smollm2"):
        find_base(base, embedded_settings)
    folder = tmp_path_factory.mktemp("offline")
    # Nothing tells the app that there is no network: it must find out, and not wait for it.
    own = {"NLPTASKS_DATA": str(folder / "data"), "GRADIO_TEMP_DIR": str(folder / "files"), "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if "OFFLINE" not in name and "PROFILE" not in name}
    program = [*OWN_NETWORK, sys.executable, "-m", "tests.ui.offline_app"]
    done = subprocess.run(program, cwd=ROOT, env={**kept, **own}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_network_is_cut(told: dict[str, Any]) -> None:
    assert "Network is unreachable" in told["cut"]


def test_all_six_tasks_answer_from_the_cache(told: dict[str, Any]) -> None:
    answers = told["answers"]
    assert answers["sentiment"]["label"] == "positive"
    assert [entity["text"] for entity in answers["ner"]["entities"]] == ["Ada Lovelace", "Charles Babbage", "London"]
    assert answers["qa"]["text"] == "Ada Holm"
    assert "library" in answers["summarization"]["summary"]
    assert "gare" in answers["translation"]["translation"]
    assert (answers["generation"]["text"] != "", answers["generation"]["num_generated_tokens"]) == (True, 12)
    models = {task: answer["model"] for task, answer in answers.items()}
    assert models == {
        **dict.fromkeys(("sentiment", "ner", "qa"), "minilm"),
        **dict.fromkeys(("summarization", "generation"), "smollm2"),
        "translation": "translator",
    }


def test_every_page_opens(told: dict[str, Any]) -> None:
    assert told["pages"][0] == "nlptasks"
    assert {"Sentiment", "NER", "QA", "Summarization", "Translation", "Generation"} < set(told["pages"])
    assert {"Chat", "Batch", "Status"} < set(told["pages"])


def test_the_browser_asks_nobody_but_the_app(told: dict[str, Any]) -> None:
    asked = {(urlsplit(url).scheme, urlsplit(url).hostname) for url in told["asked"]}
    assert len(told["asked"]) > 100
    assert asked - {("data", None), ("blob", None)} == {("http", "127.0.0.1")}
