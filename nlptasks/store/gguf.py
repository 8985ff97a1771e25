"""A GGUF file, converted once to a folder of bf16 safetensors that loads fast and takes adapters."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nlptasks.errors import DownloadError
from nlptasks.process import LOADING
from nlptasks.store.sources import Progress, ProgressCallback


def convert_gguf(gguf: Path, target: Path, label: str, report: ProgressCallback) -> None:
    """Write config, tokenizer and dequantised weights of `gguf` into the new folder `target`.

    Raises:
        DownloadError: transformers cannot read the file.
    """
    step = f"{label}: converting"
    report(Progress(step, 0, None))
    with LOADING:
        import torch
        import transformers

        # Packed weights would be unpacked again for each product on a CPU: transformers has kernels for some GPUs only.
        # The first releases of transformers 5 have no GgufConfig and always dequantise.
        config = getattr(transformers, "GgufConfig", None)
    options: dict[str, Any] = {} if config is None else {"quantization_config": config(dequantize=True)}
    with quiet_transformers(), _reported(step, report):
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, local_files_only=True, dtype=torch.bfloat16, **options
            )
        # tokenizers raises plain Exception for a vocabulary it cannot use.
        except Exception as error:
            raise DownloadError(f"{gguf.name} cannot be read as GGUF by transformers: {error}") from error
        # With it the plain weights would be taken for quantised ones.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        target.mkdir()
        tokenizer.save_pretrained(target)
        model.save_pretrained(target)
    report(Progress(step, 1, 1))


@contextlib.contextmanager
def _reported(step: str, report: ProgressCallback) -> Iterator[None]:
    """ProgressCallback transformers' dequantisation instead of drawing its bar, which no setting hides."""
    # Imported by name: the module is not typed.
    reader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    bar = getattr(reader, "tqdm", None)

    def reported(tensors: Sequence[Any], **_: object) -> Iterator[Any]:
        for number, tensor in enumerate(tensors):
            report(Progress(step, number, len(tensors)))
            yield tensor

    reader.tqdm = reported
    try:
        yield
    finally:
        reader.tqdm = bar


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide transformers' bars, reports and developer warnings: nlptasks has its own checks and messages.

    They are settings of the process: one thread at a time may change them.
    """
    with LOADING:
        yield from _quiet()


def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
