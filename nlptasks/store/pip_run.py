"""One run of pip in its own process, followed line by line and ended early when no index answers."""

from __future__ import annotations

import importlib.metadata
import os
import queue
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

from nlptasks.store.sources import PROBE_SECONDS, Probe, Progress, ProgressCallback, SourceError, bytes_under

# For a host that accepts the connection and sends nothing; pip's own limit may be minutes (PIP_DEFAULT_TIMEOUT).
_ANSWER_SECONDS = 20.0
_TICK_SECONDS = 0.1

# What pip prints with -vv. If a later pip words it otherwise, progress and the reasons in errors are less precise.
_CONNECT = re.compile(r"Starting new (HTTPS?) connection \(\d+\): (\S+)")
_ANSWER = re.compile(r'"(?:GET|HEAD) \S+ HTTP/[\d.]+" \d+')
_SKIPPED = re.compile(r"Could not fetch URL \S+: (.*?)(?: - skipping)?$")
_RAW_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_ERROR = re.compile(r"ERROR: (.*)")


class PipRun:
    """Runs `python -m pip` with the user's index, proxy, certificates and other pip settings.

    With `limit`, the whole run takes at most that many seconds. `lines` is pip's output, `find_links` whether
    it also searched local folders.
    """

    def __init__(self, folder: Path, label: str, report: ProgressCallback, *, limit: float | None = None) -> None:
        self.lines: list[str] = []
        self.find_links = False
        self._folder = folder
        self._label = label
        self._report = report
        self._end = None if limit is None else time.monotonic() + limit
        self._probe: Probe | None = None
        self._connected = self._answered = False
        self._connected_at = 0.0
        self._reason = ""
        self._raw = _pip_version() >= (24, 1)

    @property
    def progress_bar(self) -> str:
        """The name of the progress bar that this pip writes to a pipe."""
        return "raw" if self._raw else "off"

    def run(self, *arguments: str) -> None:
        """Run pip to its end.

        Raises:
            SourceError: pip failed, or was ended because nothing answered.
        """
        flags = ("-vv", "--no-input", "--disable-pip-version-check", "--retries", "0")
        process = subprocess.Popen(
            # -P: a pip.py in the current folder must not run. The folder itself stays, for relative find-links.
            [sys.executable, "-P", "-m", "pip", *arguments, *flags],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        try:
            self._follow(process)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            reason = self._reason or (self.lines[-1] if self.lines else f"pip ended with code {process.returncode}")
            raise SourceError(reason, unreachable=self._connected and not self._answered)

    def _environment(self) -> dict[str, str]:
        # Without what would change the output, or refuse a download that installs nothing.
        dropped = {"PIP_QUIET", "PIP_VERBOSE", "PIP_REQUIRE_VIRTUALENV"}
        env = {name: value for name, value in os.environ.items() if name not in dropped}
        # The next run cleans up pip's unfinished file here.
        scratch = self._folder / "tmp"
        scratch.mkdir(exist_ok=True)
        return env | {"TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch), "PYTHONIOENCODING": "utf-8"}

    def _follow(self, process: subprocess.Popen[str]) -> None:
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read_lines, args=(process, lines), name="nlptasks-pip", daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                if not self._raw:
                    self._report(Progress(self._label, bytes_under(self._folder), None))
            else:
                if line is None:
                    process.wait()
                    return
                self._read(line.strip())
            self._give_up_if_silent()

    def _read(self, line: str) -> None:
        if match := _RAW_PROGRESS.fullmatch(line):
            self._report(Progress(self._label, int(match[1]), int(match[2]) or None))
            return
        if line:
            self.lines.append(line)
        if line.startswith("Looking in links:"):
            self.find_links = True
        elif match := _CONNECT.search(line):
            self._connected = True
            if not self._answered:
                self._connected_at = time.monotonic()
                self._probe = Probe(f"{match[1].lower()}://{match[2]}", proxy=_pip_proxy())
        elif _ANSWER.search(line):
            self._answered, self._probe = True, None
        elif match := _SKIPPED.search(line):
            self._reason, self._probe = match[1], None
        elif (match := _ERROR.match(line)) and not self._reason:
            self._reason = match[1]

    def _give_up_if_silent(self) -> None:
        now = time.monotonic()
        if self._end is not None and now > self._end:
            raise SourceError("no answer in time", unreachable=True)
        if self._probe is None:
            return
        waited = now - self._connected_at
        # Not sooner: after a refused connection pip itself goes on to the next index.
        if waited > PROBE_SECONDS and (reason := self._probe.failure()) is not None:
            raise SourceError(reason, unreachable=True)
        if waited > _ANSWER_SECONDS:
            raise SourceError(f"the index did not answer within {_ANSWER_SECONDS:g} s", unreachable=True)


def _pip_version() -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in re.findall(r"\d+", importlib.metadata.version("pip"))[:2])
    except importlib.metadata.PackageNotFoundError:
        raise SourceError("pip is not installed in this environment: run python -m ensurepip") from None


def _read_lines(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _pip_proxy() -> str | None:
    """The proxy in pip's own settings, which comes before the environment's."""
    command = [sys.executable, "-P", "-m", "pip", "config", "list"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=1, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^\S*\.proxy='?([^'\n]+)", listed, re.MULTILINE)
    return match[1] if match else None
