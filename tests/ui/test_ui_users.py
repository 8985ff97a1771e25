"""Twenty users at once, over fake models: no error, and nobody gets another's answer. And that it would be noticed."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nlptasks.testing import FakeModel
from tests.ui_browser import (  # noqa: F401 - fixtures
    FakeEngine,
    SlowModel,
    built_in_makers,
    installed_plugins,
    own_settings,
    served,
    url,
)

pytestmark = pytest.mark.long

PROGRAM = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "ui_users.py"))


def keeper(_: str, context: str) -> tuple[int, int] | None:
    found = re.search(r"\w+(?= keeps)", context)
    return found.span() if found else None


def makers() -> dict[str, Any]:
    """Models whose answers depend on what they are asked, and that take their time."""

    def tagger(**more: Any) -> FakeModel:
        tags = lambda text: ["B-PER" if word.strip(",.") in PROGRAM["NAMES"] else "O" for word in text.split()]  # noqa: E731
        return FakeModel(labels=("O", "B-PER", "I-PER"), tags=tags, **more)

    def writer(**more: Any) -> SlowModel:
        return SlowModel(pause=0.01, kind="causal", completions=lambda prompt: f"Hello {prompt.split()[-1]}", **more)

    def translator(**more: Any) -> FakeModel:
        return FakeModel(kind="seq2seq", completions=str.swapcase, languages=("en", "fr"), **more)

    def reader(**more: Any) -> FakeModel:
        return FakeModel(answers=keeper, max_tokens=512, **more)

    return built_in_makers() | {"ner": tagger, "qa": reader, "generation": writer, "translation": translator}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    with FakeEngine(own_settings(tmp_path_factory.mktemp("app")), makers(), installed_plugins()) as made:
        yield made


@pytest.mark.parametrize("users", [4, pytest.param(20, marks=pytest.mark.full)])
def test_users_at_once_get_their_own_answers(url: str, engine: FakeEngine, users: int) -> None:
    replies = PROGRAM["crowd"](url, users, limit=120)
    assert [reply.error for reply in replies if reply.error] == []
    assert [reply for reply in replies if reply.mixed] == []
    assert {(reply.user, reply.task) for reply in replies} == {
        (user, task) for user in range(users) for task in PROGRAM["TASKS"]
    }
    assert all(reply.marked for reply in replies if reply.task in ("sentiment", "ner", "qa", "generation"))
    *_, total = PROGRAM["table"](replies).splitlines()
    assert total.startswith(f"| all | {users * len(PROGRAM['TASKS'])} | 0 | 0 | ")


def test_an_answer_to_another_user_is_noticed(url: str, engine: FakeEngine) -> None:
    from gradio_client import Client

    question, judge = PROGRAM["question"], PROGRAM["judge"]
    client = Client(url, verbose=False, analytics_enabled=False)
    answers = {
        (user, task): client.predict(**question(user, task), api_name=f"/{task}")
        for user in (3, 4)
        for task in PROGRAM["TASKS"]
    }
    alone = {user: answers[user, "sentiment"] for user in (3, 4)}
    for (user, task), answer in answers.items():
        assert not judge(user, task, answer, alone)[1], task
        assert judge(7 - user, task, answer, alone)[1], task


def test_what_is_late_or_refused_is_an_error(url: str, engine: FakeEngine) -> None:
    [reply] = PROGRAM["crowd"](url, 1, tasks=["generation"], limit=0.05)
    assert reply.error.startswith("TimeoutError")
    assert "| generation | 1 | 1 | 0 | 0 | nan | nan |" in PROGRAM["table"]([reply])


def test_percentiles_are_values_that_were_measured() -> None:
    times = [float(number) for number in range(1, 101)]
    assert [PROGRAM["percentile"](times, share) for share in (0.5, 0.95, 1.0)] == [50.0, 95.0, 100.0]
    assert PROGRAM["percentile"]([3.0], 0.95) == 3.0
