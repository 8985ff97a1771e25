"""What all engines of a process share: the lock of loads, the end of the process, and forks."""

from __future__ import annotations

import atexit

# Both hold a lock over forks, and threads that load need it. What is registered later is acquired earlier, so that they
# must be imported before this module registers its locks.
import concurrent.futures.thread  # noqa: F401
import functools
import importlib
import logging  # noqa: F401
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from nlptasks.errors import NlptasksError


class Closable(Protocol):
    """Something with threads."""

    def close(self) -> None:
        """End the threads; safe to call twice."""
        ...


_open: weakref.WeakSet[Any] = weakref.WeakSet()


def close_at_exit(item: Closable) -> None:
    """Close it before the interpreter ends: a thread that still computes in C++ would abort the process."""
    _open.add(item)


@atexit.register
def _close_all() -> None:
    with LOADING:
        # A daemon thread of the user's may import torch just now.
        pass
    for item in list(_open):
        item.close()


def hold_over_forks(lock: Any) -> None:
    """Let a fork wait for a lock: the child has no other threads, which could never release it.

    What the lock guards is then whole in the child as well.
    """
    at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def at_fork(**handlers: Callable[[], Any]) -> None:
    """`os.register_at_fork`, for systems without forks too."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**handlers)


LOADING = threading.RLock()
"""Held while transformers is imported, while it loads, and while torch's number of threads is changed.

Whoever imports it beside another thread may get the module that it replaces at the end of its import. Its loader
changes the default dtype, the initializers and the log of the whole process for a while.
"""


@functools.cache
def import_alone(module: str) -> None:
    """Import a module that needs torch or transformers, while no other thread imports them or loads.

    Of two threads that import modules which import each other, Python lets one go on with half a module rather than
    wait forever, and transformers then says that it has no such name. Only the first import waits for the lock.
    """
    with LOADING:
        importlib.import_module(module)


def _renew_torch_threads() -> None:
    """Let torch make its pool of threads anew while a forked process has one thread.

    At its first use in the child it drops the inherited pool, and of two threads that begin at once one finds none
    and raises RuntimeError ("Invalid thread pool!", c10's pthreadpool.cc).
    """
    torch: Any = sys.modules.get("torch")
    # The child may have half of it: no thread goes on with an import here.
    if hasattr(torch, "set_num_threads") and hasattr(torch, "get_num_threads"):
        torch.set_num_threads(torch.get_num_threads())


hold_over_forks(LOADING)
at_fork(after_in_child=_open.clear)
at_fork(after_in_child=_renew_torch_threads)


def refuse_inherited(pid: int) -> None:
    """Raise NlptasksError in a process other than the one in which something with threads was made."""
    if pid != os.getpid():
        raise NlptasksError(
            "Expected an engine of this process, found one that it inherited by a fork, without its threads: make a "
            "new Engine here, call nlptasks.run, which makes one for each process, or start processes with 'spawn'."
        )
