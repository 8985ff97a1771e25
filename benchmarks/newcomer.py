"""A newcomer's path, timed: clone, `make ui` in the new folder, the app in a browser, a first answer on the page.

    python benchmarks/newcomer.py [REPOSITORY] [--empty-cache]

Clones the repository (by default this checkout, with what is committed) into a folder that is deleted at the end.
Packages come from pip's own index and cache; `--empty-cache` gives pip and nlptasks caches that are empty, so that
all packages and the base are downloaded. The browser is a Chromium of the system, driven from the environment that runs
this: `pip install playwright`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PATIENCE = 1200
"""Seconds for all installation."""


class Watch:
    """Prints how long each step took."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()

    def step(self, message: str) -> None:
        now = time.monotonic()
        print(f"{message:48} {now - self.last:7.1f} s   together {now - self.start:7.1f} s", flush=True)
        self.last = now


def main() -> None:
    """Walk the path once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("repository", nargs="?", default=str(Path(__file__).parents[1]))
    parser.add_argument("--empty-cache", action="store_true", help="download everything anew")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Expected a chromium on PATH, found none: apt install chromium.")
    with tempfile.TemporaryDirectory() as room:
        folder, env = Path(room, "clone"), environment(Path(room), arguments.empty_cache)
        watch = Watch()
        subprocess.run(["git", "clone", "--quiet", arguments.repository, str(folder)], check=True)
        watch.step("git clone")
        with running(folder, env, watch) as url:
            look(url, chromium, watch)


def environment(room: Path, empty: bool) -> Mapping[str, str]:
    """The user's own, without the environment that runs this, and with data of its own."""
    variables = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    variables["NLPTASKS_DATA"] = str(room / "data")
    if empty:
        variables |= {"PIP_CACHE_DIR": str(room / "pip"), "NLPTASKS_CACHE": str(room / "bases")}
    return variables


@contextmanager
def running(folder: Path, env: Mapping[str, str], watch: Watch) -> Iterator[str]:
    """The address of the app that `make ui` serves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    make = subprocess.Popen(["make", "ui", f"ARGS=--port {port}"], cwd=folder, env=env, start_new_session=True)
    try:
        seen = False
        while not answers(port):
            if make.poll() is not None or time.monotonic() - watch.start > PATIENCE:
                raise SystemExit("Expected `make ui` to serve the app, found that it does not: see above.")
            if not seen and (folder / ".venv" / ".ui").exists():
                seen = True
                watch.step("make ui: environment and packages")
            time.sleep(0.1)
        watch.step("make ui: the app answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(make.pid, signal.SIGINT)
        make.wait(30)


def answers(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def look(url: str, chromium: str, watch: Watch) -> None:
    """Open the start page, go to sentiment, take an example, and wait for the answer."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page()
        page.goto(url)
        page.locator(".nlp-card", has_text="Sentiment").click()
        page.locator("#run-sentiment").wait_for()
        watch.step("the app open in a browser, on a task's page")
        page.locator(".nlp-examples button").first.click()
        page.wait_for_function("document.querySelector('.nlp-form textarea').value")
        page.click("#run-sentiment")
        headline = page.locator("#view-sentiment .nlp-headline")
        headline.wait_for(timeout=600_000)
        watch.step(f"first answer: {headline.inner_text()}")
        browser.close()


if __name__ == "__main__":
    main()
