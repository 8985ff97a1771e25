"""`nlptasks run-batch -i FILE -o FILE`."""

from __future__ import annotations

from pathlib import Path

import click

from nlptasks import Engine
from nlptasks.cli.batch import Watch, conclude, progress_option, stopping
from nlptasks.cli.common import placement_options
from nlptasks.surfaces import DownloadBar


@click.command()
@click.option("-i", "--input", "source", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="File of requests, one JSON object a line.")  # fmt: skip
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="File of responses, .jsonl.")  # fmt: skip
@placement_options
@click.option("--restart", is_flag=True, help="Answer every request anew, and replace the output.")
@progress_option
def run_batch_command(source: Path, output: Path, device: str, dtype: str, restart: bool, progress: str | None) -> None:
    """Answer a file of requests in the form of OpenAI's Batch API.

    \b
    {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions",
     "body": {"model": "smollm2", "messages": [{"role": "user", "content": "Hello!"}]}}

    It answers /v1/chat/completions, /v1/embeddings and /v1/tasks/TASK, in the order of the lines; killed and started
    again, it goes on.
    """
    from nlptasks.batches import run_batch

    downloads = DownloadBar()
    watch = Watch(progress, downloads)
    with Engine(device=device, dtype=dtype, on_progress=downloads) as engine, watch, stopping(watch):
        report = run_batch(source, output, engine=engine, restart=restart, progress=watch)
    conclude(report.rows, report.errors, report.output)
