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
from nlptasks.training.loop.events import Event, EventFile
from nlptasks_ui.training.compare import compare
from nlptasks_ui.training.plan import Plan, write_whole

if TYPE_CHECKING:
    from nlptasks.training import TrainReport

LOOK_SECONDS = 0.3
"""How often the process looks for a wish of the user."""

_DOWNLOAD_STEP = 10
"""Per cent of a download between two lines of the log."""


def main(arguments: Sequence[str]) -> int:
    """Train what the folder's plan says, write how it ended, then compare; 0 if an adapter was published."""
    [folder] = map(Path, arguments)
    plan = Plan.from_json((folder / "plan.json").read_text(encoding="utf-8"))
    with Engine() as engine:
        outcome = _outcome(lambda: _train(engine, folder, plan))
        write_whole(folder / "outcome.json", json.dumps(outcome, ensure_ascii=False))
        if outcome["state"] != "finished":
            return 1
        found = compare(engine, plan, outcome["report"])
    write_whole(folder / "comparison.json", json.dumps(found.as_dict(), ensure_ascii=False))
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
    from nlptasks.training import finetune
    from nlptasks.training.loop.checkpoints import RunFolder

    task = engine.plugins.task(plan.task)
    settings = engine.settings
    stop, finish = CancelToken(), CancelToken()
    threading.Thread(target=_look, args=(folder / "asked", stop, finish), daemon=True).start()
    begun = (folder / "events.jsonl").exists()
    resume = begun and RunFolder(settings, plan.task, plan.name).last is not None
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
        on_download=_Downloads(events),
        plugins=engine.plugins,
    )


def _look(asked: Path, stop: CancelToken, finish: CancelToken) -> None:
    """Pass the user's wish on, as soon as it is there."""
    wait = threading.Event()
    while not stop.cancelled:
        if asked.is_file():
            (stop if asked.read_text(encoding="utf-8") == "stop" else finish).cancel()
        wait.wait(LOOK_SECONDS)


class _Downloads:
    """Tells of the base's download in a few lines."""

    def __init__(self, events: EventFile) -> None:
        self._events = events
        self._told: tuple[str, int] = ("", -1)

    def __call__(self, progress: Any) -> None:
        share = 100 * progress.done // progress.total // _DOWNLOAD_STEP * _DOWNLOAD_STEP if progress.total else 0
        if (progress.label, share) != self._told:
            self._told = (progress.label, share)
            self._events(Event("note", {"text": f"{progress.label}: {share} %" if progress.total else progress.label}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
