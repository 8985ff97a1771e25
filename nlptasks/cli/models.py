"""`nlptasks models list|pull|path|rm`."""

from __future__ import annotations

from dataclasses import replace

import click

from nlptasks import Settings, default_plugins
from nlptasks.cli.common import json_option, print_json
from nlptasks.store import CATALOG, cached_bases, find_base, remove_base
from nlptasks.surfaces import DownloadBar


@click.group()
def models_group() -> None:
    """Manage the base models that tasks run on."""


@models_group.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the base models of the catalog, and which of them are cached."""
    shipped = default_plugins().bases
    cached = {base.name: base for base in cached_bases(Settings.from_env())}
    if as_json:
        rows = [
            {
                "name": base.name,
                "title": base.title,
                "kind": base.kind,
                "parameters": base.parameters,
                "licence": base.licence,
                "sources": [str(source) for source in base.sources],
                "path": str(cached[base.name].path) if base.name in cached else None,
            }
            for base in CATALOG.values()
        ]
        print_json(rows + [{"name": name, "sources": ["plugin"], "path": str(path)} for name, path in shipped.items()])
        return
    for base in CATALOG.values():
        state = f"cached, {cached[base.name].bytes / 1e6:.0f} MB" if base.name in cached else "not downloaded"
        click.echo(
            f"{base.name:12} {base.title}  {base.parameters / 1e6:.1f} M, {base.kind}, {base.licence}  ({state})"
        )
    for name in shipped:
        click.echo(f"{name:12} ships with a plugin")
    click.echo("Any other base works by Hub id (ORG/NAME[@REVISION]) or folder: --model NAME.", err=True)


@models_group.command("pull")
@click.argument("names", nargs=-1, required=True)
def pull_command(names: tuple[str, ...]) -> None:
    """Download base models, by catalog name or Hub id."""
    for name in names:
        with DownloadBar() as bar:
            folder = find_base(name, Settings.from_env(), on_progress=bar, shipped=default_plugins().bases)
        click.echo(f"{folder.id}: {folder.path}")


@models_group.command("path")
@click.argument("name")
def path_command(name: str) -> None:
    """Print the folder of a downloaded base model."""
    settings = replace(Settings.from_env(), offline=True)
    click.echo(find_base(name, settings, shipped=default_plugins().bases).path)


@models_group.command("rm")
@click.argument("names", nargs=-1, required=True)
def remove_command(names: tuple[str, ...]) -> None:
    """Remove base models from the cache."""
    for name in names:
        freed = remove_base(name, Settings.from_env())
        click.echo(f"{name}: {freed / 1e6:.0f} MB freed.", err=True)
