"""`nlptasks chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
from typing import Any

import click

from nlptasks import Engine
from nlptasks.cli.common import option_values
from nlptasks.surfaces import DownloadBar, chat_task


@click.command()
@click.option("-m", "--model", help="Base: catalog name, ORG/NAME[@revision] or folder.")
@click.option("-a", "--adapter", help="Name in your store, folder, Hub id, or `none`.")
@click.option("-s", "--system", help="System message.")
@click.option(
    "-o", "--option", "options", type=(str, str), multiple=True, metavar="KEY VALUE", help="A writing option."
)
def chat_command(
    model: str | None, adapter: str | None, system: str | None, options: tuple[tuple[str, str], ...]
) -> None:
    """Talk to the resident language model. Ctrl-C stops an answer, Ctrl-D or /exit leaves, /new starts again."""
    bar = DownloadBar()
    with Engine(on_progress=bar) as engine:
        task = chat_task(engine)
        opening = [{"role": "system", "content": system}] if system else []
        turns = list(opening)
        while (text := _ask()) is not None:
            if text == "/new":
                turns = list(opening)
                continue
            turns.append({"role": "user", "content": text})
            answer = _answer(engine, task, turns, adapter=adapter, model=model, **option_values(options))
            bar.close()
            turns.append({"role": "assistant", "content": answer})


def _ask() -> str | None:
    """The user's next line, or None at the end."""
    while True:
        try:
            text = input("> " if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            return None
        if text == "/exit":
            return None
        if text:
            return text


def _answer(engine: Any, task: str, turns: list[dict[str, str]], **arguments: Any) -> str:
    written = []
    with engine.stream(task, messages=turns, **arguments) as pieces:
        try:
            for piece in pieces:
                written.append(piece)
                click.echo(piece, nl=False)
                sys.stdout.flush()
        except KeyboardInterrupt:
            click.echo(" [stopped]", nl=False, err=True)
    click.echo()
    return "".join(written)
