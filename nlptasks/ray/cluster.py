"""A Ray cluster: a connection to it, and what an actor takes of it."""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nlptasks import MissingExtraError, NlptasksError

LOCAL = "local"


@dataclass(frozen=True)
class Cluster:
    """Where actors run, and what each takes.

    `address` is "auto", the cluster that this machine belongs to, "local", one that is started for the purpose and
    ends with it, or HOST:PORT. Each of the `actors`, by default as many as the cluster has room for, takes `cpus` and
    `gpus`; it computes with as many threads as it has CPUs.
    """

    address: str = "auto"
    actors: int | None = None
    cpus: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if not self.address.strip():
            raise NlptasksError("--ray: expected auto, local or HOST:PORT, found nothing.")
        for name, value, least in (("actors", self.actors or 1, 1), ("cpus", self.cpus, 0), ("gpus", self.gpus, 0)):
            if value < least:
                raise NlptasksError(f"{name} of a Ray cluster: expected at least {least}, found {value}.")

    @property
    def options(self) -> dict[str, float]:
        """What Ray's actors take, by Ray's names."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus}


def import_ray() -> Any:
    """The module ray; raises MissingExtraError."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("Ray", "ray") from error
    return ray


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module ray, connected to a cluster; a connection that there is already is used, and stays.

    Raises:
        MissingExtraError: Ray is not installed.
        NlptasksError: there is no such cluster.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        # Ray's reports of use are the business of whoever starts a cluster; ours sends none.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        quiet["include_dashboard"] = False
    try:
        _probe(address)
        ray.init(address=address, **quiet)
    except OSError as error:  # ConnectionError among them
        raise NlptasksError(
            f"--ray {address}: expected a running Ray cluster, found none. Start one with `ray start --head`, or use "
            "--ray local."
        ) from error
    except (RuntimeError, ValueError) as error:
        # Another version of Ray or Python, for example.
        raise NlptasksError(f"--ray {address}: expected a cluster to connect to. Ray says: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _probe(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def use_share() -> None:
    """Let this actor compute with as many threads as it has CPUs: for torch, OpenVINO and the tokenizers."""
    share = import_ray().get_runtime_context().get_assigned_resources().get("CPU", 1)
    threads = max(1, math.floor(share))
    # Ray sets the first, but not over a value that the cluster was started with.
    os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(threads)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
