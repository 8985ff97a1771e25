"""`nlptasks train`, `eval` and `data check`: one command each, exit codes, streams."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nlptasks import Settings
from nlptasks.cli import cli
from nlptasks.data import DataOptions
from nlptasks.errors import DataError, InvalidInputError
from nlptasks.store.adapters import open_adapter
from nlptasks.testing import tiny_model
from nlptasks.training import check_data, family_trainer
from nlptasks.training.preparation import prepare
from nlptasks_plugins.sentiment import Sentiment
from tests import warm_processes
from tests.training_rows import rows, serve_here, write_csv

QUICK = ("--lr", "1e-2", "--batch-size", "16", "--max-length", "48", "--dtype", "float32", "-o", "ema_decay", "0")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and a tiny GPT-2, and an environment without network."""
    for name, value in (("CACHE", "cache"), ("DATA", "data")):
        monkeypatch.setenv(f"NLPTASKS_{name}", str(tmp_path / value))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("NLPTASKS_LOAD_PLUGINS", raising=False)
    names = {"sad": "negative", "glad": "positive"}
    content = [(text, names[label]) for text, label in rows()]
    write_csv(tmp_path / "reviews.csv", content)
    write_csv(tmp_path / "test.csv", content[:40], header="sentence,sentiment")
    tiny_model(tmp_path / "gpt2", architecture="gpt2")
    serve_here(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nlptasks(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.long
def test_the_blog_job_is_one_command(home: Path) -> None:
    result = nlptasks("train", "sentiment", "reviews.csv", "--name", "blog", "--model", "./gpt2", "--batch-size", "8",
                    "--max-length", "64", "--epochs", "5", "--lr", "5e-3", "-o", "evals_per_epoch", "1")  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    for epoch in range(1, 6):
        assert any(
            line.startswith(f"epoch {epoch}/5: average loss ") and "validation accuracy" in line for line in lines
        )
        assert f"epoch {epoch}: average loss " in result.stdout
    assert "blog: accuracy " in result.stdout
    assert "Gate passed" in result.stderr

    measured = nlptasks("eval", "sentiment", "test.csv", "-a", "blog")
    assert measured.exit_code == 0, measured.output
    for word in ("accuracy", "macro F1", "Matthews correlation", "calibration error", "negative log-likelihood"):
        assert word in measured.stdout
    assert "right \\ answered  negative  positive" in measured.stdout
    report = json.loads(nlptasks("eval", "sentiment", "test.csv", "-a", "blog", "--json").stdout)
    assert report["rows"] == 40
    assert report["metrics"]["accuracy"] >= 0.9
    assert sum(map(sum, report["confusion"])) == 40


@pytest.mark.long
def test_the_report_as_json_and_any_setting_by_name(home: Path) -> None:
    (home / "mine.toml").write_text("num_train_epochs = 1\nseed = 5\n")
    arguments = ("train", "sentiment", "reviews.csv", "--name", "mine", "-m", "gpt2", "--recipe", "mine.toml", *QUICK)
    result = nlptasks(*arguments, "-o", "target_modules", "c_attn", "--seed", "6", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    manifest = open_adapter(Path(report["path"])).manifest
    assert manifest is not None
    assert (manifest.recipe["num_train_epochs"], manifest.recipe["seed"]) == (1, 6)
    assert manifest.recipe["target_modules"] == ["c_attn"]
    assert report["labels"] == ["negative", "positive"]


@pytest.mark.long
def test_old_options_and_settings_are_taken_with_a_line_on_stderr(home: Path) -> None:
    (home / "old.toml").write_text("lr = 1e-3\nr = 2\n")
    command = [sys.executable, "-m", "nlptasks", "train", "sentiment", "gone.csv", "--name", "x", "--recipe",
               "old.toml", "--warmup", "0.1", "--epochs", "2", "-o", "average", "0.9"]  # fmt: skip
    child = warm_processes.run(command, env=os.environ)
    assert child.returncode == 1
    warnings = [line for line in child.stderr.splitlines() if "is now" in line]
    assert sorted(warnings) == [
        f"The recipe setting {old} is now {new}; the next version no longer reads {old}."
        for old, new in (("average", "ema_decay"), ("lr", "learning_rate"), ("warmup", "warmup_ratio"))
    ]
    printed = nlptasks("train", "--help").stdout
    assert "--warmup-ratio" in printed
    assert not re.search(r"--(warmup|start|alpha|accumulate|patience)\b(?!-)", printed)


@pytest.mark.long
def test_compare_measures_two_on_the_same_rows(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, epochs in (("weak", "1"), ("strong", "5")):
        lr = ("--lr", "1e-9") if name == "weak" else ()
        result = nlptasks(
            "train", "sentiment", "reviews.csv", "--name", name, "-m", "gpt2", "--epochs", epochs, *QUICK, *lr
        )
        assert result.exit_code == 0, result.output
    from nlptasks.plugins import default_plugins

    shipped = home / "data" / "adapters" / "sentiment" / "weak"
    monkeypatch.setattr(type(default_plugins().task("sentiment")), "adapter", shipped)
    result = nlptasks("eval", "sentiment", "test.csv", "-a", "strong", "--compare", "--json")
    assert result.exit_code == 0, result.output
    both = json.loads(result.stdout)
    strong, weak = both["new"], both["old"]
    assert both["differences"]["accuracy"]["p_value"] < 0.05
    assert (strong["adapter"], weak["adapter"]) == ("strong", "weak")
    assert strong["metrics"]["accuracy"] > weak["metrics"]["accuracy"]
    printed = nlptasks("eval", "sentiment", "test.csv", "-a", "strong", "--compare").stdout
    assert "strong on " in printed
    assert "difference" in printed


@pytest.mark.long
def test_compare_with_other_labels_measures_what_is_common(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = [(text, {"sad": "negative", "glad": "positive"}[label]) for text, label in rows(60)]
    write_csv(home / "three.csv", [*content, *((f"it is there {index}", "neutral") for index in range(30))])
    with_three = ("three.csv", "--labels", "negative,neutral,positive")
    for name, data in (("three", with_three), ("two", ("reviews.csv",))):
        result = nlptasks("train", "sentiment", *data, "--name", name, "-m", "gpt2", "--epochs", "1", *QUICK)
        assert result.exit_code == 0, result.output
    from nlptasks.plugins import default_plugins

    shipped = home / "data" / "adapters" / "sentiment" / "two"
    monkeypatch.setattr(type(default_plugins().task("sentiment")), "adapter", shipped)
    result = nlptasks("eval", "sentiment", "three.csv", "-a", "three", "--compare")
    assert result.exit_code == 0, result.output
    assert (
        "compared on the labels of both: negative, positive (of negative, neutral, positive; negative, positive)"
        in (result.stdout)
    )
    assert "rows with other labels left out: neutral (30)" in result.stdout
    assert "sentiment on 60 rows" in result.stdout


def test_a_dry_run_prints_the_recipe_and_trains_nothing(home: Path) -> None:
    command = ("train", "sentiment", "reviews.csv", "--name", "dry", "-m", "gpt2", "--lr", "0.01", "--dry-run")
    result = nlptasks(*command, "-o", "extra.class_weights", '{"positive": 2}')
    assert result.exit_code == 0, result.output
    recipe = tomllib.loads(result.stdout)
    assert (recipe["base"], recipe["learning_rate"], recipe["per_device_train_batch_size"]) == ("gpt2", 0.01, 8)
    assert recipe["num_train_epochs"] == 12.0
    assert recipe["extra"] == {"class_weights": {"positive": 2}}
    assert "few rows: " in result.stderr
    assert json.loads(nlptasks(*command, "--json").stdout)["learning_rate"] == 0.01
    assert not (home / "data" / "runs").exists()
    strange = nlptasks(*command, "-o", "extra.class_weights", "even")
    assert 'extra.class_weights: expected "balanced", or a weight for each label by its name' in str(strange.exception)
    logger = nlptasks(*command[:-1], "--report-to", "nowhere")
    assert "report_to: expected a logger that is installed (" in str(logger.exception)


@pytest.mark.long
def test_an_installed_logger_gets_losses_and_metrics(home: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    command = ("train", "sentiment", "reviews.csv", "--name", "logged", "-m", "./gpt2", "--epochs", "2", *QUICK)
    result = nlptasks(*command, "-o", "evals_per_epoch", "1", "-o", "min_steps", "0", "--report-to", "tensorboard")
    assert result.exit_code == 0, result.output
    [events] = (home / "data" / "runs" / "sentiment" / "logged" / "runs").rglob("events.out.tfevents.*")
    logged = accumulators.EventAccumulator(str(events))
    logged.Reload()
    assert len(logged.Scalars("eval/accuracy")) == 2
    assert {"train/loss", "train/learning_rate", "eval/loss"} <= set(logged.Tags()["scalars"])


def test_usage_errors_are_2_and_others_tell_everything(home: Path) -> None:
    assert nlptasks("train", "sentiment", "reviews.csv").exit_code == 2
    assert nlptasks("train", "sentiment", "--name", "x").exit_code == 2
    assert nlptasks("eval", "sentiment", "test.csv", "--compare").exit_code == 2
    assert nlptasks("train", "sentiment", "reviews.csv", "--name", "x", "--labels", "a,,b").exit_code == 2
    bad = nlptasks("train", "sentiment", "reviews.csv", "--name", "x", "-o", "epoch", "3")
    assert isinstance(bad.exception, InvalidInputError)
    assert "did you mean 'num_train_epochs'?" in str(bad.exception)
    gone = nlptasks("train", "sentiment", "gone.csv", "--name", "x")
    assert isinstance(gone.exception, DataError)
    other = nlptasks("eval", "sentiment", "reviews.csv", "--labels", "bad,good", "-m", "gpt2")
    assert isinstance(other.exception, DataError)


def test_data_check(home: Path) -> None:
    done = nlptasks("data", "check", "reviews.csv", "--task", "sentiment")
    assert done.exit_code == 0, done.output
    assert "text in 'text', label in 'label'" in done.stdout
    assert "160 rows, all valid" in done.stdout
    report = json.loads(nlptasks("data", "check", "reviews.csv", "-t", "sentiment", "--json").stdout)
    assert report["labels"] == {"negative": 80, "positive": 80}
    write_csv(home / "bad.csv", [("", "positive"), ("x", "negativ")])
    bad = nlptasks("data", "check", "bad.csv", "-t", "sentiment")
    assert isinstance(bad.exception, DataError)
    assert len(bad.exception.problems) == 2


def test_check_and_training_warn_alike(home: Path) -> None:
    write_csv(home / "scarce.csv", [("good", "positive"), ("fine", "positive"), ("bad", "negative")])
    family, options = family_trainer(Sentiment()), DataOptions()
    prepared = prepare(family, ["scarce.csv"], [], [], options, Sentiment.recipe, Settings.from_env())
    warning = "a single row has the label negative: it is not held out, so no metric is about it"
    assert warning in check_data(family, ["scarce.csv"], options).warnings
    assert warning in prepared.warnings
    assert f"Warning: {warning}" in nlptasks("data", "check", "scarce.csv", "-t", "sentiment").stdout
    write_csv(home / "same.csv", [("good", "positive"), ("fine", "positive")])
    for command in (
        ("train", "sentiment", "same.csv", "--name", "same"),
        ("data", "check", "same.csv", "-t", "sentiment"),
    ):
        refused = nlptasks(*command)
        assert isinstance(refused.exception, DataError)
        assert "Training rows: expected at least two different labels, found 1." in str(refused.exception)


@pytest.mark.full
@pytest.mark.long
def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(home: Path) -> None:
    command = ["train", "sentiment", "reviews.csv", "--name", "long", "-m", "gpt2", "--epochs", "500", *QUICK]
    child = subprocess.Popen([sys.executable, "-m", "nlptasks", *command], stderr=subprocess.PIPE, text=True,
                             env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    events = home / "data" / "runs" / "sentiment" / "long" / "events.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (events.exists() and '"step", "step"' in events.read_text()):
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    words = child.communicate(timeout=60)[1]
    assert child.returncode == 1, words
    assert "Continue with the same command and --resume." in words
    assert "Traceback" not in words
    assert json.loads(events.read_text().splitlines()[-1])["event"] == "interrupted"


def test_few_rows_are_one_command(home: Path) -> None:
    tiny_model(home / "bert")
    content = [(f"{'abc cab' if index % 2 else '12 321'} {index}", "letters" if index % 2 else "digits|signs")
               for index in range(16)]  # fmt: skip
    write_csv(home / "topics.csv", content)
    command = ("train", "sentiment", "topics.csv", "-m", "./bert", "--labels", "letters,digits,signs", "--multi-label")
    result = nlptasks(*command, "--name", "mine", "--few-shot")
    assert result.exit_code == 0, result.output
    assert "16 rows to train on, measured by cross-validation; labels letters, digits, signs" in result.stderr
    assert "mine: accuracy " in result.stdout
    assert " on 16 rows\n" in result.stdout
    [answer] = json.loads(f"[{nlptasks('run', 'sentiment', '21 321 2', '-a', 'mine', '--jsonl').stdout}]")
    assert sorted(answer["labels"]) == ["digits", "signs"]
    card = (home / "data" / "adapters" / "sentiment" / "mine" / "README.md").read_text()
    assert "-o extra.multi_label true" in card
    note = nlptasks(*command, "--name", "more", "--dry-run").stderr
    assert "fewer than 200 rows: --few-shot takes seconds" in note
    refused = nlptasks("train", "ner", "topics.csv", "--name", "more", "--few-shot")
    assert "few_shot: expected a task that gives texts labels, found ner." in str(refused.exception)
