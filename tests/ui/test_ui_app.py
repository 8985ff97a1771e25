"""The web app without a browser: pages, endpoints, what is refused, and what stops."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from gradio_client import Client

from nlptasks import NlptasksError, Plugins, Result, hookimpl
from nlptasks.surfaces import sentence
from nlptasks.testing import FakeModel
from nlptasks_ui import serving
from nlptasks_ui.app import list_pages
from nlptasks_ui.context import Context
from nlptasks_ui.serving import Address
from tests.project.test_laws import HEAVY, imports
from tests.sample_tasks import Mood
from tests.ui_browser import (  # noqa: F401 - fixtures
    FakeEngine,
    SlowModel,
    engine,
    installed_plugins,
    own_settings,
    served,
    until,
    url,
)


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False, analytics_enabled=False)


TASKS = ("sentiment", "ner", "qa", "summarization", "translation", "generation")


def test_there_is_a_page_for_every_task(engine: FakeEngine) -> None:
    paths = [page.path for page in list_pages(Context(engine, engine.settings.data))]
    assert paths[0] == ""
    assert set(TASKS) < set(paths)


@pytest.mark.long
def test_every_task_is_an_endpoint_with_typed_parameters(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert {f"/{task}" for task in TASKS} <= set(named)
    parameters = {p["parameter_name"]: p for p in named["/qa"]["parameters"]}
    assert list(parameters)[:2] == ["question", "context"]
    assert not parameters["question"]["parameter_has_default"]
    assert parameters["top_k"]["parameter_default"] == 1
    assert parameters["top_k"]["type"] == {"type": "integer"}
    assert named["/qa"]["description"] == "The words of a text that answer a question, or that it gives no answer."


@pytest.mark.long
def test_endpoints_answer_with_whole_results(client: Client) -> None:
    said = client.predict("I love it.", api_name="/sentiment")
    assert (said["label"], said["model"], said["adapter"]) == ("positive", "fake-encoder", "fake")
    found = client.predict(text="Ada Lovelace saw Oslo again", api_name="/ner")
    assert [(e["text"], e["label"]) for e in found["entities"]] == [("Ada Lovelace", "PER"), ("Oslo", "LOC")]
    answer = client.predict(question="How long?", context="It lasts two days at most", api_name="/qa")
    assert (answer["text"], answer["start"], answer["end"]) == ("two days", 9, 17)
    told = client.predict(text="Good morning. See you soon.", target_language="fr", source_language="en",
                          api_name="/translation")  # fmt: skip
    assert told["translation"] == "Bonjour. À bientôt."
    told = client.predict(text="A lamp shone. It was red. It never went out.", api_name="/summarization")
    assert told["summary"] == "The lamp never went out."
    assert client.predict(prompt="Once", max_new_tokens=3, api_name="/generation")["text"] == "Once there was"


def test_an_endpoint_tells_an_error_in_a_sentence(client: Client) -> None:
    with pytest.raises(Exception, match=r"Option 'treshold'|Input 'text': expected a text with at least one visible"):
        client.predict(text=" ", api_name="/sentiment")


@pytest.mark.long
def test_a_cancelled_call_stops_the_model(url: str, engine: FakeEngine) -> None:
    before = len(engine.models)
    engine.gate.clear()
    try:
        job = Client(url, verbose=False, analytics_enabled=False).submit(prompt="Once", api_name="/generation")
        until(lambda: len(engine.models) > before and engine.models[-1].held)
        job.cancel()
        until(lambda: engine.models[-1].token.cancelled)
    finally:
        engine.gate.set()


def test_a_full_queue_refuses_with_a_sentence(url: str, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradio import Blocks

    [app] = [blocks for blocks in Blocks.get_instances() if (blocks.local_url or "").rstrip("/") == url]
    monkeypatch.setattr(app._queue, "max_size", 0)
    with pytest.raises(Exception, match="Queue is full"):
        Client(url, verbose=False, analytics_enabled=False).predict("Good.", api_name="/sentiment")


@pytest.mark.long
def test_several_callers_get_their_own_answers(url: str) -> None:
    clients = [Client(url, verbose=False, analytics_enabled=False) for _ in range(4)]
    texts = [f"{'I love' if n % 3 else 'I hate'} number {n}." for n in range(20)]
    jobs = [clients[n % 4].submit(text, api_name="/sentiment") for n, text in enumerate(texts)]
    labels = [job.result(timeout=30)["label"] for job in jobs]
    assert labels == ["positive" if "love" in text else "negative" for text in texts]


def test_files_of_the_machine_are_not_served(url: str, engine: FakeEngine) -> None:
    import httpx

    engine.settings.data.mkdir(parents=True, exist_ok=True)
    secret = engine.settings.data / "secret.txt"
    secret.write_text("secret")
    for path in (secret, "/etc/hostname"):
        assert httpx.get(f"{url}/gradio_api/file={path}").status_code in (403, 404)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org"])
def test_a_network_needs_a_login(host: str) -> None:
    with pytest.raises(NlptasksError, match=rf"--host {host} opens the app to the network: expected a login"):
        serving.check(Address(host), [])
    serving.check(Address(host), [("ada", "secret")])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_none(host: str) -> None:
    serving.check(Address(host), [])


def test_logins_are_read_and_never_repeated(tmp_path: Any) -> None:
    file = tmp_path / "logins"
    file.write_text("ada:one:two\n\nbob:three\n")
    assert serving.read_logins(["eve:four"], file) == [("eve", "four"), ("ada", "one:two"), ("bob", "three")]
    file.write_text("ada:one\nhunter2\n")
    with pytest.raises(NlptasksError, match=r"logins:2: expected NAME:PASSWORD, found no colon\.$"):
        serving.read_logins([], file)


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from nlptasks.errors import MissingExtraError
    from nlptasks_ui import command

    refused = CliRunner().invoke(command.ui, ["--host", "0.0.0.0"])
    assert isinstance(refused.exception, NlptasksError)
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    missing = CliRunner().invoke(command.ui, [])
    assert isinstance(missing.exception, MissingExtraError)
    assert str(missing.exception) == ("nlptasks ui needs packages that are not installed: pip install 'nlptasks[ui]'.")


@pytest.mark.long
def test_no_torch_in_the_app() -> None:
    files = sorted((Path(__file__).parents[2] / "ui").rglob("*.py"))
    assert files
    found = [f"{file.name}: {name}" for file in files for name in imports(file) if name.split(".")[0] in HEAVY]
    assert found == []


class Framed(Result):
    """A mood with a view of its own."""


def test_a_view_of_a_plugin_is_used_and_a_broken_one_passed_over() -> None:
    from nlptasks_ui import views

    result = Framed(model="m")
    assert 'class="mine"' in views.show(result, None, {Framed: lambda result, inputs: '<p class="mine">x</p>'})
    assert "nlp-result" in views.show(result, None, {Framed: lambda result, inputs: 1 / 0})


def test_a_plugin_that_registers_nonsense_as_a_view_is_off(tmp_path: Any) -> None:
    class Wrong:
        @hookimpl
        def register_tasks(self, register: Any) -> None:
            register(Mood())

        @hookimpl
        def register_views(self, register: Any) -> None:
            register(str, print)

    plugins = Plugins(own_settings(tmp_path))
    plugins.register(Wrong(), "wrong")
    assert plugins.views() == {}
    [failure] = plugins.failures
    assert failure.reason.startswith(
        "register_views: expected a subclass of Result or a task's name, found <class 'str'>"
    )
    assert "mood" not in plugins.tasks


def test_work_ends_when_its_reader_leaves(tmp_path: Any) -> None:
    from contextlib import aclosing

    from nlptasks.surfaces import answer

    class Moods:
        @hookimpl
        def register_tasks(self, register: Any) -> None:
            register(Mood())

    plugins = Plugins(own_settings(tmp_path))
    plugins.register(Moods(), "moods")
    slow = FakeEngine(
        own_settings(tmp_path), {"mood": lambda **more: SlowModel(labels=Mood.labels, pause=0.02, **more)}, plugins
    )

    async def leave() -> None:
        async with aclosing(answer(slow, "mood", ["text"] * 200, every=0.05)) as steps:
            async for _ in steps:
                if slow.models:
                    break

    asyncio.run(leave())
    [model] = slow.models
    assert model.token.cancelled
    time.sleep(0.1)
    assert model.steps < 20


def test_a_fake_model_is_what_the_app_ran(engine: FakeEngine) -> None:
    assert all(isinstance(model, FakeModel) for model in engine.models)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (
            "notes.xlsx: expected one of .csv, .tsv, found '.xlsx'",
            "notes.xlsx: expected one of .csv, .tsv, found '.xlsx'.",
        ),
        ("source_language: expected a code.", "source_language: expected a code."),
        ("rows: expected at least one", "Rows: expected at least one."),
        ("no base found. Give --model", "No base found. Give --model."),
    ],
)
def test_an_error_is_a_sentence_in_which_names_keep_their_spelling(told: str, shown: str) -> None:
    assert sentence(NlptasksError(told)) == shown
