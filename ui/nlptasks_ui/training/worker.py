"""The process of one training: `python -m nlptasks_ui.training.worker FOLDER`. See `jobs` for the folder's files."""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks import CancelledError, CancelToken, Engine, NlptasksError
from nlptasks.store import write_whole
from nlptasks.surfaces import DownloadLog
from nlptasks.training import Event, EventFile
from nlptasks_ui.training.compare import compare
from nlptasks_ui.training.plan import Plan

if TYPE_CHECKING:
    from nlptasks.training import TrainReport

POLL_SECONDS = 0.3
"""Seconds between two checks for a request of the user."""


def main(arguments: Sequence[str]) -> int:
    """Train by the plan in the folder, write the outcome, then compare; 0 if an adapter was published."""
    [folder] = map(Path, arguments)
    plan = Plan.from_json((folder / "plan.json").read_text(encoding="utf-8"))
    with Engine() as engine:
        outcome = _outcome(lambda: _train(engine, folder, plan))
        write_whole(folder / "outcome.json", json.dumps(outcome, ensure_ascii=False))
        if outcome["state"] != "finished":
            return 1
        comparison = compare(engine, plan, outcome["report"])
    write_whole(folder / "comparison.json", json.dumps(comparison.as_dict(), ensure_ascii=False))
    return 0


def _outcome(train: Callable[[], TrainReport]) -> dict[str, Any]:
    try:
        report = train()
    except CancelledError as stopped:
        return {"state": "stopped", "text": str(stopped)}
    except NlptasksError as error:
        return {"state": "failed", "text": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"state": "failed", "text": f"{type(error).__name__}: {error}"}
    return {"state": "finished", "text": "", "report": report.as_dict()}


def _train(engine: Engine, folder: Path, plan: Plan) -> TrainReport:
    from nlptasks.training import RunFolder, finetune

    task = engine.plugins.task(plan.task)
    settings = engine.settings
    stop, finish = CancelToken(), CancelToken()
    threading.Thread(target=_watch, args=(folder / "asked", stop, finish), daemon=True).start()
    started = (folder / "events.jsonl").exists()
    resume = started and RunFolder(settings, plan.task, plan.name).resumable
    events = EventFile(folder / "events.jsonl")
    return finetune(
        task,
        plan.data,
        name=plan.name,
        recipe=plan.full_recipe(task),
        options=plan.options,
        settings=settings,
        resume=resume,
        replace=plan.replace,
        cancel=stop,
        finish=finish,
        on_event=events,
        on_download=DownloadLog(lambda line: events(Event("note", {"text": line}))),
        plugins=engine.plugins,
    )


def _watch(request: Path, stop: CancelToken, finish: CancelToken) -> None:
    """Cancel a token as soon as the user requests it."""
    wait = threading.Event()
    while not stop.cancelled:
        if request.is_file():
            (stop if request.read_text(encoding="utf-8") == "stop" else finish).cancel()
        wait.wait(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
