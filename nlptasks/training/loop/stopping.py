"""Ctrl-C during a training."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from nlptasks.model import CancelToken


@contextlib.contextmanager
def stopping(cancel: CancelToken) -> Iterator[Callable[[], bool]]:
    """Ctrl-C ends the training after the current step; a second one ends it at once."""
    interrupted = False

    def handle(*_: object) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: cancel.cancelled
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: interrupted or cancel.cancelled
    finally:
        signal.signal(signal.SIGINT, before)
