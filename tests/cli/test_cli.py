"""The command line: exit codes, streams, JSON, files, errors, speed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore
from nlptasks.testing import tiny_model
from nlptasks_plugins import Sentiment
from tests import warm_processes
from tests.hub_server import serve
from tests.tiny_adapters import classifier_adapter

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a tiny encoder and an adapter `tiny` for sentiment, and no network."""
    root = tmp_path_factory.mktemp("home")
    env = {
        **os.environ,
        "NLPTASKS_CACHE": str(root / "cache"),
        "NLPTASKS_DATA": str(root / "data"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        # Tiny models take longer to compile than to run.
        "NLPTASKS_BACKEND": "torch",
    }
    env.pop("NLPTASKS_LOAD_PLUGINS", None)
    base = tiny_model(root / "encoder", "encoder")
    folder = AdapterStore(Settings.from_env(env)).folder("sentiment", "tiny")
    classifier_adapter(base, folder, labels=("negative", "positive"))
    env["TINY_CAUSAL"] = str(tiny_model(root / "causal", "causal"))
    return env


def nlptasks(env: dict[str, str], *arguments: str, stdin: str | bytes = "") -> subprocess.CompletedProcess[str]:
    data = stdin.encode() if isinstance(stdin, str) else stdin
    return warm_processes.run([sys.executable, "-m", "nlptasks", *arguments], input=data, env=env)


def cold(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same in a process that starts as the user's do."""
    command = [sys.executable, "-m", "nlptasks", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=env, timeout=60, check=False)


def test_one_text_gives_one_object(home: dict[str, str]) -> None:
    done = nlptasks(home, "run", "sentiment", "fine", "-a", "tiny", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["adapter"] == "tiny"
    assert {s["label"] for s in answer["scores"]} == {"negative", "positive"}
    assert done.stderr == ""


@pytest.mark.long
def test_files_standard_input_and_several_texts(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('text\n"one, with a comma"\ntwo\n', encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text('{"text": "three"}\n\n"four"\n', encoding="utf-8")
    (tmp_path / "page.txt").write_text("five\nsix\n", encoding="utf-8")
    files = [argument for name in ("rows.csv", "rows.jsonl", "page.txt") for argument in ("-f", str(tmp_path / name))]
    done = nlptasks(home, "run", "sentiment", "zero", *files, "--lines", "-a", "tiny", "--jsonl")
    assert done.returncode == 0, done.stderr
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 7
    piped = nlptasks(home, "run", "sentiment", "-", "--lines", "-a", "tiny", "--jsonl", stdin="a\n\nb\n")
    assert [json.loads(line) is None for line in piped.stdout.splitlines()] == [False, True, False]
    whole = nlptasks(home, "run", "sentiment", "-a", "tiny", "--json", stdin="a\n\nb\n")
    assert json.loads(whole.stdout)["windows"] == 1
    broken = nlptasks(home, "run", "sentiment", "-a", "tiny", "--json", stdin=b"caf\xe9 \xff")
    assert broken.returncode == 1
    assert "Standard input: expected UTF-8, found other bytes" in broken.stderr
    assert "--encoding cp1252, which reads 'café ÿ'" in broken.stderr


@pytest.mark.long
def test_text_for_people_shows_each_source(home: dict[str, str]) -> None:
    done = nlptasks(home, "run", "sentiment", "fine", "words " * 90, "-a", "tiny")
    lines = done.stdout.splitlines()
    assert lines[0] == "fine"
    assert lines[1].split()[0] in {"negative", "positive"}
    assert lines[2].endswith("…")
    assert "windows]" in lines[3]


@pytest.mark.long
def test_a_note_on_a_text_that_is_written_goes_to_stderr(
    tiny_causal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from nlptasks.cli import cli
    from nlptasks_plugins import english

    monkeypatch.setattr(english, "ENGLISH", frozenset({str(tiny_causal)}))
    monkeypatch.setenv("NLPTASKS_DATA", str(tmp_path))
    text = "Guten Morgen, wie geht es Ihnen heute?"
    done = CliRunner().invoke(cli, ["run", "generation", text, "-m", str(tiny_causal), "-o", "max_new_tokens", "2"])
    assert done.stdout.startswith(text)
    assert done.stderr == f"(the prompt seems to be in German; {tiny_causal} was trained on English)\n"
    long = CliRunner().invoke(
        cli, ["run", "generation", "a " * 3000, "-m", str(tiny_causal), "-o", "max_new_tokens", "2"]
    )
    assert long.stderr == "(part of the input was cut)\n"


def test_generation_prints_as_it_writes(home: dict[str, str]) -> None:
    done = nlptasks(home, "run", "generation", "Once", "-m", home["TINY_CAUSAL"], "-o", "max_new_tokens", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Once")
    both = nlptasks(
        home, "run", "generation", "a", "b", "-m", home["TINY_CAUSAL"], "-o", "max_new_tokens", "5", "--json"
    )
    assert [row["num_generated_tokens"] <= 5 for row in json.loads(both.stdout)] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run", "sentimant", "x"], 1, "Error: Unknown task 'sentimant'. Did you mean 'sentiment'?"),
        (["run", "sentiment", ""], 1, "expected a text with at least one visible character, found ''."),
        (
            ["run", "sentiment", "x", "-o", "treshold", "1"],
            1,
            "option 'treshold' is not known; did you mean 'threshold'?",
        ),
        (["run", "sentiment", "x", "-a", "tinny"], 1, "Unknown adapter 'tinny'. Did you mean 'tiny'?"),
        (["run", "sentiment", "x", "-m", "minilmm"], 1, "Did you mean 'minilm'?"),
        (["run", "sentiment", "x", "--device", "tpu"], 1, "expected auto, cpu, cuda, cuda:N or mps, found 'tpu'"),
        (
            ["run", "sentiment", "x", "--dtype", "int4"],
            1,
            "expected one of auto, float32, bfloat16, float16, int8, found 'int4'",
        ),
        (["runn", "sentiment"], 2, "No such command 'runn'. Did you mean 'run'?"),
        (["run"], 2, "Missing argument 'TASK'"),
        (["run", "sentiment", "-f", "nowhere.txt"], 2, "'nowhere.txt' does not exist"),
        (["adapters", "rm", "sentiment", "nothing", "-y"], 1, "Unknown adapter 'nothing'"),
        (["models", "rm", "minilm"], 1, "minilm"),
    ],
)
def test_errors_teach_and_have_their_exit_codes(
    home: dict[str, str], arguments: list[str], code: int, sentence: str
) -> None:
    done = nlptasks(home, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_offline_with_an_empty_cache_fails_at_once_in_one_sentence(home: dict[str, str]) -> None:
    started = time.monotonic()
    done = cold(home, "run", "generation", "x")
    assert done.returncode == 1
    assert time.monotonic() - started < 5
    assert done.stderr.count("\n") == 1
    assert "nlptasks models pull smollm2" in done.stderr


def endless_model(source: Path, folder: Path) -> Path:
    """A copy of a tiny model that writes until it is stopped."""
    shutil.copytree(source, folder)
    for file, limit in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**content, limit: 1_000_000}))
    (folder / "generation_config.json").write_text('{"pad_token_id": 0}')
    return folder


@pytest.mark.long
def test_ctrl_c_ends_a_run_cleanly(home: dict[str, str], tmp_path: Path) -> None:
    model = endless_model(Path(home["TINY_CAUSAL"]), tmp_path / "endless")
    command = [sys.executable, "-m", "nlptasks", "run", "generation", "Once", "-m", str(model)]
    options = ["-o", "max_new_tokens", "30000", "-o", "do_sample", "true", "-o", "temperature", "5"]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=home, bufsize=0
    )
    assert process.stdout is not None
    # More than the prompt: the model is writing.
    written = b""
    while len(written) < 40:
        written += process.stdout.read(40)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert errors.decode().strip().splitlines()[-1] == "Cancelled."
    assert process.returncode == 1


@pytest.mark.long
def test_a_chat_keeps_the_turns(home: dict[str, str]) -> None:
    done = nlptasks(
        home, "chat", "-m", home["TINY_CAUSAL"], "-o", "max_new_tokens", "3", stdin="Hi\n/new\nHello\n/exit\n"
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2


@pytest.mark.full
@pytest.mark.long
def test_an_adapter_of_the_hub_is_fetched_once_and_then_works_offline(home: dict[str, str], tmp_path: Path) -> None:
    folder = Path(home["NLPTASKS_DATA"]) / "adapters" / "sentiment" / "tiny"
    env = {**home, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    with serve() as site:
        site.repos["org/mood"] = {path.name: path.read_bytes() for path in folder.iterdir()}
        env["HF_ENDPOINT"] = site.url
        online = cold(env, "run", "sentiment", "fine", "-a", "org/mood", "--json")
        assert online.returncode == 0, online.stderr
    offline = cold({**env, "HF_HUB_OFFLINE": "1"}, "run", "sentiment", "fine", "-a", "org/mood", "--json")
    assert offline.stdout == online.stdout
    cut = cold(env, "run", "sentiment", "fine", "-a", "org/other")
    assert cut.returncode == 1
    assert "Adapter org/other is not in the cache and the network is off or the Hub cannot be reached" in cut.stderr


def test_adapters_are_listed_shown_and_removed(home: dict[str, str]) -> None:
    assert json.loads(nlptasks(home, "adapters", "list", "--json").stdout)[0]["name"] == "tiny"
    assert json.loads(nlptasks(home, "adapters", "show", "sentiment", "tiny").stdout)["verb"] == "classify"
    assert nlptasks(home, "adapters", "rm", "sentiment", "tiny", stdin="n\n").returncode == 1
    assert nlptasks(home, "adapters", "list").stdout.startswith("sentiment/tiny")


def test_models_tasks_and_doctor_have_json(home: dict[str, str]) -> None:
    models = json.loads(nlptasks(home, "models", "list", "--json").stdout)
    assert [m["name"] for m in models][:2] == ["minilm", "smollm2"]
    assert all(m["path"] is None for m in models if m["sources"] != ["plugin"])
    names = [task["name"] for task in json.loads(nlptasks(home, "tasks", "--json").stdout)]
    assert {"sentiment", "generation"} <= set(names)
    report = json.loads(nlptasks(home, "doctor", "--json", "--no-network").stdout)
    assert report["versions"]["torch"]
    assert "(" in report["computing"]["dtype"], "the reason stands beside the choice"
    assert report["computing"]["language models"] == "torch (NLPTASKS_BACKEND or backend=... says so)"
    free = json.loads(nlptasks({**home, "NLPTASKS_BACKEND": ""}, "doctor", "--json", "--no-network").stdout)
    for work in ("readers", "language models", "translators"):
        assert "NLPTASKS_BACKEND" not in free["computing"][work]


def test_help_is_fast_and_brings_in_no_torch(home: dict[str, str]) -> None:
    def seconds() -> float:
        started = time.perf_counter()
        assert cold(home, "--help").returncode == 0
        return time.perf_counter() - started

    code = (
        "import sys, nlptasks\nnlptasks.tasks()\n"
        "from nlptasks.cli import _run\n_run(['--help'])\n"
        "heavy = {'torch', 'transformers', 'peft', 'gradio', 'datasets', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # 0.3 s on an idle machine; the quickest of five is what a busy one spoils least.
    assert min(seconds() for _ in range(5)) < 1.0


@pytest.mark.full
@pytest.mark.long
def test_a_reader_that_leaves_early_is_no_error(home: dict[str, str]) -> None:
    shell = f"{sys.executable} -m nlptasks run sentiment a b c d -a tiny --jsonl | head -c 1"
    done = subprocess.run(["bash", "-c", shell], env=home, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_pipe_gets_every_character_whatever_the_locale(home: dict[str, str]) -> None:
    env = {**home, "PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, "-m", "nlptasks", "run", "generation", "One 李 👍.", "-m", home["TINY_CAUSAL"], "--json"]
    ended = subprocess.run(command, env=env, capture_output=True, check=True)
    assert json.loads(ended.stdout.decode())["prompt"] == "One 李 👍."


def test_a_data_folder_that_cannot_be_written_is_one_line(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    data = str(tmp_path / "file" / "data")
    ended = nlptasks({**home, "NLPTASKS_DATA": data}, "adapters", "import", str(Sentiment.adapter))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: {data}")
    assert ended.stderr.endswith("Make it writable, or name another folder with NLPTASKS_DATA.\n")
