"""Processes that start warm: forked from one that has imported torch and transformers, which takes most of a start.

All else is as in a new process: arguments, environment, folder, streams, signals, exit code. For tests of what a program
does; those of how a process starts and ends have a real one.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, Any

HEAVY = (
    "torch",
    "transformers",
    "transformers.conversion_mapping",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
    "peft",
    "transformers.generation.streamers",
    "accelerate",
    "click.shell_completion",
    "html.parser",
    "langcodes",
    "platformdirs.unix",
    "pluggy",
    "pydantic.json_schema",
    "pydantic.main",
    "pydantic.type_adapter",
)
READ_AT_IMPORT = ("HF_", "LANG", "LC_", "MKL_", "OMP_", "PYTHON", "TOKENIZERS_", "TORCH", "TRANSFORMERS_")


class Popen:
    """`subprocess.Popen` for a command that runs Python: `python -m MODULE`, `python -c CODE` or `python FILE`."""

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: str | os.PathLike[str] | None = None,
        stdin: IO[Any] | int = subprocess.DEVNULL, stdout: IO[Any] | int, stderr: IO[Any] | int,
    ) -> None:  # fmt: skip
        assert command[0] == sys.executable
        self.args = command
        self.returncode: int | None = None
        reader, writer = os.pipe()
        self._answers = os.fdopen(reader, "r")
        with tempfile.TemporaryFile("w+") as request, open(os.devnull, "r+b") as null:  # noqa: PTH123
            json.dump({"arguments": command[1:], "env": dict(env), "cwd": str(cwd or Path.cwd())}, request)
            request.flush()
            streams = [null if stream == subprocess.DEVNULL else stream for stream in (stdin, stdout, stderr)]
            numbers = [stream if isinstance(stream, int) else stream.fileno() for stream in streams]
            key = {name: value for name, value in env.items() if name.startswith(READ_AT_IMPORT)}
            key.pop("PYTHONPATH", None)
            server, _ = _server(tuple(sorted(key.items())))
            socket.send_fds(server, [b"."], [request.fileno(), writer, *numbers])
            os.close(writer)
            self.pid = int(self._answers.readline())

    def wait(self) -> int:
        if self.returncode is None:
            with self._answers:
                self.returncode = int(self._answers.readline())
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, if the process has ended."""
        import select

        return self.wait() if self.returncode is not None or select.select([self._answers], [], [], 0)[0] else None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    command: Sequence[str], *, env: Mapping[str, str], cwd: str | os.PathLike[str] | None = None, input: bytes = b"",
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """`subprocess.run` with what it wrote as text."""
    import select

    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(input)
        stdin.seek(0)
        process = Popen(command, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr)
        if not select.select([process._answers], [], [], timeout)[0]:
            process.kill()
            process.wait()
            raise subprocess.TimeoutExpired(command, timeout)
        code = process.wait()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(command, code, stdout.read().decode(), stderr.read().decode())


@functools.lru_cache(2)
def _server(variables: tuple[tuple[str, str], ...]) -> tuple[socket.socket, Any]:
    """A warm process with these variables, and the connection to it; it ends when the connection does."""
    ours, theirs = socket.socketpair()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(READ_AT_IMPORT)}
    with theirs:
        command = [sys.executable, __file__, str(theirs.fileno())]
        process = subprocess.Popen(command, env={**kept, **dict(variables)}, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)  # fmt: skip
    return ours, process


def serve(connection: socket.socket) -> dict[str, Any]:
    """In the warm process, ends with it; in each process that it forks, returns the request."""
    for name in HEAVY:
        import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 5)
        if not descriptors:
            os._exit(0)
        # Who waits for it, and then itself.
        if not os.fork():
            break
        for descriptor in descriptors:
            os.close(descriptor)
    connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, answers, *streams = descriptors
    if pid := os.fork():
        os.write(answers, f"{pid}\n".encode())
        for descriptor in (request, *streams):
            os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(answers, f"{code}\n".encode())
        os._exit(0)
    os.close(answers)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    with os.fdopen(request) as file:
        file.seek(0)
        return dict(json.load(file))


def begin(arguments: list[str], env: dict[str, str], cwd: str) -> None:
    """What Python does with its arguments."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    added = env.get("PYTHONPATH")
    sys.path[:1] = ["", *(added.split(os.pathsep) if added else [])]
    how, *rest = arguments
    if how == "-m":
        sys.path[0] = cwd
        sys.argv[:] = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif how == "-c":
        sys.argv[:] = ["-c", *rest[1:]]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(main))
    else:
        sys.path[0] = str(Path(how).parent)
        sys.argv[:] = arguments
        runpy.run_path(how, run_name="__main__")


if __name__ == "__main__":
    begin(**serve(socket.socket(fileno=int(sys.argv[1]))))
