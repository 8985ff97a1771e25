"""Processes that start warm: forked from one that has imported torch and transformers, which takes most of a start.

All else is as in a new process: arguments, environment, folder, streams, signals, exit code. It is for tests of what a
program does; those of its start have a process that starts as the user's do.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import runpy
import select
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


DEVNULL = subprocess.DEVNULL


class WarmProcess:
    """`subprocess.Popen` for a command that runs Python: `python -m MODULE`, `python -c CODE` or `python FILE`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | os.PathLike[str] | None = None,
        stdin: IO[Any] | int,
        stdout: IO[Any] | int,
        stderr: IO[Any] | int,
    ) -> None:
        assert command[0] == sys.executable
        self.command = command
        self.returncode: int | None = None
        reader, writer = os.pipe()
        self._answers = os.fdopen(reader)
        with tempfile.TemporaryFile("w+") as request, Path(os.devnull).open("r+b") as null:
            json.dump({"arguments": command[1:], "env": dict(env), "cwd": str(cwd or Path.cwd())}, request)
            request.flush()
            files = [null if stream == DEVNULL else stream for stream in (stdin, stdout, stderr)]
            streams = [file if isinstance(file, int) else file.fileno() for file in files]
            settled = {name: value for name, value in env.items() if name.startswith(READ_AT_IMPORT)}
            settled.pop("PYTHONPATH", None)
            connection, _ = warm_parent(tuple(sorted(settled.items())))
            socket.send_fds(connection, [b"."], [request.fileno(), writer, *streams])
            os.close(writer)
        self.pid = int(self._answers.readline())

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.command, timeout or 0)
            with self._answers:
                self.returncode = int(self._answers.readline())
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


# Elsewhere a fork of a process that has imported torch may break it.
Popen: Any = WarmProcess if sys.platform == "linux" else subprocess.Popen


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None = None,
    input: bytes = b"",
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` with both outputs as text."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(input)
        stdin.seek(0)
        process = Popen(command, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(command, code, stdout.read().decode(), stderr.read().decode())


@functools.lru_cache(2)
def warm_parent(variables: tuple[tuple[str, str], ...]) -> tuple[socket.socket, Any]:
    """A warm process with these variables, and the connection to it; it ends when the connection does."""
    ours, theirs = socket.socketpair()
    others = {name: value for name, value in os.environ.items() if not name.startswith(READ_AT_IMPORT)}
    command = [sys.executable, __file__, str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(
            command, env={**others, **dict(variables)}, pass_fds=[theirs.fileno()], stdin=DEVNULL, stdout=DEVNULL
        )
    return ours, process


def serve(connection: socket.socket) -> dict[str, Any]:
    """Import, then fork for each request; returns in the forked process only, with its request."""
    for name in HEAVY:
        import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
    # As nlptasks.process does, which this process has not imported yet.
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
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
