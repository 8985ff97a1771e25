"""`nlptasks models list|pull|path|rm`."""

from __future__ import annotations

import json
from dataclasses import replace

import click

from nlptasks.cli.common import DownloadBar
from nlptasks.settings import Settings


@click.group()
def models_group() -> None:
    """The base models that tasks run on."""


@models_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_command(as_json: bool) -> None:
    """List the catalog and what of it is in the cache."""
    from nlptasks.plugins import default_plugins
    from nlptasks.store.catalog import CATALOG
    from nlptasks.store.download import cached_bases

    own = default_plugins().bases
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
        rows += [{"name": name, "sources": ["plugin"], "path": str(folder)} for name, folder in own.items()]
        click.echo(json.dumps(rows, indent=2))
        return
    for base in CATALOG.values():
        state = f"cached, {cached[base.name].bytes / 1e6:.0f} MB" if base.name in cached else "not fetched yet"
        click.echo(
            f"{base.name:12} {base.title}  {base.parameters / 1e6:.1f} M, {base.kind}, {base.licence}  ({state})"
        )
    for name in own:
        click.echo(f"{name:12} comes with a plugin")
    click.echo("Any other base works by Hub id (ORG/NAME[@revision]) or folder: --model NAME.", err=True)


@models_group.command("pull")
@click.argument("names", nargs=-1, required=True)
@click.option("--accept-license", is_flag=True, help="Accept the licences of bases that ask for it.")
def pull_command(names: tuple[str, ...], accept_license: bool) -> None:
    """Fetch base models ahead of their first use: catalog names or Hub ids."""
    from nlptasks.plugins import default_plugins
    from nlptasks.store.download import find_base

    settings = Settings.from_env()
    if accept_license:
        settings = replace(settings, accepted_licences=settings.accepted_licences | frozenset(names))
    for name in names:
        bar = DownloadBar()
        try:
            folder = find_base(name, settings, on_progress=bar, shipped=default_plugins().bases)
        finally:
            bar.close()
        click.echo(f"{folder.id}: {folder.path}")


@models_group.command("path")
@click.argument("name")
def path_command(name: str) -> None:
    """Print the folder of a base that is already here; fetch nothing."""
    from nlptasks.plugins import default_plugins
    from nlptasks.store.download import find_base

    settings = replace(Settings.from_env(), offline=True)
    click.echo(find_base(name, settings, shipped=default_plugins().bases).path)


@models_group.command("rm")
@click.argument("names", nargs=-1, required=True)
def remove_command(names: tuple[str, ...]) -> None:
    """Remove base models from the cache; they can be fetched again."""
    from nlptasks.store.download import remove_base

    for name in names:
        freed = remove_base(name, Settings.from_env())
        click.echo(f"{name}: {freed / 1e6:.0f} MB freed.", err=True)
