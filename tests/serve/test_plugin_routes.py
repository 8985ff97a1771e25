"""Routes of plugins: where they are, what guards them, and what a plugin leaves behind that fails."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect

from nlptasks import CancelToken, NlptasksError, Plugins, hookimpl
from nlptasks.serve import ServeSettings, answer_faults, build_app, read_object, run_task, state_of
from nlptasks.serve.mounts import RESERVED
from tests.fake_engine import FakeEngine
from tests.sample_tasks import Mood
from tests.serving import served
from tests.ui_browser import own_settings

http = httpx.Client(timeout=30)
KEY = {"Authorization": "Bearer secret"}


class Desk:
    @hookimpl
    def register_tasks(self, register: Any) -> None:
        register(Mood())

    @hookimpl
    def register_routes(self, app: FastAPI, engine: Any) -> None:
        answer_faults(app, lambda fault: {"oh": str(fault)})

        @app.post("/moods/{place}")
        async def moods(place: str, request: Request) -> list[str]:
            content = await read_object(request, state_of(request).settings)
            return [one.label for one in await run_task(request, engine.plugins.task("mood"), content.get("texts"))]  # type: ignore[attr-defined]

        @app.get("/number/{number}")
        async def number(number: int) -> int:
            return number

        @app.get("/wait")
        async def wait(request: Request) -> str:
            def compute(cancel: CancelToken) -> str:
                while not cancel.cancelled:
                    time.sleep(0.01)
                return "stopped"

            return await state_of(request).computing.run(request, compute)

        @app.get("/break")
        async def fail() -> None:
            raise ZeroDivisionError

        @app.post("/health")
        async def health() -> str:
            return "mine"

        @app.websocket("/socket")
        async def socket(socket: WebSocket) -> None:
            await socket.accept()

        files = Starlette(routes=[Route("/file/{name}", lambda request: PlainTextResponse("a file"))])
        app.mount("/inner", files)
        app.mount("/bare", PlainTextResponse("any path"))


class Broken(Desk):
    @hookimpl
    def register_routes(self, app: FastAPI, engine: Any) -> None:
        app.get("/half")(lambda: "half")
        raise ValueError("no desk")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    settings = own_settings(tmp_path_factory.mktemp("routes"))
    plugins = Plugins(settings)
    plugins.register(Desk(), "desk")
    with FakeEngine(settings, plugins=plugins) as made:
        yield made


@pytest.fixture(scope="module")
def url(engine: FakeEngine) -> Iterator[str]:
    with served(engine, api_key="secret", root="desk", max_inputs=3, max_body_mb=0.01) as address:
        yield address


def test_a_plugin_answers_at_its_name_and_at_the_root(url: str) -> None:
    for path in ("/desk/moods/1", "/moods/1"):
        answer = http.post(url + path, json={"texts": ["fine", "well"]}, headers=KEY)
        assert (answer.status_code, len(answer.json())) == (200, 2)
    assert http.get(f"{url}/desk/inner/file/a", headers=KEY).text == "a file"
    assert http.get(f"{url}/inner/file/a", headers=KEY).text == "a file"
    assert "/desk/moods/{place}" in http.get(f"{url}/docs", headers=KEY).text


@pytest.mark.parametrize(
    "path", ["/desk/moods/1", "/moods/1", "/desk/inner/file/a", "/desk/bare", "/desk/health", "/desk/openapi.json"]
)
def test_no_route_of_a_plugin_is_open(url: str, path: str) -> None:
    for method in ("GET", "POST"):
        assert http.request(method, url + path).status_code == 401
        answer = http.request(method, url + path, headers={**KEY, "Host": "evil.example"})
        assert (answer.status_code, bool(answer.headers["x-request-id"])) == (400, True)


def test_websockets_are_refused(engine: FakeEngine) -> None:
    client = TestClient(build_app(engine, ServeSettings()), base_url="http://localhost")
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/desk/socket"):
        pass


def test_the_server_s_addresses_are_its_alone(url: str) -> None:
    assert http.get(f"{url}/health").json() == {"status": "ok"}
    assert http.post(f"{url}/health").status_code == 405
    assert http.post(f"{url}/desk/health", headers=KEY).json() == "mine"
    assert "message" in http.get(f"{url}/v1/nothing", headers=KEY).json()["error"]
    assert "message" in http.get(f"{url}/nothing", headers=KEY).json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "sentence"),
    [
        ("POST", "/desk/moods/1", '{"texts": ["a", "b", "c", "d"]}', 422, "expected a list of 1 to 3, found 4 inputs"),
        ("POST", "/desk/moods/1", '{"texts": [" "]}', 422, "expected a text with at least one visible character"),
        ("POST", "/desk/moods/1", '{"texts": "' + "a" * 20_000 + '"}', 413, "Expected a body of at most 0.01 MB"),
        ("POST", "/desk/moods/1", "[", 400, "Expected a JSON object"),
        ("GET", "/desk/number/x", "", 422, "path.number: input should be a valid integer"),
        ("GET", "/desk/nothing", "", 404, "Not Found."),
        ("GET", "/desk/moods/1", "", 405, "Method Not Allowed."),
        ("GET", "/desk/break", "", 500, "This failed inside the server; its log says more."),
    ],
)
def test_errors_have_the_plugin_s_shape(
    url: str, method: str, path: str, content: str, status: int, sentence: str
) -> None:
    headers = {**KEY, "Content-Type": "application/json"}
    answer = http.request(method, url + path, content=content, headers=headers)
    assert answer.status_code == status
    assert sentence in answer.json()["oh"]


def test_the_metrics_and_the_log_have_routes_and_not_paths(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nlptasks.serve")
    for path in ("moods/zebra", "inner/file/zebra", "inner/zebra", "bare/zebra", "zebra", "../zebra"):
        http.post(f"{url}/desk/{path}", json={}, headers=KEY)
        http.post(f"{url}/{path}", json={}, headers=KEY)
    page = http.get(f"{url}/metrics", headers=KEY).text
    assert 'route="/desk/moods/{place}"' in page
    assert 'route="/desk/file/{name}"' in page
    assert "zebra" not in page
    lines = [json.loads(record.message) for record in caplog.records if record.name == "nlptasks.serve"]
    assert {"/desk/moods/{place}", "/moods/{place}"} <= {line["route"] for line in lines}


def test_a_computation_of_a_plugin_ends_when_its_client_leaves(url: str) -> None:
    begin = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        http.get(f"{url}/desk/wait", headers=KEY, timeout=0.2)
    while "nlptasks_running 0.0" not in http.get(f"{url}/metrics", headers=KEY).text:
        assert time.monotonic() < begin + 4
        time.sleep(0.02)


def test_a_plugin_that_fails_takes_its_tasks_along_and_the_server_starts(tmp_path: Path) -> None:
    plugins = Plugins(own_settings(tmp_path))
    plugins.register(Broken(), "broken")
    with FakeEngine(own_settings(tmp_path), plugins=plugins) as engine, served(engine) as address:
        assert http.get(f"{address}/broken/half").status_code == 404
        assert http.post(f"{address}/v1/tasks/mood", json={"text": "a"}).status_code == 404
        assert http.get(f"{address}/health").status_code == 200
    [failure] = plugins.failures
    assert failure.reason == "ValueError in register_routes: no desk."


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("v1", "Its routes would be at /v1, which is taken; give the plugin another name."),
        ("a/{b}", "Its routes would be at /a/{b}: expected letters, digits, '.', '-' and '_'; rename the plugin."),
    ],
)
def test_a_name_that_is_no_address(tmp_path: Path, name: str, reason: str) -> None:
    plugins = Plugins(own_settings(tmp_path))
    plugins.register(Desk(), name)
    with FakeEngine(own_settings(tmp_path), plugins=plugins) as engine:
        build_app(engine, ServeSettings())
    assert [failure.reason for failure in plugins.failures] == [reason]


def test_addresses_of_the_server_are_reserved(engine: FakeEngine) -> None:
    app = build_app(engine, ServeSettings())
    assert {route.path.split("/")[1] for route in app.routes} - {"desk"} == RESERVED  # type: ignore[attr-defined]
    build_app(engine, ServeSettings())
    assert engine.plugins.failures == []


def test_a_root_that_there_is_not(engine: FakeEngine) -> None:
    with pytest.raises(NlptasksError, match=r"root: expected a plugin with routes \(desk\), found 'dusk'\."):
        build_app(engine, ServeSettings(root="dusk"))
