"""`nlptasks serve` by real clients: httpx, openai's package, raw sockets; and those who should not get in."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from nlptasks import NlptasksError
from nlptasks.cli import cli
from nlptasks.serve import serve
from nlptasks.serve.settings import ServeSettings, read_settings
from tests.examples import examples
from tests.serving import served, servers
from tests.ui_browser import STORY, FakeEngine, built_in_makers, installed_plugins, own_settings


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    folder = tmp_path_factory.mktemp("serve")
    with FakeEngine(own_settings(folder), built_in_makers(pause=0.005), installed_plugins()) as made:
        yield made


@pytest.fixture(scope="module")
def url(engine: FakeEngine) -> Iterator[str]:
    with served(engine, max_body_mb=0.1, max_inputs=50, body_seconds=0.5) as address:
        yield address


def error_of(answer: httpx.Response) -> str:
    body = answer.json()["error"]
    assert body.keys() == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    return str(body["message"])


def test_a_task_answers_as_run_json_does(engine: FakeEngine, url: str) -> None:
    answer = httpx.post(f"{url}/v1/tasks/sentiment", json={"text": "I love it."})
    assert answer.status_code == 200
    assert answer.json() == engine.run("sentiment", "I love it.").model_dump(mode="json")
    many = httpx.post(f"{url}/v1/tasks/sentiment", json={"inputs": ["I love it.", {"text": "Bad."}], "threshold": 0.1})
    assert many.json() == [
        one.model_dump(mode="json") for one in engine.run("sentiment", ["I love it.", "Bad."], threshold=0.1)
    ]


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("sentiment", {}, 422, "Expected text, found nothing."),
        ("sentiment", {"text": " "}, 422, "Input 'text': expected a text with at least one visible character"),
        ("sentiment", {"text": "a", "treshold": 1}, 422, "Option 'treshold' is not known; did you mean 'threshold'?"),
        ("sentiment", {"text": "a", "cancel": 1}, 422, "Option 'cancel' is not known"),
        ("sentiment", {"text": "a", "progress": True}, 422, "Option 'progress' is not known"),
        ("sentiment", {"text": "a", "task": "ner"}, 422, "Option 'task' is not known"),
        ("generation", {"prompt": "a", "stream": True, "cancel": 1}, 422, "Option 'cancel' is not known"),
        ("sentiment", {"inputs": []}, 422, "inputs: expected a list of 1 to 50, found 0 inputs."),
        ("sentiment", {"inputs": ["a"] * 51}, 422, "inputs: expected a list of 1 to 50, found 51 inputs."),
        ("sentiment", {"inputs": [["a"]]}, 422, "Input"),
        ("sentimnt", {"text": "a"}, 404, "Unknown task 'sentimnt'. Did you mean 'sentiment'?"),
        ("sentiment", {"text": "a", "adapter": "../../etc"}, 422, "adapter: expected a name in the server's store"),
        ("sentiment", {"text": "a", "adapter": "mine"}, 404, "Unknown adapter 'mine'."),
        ("sentiment", {"text": "a", "model": "/etc"}, 404, "Unknown model '/etc'."),
        ("sentiment", {"text": "a", "model": "someone/else"}, 404, "Unknown model 'someone/else'."),
        ("sentiment", {"text": "a", "stream": True}, 422, "expected one input, and a task that writes text"),
        ("sentiment", {"text": "a", "stream": "yes"}, 422, "stream: expected true or false, found 'yes'."),
        ("sentiment", [], 400, "Expected a JSON object, found list."),
        ("generation", {"prompt": "a", "stream": True, "seeds": 1}, 422, "Option 'seeds' is not known"),
    ],
)
def test_what_is_wrong_is_one_sentence(url: str, path: str, body: Any, status: int, sentence: str) -> None:
    answer = httpx.post(f"{url}/v1/tasks/{path}", json=body)
    assert answer.status_code == status
    assert sentence in error_of(answer)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"text": NaN}', 400),
        (b'{"text": 1e999}', 422),
        (b"[" * 100_000, 400),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, 400),
        (b"\xff\xfe", 400),
        (b'{"text": "\\ud800"}', 400),
        (b"", 400),
        (b'{"text": "' + b"a" * 200_000 + b'"}', 413),
    ],
)
def test_bodies_that_are_no_requests(url: str, content: bytes, status: int) -> None:
    answer = httpx.post(f"{url}/v1/tasks/sentiment", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert error_of(answer)


def test_a_form_of_another_site_is_refused(url: str) -> None:
    answer = httpx.post(f"{url}/v1/tasks/sentiment", content='{"text": "a"}', headers={"Content-Type": "text/plain"})
    assert (answer.status_code, error_of(answer)) == (
        415,
        "Expected a body of type application/json, found 'text/plain'.",
    )


def test_a_slow_body_ends(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/tasks/sentiment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 20\r\n\r\n{"
        )
        assert b" 408 " in connection.recv(4096).splitlines()[0]


def test_the_host_must_be_the_server_s(url: str) -> None:
    assert httpx.get(f"{url}/health", headers={"Host": "10.0.0.7"}).status_code == 200
    answer = httpx.get(f"{url}/v1/tasks", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert "Expected the server's own address as Host, found 'evil.example'" in error_of(answer)


@pytest.mark.parametrize("path", ["..%2f..%2fetc%2fpasswd", "%2e%2e", "sentiment%00", "sentiment@..%2f..", "a" * 3000])
def test_a_path_in_place_of_a_task_leads_nowhere(url: str, path: str) -> None:
    answer = httpx.post(f"{url}/v1/tasks/{path}", json={"text": "a"})
    assert answer.status_code == 404
    assert error_of(answer)
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        (
            "/v1/decisions",
            {"model": "auto", "input": "a", "questions": [{"type": "predicate", "instructions": "b"}] * 2000},
            "questions: tuple should have at most 400 items after validation",
        ),
        (
            "/v1/systemone",
            {"model": "auto", "state": "a", "questions": {str(n): {"type": "noul"} for n in range(4000)}},
            "questions: dictionary should have at most 64 items after validation",
        ),
    ],
)
def test_thousands_of_questions_are_refused(url: str, path: str, body: Any, sentence: str) -> None:
    answer = httpx.post(url + path, json=body)
    assert answer.status_code == 422
    assert sentence in error_of(answer)


def test_a_header_writes_no_header(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    for wished in ("a\tb", "a b", "a" * 129, "x\u00e9", "<script>"):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                f"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {wished}\r\n\r\n".encode("latin-1")
            )
            head = connection.recv(4096).decode("latin-1").lower()
        assert " 200 " in head.splitlines()[0]
        [number] = [line.partition(": ")[2] for line in head.splitlines() if line.startswith("x-request-id")]
        assert len(number) == 32
        assert number.isalnum()
    assert httpx.get(f"{url}/health", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"


def test_a_page_of_another_site_may_not_post(url: str) -> None:
    for origin in ("https://evil.example", "null", url.replace("127.0.0.1", "127.0.0.2")):
        answer = httpx.post(f"{url}/v1/tasks/sentiment", json={"text": "a"}, headers={"Origin": origin})
        assert (answer.status_code, error_of(answer)) == (
            403,
            f"Expected a page of this server as Origin, found {origin!r}: see --cors-origin.",
        )
    assert httpx.post(f"{url}/v1/tasks/sentiment", json={"text": "a"}, headers={"Origin": url}).status_code == 200


def test_no_page_of_another_origin_may_read(url: str) -> None:
    answer = httpx.options(
        f"{url}/v1/tasks/sentiment",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert "access-control-allow-origin" not in answer.headers


def test_text_is_streamed_as_events(url: str) -> None:
    with httpx.stream("POST", f"{url}/v1/tasks/generation", json={"prompt": "Once", "stream": True}) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    *pieces, last = map(json.loads, lines[:-1])
    assert "".join(piece["text"] for piece in pieces) == last["result"]["text"] == STORY


def test_openai_s_client_chats_embeds_and_lists(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    messages: Any = [{"role": "user", "content": "Tell me a story."}]
    answer = client.chat.completions.create(model="generation", messages=messages)
    assert answer.choices[0].message.content == STORY
    assert answer.usage
    chunks = list(
        client.chat.completions.create(
            model="generation", messages=messages, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == STORY
    assert chunks[-1].usage
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    vectors = client.embeddings.create(model="minilm", input=["a", "b"])
    assert len(vectors.data) == 2
    assert {"minilm", "sentiment"} <= {model.id for model in client.models.list()}
    with pytest.raises(openai.UnprocessableEntityError, match="tools: this parameter is not served"):
        client.chat.completions.create(model="generation", messages=messages, tools=[])
    with pytest.raises(openai.NotFoundError, match="Unknown model 'gpt-9'"):
        client.chat.completions.create(model="gpt-9", messages=messages)


def test_a_chat_has_several_answers_and_the_likelihood_of_each_token(engine: FakeEngine, url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    messages: Any = [{"role": "user", "content": "Tell me a story."}]
    answer = client.chat.completions.create(model="generation", messages=messages, n=3, seed=2**64 - 1, logprobs=True)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    [alone] = client.chat.completions.create(model="generation", messages=messages).choices
    assert alone.logprobs is None
    expected = engine.run("generation", messages=messages, logprobs=True)
    assert expected.logprobs
    assert answer.usage
    assert answer.usage.prompt_tokens == expected.num_tokens
    assert answer.usage.completion_tokens == 3 * expected.num_generated_tokens
    for choice in answer.choices:
        assert choice.logprobs
        assert choice.logprobs.content
        pairs = [(token.token, token.logprob) for token in choice.logprobs.content]
        assert pairs == [(one.token, one.logprob) for one in expected.logprobs]
        assert b"".join(bytes(token.bytes or []) for token in choice.logprobs.content).decode() == STORY
    stream = client.chat.completions.create(model="generation", messages=messages, logprobs=True, stream=True)
    last = list(stream)[-1].choices[0]
    assert last.logprobs
    assert last.logprobs.content == answer.choices[0].logprobs.content


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"n": 2, "stream": True}, "n: expected 1 in a stream, found 2."),
        ({"n": 9}, "n: input should be less than or equal to 8, found 9."),
        ({"logprobs": True, "top_logprobs": 3}, "top_logprobs: input should be 0, found 3."),
        ({"max_tokens": 5000}, "max_new_tokens: expected at most 4096 on this server, found 5000."),
        ({"tools": []}, "tools: this parameter is not served."),
        ({"response_format": {"type": "json_object"}}, "response_format: this parameter is not served."),
    ],
)
def test_what_a_chat_has_not_is_refused_in_words(url: str, extra: dict[str, Any], sentence: str) -> None:
    messages = [{"role": "user", "content": "Hello."}]
    answer = httpx.post(f"{url}/v1/chat/completions", json={"model": "generation", "messages": messages, **extra})
    assert answer.status_code == 422
    assert error_of(answer) == sentence


def test_a_client_that_leaves_ends_the_computation(engine: FakeEngine, url: str) -> None:
    with httpx.stream("POST", f"{url}/v1/tasks/generation", json={"prompt": "Once", "stream": True}) as answer:
        next(answer.iter_lines())
    until_cancelled(engine)
    engine.gate.clear()
    try:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/tasks/summarization", json={"text": "A lamp. " * 50}, timeout=0.5)
        until_cancelled(engine)
    finally:
        engine.gate.set()


def until_cancelled(engine: FakeEngine) -> None:
    deadline = time.monotonic() + 10
    while not engine.models[-1].token.cancelled:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_numbers_have_no_text_and_no_key(url: str) -> None:
    httpx.post(f"{url}/v1/tasks/sentiment", json={"text": "A secret word."})
    page = httpx.get(f"{url}/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert {
        "nlptasks_requests", "nlptasks_request_seconds", "nlptasks_running", "nlptasks_waiting", "nlptasks_inputs",
        "nlptasks_tokens", "nlptasks_truncated_inputs", "nlptasks_scores", "nlptasks_resident_bytes",
        "nlptasks_batches", "nlptasks_batch_items",
    } <= families.keys()  # fmt: skip
    labels = {"method": "POST", "route": "/v1/tasks/sentiment", "status": "200"}
    assert any(one.labels == labels and one.value >= 1 for one in families["nlptasks_requests"].samples)
    assert any(one.labels == {"task": "sentiment"} for one in families["nlptasks_inputs"].samples)
    assert "secret" not in page


def test_the_document_has_every_task_and_needs_no_other_host(engine: FakeEngine, url: str) -> None:
    schema = httpx.get(f"{url}/openapi.json").json()
    paths = schema["paths"]
    assert all(f"/v1/tasks/{name}" in paths for name in engine.plugins.tasks)
    reference = paths["/v1/tasks/sentiment"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    fields = schema["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
    assert {"text", "inputs", "threshold", "adapter", "model"} <= fields.keys()
    page = httpx.get(f"{url}/docs").text
    assert "/v1/tasks/sentiment" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


def test_keys(engine: FakeEngine, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# team\nada:first-key\nbob:second-key\n")
    with served(engine, api_key_file=file) as url:
        assert httpx.get(f"{url}/health").status_code == 200
        for path in ("/v1/tasks", "/docs", "/openapi.json", "/metrics", "/v1/models", "/nowhere"):
            answer = httpx.get(url + path)
            assert answer.status_code == 401
            assert error_of(answer) == "Expected a valid key in the header Authorization: Bearer KEY."
        for wrong in ("Bearer wrong", "first-key", "Basic first-key", "Bearer", "Bearer first-keyx"):
            assert httpx.get(f"{url}/v1/models", headers={"Authorization": wrong}).status_code == 401
        assert httpx.get(f"{url}/v1/models?api_key=first-key").status_code == 401
        for key in ("first-key", "second-key"):
            assert httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_wrong_keys_are_few(engine: FakeEngine) -> None:
    with served(engine, api_key="k") as url:
        statuses = [httpx.get(f"{url}/v1/models", auth=("x", f"wrong-{n}")).status_code for n in range(32)]
        assert statuses == [401] * 30 + [429] * 2
        assert httpx.get(f"{url}/v1/models", auth=("x", "k")).status_code == 200


def test_an_empty_key_is_none(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("ada: \n")
    empty, form = "Expected a key, found an empty one", "keys:1: expected NAME:KEY, found another form"
    for settings, sentence in (({"api_key": " "}, empty), ({"api_key_file": tmp_path / "keys"}, form)):
        with pytest.raises(NlptasksError, match=sentence):
            ServeSettings(host="0.0.0.0", **settings).check()  # type: ignore[arg-type]


def test_a_second_signal_ends_a_stream_with_an_error(engine: FakeEngine) -> None:
    with served(engine, drain_seconds=60) as url:
        begin = time.monotonic()
        with httpx.stream("POST", f"{url}/v1/tasks/generation", json={"prompt": "Once", "stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            servers[url].handle_exit(signal.SIGTERM, None)
            servers[url].handle_exit(signal.SIGTERM, None)
            *_, error, end = [line for line in lines if line]
        assert '"message": "Stopped."' in error
        assert end == "data: [DONE]"
    assert time.monotonic() - begin < 10


def test_a_taken_port_is_one_sentence(engine: FakeEngine, url: str) -> None:
    port = int(url.rpartition(":")[2])
    with pytest.raises(NlptasksError, match=rf"found 127\.0\.0\.1:{port} \(Address already in use\): choose another"):
        serve(engine, ServeSettings(port=port))


def test_a_server_of_all_addresses_answers_under_any_of_them(engine: FakeEngine) -> None:
    with served(engine, host="0.0.0.0", api_key="k") as url:
        headers = {"Host": "10.0.0.7:8000", "Authorization": "Bearer k"}
        assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200
    with served(engine, host="0.0.0.0", api_key="k", allowed_hosts=("nlp.example",)) as url:
        assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 400
        assert httpx.get(f"{url}/v1/models", headers={**headers, "Host": "nlp.example"}).status_code == 200


def test_too_many_are_refused(engine: FakeEngine) -> None:
    with served(engine, requests_a_minute=3) as url:
        answers = [httpx.get(f"{url}/v1/tasks") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert httpx.get(f"{url}/health").status_code == 200
    engine.gate.clear()
    try:
        with served(engine, max_running=1, max_waiting=1) as url:
            statuses: list[int] = []

            def post() -> None:
                answer = httpx.post(f"{url}/v1/tasks/summarization", json={"text": "A lamp. " * 30}, timeout=60)
                statuses.append(answer.status_code)

            threads = [threading.Thread(target=post) for _ in range(4)]
            for thread in threads:
                thread.start()
            end = time.monotonic() + 10
            while len(statuses) < 2:
                assert time.monotonic() < end
                time.sleep(0.01)
            engine.gate.set()
            for thread in threads:
                thread.join()
        assert sorted(statuses) == [200, 200, 429, 429]
    finally:
        engine.gate.set()


STREAMS: Any = (
    ("/v1/tasks/generation", {"prompt": "Once", "stream": True}),
    ("/v1/chat/completions", {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "stream": True}),
)


def test_a_browser_s_page_may_ask_first_without_a_key(engine: FakeEngine) -> None:
    with served(engine, api_key="k", cors_origins=("https://a.example",)) as url:
        headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
        asked_first = httpx.options(f"{url}/v1/tasks/sentiment", headers=headers)
        assert asked_first.headers["access-control-allow-origin"] == "https://a.example"
        refused = httpx.post(f"{url}/v1/tasks/sentiment", json={"text": "a"}, headers={"Origin": "https://a.example"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://a.example")


def test_a_stream_with_a_bad_input_has_a_status_and_methods_are_few(url: str) -> None:
    answer = httpx.post(f"{url}/v1/tasks/generation", json={"prompt": 3, "stream": True})
    assert answer.status_code == 422
    assert "prompt" in error_of(answer)
    many = httpx.post(f"{url}/v1/embeddings", json={"model": "minilm", "input": ["a"] * 51})
    assert (many.status_code, error_of(many)) == (422, "input: expected 1 to 50 texts, found 51.")
    httpx.request("PROPFIND", f"{url}/health")
    page = httpx.get(f"{url}/metrics").text
    assert 'method="other"' in page
    assert "PROPFIND" not in page


def test_a_signal_lets_requests_finish_and_refuses_new_ones(engine: FakeEngine) -> None:
    with served(engine, drain_seconds=20) as url:
        with httpx.stream("POST", f"{url}/v1/tasks/generation", json={"prompt": "Once", "stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            servers[url].handle_exit(signal.SIGTERM, None)
            assert httpx.get(f"{url}/health").status_code == 200
            assert httpx.get(f"{url}/ready").status_code == 503
            refused = httpx.post(f"{url}/v1/tasks/sentiment", json={"text": "I love it."})
            assert (refused.status_code, error_of(refused)) == (503, "The server is about to stop.")
            for path, body in STREAMS:
                assert httpx.post(url + path, json=body).status_code == 503
            assert [line for line in lines if line][-1] == "data: [DONE]"
        with pytest.raises(httpx.TransportError):
            get_until(f"{url}/health", time.monotonic() + 10)


def get_until(url: str, end: float) -> None:
    while time.monotonic() < end:
        httpx.get(url)
        time.sleep(0.05)


def test_settings_come_from_flags_then_variables_then_the_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('host = "10.0.0.1"\nport = 1\nmax_inputs = 5\ncors_origins = ["https://a.example"]\n')
    env = {"NLPTASKS_SERVE_PORT": "2", "NLPTASKS_SERVE_MAX_INPUTS": "6", "NLPTASKS_API_KEY": "k"}
    settings = read_settings({"port": 3, "preload": (), "device": None}, file, env)
    assert (settings.host, settings.port, settings.max_inputs) == ("10.0.0.1", 3, 6)
    assert settings.cors_origins == ("https://a.example",)
    assert settings.keys == {"k": "default"}
    assert "'k'" not in repr(settings)
    with pytest.raises(NlptasksError, match="The server's settings are not valid: port: input should be"):
        read_settings({"port": 70_000}, None, {})
    for name, hint in (("prt", "did you mean 'port'?"), ("zebra", "--print-config lists them.")):
        file.write_text(f"{name} = 1\n")
        sentence = f"{file}: expected settings of `nlptasks serve`, found {name!r}: {hint}"
        with pytest.raises(NlptasksError, match=re.escape(sentence)):
            read_settings({}, file, {})


def test_a_network_needs_a_key() -> None:
    with pytest.raises(NlptasksError, match=r"--host 0\.0\.0\.0 opens the server to the network: expected a key"):
        ServeSettings(host="0.0.0.0").check()
    ServeSettings(host="0.0.0.0", api_key="k").check()  # type: ignore[arg-type]
    ServeSettings(host="::1").check()


def test_the_command_prints_its_settings_without_keys(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("NLPTASKS_API_KEY", "a-secret")
    cli.main(["serve", "--host", "0.0.0.0", "--print-config"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert json.loads(printed)["host"] == "0.0.0.0"
    assert "a-secret" not in printed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["text", "inputs", "prompt", "messages", "stream", "model", "adapter", "threshold", "labels", "questions", "input",
     "state", "question", "context", "candidates", "text2", "max_tokens", "stop", "target_language", "explain"]
)  # fmt: skip
VALUES = JSON | st.sampled_from(
    ["sentiment", "minilm", "auto", "sentiment@mine", [{"role": "user", "content": "a"}], ["a", "b"], {"a": "b"},
     {"q": {"type": "choice", "criteria": {"a": None, "b": "c"}}}, [{"type": "predicate", "instructions": "Is it?"}]]
)  # fmt: skip


@given(st.data())
@examples(6000)
def test_no_body_makes_the_server_fail(url: str, engine: FakeEngine, data: st.DataObject) -> None:
    paths = [f"/v1/tasks/{name}" for name in engine.plugins.tasks]
    paths += ["/v1/chat/completions", "/v1/embeddings", "/v1/decisions", "/v1/systemone"]
    path = data.draw(st.sampled_from(paths))
    body = data.draw(st.dictionaries(NAMES | st.text(max_size=5), VALUES, max_size=6) | JSON)
    body = {**body, "stream": False} if isinstance(body, dict) and body.get("stream") is True else body
    answer = CLIENT.post(url + path, json=body)
    assert answer.status_code in (200, 400, 404, 413, 422, 503), (path, body, answer.text)
    if answer.status_code != 200:
        assert error_of(answer)


CLIENT = httpx.Client(timeout=30)
