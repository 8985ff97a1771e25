"""Options can be found: in the help, in the shell after Tab, in the docs."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field

from nlptasks.cli import cli
from nlptasks.surfaces import field_texts
from nlptasks.training.publishing.card import use_line
from nlptasks_plugins import Generation, Qa

ROOT = Path(__file__).parents[2]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Odd(BaseModel):
    """Fields of many types."""

    size: Literal["small", "large"] | Annotated[int, Field(ge=5, le=9)] = "small"
    share: float | None = Field(default=None, gt=0, lt=1, description="A share.")
    colours: tuple[Colour, ...] = (Colour.RED,)
    mode: str = Field(default="", pattern="^(window|error)$")
    name: str


def test_fields_are_put_in_words() -> None:
    assert [tuple(one) for one in field_texts(Odd)] == [
        ("size", "small, large or whole number (at least 5, at most 9)", "small", ""),
        ("share", "number (greater than 0, less than 1)", "unset", "A share."),
        ("colours", "list of red, blue", '["red"]', ""),
        ("mode", "window, error", '""', ""),
        ("name", "text", "required", ""),
    ]


@pytest.mark.parametrize("arguments", [("tasks", "qa"), ("run", "qa", "--help")])
def test_the_help_of_a_task_has_its_fields_and_options(arguments: tuple[str, ...]) -> None:
    shown = " ".join(CliRunner().invoke(cli, arguments).output.split())
    assert "question The question to answer. [text; required]" in shown
    assert "[whole number (at least 1, at most 20); default: 1]" in shown


@pytest.mark.parametrize(
    ("task", "words"),
    [("ner", "[list of text, as a,b or JSON; default: unset]"), ("generation", "[list of text, as one text or JSON; ")],
)
def test_the_help_shows_how_a_list_is_written(task: str, words: str) -> None:
    assert words in " ".join(CliRunner().invoke(cli, ["run", task, "--help"]).output.split())


def test_the_help_of_an_unknown_task_is_the_general_one() -> None:
    shown = CliRunner().invoke(cli, ["run", "nothing", "--help"])
    assert shown.exit_code == 0
    assert "Task options" not in shown.output


@pytest.mark.long
def test_a_wide_terminal_has_wide_help() -> None:
    command = [sys.executable, "-m", "nlptasks", "run", "qa", "--help"]
    env = {**os.environ, "COLUMNS": "110"}
    lines = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()
    assert 90 < max(map(len, lines)) <= 110


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("nlptasks run senti", "sentiment"),
        ("nlptasks run qa -o top", "top_k"),
        ("nlptasks run qa -m mini", "minilm"),
        ("nlptasks eval qa -a no", "none"),
        ("nlptasks tasks tran", "translation"),
    ],
)
def test_the_shell_completes(line: str, offered: str) -> None:
    words = line.split()
    env = {**os.environ, "_NLPTASKS_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    command = [sys.executable, "-c", "from nlptasks.cli import main; main()"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"plain,{offered}"], done.stderr


def test_the_page_of_options_is_up_to_date() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "options.py"))["page"]()
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == page, "run python docs/options.py"


def test_the_name_of_a_file_is_not_taken_for_a_text(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("text\nFine.\n", encoding="utf-8")
    shown = CliRunner().invoke(cli, ["run", "sentiment", str(tmp_path / "reviews.csv")])
    assert shown.exit_code == 2
    assert (
        f"Expected a text, found the name of a file, '{tmp_path}/reviews.csv': read the file with -f "
        f"{tmp_path}/reviews.csv, or give the name as a text on standard input." in shown.output
    )


def test_the_printed_command_can_be_typed() -> None:
    line = use_line(Generation(), "-a mine")
    assert line == "nlptasks run generation -a mine 'Once upon a time, in a lighthouse at the end of the world,'"
    assert use_line(Qa(), "-a mine").startswith("nlptasks run qa -a mine ")
