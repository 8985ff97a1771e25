"""A GGUF file, turned once into a folder of bf16 safetensors that loads fast and takes adapters."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from nlptasks.errors import DownloadError
from nlptasks.store.sources import Progress, Report


def convert_gguf(gguf: Path, target: Path, label: str, report: Report) -> dict[str, str]:
    """Write config, tokenizer and dequantised weights of `gguf` into the new folder `target`.

    Returns:
        The versions of the libraries that did it.

    Raises:
        DownloadError: transformers cannot read the file.
    """
    step = f"{label}: converting"
    report(Progress(step, 0, None))
    import torch
    import transformers

    folder, options = str(gguf.parent), {"gguf_file": gguf.name, "local_files_only": True}
    # Packed weights would be unpacked again for each product on a CPU: transformers has kernels for some GPUs only. The
    # first releases of transformers 5 have no GgufConfig and always dequantise.
    if (config := getattr(transformers, "GgufConfig", None)) is not None:
        options["quantization_config"] = config(dequantize=True)
    with _quiet(step, report):
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name)
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **options)
        # tokenizers raises plain Exception for a vocabulary it cannot use.
        except Exception as error:
            raise DownloadError(f"{gguf.name} cannot be read as GGUF by transformers: {error}") from error
        # It would make the plain weights be taken for quantised ones.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        target.mkdir()
        tokenizer.save_pretrained(target)
        model.save_pretrained(target)
    report(Progress(step, 1, 1))
    return {"transformers": transformers.__version__, "torch": torch.__version__}


@contextlib.contextmanager
def _quiet(step: str, report: Report) -> Iterator[None]:
    """Keep transformers' bars and warnings off the terminal, and report its dequantisation instead."""
    # Imported by name: neither module is typed.
    logging: Any = importlib.import_module("transformers.utils.logging")
    reader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    bar = getattr(reader, "tqdm", None)
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if bar is not None:
        reader.tqdm = _reporting(step, report)
    try:
        yield
    finally:
        if bar is not None:
            reader.tqdm = bar
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _reporting(step: str, report: Report) -> Callable[..., Iterator[Any]]:
    def bar(items: Iterable[Any], **_: object) -> Iterator[Any]:
        listed = list(items)
        for done, item in enumerate(listed):
            report(Progress(step, done, len(listed)))
            yield item

    return bar
