"""`nlptasks adapters list|show|rm`."""

from __future__ import annotations

import json

import click

from nlptasks.settings import Settings


@click.group()
def adapters_group() -> None:
    """The adapters in your store."""


@adapters_group.command("list")
@click.argument("task", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_command(task: str | None, as_json: bool) -> None:
    """List adapters, of one TASK or of all."""
    from nlptasks.runtime.store import AdapterStore

    found = AdapterStore(Settings.from_env()).list(task)
    if as_json:
        rows = [{"path": str(a.path), **(a.manifest.model_dump() if a.manifest else {"name": a.name})} for a in found]
        click.echo(json.dumps(rows, indent=2))
        return
    if not found:
        click.echo("No adapters yet: train one with `nlptasks train TASK DATA --name NAME`.", err=True)
    for adapter in found:
        metrics = adapter.manifest.metrics if adapter.manifest else {}
        shown = "  ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:3])
        click.echo(f"{adapter.path.parent.name}/{adapter.path.name}  on {adapter.base_id}  {shown}")


@adapters_group.command("show")
@click.argument("task")
@click.argument("name")
def show_command(task: str, name: str) -> None:
    """Print an adapter's manifest as JSON."""
    from nlptasks.runtime.store import AdapterStore

    adapter = AdapterStore(Settings.from_env()).find(task, name)
    content = adapter.manifest.model_dump(mode="json") if adapter.manifest else adapter.peft
    click.echo(json.dumps({"path": str(adapter.path), **content}, indent=2, ensure_ascii=False))


@adapters_group.command("rm")
@click.argument("task")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def remove_command(task: str, name: str, yes: bool) -> None:
    """Delete an adapter from the store."""
    from nlptasks.runtime.store import AdapterStore

    store = AdapterStore(Settings.from_env())
    if not yes:
        click.confirm(f"Delete {store.folder(task, name)}?", abort=True)
    store.remove(task, name)
    click.echo(f"Deleted {task}/{name}.", err=True)
