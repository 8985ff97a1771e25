"""What stands behind the training page: stored files, plans, trainings in processes of their own, their history."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the web app needs pip install 'nlptasks[ui]'")

from nlptasks import DataError, Engine, InvalidInputError, Settings, TrainingError
from nlptasks.testing import tiny_model
from nlptasks.training import family_trainer
from nlptasks.training.loop.events import Event
from nlptasks_ui.context import Context
from nlptasks_ui.training import check, estimate, plots, show
from nlptasks_ui.training.compare import before_arguments, compare
from nlptasks_ui.training.history import Histories, History
from nlptasks_ui.training.jobs import Job, JobError, Trainings
from nlptasks_ui.training.plan import Plan
from nlptasks_ui.training.setup import free_name
from nlptasks_ui.training.uploads import Uploads, key_of, named
from nlptasks_ui.training.watch import Watch
from tests.ui_browser import installed_plugins, until

GOOD, BAD = "a joy to hear", "a waste of time"


def write_rows(path: Path, count: int = 40) -> Path:
    lines = [f"Number {i} was {GOOD if i % 2 else BAD}.,{'positive' if i % 2 else 'negative'}" for i in range(count)]
    path.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("bases") / "bert", architecture="bert")


@pytest.fixture
def trainings(settings: Settings, tmp_path: Path) -> Trainings:
    return Trainings(tmp_path / "ui", settings)


@pytest.fixture
def plan(tmp_path: Path, base: Path) -> Plan:
    data = Uploads(tmp_path / "ui").store(write_rows(tmp_path / "notes.csv"))
    recipe = {
        "base": str(base),
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "max_length": 32,
        "dtype": "float32",
        "learning_rate": 5e-3,
    }
    return Plan(task="sentiment", name="notes", data=str(data), recipe=recipe, held_out=0.2)


def long(plan: Plan) -> Plan:
    """So many steps that nobody sees its end."""
    return dataclasses.replace(plan, recipe={**plan.recipe, "num_train_epochs": 5000, "evals_per_epoch": 1})


@pytest.fixture
def ending(trainings: Trainings) -> Iterator[None]:
    yield
    for job in trainings.list():
        trainings.kill(job.id)


def steps_of(job: Job) -> int:
    return Histories().read(job.events).completed


def test_a_file_is_kept_once_and_named_without_its_path(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "ui")
    upload = write_rows(tmp_path / "my notes (1).csv")
    stored = uploads.store(upload)
    assert stored == uploads.store(upload)
    assert stored.name == "my-notes-1-.csv"
    assert stored.read_bytes() == upload.read_bytes()
    assert [key_of(path) for path in uploads.list()] == [key_of(stored)]
    assert uploads.find(key_of(stored)) == stored
    assert str(tmp_path) not in key_of(stored)
    assert named(f"{stored}:3: expected 2 fields", stored) == "my-notes-1-.csv:3: expected 2 fields"


def test_a_file_of_another_kind_or_one_that_is_gone_is_refused(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "ui")
    program = tmp_path / "run.exe"
    program.write_bytes(b"MZ")
    with pytest.raises(DataError, match=r"run\.exe: expected one of \.txt, .*, found '?\.exe"):
        uploads.store(program)
    for key in ("../../secret.csv", "", "nothing/here.csv"):
        with pytest.raises(DataError, match=r"This file no longer exists: upload it again\."):
            uploads.find(key)


def test_an_upload_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlptasks_ui.training.uploads.MAX_BYTES", 2_000_000)
    bomb = tmp_path / "rows.csv.gz"
    bomb.write_bytes(gzip.compress(b"text,label\n" + bytes(20_000_000)))
    assert bomb.stat().st_size < 100_000
    uploads = Uploads(tmp_path / "ui")
    for path, sentence in (
        (bomb, r"^rows\.csv\.gz: expected at most 20 MB unpacked, found more: upload a part of it, or use `nlptasks t"),
        (write_rows(tmp_path / "rows.csv"), r"^rows\.csv: expected at most 0 MB, found 0 MB: upload a part of it, or "),
    ):
        with pytest.raises(DataError, match=sentence):
            uploads.store(path)
        monkeypatch.setattr("nlptasks_ui.training.uploads.MAX_BYTES", 1)
    assert uploads.list() == []


def test_a_plan_is_read_as_it_was_written(plan: Plan) -> None:
    whole = dataclasses.replace(plan, labels=("negative", "positive"), replace=True, text_column="text")
    assert Plan.from_json(whole.as_json()) == whole
    assert whole.options.labels == ("negative", "positive")


@pytest.mark.long
def test_a_training_runs_in_a_process_of_its_own_and_is_compared(
    trainings: Trainings, plan: Plan, settings: Settings, ending: None
) -> None:
    job = trainings.start(plan)
    assert job.active
    with pytest.raises(
        JobError, match="The training of 'notes' for sentiment is still running: wait until it ends, stop it"
    ):
        trainings.start(dataclasses.replace(plan, name="other"))
    until(lambda: job.state == "finished" and not job.alive, 120)
    assert job.outcome["report"]["train_rows"] == 32
    history = Histories().read(job.events)
    assert (history.completed, history.total) == (8, 8)
    ended = "ready" if job.outcome["report"]["ready"] else "saved"
    assert f"The adapter 'notes' is {ended}, after 8 steps in" in show.head(job, history)
    found = job.comparison
    # Without its weights on this machine, the adapter that ships cannot answer.
    assert found["before"]["problem"].startswith("Base model 'minilm' is not in the cache")
    assert len(found["rows"]) == found["held_out"] == 8
    assert {row["right"] for row in found["rows"]} == {"negative", "positive"}
    assert "is not in the cache" in show.comparison(found)
    with pytest.raises(
        JobError, match="An adapter 'notes' for sentiment exists: choose another name, or tick “Replace an existing"
    ):
        trainings.start(plan)
    with pytest.raises(JobError, match="This training is finished: there is nothing to continue"):
        trainings.resume(job.id)
    with Engine(settings=settings, plugins=installed_plugins()) as engine:
        again = compare(engine, plan, job.outcome["report"])
    assert [row.after for row in again.rows] == [row["after"] for row in found["rows"]]
    trainings.forget(job.id)
    assert trainings.list() == []
    assert (settings.adapters / "sentiment" / "notes").is_dir()


@pytest.mark.full
@pytest.mark.long
def test_a_training_outlives_the_app_is_stopped_killed_and_continued(
    trainings: Trainings, plan: Plan, settings: Settings, tmp_path: Path, ending: None
) -> None:
    first = trainings.start(long(plan))
    # Another app, or the same one after a restart, knows nothing but the folder.
    other = Trainings(tmp_path / "ui", settings)
    [job] = other.list()
    until(lambda: job.state == "running" and steps_of(job) >= 5, 120)
    other.stop(job.id)
    until(lambda: first.state == "stopped", 60)
    stopped_at = steps_of(job)
    assert first.outcome["text"].startswith("Stopped at step")
    job = other.resume(job.id)
    until(lambda: steps_of(job) > stopped_at, 120)
    assert Histories().read(job.events).lines[-1] != ""
    os.kill(json.loads((job.folder / "process.json").read_text())["pid"], signal.SIGKILL)
    until(lambda: job.state == "crashed", 30)
    assert "“Continue” resumes from the last checkpoint" in show.head(job, Histories().read(job.events))
    job = other.resume(job.id)
    until(lambda: job.state == "running" and steps_of(job) > stopped_at, 120)
    other.finish(job.id)
    until(lambda: job.state == "finished", 120)
    assert job.outcome["report"]["stopped_early"]
    with pytest.raises(JobError, match="This training no longer exists: choose another one"):
        other.find("20200101-000000")


@pytest.mark.long
def test_a_training_that_cannot_begin_says_why(trainings: Trainings, plan: Plan, ending: None) -> None:
    job = trainings.start(dataclasses.replace(plan, recipe={**plan.recipe, "base": "no-such-base"}))
    until(lambda: job.state == "failed", 120)
    assert "no-such-base" in job.outcome["text"]
    assert html_text(show.head(job, Histories().read(job.events))).startswith("Unknown base")


def html_text(code: str) -> str:
    import re

    return " ".join(re.sub("<[^>]+>", " ", code).split())


@pytest.mark.full
@pytest.mark.long
def test_what_a_training_takes_is_measured_and_leaves_nothing_behind(
    plan: Plan, settings: Settings, tmp_path: Path
) -> None:
    measured = estimate.measure(plan, settings)
    assert (measured.steps, measured.train_rows, measured.held_out_rows) == (8, 32, 8)
    assert measured.measured >= 2
    assert 0 < measured.step_seconds < 30
    assert 5e7 < measured.memory < 8e9
    assert measured.seconds > measured.steps * measured.step_seconds
    assert "8 steps of" in estimate.words(measured)
    assert not settings.adapters.exists()
    assert not (settings.data / "runs").exists()
    with pytest.raises(TrainingError, match="no-such-base"):
        estimate.measure(dataclasses.replace(plan, recipe={"base": "no-such-base"}), settings)


def test_a_recipe_that_does_not_fit_names_every_fault(plan: Plan) -> None:
    task = installed_plugins().task("sentiment")
    with pytest.raises(InvalidInputError, match=r"(?s)epochs.*banana"):
        dataclasses.replace(plan, recipe={"num_train_epochs": "many", "banana": 1}).full_recipe(task)


def test_a_history_forgets_what_is_done_again_and_tells_the_time_left() -> None:
    history = History()
    start = {"steps": 10, "epochs": 2.0, "metric": "accuracy", "headline": "accuracy"}
    history.add(Event("start", {"time": 100.0, "done": 0, **start}))
    for step in range(1, 6):
        history.add(Event("step", {"time": 100.0 + 2 * step, "step": step, "loss": 1 / step, "lr": 1e-3}))
    metrics = {"accuracy": 0.75, "loss": 0.4}
    history.add(
        Event(
            "evaluation", {"time": 110.0, "step": 5, "epoch": 1.0, "train_loss": 0.5, "metrics": metrics, "best": True}
        )
    )
    assert history.seconds_left == pytest.approx(10.0)
    assert plots.loss_points(history)[-1] == (5, 0.4, "validation")
    assert plots.metric_points(history) == [(5, 0.75, "accuracy")]
    assert history.lines[-1].endswith("Step 5, epoch 1: validation accuracy 0.7500, loss 0.4000 (best so far)")
    history.add(Event("start", {"time": 200.0, "done": 3, **start}))
    assert [step for step, *_ in history.steps] == [1, 2, 3]
    assert history.evaluations == []
    assert history.seconds_left is None


def test_long_curves_are_thinned_by_averages() -> None:
    points = [(step, float(step % 2)) for step in range(1, 4001)]
    thin = plots.thinned(points)
    assert len(thin) == plots.POINTS
    assert thin[-1] == (4000, 0.5)
    assert plots.thinned(points[:7]) == points[:7]


def side(title: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "metrics": {}, "table": [], "labels": [], "confusion": [], "problem": "", **more}


def test_before_a_training_the_labels_of_the_data_are_named_where_the_caller_names_them() -> None:
    tasks = installed_plugins().tasks
    arguments = [
        before_arguments(family_trainer(tasks[name]), labels)
        for name, labels in (
            ("classify", ["bug", "praise"]),
            ("entities", ["O", "B-PART", "I-PART"]),
            ("sentiment", ["negative", "positive"]),
            ("summarization", []),
        )
    ]
    assert arguments == [{"labels": ["bug", "praise"]}, {"labels": ["PART"]}, {}, {}]


def test_before_and_after_are_told_with_what_is_better() -> None:
    before = side("Before", metrics={"accuracy": 0.5, "loss": 0.9}, labels=["no", "yes"], confusion=[[1, 1], [1, 1]])
    after = side("mine", metrics={"accuracy": 1.0, "loss": 1.2}, labels=["no", "yes"], confusion=[[2, 0], [0, 2]])
    rows = [{"text": "<b>Fine</b>", "right": "yes", "before": "no", "after": "yes"}]
    told = show.comparison({"before": before, "after": after, "rows": rows, "held_out": 4})
    assert '<td class="nlp-better">+0.5000</td>' in told
    assert '<td class="nlp-worse">+0.3000</td>' in told
    assert "&lt;b&gt;Fine" in told
    assert "Compared on 1 of 4 held-out rows; changed answers: 1." in told
    assert told.count("nlp-matrix") == 2
    types = [{"label": "PER", "f1": 0.5, "rows": 3}]
    per_type = show.comparison(
        {"before": side("Before", table=types), "after": side("mine"), "rows": [], "held_out": 0}
    )
    assert "<td>0.500</td>" in per_type
    assert "nlp-matrix" not in per_type


def test_faults_are_listed_with_their_lines_and_labels_with_their_share() -> None:
    error = DataError("The data cannot be read.", [f"notes.csv:{line}: no label" for line in range(2, 17)])
    told = check.faults(error)
    assert "notes.csv:2: no label" in told
    assert "5 more" in told
    bars = check.balance({"rare": 1, "usual": 99})
    assert bars.index("usual") < bars.index("rare")
    assert "width:100.0%" in bars
    assert check.balance({f"l{i}": 1 for i in range(check.LABELS + 4)}).endswith("and 4 more labels</p>")


def test_a_name_is_made_of_the_file_and_is_free() -> None:
    assert free_name("Great Reviews (final).v2", []) == "great-reviews-final-v2"
    assert free_name("notes", ["notes", "notes-2"]) == "notes-3"
    assert free_name("影評", []) == "mine"


def test_users_see_their_trainings_only(
    trainings: Trainings, plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Trainings, "_launch", lambda self, job: None)
    monkeypatch.setattr(Job, "alive", True)
    ada, bob = trainings.of("ada"), trainings.of("bob")
    job = ada.start(plan)
    assert [one.id for one in ada.list()] == [job.id]
    assert (bob.list(), trainings.list()) == ([], [])
    for action in (bob.find, bob.stop, bob.finish, bob.kill, bob.forget, bob.resume):
        with pytest.raises(JobError, match="no longer exists"):
            action(job.id)
    with pytest.raises(JobError) as busy:
        bob.start(dataclasses.replace(plan, name="others"))
    assert str(busy.value) == (
        "A training of another user is still running: wait until it ends, or tick “Train at the same time as another "
        "training”."
    )
    with pytest.raises(
        JobError, match=r"^Another user trains an adapter 'notes' for sentiment: choose another name\.$"
    ):
        bob.start(dataclasses.replace(plan, replace=True), concurrent=True)
    assert bob.busy
    assert ada.using(Path(plan.data)) == job
    assert bob.using(Path(plan.data)) is None


def test_a_tick_that_was_on_its_way_leaves_the_chosen_training(
    trainings: Trainings, plan: Plan, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gradio as gr

    monkeypatch.setattr(Trainings, "_launch", lambda self, job: None)
    with Engine(settings=settings) as engine, gr.Blocks():
        watch = Watch(Context(engine, settings.data), trainings)
    old = trainings.start(plan)
    seen = watch.opened("")
    assert seen[watch.job].value == old.id
    trainings.start(dataclasses.replace(plan, name="others"))
    assert watch.refresh(old.id, seen[watch.version], "")[watch.job].constructor_args.keys() == {"choices"}


def test_a_training_without_its_data_is_not_continued(
    trainings: Trainings, plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Trainings, "_launch", lambda self, job: None)
    job = trainings.start(plan)
    assert job.state == "crashed"
    uploads = Uploads(tmp_path / "ui")
    uploads.delete(key_of(Path(plan.data)))
    assert uploads.list() == []
    with pytest.raises(JobError, match=r"^The data file of this training was deleted: upload it again"):
        trainings.resume(job.id)


@pytest.mark.parametrize("ready", [True, False, None])
def test_only_a_result_above_the_baselines_is_called_ready(
    trainings: Trainings, plan: Plan, monkeypatch: pytest.MonkeyPatch, ready: bool | None
) -> None:
    monkeypatch.setattr(Trainings, "_launch", lambda self, job: None)
    job = trainings.start(plan)
    report: dict[str, Any] = {
        "metrics": {"accuracy": 0.5}, "headline": "accuracy", "held_out_rows": 8, "stopped_early": False,
        "method": "lora", "steps": 8, "seconds": 2.0, "ready": ready,
        "warnings": [] if ready else ["Not ready: accuracy 0.5000 is no better than 0.5000, which is <a> guess"],
    }  # fmt: skip
    if ready is None:  # a report of version 0.1
        del report["ready"], report["warnings"]
    outcome = {"state": "finished", "text": "", "report": report}
    (job.folder / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")
    words = html_text(show.head(job, History()))
    ended = "is saved" if ready is False else "is ready"
    assert f"The adapter 'notes' {ended}, after 8 steps in" in words.replace("&#x27;", "'")
    shortfall = "Not ready: accuracy 0.5000 is no better than 0.5000, which is &lt;a&gt; guess."
    assert words.endswith(shortfall) == (ready is False)


def test_the_last_phases_have_names(trainings: Trainings, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainings, "_launch", lambda self, job: None)
    monkeypatch.setattr(Job, "alive", True)
    job = trainings.start(plan)
    history = History()
    start = {"time": 0.0, "steps": 4, "epochs": 2.0, "metric": "loss", "headline": "loss", "done": 0}
    lines = [
        {"event": "start", **start},
        {"event": "step", "time": 1.0, "step": 4, "loss": 0.1},
        {"event": "phase", "time": 2.0, "text": "measures activation ranges for dtype int8"},
    ]
    job.events.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]), encoding="utf-8")
    for line in lines:
        values = dict(line)
        history.add(Event(values.pop("event"), values))  # type: ignore[arg-type]
        if line["event"] == "step":
            assert "Step 4 of 4" in show.head(job, history)
    assert "All steps are done. The training now measures activation ranges for dtype int8" in show.head(job, history)
    assert history.lines[-1].endswith("measures activation ranges for dtype int8")
    history.add(Event("start", {**start, "done": 2}))
    assert history.phase == ""
