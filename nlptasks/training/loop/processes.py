"""Processes that train one model together: each computes its share of every batch, accelerate averages the gradients.

The first process is the one that was called. It alone writes, measures and reports; the others end with it, however it
ends. They find each other by a file and speak on the loopback interface, so that no port has to be free.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from nlptasks.errors import CancelledError, DataError, TrainingError
from nlptasks.process import LOADING
from nlptasks.training.loop.events import Events

if TYPE_CHECKING:
    from nlptasks.runtime.loading.devices import Placement
    from nlptasks.store.download import BaseFolder
    from nlptasks.task import Recipe
    from nlptasks.training.families.base import FamilyTrainer, Feature
    from nlptasks.training.start import Start

Work = Callable[[], Callable[[], None]]
"""What another process does: load its model, and then, together with the others, train."""

_READY = "ready"
_CONTEXT = multiprocessing.get_context("spawn")
_LOOK_SECONDS = 0.2
_END_SECONDS = 10.0


@dataclass(frozen=True)
class _Other:
    rank: int
    process: BaseProcess
    words: Connection
    """Sends `_READY` once the model is loaded, and the text of an error."""

    def read(self) -> str:
        """What it sent, or nothing if it ended without a word."""
        try:
            return str(self.words.recv()) if self.words.poll() else ""
        except EOFError:
            return ""


@dataclass(frozen=True)
class Processes:
    """How many processes train, and the environment that a file of accelerate asks for."""

    count: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def sharded(self) -> bool:
        """Whether the file asks for FSDP or DeepSpeed."""
        return any(self.variables.get(f"ACCELERATE_USE_{name}") == "true" for name in ("FSDP", "DEEPSPEED"))

    def check(self, recipe: Recipe) -> None:
        """Raise TrainingError if these processes cannot share a training by this recipe."""
        size, count = recipe.per_device_train_batch_size, self.count
        if recipe.few_shot and (count > 1 or self.variables):
            raise TrainingError(f"num_processes: expected 1 with few_shot, found {count}.")
        if recipe.load_in_4bit and count > 1:
            raise TrainingError(f"num_processes: expected 1 with load_in_4bit, found {count}.")
        if size % count:
            raise TrainingError(
                f"num_processes: expected a divisor of the batch of {size} rows, which the processes share, found "
                f"{count}: give --batch-size {max(count, size - size % count)}."
            )
        if self.sharded and recipe.ema_decay:
            raise TrainingError(
                f"ema_decay: expected 0 with FSDP or DeepSpeed, found {recipe.ema_decay:g}: give -o ema_decay 0."
            )
        if self.variables.get("FSDP_STATE_DICT_TYPE", "FULL_STATE_DICT") != "FULL_STATE_DICT":
            raise TrainingError("fsdp_state_dict_type: expected FULL_STATE_DICT in the file for accelerate.")

    def check_devices(self, placement: Placement) -> None:
        """Raise TrainingError if there are fewer devices than processes."""
        if self.count == 1 or placement.device == "cpu":
            return
        import torch

        there = torch.cuda.device_count() if placement.device == "cuda" else 1
        if self.count > there:
            raise TrainingError(
                f"num_processes: expected at most one for each device of {placement.device}, found {self.count} for "
                f"{there}: give --num-processes {there}, or --device cpu."
            )


def read_processes(count: int | None = None, file: str | Path | None = None) -> Processes:
    """The processes that `accelerate launch --num_processes COUNT --config_file FILE` would start.

    Raises:
        DataError: no such file, or one that accelerate does not take.
        TrainingError: the file is for several machines.
    """
    if file is None:
        return Processes(count or 1)
    import yaml

    with LOADING:
        from accelerate.commands.launch import _validate_launch_command, launch_command_parser
        from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    if not Path(file).is_file():
        raise DataError(f"{file}: expected a file that `accelerate config` wrote, found none.")
    number = ["--num_processes", str(count)] if count else []
    command = ["--config_file", str(file), *number, "--main_process_port", "0", "nlptasks"]
    try:
        content = yaml.safe_load(Path(file).read_text("utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it has no settings")
        number_of = content.get("num_processes", 1)
        if not count and (type(number_of) is not int or number_of < 1):
            raise ValueError(f"num_processes is {number_of!r}, which is no number above 0")
        wanted, settings, _ = _validate_launch_command(launch_command_parser().parse_args(command))
        machines, wanted.num_machines = int(wanted.num_machines or 1), 1
        if wanted.use_deepspeed:
            wanted.deepspeed_fields_from_accelerate_config = ",".join(settings.deepspeed_config)
            _, variables = prepare_deepspeed_cmd_env(wanted)
        else:
            variables = prepare_multi_gpu_env(wanted)
    except Exception as error:
        raise DataError(
            f"{file}: expected a file that `accelerate config` wrote, found an error: {' '.join(str(error).split())}"
        ) from error
    if machines > 1:
        raise TrainingError(f"{file}: expected num_machines 1, found {machines}: processes train on one machine.")
    if wanted.use_deepspeed and find_spec("deepspeed") is None:
        raise TrainingError(f"{file}: expected a package that is installed, found DeepSpeed: pip install deepspeed.")
    # The threads are divided here.
    others = {name: value for name, value in variables.items() if name != "OMP_NUM_THREADS"}
    return Processes(
        int(wanted.num_processes), {name: value for name, value in others.items() if os.environ.get(name) != value}
    )


@contextmanager
def together(processes: Processes, work: Work, device: str, stop: Callable[[], bool]) -> Iterator[None]:
    """The block is the first process; the others do `work`.

    Raises:
        TrainingError: another process failed or was killed.
        CancelledError: `stop` was true before all had begun.
    """
    count = processes.count
    if count == 1 and not processes.variables:
        yield
        return
    import torch

    threads = max(1, torch.get_num_threads() // count)
    with tempfile.TemporaryDirectory(prefix="nlptasks-") as scratch:
        store = str(Path(scratch) / "store")
        others: list[_Other] = []
        try:
            for rank in range(1, count):
                others.append(_start(rank, count, store, device, threads, work))
            _wait_until_ready(others, stop, count)
            with _group(0, count, store, device, threads):
                yield
            for other in others:
                other.process.join(_END_SECONDS)
        except RuntimeError as error:
            # The words of gloo and NCCL are about sockets.
            wait([other.process.sentinel for other in others], _END_SECONDS)
            for other in others:
                if other.process.exitcode:
                    raise _failure(other, count) from error
            raise
        finally:
            for other in others:
                other.process.kill()
                other.process.join()


def _start(rank: int, count: int, store: str, device: str, threads: int, work: Work) -> _Other:
    words, sender = _CONTEXT.Pipe(duplex=False)
    arguments = (rank, count, store, device, threads, sender, work)
    process = _CONTEXT.Process(target=_take_part, args=arguments, daemon=True, name=f"nlptasks-train-{rank}")
    # Ctrl-C reaches every process of a terminal; the first decides for all, so that no other may end by it.
    # multiprocessing's tracker unblocks the signal when it starts, so it has to run before.
    resource_tracker.ensure_running()
    mask = getattr(signal, "pthread_sigmask", None)
    before = mask(signal.SIG_BLOCK, {signal.SIGINT}) if mask else None
    try:
        process.start()
    except (AttributeError, TypeError, ImportError, RuntimeError, pickle.PicklingError) as error:
        raise TrainingError(
            f"num_processes: expected a task that other processes can import, found an error: {error}"
        ) from error
    finally:
        if mask:
            mask(signal.SIG_SETMASK, before)
    return _Other(rank, process, words)


def _wait_until_ready(others: Sequence[_Other], stop: Callable[[], bool], count: int) -> None:
    for other in others:
        while not wait([other.words, other.process.sentinel], _LOOK_SECONDS):
            if stop():
                raise CancelledError("Stopped before the first step.")
        if (text := other.read()) != _READY:
            raise _failure(other, count, text)


def _failure(other: _Other, count: int, text: str = "") -> TrainingError:
    """What became of another process, as a sentence."""
    other.process.join(_END_SECONDS)
    text = text or other.read()
    code = other.process.exitcode or 0
    if code < 0:
        text = f"it was ended by {signal.Signals(-code).name}"
    return TrainingError(
        f"Process {other.rank + 1} of {count} failed, and the others ended with it: {text or f'code {code}'}. "
        "--resume continues from the last checkpoint."
    )


def train_beside(
    base: BaseFolder,
    family: FamilyTrainer,
    labels: Sequence[str],
    recipe: Recipe,
    placement: Placement,
    start: Start | None,
    folder: Path,
    training: list[Feature],
    held_out: list[Feature],
    checkpoint: Path | None,
    report_to: str,
    trust_remote_code: bool,
) -> Callable[[], None]:
    """Load the model of one more process; the answer trains it with the others."""
    from nlptasks.training.loop.models import build
    from nlptasks.training.loop.trainer import Interrupted, Loop

    trainable = build(base, family, labels, recipe, placement, trust_remote_code=trust_remote_code)
    if start:
        start.load(trainable.model)
    family.before_training(training, labels, recipe)

    def train() -> None:
        loop = Loop(trainable, family, recipe, placement, folder, training, held_out, Events([]), report_to=report_to)
        with suppress(Interrupted):
            loop.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    return train


def _take_part(rank: int, count: int, store: str, device: str, threads: int, words: Connection, work: Work) -> None:
    """The life of another process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with Path(os.devnull).open("r+b") as null:
        for number in range(3):
            os.dup2(null.fileno(), number)
    try:
        train = work()
        words.send(_READY)
        with _group(rank, count, store, device, threads):
            train()
    except BaseException as error:
        words.send(" ".join(f"{type(error).__name__}: {error}".split()))
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


@contextmanager
def _group(rank: int, count: int, store: str, device: str, threads: int) -> Iterator[None]:
    """torch's process group, as accelerate expects it; each process computes with `threads` on a CPU."""
    import torch
    from accelerate.state import AcceleratorState
    from accelerate.utils import patch_environment
    from torch import distributed

    before = torch.get_num_threads()
    variables = {
        "rank": rank,
        "local_rank": rank,
        "world_size": count,
        "local_world_size": count,
        "master_addr": "127.0.0.1",
        "omp_num_threads": threads,
    }
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    if loopback and "GLOO_SOCKET_IFNAME" not in os.environ:
        variables["gloo_socket_ifname"] = loopback
    with patch_environment(**variables):
        torch.set_num_threads(threads)
        backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
        distributed.init_process_group(backend, Path(store).as_uri(), rank=rank, world_size=count)
        try:
            yield
        finally:
            distributed.destroy_process_group()
            AcceleratorState._reset_state(reset_partial_state=True)
            torch.set_num_threads(before)
