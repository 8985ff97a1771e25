"""`nlptasks chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
from typing import Any

import click

from nlptasks import Engine
from nlptasks.cli.common import adapter_option, model_option, option_values
from nlptasks.surfaces import DownloadBar, chat_task


@click.command()
@model_option
@adapter_option
@click.option("-s", "--system", help="System message.")
@click.option("-o", "--option", "options", type=(str, str), multiple=True, metavar="KEY VALUE",
              help="Generation option, e.g. temperature 0.7. Repeatable.")  # fmt: skip
def chat_command(
    model: str | None, adapter: str | None, system: str | None, options: tuple[tuple[str, str], ...]
) -> None:
    """Chat with a language model.

    Type /new for a new conversation, /exit or Ctrl-D to leave. Ctrl-C stops an answer.
    """
    bar = DownloadBar()
    with Engine(on_progress=bar) as engine:
        task = chat_task(engine)
        values = option_values(options, engine.plugins.task(task).options_type)
        opening = [{"role": "system", "content": system}] if system else []
        messages = list(opening)
        while (text := _ask()) is not None:
            if text == "/new":
                messages = list(opening)
                continue
            messages.append({"role": "user", "content": text})
            answer = _answer(engine, task, messages, adapter=adapter, model=model, **values)
            bar.close()
            messages.append({"role": "assistant", "content": answer})


def _ask() -> str | None:
    """The user's next line, or None at the end."""
    while True:
        try:
            text = input("> " if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            return None
        if text:
            return None if text == "/exit" else text


def _answer(engine: Engine, task: str, messages: list[dict[str, str]], **arguments: Any) -> str:
    text = ""
    with engine.stream(task, messages=messages, **arguments) as pieces:
        try:
            for piece in pieces:
                text += piece
                click.echo(piece, nl=False)
                sys.stdout.flush()
        except KeyboardInterrupt:
            click.echo(" [stopped]", nl=False, err=True)
    click.echo()
    return text
