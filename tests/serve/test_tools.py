"""`/mcp` by the client of the mcp package, and `/v1/adapters`."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nlptasks_plugins
from nlptasks.store import Manifest
from tests.examples import examples
from tests.serving import served
from tests.ui_browser import STORY, FakeEngine, built_in_makers, installed_plugins, own_settings

mcp = pytest.importorskip("mcp")

from mcp.client.streamable_http import streamablehttp_client  # noqa: E402

SHIPPED = Path(nlptasks_plugins.__file__).parent / "adapters" / "sentiment"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    folder = tmp_path_factory.mktemp("tools")
    with FakeEngine(own_settings(folder), built_in_makers(), installed_plugins()) as made:
        yield made


@pytest.fixture(scope="module")
def url(engine: FakeEngine) -> Iterator[str]:
    with served(engine, max_body_mb=0.1, api_key="a-key") as address:
        yield address


KEY = {"Authorization": "Bearer a-key"}


def ask(url: str, talk: Callable[[Any], Awaitable[Any]], headers: dict[str, str] = KEY) -> Any:
    async def session() -> Any:
        async with (
            streamablehttp_client(f"{url}/mcp", headers=headers) as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await talk(session)

    return asyncio.run(session())


def test_every_task_is_a_tool_with_the_schemas_of_its_types(engine: FakeEngine, url: str) -> None:
    listed = ask(url, lambda session: session.list_tools())
    tools = {tool.name: tool for tool in listed.tools}
    assert tools.keys() == engine.plugins.tasks.keys()
    qa = tools["qa"]
    assert qa.description == engine.plugins.tasks["qa"].summary
    assert qa.inputSchema["required"] == ["question", "context"]
    assert {"top_k", "adapter", "model"} < qa.inputSchema["properties"].keys()
    assert {"inputs", "stream"}.isdisjoint(qa.inputSchema["properties"])
    assert qa.outputSchema is not None
    assert {"text", "start", "end", "truncated"} <= qa.outputSchema["properties"].keys()
    assert all(tool.inputSchema["type"] == tool.outputSchema["type"] == "object" for tool in listed.tools)


CALLS: Any = {
    "sentiment": {"text": "I love it.", "threshold": 0.1},
    "ner": {"text": "Ada Lovelace saw Oslo again"},
    "qa": {"question": "How long?", "context": "It lasts two days at most"},
    "translation": {"text": "See you soon.", "source_language": "en", "target_language": "fr"},
    "summarization": {"text": "A lamp shone. It was red. It never went out."},
    "generation": {"prompt": "Once"},
}


def test_a_call_gives_what_the_route_gives_as_values_and_as_json(engine: FakeEngine, url: str) -> None:
    async def talk(session: Any) -> list[Any]:
        # The client checks each result against the tool's schema.
        await session.list_tools()
        return [await session.call_tool(name, fields) for name, fields in CALLS.items()]

    for (name, fields), answer in zip(CALLS.items(), ask(url, talk), strict=True):
        assert not answer.isError, (name, answer.content)
        route = httpx.post(f"{url}/v1/tasks/{name}", json=fields, headers=KEY).json()
        assert answer.structuredContent == json.loads(answer.content[0].text) == route
    assert route["text"] == STORY


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        ("sentiment", {}, "Expected text, found nothing."),
        ("sentiment", {"text": " "}, "Input 'text': expected a text with at least one visible character"),
        ("sentiment", {"text": "a", "treshold": 1}, "Option 'treshold' is not known; did you mean 'threshold'?"),
        ("sentiment", {"text": "a", "cancel": 1}, "Option 'cancel' is not known; known: threshold"),
        ("sentiment", {"text": "a", "adapter": "../../etc"}, "adapter: expected a name in the server's store"),
        ("sentiment", {"text": "a", "model": "/etc"}, "Unknown model '/etc'."),
        ("sentiment", {"inputs": ["a"]}, "inputs: expected the fields of one input, found more"),
        ("generation", {"prompt": "a", "stream": True}, "stream: expected the fields of one input, found more"),
        ("sentimnt", {"text": "a"}, "Unknown task 'sentimnt'. Did you mean 'sentiment'?"),
    ],
)
def test_what_is_wrong_is_the_tool_s_error(url: str, name: str, fields: Any, sentence: str) -> None:
    answer = ask(url, lambda session: session.call_tool(name, fields))
    assert answer.isError
    assert answer.content[0].text.startswith(sentence)
    assert answer.structuredContent is None


MESSAGE: Any = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "sentiment", "arguments": {}}}
JSON = {"Accept": "application/json, text/event-stream", **KEY}


@pytest.mark.parametrize(
    ("message", "status", "sentence"),
    [
        ([MESSAGE], 400, "Expected a JSON object, found list."),
        ({"id": 7}, 400, "Expected a message of the Model Context Protocol, found another object."),
        ({**MESSAGE, "params": {"name": 3}}, 200, "found 'tools/call' or its parameters."),
        ({**MESSAGE, "method": "tools/brew"}, 200, "found 'tools/brew' or its parameters."),
        ({**MESSAGE, "method": "resources/list", "params": {}}, 200, "Method not found"),
        ({**MESSAGE, "id": "a" * 200_000}, 413, "Expected a body of at most 0.1 MB, found a larger one"),
    ],
)
def test_messages_of_another_form(
    url: str, message: Any, status: int, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    handlers = list(logging.getLogger().handlers)
    answer = httpx.post(f"{url}/mcp", json=message, headers=JSON)
    assert answer.status_code == status
    assert sentence in answer.json()["error"]["message"]
    assert "id" not in answer.json() or answer.json()["id"] == 7
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert logging.getLogger().handlers == handlers


def test_the_guard_stands_before_it(url: str) -> None:
    assert httpx.post(f"{url}/mcp", json=MESSAGE).status_code == 401
    assert httpx.post(f"{url}/mcp", json=MESSAGE, headers={**JSON, "Host": "evil.example"}).status_code == 400
    assert httpx.post(f"{url}/mcp", content="{}", headers={**JSON, "Content-Type": "text/plain"}).status_code == 415
    assert httpx.get(f"{url}/mcp", headers=JSON).status_code == 405
    assert httpx.post(f"{url}/mcp", json={**MESSAGE, "id": None}, headers=JSON).status_code == 400
    with pytest.raises(BaseExceptionGroup) as refused:
        ask(url, lambda session: session.list_tools(), {})
    assert refused.group_contains(httpx.HTTPStatusError, match="401")


def test_its_line_in_the_log_has_the_task_and_no_text(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "nlptasks.serve"):
        ask(url, lambda session: session.call_tool("sentiment", {"text": "A secret word."}))
        lines = [json.loads(record.message) for record in caplog.records if record.name == "nlptasks.serve"]
    [call] = [line for line in lines if line.get("task")]
    assert (call["route"], call["status"], call["task"], call["inputs"]) == ("/mcp", 200, "sentiment", 1)
    assert call["caller"] == "default"
    assert "secret" not in str(lines)


def test_a_client_that_leaves_ends_the_call(engine: FakeEngine, url: str, caplog: pytest.LogCaptureFixture) -> None:
    fields = {"name": "summarization", "arguments": {"text": "A lamp. " * 50}}
    engine.gate.clear()
    try:
        with caplog.at_level(logging.INFO, "nlptasks.serve"):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/mcp", json={**MESSAGE, "params": fields}, headers=JSON, timeout=0.5)
            until(lambda: engine.models[-1].token.cancelled)
            until(lambda: any('"status": 499' in record.message for record in caplog.records))
    finally:
        engine.gate.set()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_calls_at_once_have_their_own_answers(url: str) -> None:
    async def talk(session: Any) -> list[Any]:
        texts = ["I love it.", "Bad."] * 4
        calls = [session.call_tool("sentiment", {"text": text}) for text in texts]
        story = session.call_tool("generation", {"prompt": "Once"})
        return [one.structuredContent for one in await asyncio.gather(*calls, story)]

    *moods, story = ask(url, talk)
    assert [mood["label"] for mood in moods] == ["positive", "negative"] * 4
    assert story["text"] == STORY


def test_the_adapters_are_listed_as_the_command_does_without_paths(engine: FakeEngine, url: str) -> None:
    folder = engine.settings.adapters / "sentiment"
    shutil.copytree(SHIPPED, folder / "mine")
    file = folder / "mine" / "nlptasks.json"
    manifest = json.loads(file.read_text("utf-8"))
    manifest["base"]["id"] = str(engine.settings.cache / "a-base")
    file.write_text(json.dumps(manifest), "utf-8")
    (folder / "broken").mkdir()
    try:
        answer = httpx.get(f"{url}/v1/adapters", headers=KEY)
        mine, broken = answer.json()["adapters"]["sentiment"]
        assert Manifest.model_validate(mine).metrics == manifest["metrics"]
        assert (mine["name"], mine["base"]["id"], mine["labels"]) == ("mine", "a-base", manifest["labels"])
        assert broken.keys() == {"name", "fault"}
        assert broken["fault"].startswith("sentiment/broken: expected adapter_model.safetensors, found none")
        assert str(engine.settings.data) not in answer.text
        models = httpx.get(f"{url}/v1/models", headers=KEY).json()["data"]
        assert "sentiment@mine" in {model["id"] for model in models}
    finally:
        shutil.rmtree(folder)
    schema = httpx.get(f"{url}/openapi.json", headers=KEY).json()
    reference = schema["paths"]["/v1/adapters"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert reference == {"$ref": "#/components/schemas/AdapterList"}
    assert {"Manifest", "UnusableAdapter"} < schema["components"]["schemas"].keys()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
)
METHODS = st.sampled_from(
    ["initialize", "ping", "tools/list", "tools/call", "resources/read", "notifications/cancelled", "logging/setLevel"]
)


@given(
    st.fixed_dictionaries(
        {"jsonrpc": st.just("2.0"), "id": st.integers() | st.text(max_size=5)},
        optional={
            "method": METHODS | SCALARS,
            "params": st.fixed_dictionaries(
                {},
                optional={"name": st.sampled_from(["sentiment", "qa"]) | SCALARS, "arguments": VALUES, "uri": VALUES},
            )
            | VALUES,
            "result": VALUES,
        },
    )
)
@examples(600)
def test_no_message_makes_the_server_fail(url: str, message: dict[str, Any]) -> None:
    content = json.dumps(message).encode("utf-8", "surrogatepass")
    answer = CLIENT.post(f"{url}/mcp", content=content, headers={**JSON, "Content-Type": "application/json"})
    assert answer.status_code in (200, 202, 400, 413), answer.text
    if answer.status_code == 200:
        body = answer.json()
        assert body["id"] == message["id"]
        # -32603 would be a failure inside.
        assert "result" in body or body["error"]["code"] in (-32601, -32602), body


CLIENT = httpx.Client(timeout=30)
