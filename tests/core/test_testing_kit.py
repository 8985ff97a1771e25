"""check_task passes good tasks and fails, with its sentence, for every bad one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import nlptasks
from nlptasks.model import Model
from nlptasks.results import Result
from nlptasks.task import Task
from nlptasks.testing import FakeModel, check_task
from tests import sample_tasks as bad
from tests.sample_tasks import TITLES, Echo, Mood, Title


def test_good_tasks_pass() -> None:
    check_task(Echo())
    check_task(Mood())
    check_task(Title(), rows=TITLES)
    check_task(Mood(), rows=[("Fine.", {"label": "calm", "score": 1, "scores": [], "labels": ["calm"]})])


@pytest.mark.parametrize("name", nlptasks.tasks())
def test_installed_tasks_keep_the_contract(name: str) -> None:
    check_task(nlptasks.tasks()[name])


@pytest.mark.parametrize(
    ("task", "rows", "sentence"),
    [
        (Echo, (), "expected an instance of nlptasks.Task, found the class Echo"),
        (bad.BadName(), (), "expected a task name of lower-case words"),
        (bad.RequiredOptionsTask(), (), "expected a default for every option, found none for size"),
        (bad.NoSummary(), (), "it has no summary"),
        (bad.NoExample(), (), "it has no example"),
        (bad.BadExample(), (), "its example ' ' is not valid"),
        (bad.NakedInputTask(), (), "input_type NakedInput has no description for text"),
        (bad.NakedOptionsTask(), (), "options_type NakedOptions has no description for size"),
        (bad.NoSchemaTask(), (), "input_type NoSchema has no JSON schema: cannot say it in JSON"),
        (bad.AcceptsBlank(), (), "text='' was accepted: refuse texts without a visible character"),
        (bad.AsciiOnly(), (), "was refused"),
        (bad.CrashesOnEmoji(), (), "run raised UnicodeEncodeError"),
        (bad.Crashes(), (), "run raised KeyError"),
        (bad.OneByOne(), (), "8 inputs made 8 calls to the model (generate), one input makes 1"),
        (bad.LosesOne(), (), "4 inputs gave 1 results: expected a list with one result an input"),
        (bad.GivesTuple(), (), "0 inputs gave (): expected a list"),
        (bad.GivesText(), (), "expected a TitleResult"),
        (bad.Sorts(), (), "run([a, b]) must be run([a]) + run([b])"),
        (bad.SwallowsCancel(), (), "a cancelled request gave a result"),
        (bad.GivesNan(), (), "does not go to JSON and back"),
        (bad.GivesSet(), (), "to_hf() does not: TypeError"),
        (Title(), (), "its parser cannot read what FakeModel wrote; give rows=[(input, result), ...]"),
        (Title(), [("", TITLES[0][1])], "row 0 is not valid"),
        (bad.UnevenTitle(), TITLES, "parse(target(result)) is TitleResult("),
        (bad.UnreadableTitle(), TITLES, "parse cannot read target(result), 'Rain'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Task) else "",
)
def test_each_bad_task_fails_with_its_sentence(task: Any, rows: Any, sentence: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_task(task, rows=rows)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("line", "heavy"),
    [
        ("import torch.nn", True),
        ("from transformers import AutoModel", True),
        ("try:\n    import peft\nexcept ImportError:\n    pass", True),
        ("try:\n    x = 1\nexcept ImportError:\n    import peft", True),
        ("class Inner:\n    import torch", True),
        ("def use():\n    import torch", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", False),
        ("import json", False),
    ],
)
def test_heavy_imports_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, heavy: bool) -> None:
    name = f"light_{abs(hash(line))}"
    body = "class Mood(TextClassification):\n    'Mood.'\n    name, labels, examples = 'mood', ('a', 'b'), ('x',)\n"
    (tmp_path / f"{name}.py").write_text(f"from nlptasks import TextClassification\n{body}{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    task = __import__(name).Mood()
    if not heavy:
        check_task(task)
        return
    with pytest.raises(AssertionError, match=r"its module imports (torch|transformers|peft)"):
        check_task(task)


def test_result_fields_without_a_description_are_a_warning() -> None:
    class Bare(Result):
        title: str

    class BareTask(Echo):
        """Summary."""

        result_type = Bare

        def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
            return [Bare(title=result.title) for result in super().run(inputs, options, model)]

    with pytest.warns(UserWarning, match="result_type Bare has no description for title"):
        check_task(BareTask())


def test_check_task_takes_the_authors_own_model() -> None:
    model = FakeModel(kind="causal", completions=lambda prompt: f"TITLE: {prompt[-5:].strip()}")
    check_task(Title(), model=model)
    assert {verb for verb, _ in model.calls} == {"generate"}


def test_the_kit_brings_in_no_torch() -> None:
    code = "import sys, nlptasks.testing; sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'pytest')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
