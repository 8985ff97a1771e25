"""A function of ours in a process of its own: its arguments go there as JSON, its answer comes back as JSON.

`python -m nlptasks.training.subprocesses MODULE:FUNCTION REQUEST ANSWER` is that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from nlptasks.errors import NlptasksError
from nlptasks.model import CancelToken

_LOOK_SECONDS = 0.1


class ProcessError(NlptasksError):
    """The process failed; the text is the last line of its error."""


def call(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    offline: bool = True,
    environment: Mapping[str, str] | None = None,
    cancel: CancelToken | None = None,
    timeout: float = float("inf"),
) -> Any:
    """What a function answers in a fresh process, which ends with this call, however that ends.

    Args:
        function: one of a module, from JSON values to JSON values.
        arguments: its arguments by name.
        offline: whether the process must not use the network.
        environment: variables that it has besides those of this process.
        cancel: kills the process.
        timeout: seconds after which the process is killed.

    Raises:
        ProcessError: the function raised an error.
        CancelledError: `cancel` was called.
        TimeoutError: `timeout` seconds have passed.
    """
    with tempfile.TemporaryDirectory(prefix="nlptasks-") as scratch:
        request, answer, log = (Path(scratch) / name for name in ("request.json", "answer.json", "log.txt"))
        request.write_text(json.dumps(arguments), encoding="utf-8")
        name = f"{function.__module__}:{function.__qualname__}"
        command = [sys.executable, "-m", __name__, name, str(request), str(answer)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=_variables(environment or {}, offline), stdin=subprocess.DEVNULL, stdout=output,
                stderr=output,
            )  # fmt: skip
            try:
                code = _wait(process, cancel or CancelToken(), time.monotonic() + timeout)
            finally:
                process.kill()
                process.wait()
        if code:
            # Python ends with 1 after an error; a process that was killed had no time to say why.
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if code == 1 else []
            raise ProcessError(lines[-1] if lines else f"The process ended with code {code}.")
        return json.loads(answer.read_text(encoding="utf-8"))


def _wait(process: subprocess.Popen[bytes], cancel: CancelToken, end: float) -> int:
    while process.poll() is None:
        cancel.raise_if_cancelled()
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(_LOOK_SECONDS)
    return process.returncode


def _variables(environment: Mapping[str, str], offline: bool) -> dict[str, str]:
    """Those of this process and the extra ones, with the very copies of nlptasks and of plugins that run here."""
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(dict.fromkeys(part for part in (package, *sys.path) if part))
    fixed = {"PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false", **({"HF_HUB_OFFLINE": "1"} if offline else {})}
    return {**os.environ, **environment, **fixed}


def main(arguments: Sequence[str]) -> int:
    """Read a request, call the function, write its answer; 0 if that worked."""
    name, request, answer = arguments
    module, _, function = name.partition(":")
    values = json.loads(Path(request).read_text(encoding="utf-8"))
    try:
        result = getattr(import_module(module), function)(**values)
    except NlptasksError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    Path(answer).write_text(json.dumps(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
