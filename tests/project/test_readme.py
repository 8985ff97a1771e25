"""The README's examples are true: Python by doctest, the shell's with `...` for what may differ."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import sys
from pathlib import Path

import httpx
import pytest

from nlptasks.settings import Settings
from tests import warm_processes

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_there_are_seven_examples() -> None:
    assert len(blocks("pycon")) + len(blocks("console")) == 7


def test_python_examples() -> None:
    import nlptasks.engine

    names: dict[str, object] = {}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for number, block in enumerate(blocks("pycon")):
        test = doctest.DocTestParser().get_doctest(block, names, f"README example {number + 1}", "README.md", 0)
        report: list[str] = []
        result = doctest.DocTestRunner(optionflags=flags).run(test, out=report.append, clear_globs=False)
        assert result.failed == 0, "".join(report)
        names |= test.globs
    nlptasks.engine.default_engine().close()
    nlptasks.engine._default = None


@pytest.mark.full
@pytest.mark.long
def test_shell_examples(embedded_settings: Settings) -> None:
    env = {**os.environ, "NLPTASKS_DATA": str(embedded_settings.data), "OMP_NUM_THREADS": "1"}
    for block in blocks("console"):
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, flags=re.MULTILINE):
            program, *arguments = shlex.split(command)
            assert program == "nlptasks"
            done = warm_processes.run([sys.executable, "-m", program, *arguments], cwd=ROOT, env=env)
            assert done.returncode == 0, done.stderr
            pattern = ".*".join(re.escape(part) for part in expected.rstrip().split("..."))
            assert re.fullmatch(pattern, done.stdout.rstrip(), flags=re.DOTALL), done.stdout


@pytest.mark.long
def test_the_server_answers_as_it_says(embedded_settings: Settings) -> None:
    pytest.importorskip("fastapi")
    from nlptasks import Engine
    from tests.serving import served

    [curl] = re.findall(r"^curl localhost:8000(\S+) --json '(.*)'$", README, flags=re.MULTILINE)
    [example] = [block for block in blocks("python") if "openai.OpenAI" in block]
    with Engine(settings=embedded_settings) as engine, served(engine, preload=("sentiment",)) as url:
        answer = httpx.post(
            f"{url}{curl[0]}", content=curl[1], headers={"Content-Type": "application/json"}, timeout=60
        )
        assert answer.json()["label"] == "positive"
        exec(example.replace("http://localhost:8000", url), {})
