"""Remote models: our own server, and one that does everything wrong."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nlptasks import BackendOptions, CancelledError, CancelToken, Engine, NlptasksError, OverflowRefusedError
from nlptasks.batches import answer_rows
from nlptasks.batches.rows import TaskRow
from nlptasks.errors import RemoteAnswerError, RemoteServerError, UnsupportedModelError
from nlptasks.model import Decoding
from nlptasks.remote.address import Address, RemoteSettings
from nlptasks.remote.backend import RemoteBackend
from nlptasks.remote.server import retry_after
from nlptasks.testing import FakeBackend
from tests.serving import served

KEY = "sk-secret-of-this-test"
QUICK = RemoteSettings(key=KEY, delay=0.01, patience=2, read=5)


def remote(settings: RemoteSettings = QUICK) -> Engine:
    def find(_: str) -> Any:
        raise AssertionError("a remote model has no folder")

    return Engine(backend=RemoteBackend(BackendOptions(find=find), settings))


def chat(text: str = "Fine.", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}, **more}


class Hostile(BaseHTTPRequestHandler):
    """Answers by the function of its server, which gets this handler, the path and the body."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"null")
        with self.server.lock:
            self.server.requests.append((self.path, body, self.headers.get("authorization")))
            running = self.server.running
            running.append(self)
            self.server.most = max(self.server.most, len(running))
        try:
            self.server.answer(self, self.path, body)
        except (BrokenPipeError, ConnectionResetError):
            self.server.broken.set()
        finally:
            with self.server.lock:
                running.remove(self)

    def do_GET(self) -> None:
        self.send(200, {"data": [{"id": "small", "max_model_len": 1000}]})

    def send(self, status: int, body: Any, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def events(self, *events: Any, end: bool = True) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()
        if end:
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    made.daemon_threads = True
    made.lock = threading.Lock()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def base(server: Any) -> str:
    server.requests, server.running, server.most, server.broken = [], [], 0, threading.Event()
    server.answer = lambda handler, path, body: handler.send(200, chat())
    return f"openai:small@http://127.0.0.1:{server.server_port}/v1"


def first_then(*firsts: Callable[[Any], None]) -> Callable[[Any, str, Any], None]:
    """Answers with these, one a request, then well."""
    left = list(firsts)
    return lambda handler, path, body: left.pop(0)(handler) if left else handler.send(200, chat())


def hang_up(handler: Any) -> None:
    handler.close_connection = True


MENDABLE: dict[str, Callable[[Any], None]] = {
    "429": lambda handler: handler.send(429, {"error": {"message": "slow down"}}, Retry_After="0"),
    "500": lambda handler: handler.send(500, b"<h1>oops</h1>"),
    "503": lambda handler: handler.send(503, b""),
    "wrong JSON": lambda handler: handler.send(200, b'{"choices": ['),
    "another JSON": lambda handler: handler.send(200, ["?"]),
    "no choices": lambda handler: handler.send(200, {"choices": []}),
    "deep JSON": lambda handler: handler.send(200, b"[" * 100_000),
    "empty": lambda handler: handler.send(200, b""),
    "nothing": hang_up,
}
SENTENCES = {
    "429": r"did not answer \(429\): slow down\. Try again later, or send fewer requests at once \(NLPTASKS_REMOTE_PAR",
    "500": r"did not answer \(500\): <h1>oops</h1>\.",
    "503": r"did not answer \(503\): no reason\.",
    "wrong JSON": r"Expected an answer of OpenAI's protocol from 127.0.0.1:\d+, found another \(JSONDecodeError: .*\)",
    "another JSON": r"Expected an answer of OpenAI's protocol",
    "no choices": r"found another \(IndexError: list index out of range\)",
    "deep JSON": r"found another \(RecursionError",
    "empty": r"found another \(JSONDecodeError: ",
    "nothing": r"broke the connection before its answer was complete: .+\.",
}


@pytest.mark.parametrize("fault", MENDABLE)
def test_a_fault_is_mended_by_another_try_or_becomes_one_sentence(server: Any, base: str, fault: str) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    with remote() as engine:
        server.answer = first_then(*[MENDABLE[fault]] * 2)
        answer = engine.run("generation", {"messages": messages}, model=base)
        assert (answer.text, answer.num_tokens, answer.num_generated_tokens, answer.model) == ("Fine.", 7, 3, base)
        assert len(server.requests) == 3
        server.answer = lambda handler, path, body: MENDABLE[fault](handler)
        with pytest.raises(RemoteAnswerError, match=SENTENCES[fault]):
            engine.run("generation", {"messages": messages}, model=base)
        assert len(server.requests) == 8, "five tries"


def test_other_rows_are_unharmed(server: Any, base: str) -> None:
    def answer(handler: Any, path: str, body: Any) -> None:
        text = body["messages"][0]["content"]
        MENDABLE["500"](handler) if text == "bad" else handler.send(200, chat(f"to {text}"))

    server.answer = answer
    texts = ["a", "b", "bad", "c"]
    rows = [TaskRow({"messages": [{"role": "user", "content": text}]}) for text in texts]
    with remote(dataclasses.replace(QUICK, retries=1)) as engine:
        outcomes = answer_rows(engine, "generation", rows, model=base)
    assert [one.result and one.result.text for one in outcomes] == ["to a", "to b", None, "to c"]
    assert "did not answer (500)" in str(outcomes[2].error)


def test_a_server_that_answers_nothing_ends_a_batch(server: Any, base: str) -> None:
    server.answer = lambda handler, path, body: MENDABLE["503"](handler)
    rows = [TaskRow({"messages": [{"role": "user", "content": str(number)}]}) for number in range(64)]
    with remote(dataclasses.replace(QUICK, retries=0, parallel=1)) as engine:
        with pytest.raises(RemoteServerError, match=r"answered none of the last 10 requests\. The last: .* \(503\)"):
            answer_rows(engine, "generation", rows, model=base)
        server.answer = first_then()
        assert engine.run("generation", rows[0].value, model=base).text == "Fine."


def test_what_no_other_try_mends_is_said_at_once(server: Any, base: str) -> None:
    faults: dict[str, tuple[type[Exception], Callable[[Any], None]]] = {
        r"refuses the key \(401\): No \*\*\*\. Set NLPTASKS_REMOTE_KEY": (
            RemoteServerError, lambda handler: handler.send(401, {"error": {"message": f"No {KEY}"}}),
        ),
        r"has no such model or route \(404\): no small\. http://.*/v1/models lists what it has\.": (
            RemoteServerError, lambda handler: handler.send(404, {"error": {"message": "no small"}}),
        ),
        r"sends requests on to http://elsewhere\.test/, and a text or a key goes to no other server": (
            RemoteServerError, lambda handler: handler.send(307, b"", Location="http://elsewhere.test/"),
        ),
        r"refused the request \(400\): stop: too many\.": (
            RemoteAnswerError, lambda handler: handler.send(400, {"detail": "stop: too many"}),
        ),
        r"The prompt is too long for .*: maximum context length is 9 tokens\. Shorten it\.": (
            OverflowRefusedError, lambda handler: handler.send(400, {"message": "maximum context length is 9 tokens"}),
        ),
        r"did not answer \(429\)": (
            RemoteAnswerError, lambda handler: handler.send(429, {"error": "wait"}, Retry_After="3600"),
        ),
    }  # fmt: skip
    with remote() as engine, engine.bind(engine.plugins.task("generation"), "none", base) as model:
        assert model.info.max_tokens == 1000
        for sentence, (kind, fault) in faults.items():
            server.requests.clear()
            server.answer = lambda handler, path, body, fault=fault: fault(handler)
            with pytest.raises(kind, match=sentence):
                model.embed(["a"])
            assert len(server.requests) == 1
    with remote(dataclasses.replace(QUICK, retries=1)) as engine:
        sentence = (
            r"Expected a server at http://127\.0\.0\.1:9/v1, found none \(.+\): start it, or correct the address\."
        )
        with pytest.raises(RemoteServerError, match=sentence):
            engine.run("generation", "x", model="openai:small@http://127.0.0.1:9/v1")
    with remote(dataclasses.replace(QUICK, read=0.1)) as engine:
        server.answer = lambda handler, path, body: time.sleep(0.5)
        with pytest.raises(
            RemoteAnswerError, match=r"Expected an answer of .* within 0\.1 s, found none: ask for less"
        ):
            engine.run("generation", {"messages": [{"role": "user", "content": "x"}]}, model=base)


def piece(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def test_a_stream(server: Any, base: str) -> None:
    message = {"messages": [{"role": "user", "content": "Hi"}]}
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}, "truncated": True}
    with remote() as engine:
        left = [hang_up, lambda handler: handler.events(end=False)]
        server.answer = lambda handler, path, body: (
            left.pop(0)(handler) if left else handler.events(piece("A "), piece("b", "length"), usage)
        )
        with engine.stream("generation", message, model=base) as pieces:
            assert list(pieces) == ["A ", "b"], "repeated until the first piece came"
            result = pieces.result()
        assert (result.text, result.finish_reason, result.num_tokens, result.truncated) == ("A b", "length", 5, True)
        # transformers' server ends without [DONE].
        server.answer = lambda handler, path, body: handler.events(piece("A b", "stop"), end=False)
        assert engine.stream("generation", message, model=base).result().text == "A b"
        server.requests.clear()
        for events, sentence in (
            ([piece("A ")], r"ended its answer in the middle: run it again\."),
            ([piece("A "), {"error": {"message": "no memory"}}], r"failed while it wrote: no memory\."),
        ):
            server.answer = lambda handler, path, body, events=events: handler.events(*events, end=False)
            seen = []
            with pytest.raises(RemoteAnswerError, match=sentence):
                seen += engine.stream("generation", message, model=base)
        assert len(server.requests) == 2, "half an answer is not asked for again"


@pytest.mark.parametrize("streamed", [True, False])
def test_cancel_closes_the_connection_within_a_step(server: Any, base: str, streamed: bool) -> None:
    message = {"messages": [{"role": "user", "content": "Hi"}]}

    def drip(handler: Any, path: str, body: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        for _ in range(500):
            handler.wfile.write(f"data: {json.dumps(piece('x'))}\n\n".encode())
            time.sleep(0.01)

    server.answer = drip
    with remote() as engine:
        cancel = CancelToken()
        if streamed:
            with engine.stream("generation", message, model=base, cancel=cancel) as pieces:
                next(iter(pieces))
        else:
            threading.Timer(0.1, cancel.cancel).start()
            with pytest.raises(CancelledError):
                engine.run("generation", message, model=base, cancel=cancel)
        assert server.broken.wait(1)
        assert engine.resident()[0].waiting == 0


def test_what_a_server_leaves_out_or_makes_up(server: Any, base: str) -> None:
    message = {"messages": [{"role": "user", "content": "Hi"}]}
    with remote() as engine:
        for usage in (None, "many", {"prompt_tokens": "seven", "completion_tokens": -1}):
            server.answer = lambda handler, path, body, usage=usage: handler.send(200, chat(usage=usage))
            result = engine.run("generation", message, model=base)
            assert (result.text, result.num_tokens, result.num_generated_tokens) == ("Fine.", 0, 0)
        choice = {"message": {"content": None}, "finish_reason": "content_filter"}
        server.answer = lambda handler, path, body: handler.send(200, {"choices": [choice], "truncated": True})
        result = engine.run("generation", message, model=base, repetition_penalty=1.0)
        assert (result.text, result.truncated, result.note) == ("", True, "the server ended the text: content_filter")
        with pytest.raises(OverflowRefusedError, match=r"The prompt is too long for .*, which cut it: shorten it\."):
            engine.run("generation", message, model=base, on_overflow="error")


def test_requests_are_bounded_and_close_ends_all(server: Any, base: str) -> None:
    server.answer = lambda handler, path, body: (
        time.sleep(0.1),
        handler.send(200, chat(body["messages"][0]["content"])),
    )
    turns = [{"messages": [{"role": "user", "content": str(number)}]} for number in range(12)]
    steps: list[tuple[int, int]] = []
    with remote(dataclasses.replace(QUICK, parallel=3)) as engine:
        results = engine.run("generation", turns, model=base, progress=lambda *step: steps.append(step))
        assert [result.text for result in results] == [str(number) for number in range(12)]
        assert (server.most, steps[-1]) == (3, (12, 12))
        ended = threading.Event()
        server.answer = lambda handler, path, body: ended.wait(10)
        threading.Timer(0.1, engine.close).start()
        begin = time.monotonic()
        with pytest.raises(CancelledError):
            engine.run("generation", turns, model=base)
        assert time.monotonic() - begin < 5
        ended.set()
    with pytest.raises(NlptasksError, match="This engine is closed"):
        engine.run("generation", turns, model=base)


def test_what_is_sent_of_a_decoding(server: Any, base: str) -> None:
    message = {"messages": [{"role": "user", "content": "Hi"}]}
    with remote() as engine:
        options = {"temperature": 0.5, "top_p": 0.9, "stop": "x", "seed": 3, "max_new_tokens": 9, "logprobs": True}
        result = engine.run("generation", message, model=base, **options, top_k=4, num_beams=2)
        [(path, body, key)] = server.requests
        assert (path, key) == ("/v1/chat/completions", f"Bearer {KEY}")
        assert body == {
            "model": "small", "messages": message["messages"], "max_tokens": 9, "temperature": 0.5, "top_p": 0.9,
            "stop": ["x"], "seed": 3, "logprobs": True,
        }  # fmt: skip
        assert result.note == (
            "not sent, for the server takes none: top_k, repetition_penalty, num_beams; the server gave no "
            "log-probabilities"
        )
        with engine.bind(engine.plugins.task("generation"), "none", base) as model:
            with pytest.raises(UnsupportedModelError, match="Expected one text for each prompt, found 2: several need"):
                model.generate(["x"], Decoding(num_return_sequences=2, num_beams=2))
            for verb, inputs in (("classify", ["x"]), ("tag", ["x"]), ("extract", [("x", "y")]), ("offsets", ["x"])):
                with pytest.raises(UnsupportedModelError, match=f"is on a server and has no {verb}: name a base of"):
                    getattr(model, verb)(inputs)


NO_LIKELIHOODS = r"does not say how likely each token of a prompt is \(echo and logprobs of /v1/completions\), which a"


class Changed:
    """Sends what another server would have sent."""

    def __init__(self, handler: Any, change: str) -> None:
        self.handler, self.change = handler, change

    def send(self, status: int, body: Any) -> None:
        logprobs = body["choices"][0]["logprobs"]
        tokens, values, offsets = logprobs.values()
        if self.change == "bos":
            tokens, values, offsets = ["<s>", *tokens], [None, *values], [0, *(start + 3 for start in offsets)]
        elif self.change == "none":
            offsets = [-1] * len(tokens)
        else:
            tokens, values, offsets = tokens[:-1], [None, *values[2:]], offsets[:-1]
        logprobs |= {"tokens": tokens, "token_logprobs": values, "text_offset": offsets}
        self.handler.send(status, body)


def test_labels_are_chosen_by_the_log_probabilities_of_an_echo(server: Any, base: str) -> None:
    def answer(handler: Any, path: str, body: Any) -> None:
        assert (path, body["echo"], body["logprobs"]) == ("/v1/completions", True, 1)
        words = body["prompt"].split(" ")
        tokens = [words[0], *(f" {word}" for word in words[1:]), "!"]
        offsets = [sum(map(len, tokens[:number])) for number in range(len(tokens))]
        likely = -0.5 if ("good" in body["prompt"]) == body["prompt"].endswith("positive") else -3.0
        values = [None, *[-9.0] * (len(words) - 2), likely, -7.0]
        logprobs = {"tokens": tokens, "token_logprobs": values, "text_offset": offsets}
        handler.send(200, {"choices": [{"text": body["prompt"] + "!", "logprobs": logprobs}]})

    server.answer = answer
    with remote() as engine:
        good, bad = engine.run("sentiment", ["It is good.", "It is dull."], model=base)
        assert (good.label, bad.label) == ("positive", "negative")
        with engine.bind(engine.plugins.task("sentiment"), "none", base) as model:
            assert model.choose(["all good:"], [" positive", " negative"]) == [(-0.5, -3.0)]
            with pytest.raises(UnsupportedModelError, match="Expected plain prompts to choose after, found a chat"):
                model.choose([[]], ["a"])
            # A server that counts a BOS, one that counts nothing, and one whose values are those of the next token.
            for change, likelihood in (("bos", -0.5), ("none", -0.5), ("shifted", None)):
                server.answer = lambda handler, path, body, change=change: answer(Changed(handler, change), path, body)
                if likelihood:
                    assert model.choose(["all good:"], [" positive"]) == [(likelihood,)]
                    continue
                with pytest.raises(UnsupportedModelError, match=NO_LIKELIHOODS):
                    model.choose(["all good:"], [" positive"])
        server.answer = lambda handler, path, body: handler.send(200, {"choices": [{"text": "positive"}]})
        with pytest.raises(UnsupportedModelError, match=NO_LIKELIHOODS):
            engine.run("sentiment", "good", model=base)


def test_no_key_is_seen(server: Any, base: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer = first_then(MENDABLE["429"])
    with remote() as engine:
        engine.run("generation", {"messages": [{"role": "user", "content": "x"}]}, model=base)
        backend: Any = engine._backends.choose(base, None)[1]
        [made] = backend._servers.values()
        assert KEY not in caplog.text + repr(vars(made)) + repr(vars(backend)) + repr(made._client.headers)
    addresses = {
        "openai:a@https://api.openai.com/v1": "theirs",
        "openai:a@http://api.openai.com/v1": None,
        "openai:a@https://api.openai.com.evil.test/v1": None,
        "openai:a@https://evil.test/api.openai.com": None,
    }
    theirs = RemoteSettings.from_env({"OPENAI_API_KEY": "theirs"})
    assert {base: theirs.key_for(Address.parse(base)) for base in addresses} == addresses
    assert RemoteSettings.from_env({"NLPTASKS_REMOTE_KEY": KEY}).key_for(Address.parse(base)) == KEY


def test_names() -> None:
    one = Address.parse("openai:org/small@v2@http://host:8000")
    assert (one.name, one.adapter, one.url, one.host) == ("org/small@v2", None, "http://host:8000/v1", "host:8000")
    two = Address.parse("nlptasks:sentiment@mine@https://host/v1/")
    assert (two.name, two.adapter, two.url) == ("sentiment", "mine", "https://host")
    for base in (
        "openai:small",
        "openai:@http://host",
        "openai:a@http://",
        "openai:a@http://h:x",
        "nlptasks:a@http://h?k",
    ):
        with pytest.raises(
            UnsupportedModelError, match=r"Expected a remote model as openai:NAME@http://HOST:PORT/v1 or"
        ):
            Address.parse(base)
    with pytest.raises(
        UnsupportedModelError, match=r"without a password, found 'openai:a@http://\.\.\.@h': put"
    ) as error:
        Address.parse("openai:a@http://me:secret@h")
    assert "secret" not in str(error.value)
    settings = RemoteSettings.from_env({"NLPTASKS_REMOTE_HOSTS": "good.test, local:80", "NLPTASKS_REMOTE_TIMEOUT": "3"})
    assert (settings.read, settings.parallel) == (3, 8)
    settings.check(Address.parse("openai:a@http://good.test:8000/v1"))
    with pytest.raises(
        UnsupportedModelError, match=r"of NLPTASKS_REMOTE_HOSTS \(good\.test, local:80\), found local:81"
    ):
        settings.check(Address.parse("openai:a@http://local:81/v1"))
    with pytest.raises(NlptasksError, match="NLPTASKS_REMOTE_PARALLEL: expected a whole number above 0, found '0'"):
        RemoteSettings.from_env({"NLPTASKS_REMOTE_PARALLEL": "0"})
    with pytest.raises(NlptasksError, match="NLPTASKS_REMOTE_KEY: expected a key of visible ASCII") as refused:
        RemoteSettings.from_env({"NLPTASKS_REMOTE_KEY": "secret\nof two lines"})
    assert "secret" not in str(refused.value)
    assert (retry_after("nan"), retry_after("-1")) == (None, 0.0)
    assert (retry_after("2"), retry_after("soon"), retry_after(None)) == (2.0, None, None)
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


# Our own server.


@pytest.fixture(scope="module")
def ours() -> Iterator[tuple[str, Engine]]:
    backend = FakeBackend(kind="causal", completions=lambda prompt: f"So {prompt.split()[-1]} it is.", max_tokens=300)
    with Engine(backend=backend) as engine, served(engine, api_key=KEY) as url:
        yield url, engine


@contextmanager
def of_ours(ours: tuple[str, Engine]) -> Iterator[tuple[Engine, str, Engine]]:
    with remote() as engine:
        yield engine, ours[0], ours[1]


def test_our_own_server_writes_embeds_and_counts(ours: tuple[str, Engine]) -> None:
    with of_ours(ours) as (engine, url, local):
        base = f"openai:smollm2@{url}/v1"
        chats = [{"messages": [{"role": "user", "content": f"Word {number}"}]} for number in range(9)]
        for options in ({}, {"logprobs": True, "max_new_tokens": 2}, {"temperature": 0.7, "seed": 1, "stop": ["it"]}):
            here, there = (
                local.run("generation", chats, **options),
                engine.run("generation", chats, model=base, **options),
            )
            same = {"model", "note"}
            assert [one.model_dump(exclude=same) for one in there] == [one.model_dump(exclude=same) for one in here]
        long = {"messages": [{"role": "user", "content": "word " * 400}]}
        assert engine.run("generation", long, model=base).truncated, "our server says what it did not read"
        with engine.stream("generation", chats[1], model=base) as pieces:
            assert list(pieces) == ["So", " 1", " it", " is."]
            assert pieces.result().num_tokens == local.run("generation", chats[1]).num_tokens
        plain = engine.run("generation", "Once", model=base)
        assert (plain.text, plain.prompt) == ("So Once it is.", "Once")
        assert "the server continues no text: the prompt was sent as a user's message" in str(plain.note)
        vector, same_here = engine.run("embedding", "A text.", model=base), local.run("embedding", "A text.")
        assert math.isclose(sum(a * b for a, b in zip(vector.vector, same_here.vector, strict=True)), 1)
        assert vector.num_tokens == same_here.num_tokens
        document = "The bridge was closed. " * 40
        assert engine.run("summarization", document, model=base).model == base
        spoken = engine.run("translation", "A bridge.", source_language="en", target_language="de", model=base)
        assert spoken.translation.startswith("So ")
        for inputs in (chats[0], "Once"):
            with pytest.raises(RemoteServerError, match=r"Unknown model 'large'\. Available: minilm, smollm2"):
                engine.run("generation", inputs, model=f"openai:large@{url}/v1")


def test_a_task_of_our_own_server_answers_as_there(ours: tuple[str, Engine]) -> None:
    with of_ours(ours) as (engine, url, local):
        base = f"nlptasks:generation@{url}"
        texts = [f"Once {number}" for number in range(40)]
        steps: list[tuple[int, int]] = []
        there = engine.run("generation", texts, model=base, progress=lambda *step: steps.append(step), max_new_tokens=3)
        assert there == local.run("generation", texts, max_new_tokens=3)
        assert steps[-1] == (40, 40)
        with engine.stream("generation", texts[0], model=base) as pieces:
            assert list(pieces) == ["So", " 0", " it", " is."]
            assert pieces.result() == local.run("generation", texts[0])
        assert engine.run("embedding", "A text.", model=f"nlptasks:embedding@none@{url}") == local.run(
            "embedding", "A text.", adapter="none"
        )
        with pytest.raises(RemoteServerError, match=r"Unknown task 'nothing'.*/v1/tasks lists what it has"):
            engine.run("generation", "x", model=f"nlptasks:nothing@{url}")
        with pytest.raises(RemoteAnswerError, match=r"refused the request \(422\): Input 'text' is not known"):
            engine.run("embedding", "x", model=base)
        task, sentence = engine.plugins.task("embedding"), "is on a server and has no embed: name a base"
        with engine.bind(task, "none", base) as model, pytest.raises(UnsupportedModelError, match=sentence):
            model.embed(["x"])
    with (
        remote(RemoteSettings(delay=0.01)) as engine,
        pytest.raises(RemoteServerError, match=r"refuses the key \(401\)"),
    ):
        engine.run("generation", "x", model=base)


def test_an_adapter_of_this_machine_sends_nothing(server: Any, base: str) -> None:
    backend = RemoteBackend(BackendOptions(find=lambda _: pytest.fail("no folder")), QUICK)
    adapter: Any = type("Adapter", (), {"name": "mine"})
    assert backend.serves(base, adapter)
    with (
        pytest.raises(UnsupportedModelError, match="without an adapter of this machine, found 'mine': name one of the"),
        backend.bind(base, adapter, cancel=CancelToken(), counter=None),
    ):
        pass
    assert server.requests == []


def test_the_command_line_needs_no_torch(ours: tuple[str, Engine], tmp_path: Path) -> None:
    """`run` and `batch`."""
    (tmp_path / "rows.csv").write_text("prompt\nOnce\nTwice\n", encoding="utf-8")
    code = f"""
import os, sys
os.environ |= {{"NLPTASKS_REMOTE_KEY": {KEY!r}, "NLPTASKS_REMOTE_HOSTS": "127.0.0.1", "NLPTASKS_BACKEND": ""}}
from nlptasks.cli import main
for words in (
    ["run", "generation", "-m", "openai:smollm2@{ours[0]}/v1", "Once"],
    ["batch", "generation", "-i", "rows.csv", "-o", "answers.jsonl", "-m", "nlptasks:generation@{ours[0]}"],
):
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, end.code
print("HEAVY", *[name for name in ("torch", "transformers", "peft") if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    assert "So Once it is." in run.stdout
    assert run.stdout.rstrip().endswith("HEAVY")
    answers = (tmp_path / "answers.jsonl").read_text(encoding="utf-8")
    assert "So Once it is." in answers
    assert "So Twice it is." in answers
