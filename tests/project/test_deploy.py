"""The container's steps, taken from its file; where no builder exists they run in a folder and a fresh environment."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("/var/lib/nlptasks", "/src")
"""The folders of the image that its steps write to."""

USER = 10001


def instructions() -> Iterator[tuple[str, str]]:
    """The instructions of the container's file with their arguments."""
    text = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            yield name, " ".join(rest.split())


def test_the_server_in_a_container_has_no_rights_and_needs_a_key() -> None:
    steps = list(instructions())
    assert [rest for name, rest in steps if name == "USER"] == [str(USER)]
    users = [index for index, (name, _) in enumerate(steps) if name == "USER"]
    assert all(name != "COPY" for name, _ in steps[users[0] :])
    assert dict(steps)["ENTRYPOINT"] == '["nlptasks", "serve"]'
    environment = next(rest for name, rest in steps if name == "ENV")
    assert "NLPTASKS_SERVE_HOST=0.0.0.0" in environment
    assert "API_KEY" not in environment
    compose = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    for line in ("read_only: true", "cap_drop: [ALL]", "${NLPTASKS_API_KEY:?", '"127.0.0.1:8000:8000"'):
        assert line in compose


def others_run(program: str) -> bool:
    """Whether users other than its owner may run a program: it and all folders above it are open to them."""
    path = Path(program).resolve()
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


class Image:
    """A folder in which the steps of the container's file are taken one by one."""

    def __init__(self, folder: Path, **arguments: str) -> None:
        self.folder, self.arguments = folder, arguments
        self.cwd, self.user, self.entry = folder, 0, [""]
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        self.env = {"PATH": f"{folder}/venv/bin:{os.environ['PATH']}", "HOME": str(folder / "home")}
        self.env |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        (folder / "home").mkdir(mode=0o777)

    def place(self, text: str) -> str:
        """A text with the image's folders in place of the real ones."""
        for path in FOLDERS:
            text = text.replace(path, f"{self.folder}{path}")
        return text

    def take(self, name: str, rest: str) -> None:
        """Take a step."""
        match name:
            case "ARG":
                key, _, default = rest.partition("=")
                self.env[key] = self.arguments.get(key, default.strip('"'))
            case "ENV":
                self.env |= dict(word.split("=", 1) for word in shlex.split(self.place(rest)))
            case "WORKDIR":
                self.cwd = Path(self.place(rest))
                self.cwd.mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, target = rest.split()
                for source in sources:
                    self._copy(ROOT / source, self.cwd / target)
            case "USER":
                self.user = int(rest)
            case "ENTRYPOINT":
                self.entry = json.loads(rest)
            case "RUN" if not rest.startswith("useradd"):
                subprocess.run(["sh", "-c", self.place(rest)], check=True, timeout=1500, **self.options())
            case "RUN" | "FROM" | "VOLUME" | "EXPOSE" | "HEALTHCHECK":
                pass
            case _:
                raise AssertionError(f"expected a known instruction, found {name}")

    def options(self) -> dict[str, object]:
        """How a process of the image is started: where, with which environment, as whom."""
        return {"cwd": self.cwd, "env": self.env, **({"user": self.user, "group": self.user} if self.user else {})}

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


@pytest.mark.full
@pytest.mark.packaging
@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs other users")
@pytest.mark.skipif(not others_run(sys.executable), reason="needs a Python that other users may run")
def test_the_steps_give_a_server_that_answers() -> None:
    folder = Path(tempfile.mkdtemp(prefix="nlptasks-image-"))
    folder.chmod(0o755)
    try:
        image = Image(folder, BASES="minilm")
        for step in instructions():
            image.take(*step)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        image.env |= {"NLPTASKS_SERVE_PORT": str(port)}
        command = [str(folder / "venv" / "bin" / image.entry[0]), *image.entry[1:]]
        without_key = subprocess.run(command, capture_output=True, text=True, check=False, **image.options())  # type: ignore[call-overload]
        assert without_key.returncode
        assert "opens the server to the network: expected a key" in without_key.stderr
        # The base is in the image: nothing is fetched.
        image.env |= {"NLPTASKS_API_KEY": "k", "HF_HUB_OFFLINE": "1"}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **image.options()) as server:  # type: ignore[call-overload]
            try:
                url = f"http://127.0.0.1:{port}"
                until_healthy(url)
                request = {"text": "I loved every minute of it."}
                assert httpx.post(f"{url}/v1/tasks/sentiment", json=request).status_code == 401
                headers = {"Authorization": "Bearer k"}
                answer = httpx.post(f"{url}/v1/tasks/sentiment", json=request, headers=headers, timeout=120)
                assert answer.json()["label"] == "positive"
            finally:
                server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=60) == 0
    finally:
        shutil.rmtree(folder)


def until_healthy(url: str) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + 60
    while True:
        try:
            assert httpx.get(f"{url}/health").status_code == 200
            return
        except httpx.TransportError:
            assert time.monotonic() < end
            time.sleep(0.1)
