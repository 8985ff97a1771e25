"""`/v1/files` and `/v1/batches` by OpenAI's client: uploads, answers, cancelling, restarts, and who sees what."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types import Batch, FileObject

from nlptasks import NlptasksError
from nlptasks.batches import run_batch
from nlptasks.serve import jobs
from tests.serving import served, servers
from tests.ui_browser import FakeEngine, SlowModel, built_in_makers, free_port, installed_plugins, own_settings

ROOT = Path(__file__).parents[2]
SENTIMENT, CHAT, EMBEDDINGS = "/v1/tasks/sentiment", "/v1/chat/completions", "/v1/embeddings"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    folder = tmp_path_factory.mktemp("jobs")
    makers = built_in_makers()
    # Without a maker, the fake engine's own model, which has steps and a gate.
    del makers["sentiment"]
    makers["generation"] = lambda **more: SlowModel(
        pause=0.01, kind="causal", completions=lambda _: "A lamp.", name="fake-writer", **more
    )
    with FakeEngine(own_settings(folder), makers, installed_plugins()) as made:
        yield made


@pytest.fixture(scope="module")
def url(engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("batches")
    keys = folder / "keys"
    keys.write_text("ada:first\nbob:second\n")
    with served(engine, batches=folder / "a", api_key_file=keys, max_file_mb=0.05, body_seconds=1) as address:
        yield address


@pytest.fixture(scope="module")
def ada(url: str) -> openai.OpenAI:
    return client(url)


def client(url: str, key: str = "first") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def line(number: int, url: str, **body: Any) -> str:
    return json.dumps({"custom_id": f"row {number}", "method": "POST", "url": url, "body": body}) + "\n"


def lines(count: int) -> bytes:
    return "".join(line(number, SENTIMENT, text=f"Text {number} is good.") for number in range(count)).encode()


def begun(user: openai.OpenAI, content: bytes, endpoint: Any = SENTIMENT, **more: Any) -> Batch:
    file = user.files.create(file=("requests.jsonl", content), purpose="batch")
    return user.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more)


def ended(user: openai.OpenAI, batch: Batch) -> Batch:
    end = time.monotonic() + 30
    while (batch := user.batches.retrieve(batch.id)).status not in ("completed", "failed", "cancelled", "expired"):
        assert time.monotonic() < end, batch
        time.sleep(0.02)
    return batch


def until(holds: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def expected(engine: FakeEngine, folder: Path, content: bytes) -> bytes:
    source, output = folder / "requests.jsonl", folder / "responses.jsonl"
    source.write_bytes(content)
    run_batch(source, output, engine=engine, restart=True)
    return output.read_bytes()


def test_a_batch_answers_as_run_batch_does(engine: FakeEngine, ada: openai.OpenAI, tmp_path: Path) -> None:
    content = lines(50)
    batch = begun(ada, content, metadata={"project": "a"})
    assert (batch.object, batch.metadata, batch.output_file_id) == ("batch", {"project": "a"}, None)
    batch = ended(ada, batch)
    Batch.model_validate(batch.model_dump(), strict=True)
    assert (batch.status, batch.errors, batch.error_file_id) == ("completed", None, None)
    assert batch.request_counts
    assert batch.request_counts.to_dict() == {"total": 50, "completed": 50, "failed": 0}
    assert batch.in_progress_at
    assert batch.finalizing_at
    assert batch.completed_at
    assert batch.output_file_id
    written = ada.files.content(batch.output_file_id).content
    assert written == expected(engine, tmp_path, content)
    answer = json.loads(written.splitlines()[7])
    assert answer["response"]["body"] == engine.run("sentiment", "Text 7 is good.").model_dump(mode="json")


def test_every_endpoint_has_batches_and_bad_lines_are_in_a_file_of_their_own(
    engine: FakeEngine, ada: openai.OpenAI, tmp_path: Path
) -> None:
    turns = [{"role": "user", "content": "Hi."}]
    chats = line(1, CHAT, model="auto", messages=turns) + line(2, CHAT, model="auto", messages=turns, tools=[])
    vectors = line(1, EMBEDDINGS, model="minilm", input=["a", "b"]) + line(2, CHAT, model="auto", messages=turns)
    moods = "".join(
        [
            line(1, SENTIMENT, text="Good.", threshold=0.1),
            line(2, SENTIMENT, text="Good.", treshold=0.1),
            line(3, SENTIMENT, text="Good.", cancel=True),
            line(4, SENTIMENT, text=" "),
            line(5, SENTIMENT, text="Good.", model="/etc"),
            line(6, SENTIMENT, text="Good.", adapter="../../etc"),
            "{broken\n",
        ]
    )
    sources = {CHAT: chats, EMBEDDINGS: vectors, SENTIMENT: moods}
    batches = [begun(ada, text.encode(), endpoint) for endpoint, text in sources.items()]
    counts, faults = [], []
    for batch in (ended(ada, one) for one in batches):
        assert (batch.status, batch.errors) == ("completed", None)
        assert batch.request_counts
        counts.append((batch.request_counts.completed, batch.request_counts.failed))
        assert batch.error_file_id
        for text in ada.files.content(batch.error_file_id).content.splitlines():
            answer = json.loads(text)
            faults.append((answer["error"] or answer["response"]["body"]["error"])["message"])
    assert counts == [(1, 1), (1, 1), (1, 6)]
    assert faults[:4] == [
        "tools: this parameter is not served.",
        "url: expected /v1/embeddings, found '/v1/chat/completions'.",
        "Option 'treshold' is not known; did you mean 'threshold'?",
        "Option 'cancel' is not known; known: threshold, multi_label, on_overflow, pool, explain, neutral.",
    ]
    assert faults[4].startswith("Input 'text': expected a text with at least one visible character")
    assert faults[5].startswith("Unknown model '/etc'.")
    assert faults[6] == "Adapter: expected a name in the server's store, found '../../etc'."
    assert faults[7].startswith("Expected a JSON object, found broken JSON")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "Line 1: expected a JSON object with custom_id, method, url and body, found 'nothing'."),
        (b"a,b\n1,2\n", "Line 1: expected a JSON object with custom_id, method, url and body, found 'a,b'."),
        (b"\x00\xff\xfe" * 99, "Line 1: expected a JSON object with custom_id, method, url and body, found"),
        (b"[" * 50_000, "Line 1: expected a JSON object with custom_id, method, url and body, found '[[[["),
    ],
)
def test_a_file_that_holds_no_requests_fails(ada: openai.OpenAI, content: bytes, sentence: str) -> None:
    batch = ended(ada, begun(ada, content))
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("failed", None, None)
    assert batch.failed_at
    assert batch.errors
    assert batch.errors.data
    assert str(batch.errors.data[0].message).startswith(sentence)


def test_files_are_listed_read_and_deleted(ada: openai.OpenAI) -> None:
    files = [ada.files.create(file=(f"../{name}.jsonl", b"{}\n"), purpose="batch") for name in "abc"]
    FileObject.model_validate(files[0].model_dump(), strict=True)
    assert (files[0].filename, files[0].bytes, files[0].purpose) == ("a.jsonl", 3, "batch")
    assert ada.files.retrieve(files[1].id) == files[1]
    newest = ada.files.list(limit=2, purpose="batch")
    assert [one.id for one in newest.data] == [files[2].id, files[1].id]
    assert newest.has_more
    assert next(iter(newest.get_next_page())).id == files[0].id
    assert ada.files.list(order="asc", purpose="batch").data[-1] == files[2]
    assert ada.files.delete(files[0].id).deleted
    with pytest.raises(openai.NotFoundError, match="Expected the id of a file, found 'file-"):
        ada.files.content(files[0].id)


@pytest.mark.parametrize("name", ["..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "file-0", "batch_0", ".lock", "a" * 5000])
def test_ids_are_never_paths(url: str, name: str) -> None:
    headers = {"Authorization": "Bearer first"}
    for path in (f"/v1/files/{name}", f"/v1/files/{name}/content", f"/v1/batches/{name}"):
        assert httpx.get(url + path, headers=headers).status_code in (404, 405)
    assert httpx.delete(f"{url}/v1/files/{name}", headers=headers).status_code in (404, 405)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"endpoint": "/v1/images"}, 422, "endpoint: expected /v1/chat/completions, /v1/embeddings, /v1/tasks/TASK,"),
        ({"endpoint": "/v1/tasks/sentimnt"}, 404, "Unknown task 'sentimnt'. Did you mean 'sentiment'?"),
        ({"completion_window": "soon"}, 422, "completion_window: string should match pattern"),
        ({"input_file_id": "../../etc"}, 404, "Expected the id of a file, found '../../etc', which is none of yours."),
        ({"output_expires_after": {}}, 422, "output_expires_after: this parameter is not served."),
    ],
)
def test_a_batch_that_cannot_be(url: str, body: Any, status: int, sentence: str) -> None:
    wish = {"input_file_id": "file-0", "endpoint": CHAT, "completion_window": "24h", **body}
    answer = httpx.post(f"{url}/v1/batches", json=wish, headers={"Authorization": "Bearer first"})
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(sentence)


def test_uploads_that_are_refused(url: str) -> None:
    headers = {"Authorization": "Bearer first"}
    before = httpx.get(f"{url}/v1/files", headers=headers).json()["data"]

    def post(status: int, sentence: str, **arguments: Any) -> None:
        answer = httpx.post(f"{url}/v1/files", **{"headers": headers, **arguments})
        assert (answer.status_code, answer.json()["error"]["message"]) == (status, sentence)

    file = {"file": ("a.jsonl", b"{}\n")}
    post(413, "Expected a file of at most 0.05 MB, found a larger one.", files={"file": ("a", b"a" * 60_000)})
    post(422, "purpose: expected 'batch', found 'fine-tune'.", files=file, data={"purpose": "fine-tune"})
    post(422, "file: expected a file with a name, found none.", files={"purpose": (None, b"batch")})
    post(422, "expires_after[seconds]: this parameter is not served.", files=file,
         data={"purpose": "batch", "expires_after[seconds]": "3600"})  # fmt: skip
    post(415, "Expected a body of type multipart/form-data, found 'application/json'.", json={})
    post(400, "Expected the parts of a form, found something else (Missing boundary in multipart.).", content=b"a",
         headers={**headers, "Content-Type": "multipart/form-data"})  # fmt: skip
    post(403, "Expected a page of this server as Origin, found 'https://evil.example': see --cors-origin.",
         files=file, headers={**headers, "Origin": "https://evil.example"})  # fmt: skip
    answer = httpx.get(f"{url}/v1/batches?limit=0", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith("query.limit: input should be greater than or equal to 1")
    assert httpx.get(f"{url}/v1/files", headers=headers).json()["data"] == before


def test_a_caller_sees_its_own_files_and_batches_only(url: str, ada: openai.OpenAI) -> None:
    bob = client(url, "second")
    batch = ended(ada, begun(ada, lines(1)))
    assert batch.output_file_id
    assert (list(bob.files.list()), list(bob.batches.list())) == ([], [])
    refused: list[Callable[[], Any]] = [
        lambda: bob.files.retrieve(batch.input_file_id),
        lambda: bob.files.content(str(batch.output_file_id)),
        lambda: bob.files.delete(batch.input_file_id),
        lambda: bob.batches.retrieve(batch.id),
        lambda: bob.batches.cancel(batch.id),
        lambda: bob.batches.create(input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h"),
    ]
    for call in refused:
        with pytest.raises(openai.NotFoundError, match="which is none of yours"):
            call()
    newest = ada.batches.list(limit=1)
    assert ([one.id for one in newest.data], newest.has_more) == ([batch.id], True)


@contextmanager
def held(engine: FakeEngine, after: int) -> Iterator[None]:
    """Let the engine compute so many more steps, then hold it until the block ends."""
    try:
        engine.hold(engine.steps + after)
        yield
    finally:
        engine.gate.set()


def test_cancelling_ends_within_a_step_and_keeps_the_answers_so_far(
    engine: FakeEngine, ada: openai.OpenAI, tmp_path: Path
) -> None:
    content = "".join(line(number, "/v1/tasks/generation", prompt=f"Lamp {number}") for number in range(100))
    first = begun(ada, content.encode(), "/v1/tasks/generation")
    with held(engine, 40):
        second = begun(ada, lines(1))
        assert ada.batches.retrieve(first.id).status == "in_progress"
        with pytest.raises(openai.ConflictError, match="Expected a file that no batch reads, found one under way"):
            ada.files.delete(first.input_file_id)
        assert ada.batches.cancel(second.id).status == "cancelled"
        steps = engine.steps
        assert ada.batches.cancel(first.id).status in ("cancelling", "cancelled")
        until(lambda: engine.models[-1].token.cancelled)
    assert engine.steps == steps
    batch = ended(ada, first)
    assert (batch.status, bool(batch.cancelling_at), bool(batch.cancelled_at)) == ("cancelled", True, True)
    assert batch.output_file_id
    answers = ada.files.content(batch.output_file_id).content.splitlines(keepends=True)
    assert len(answers) == 32
    assert answers == expected(engine, tmp_path, content.encode()).splitlines(keepends=True)[:32]
    with pytest.raises(openai.ConflictError, match="Expected a batch under way, found one that is cancelled"):
        ada.batches.cancel(first.id)
    assert ada.files.delete(first.input_file_id).deleted


def test_an_interrupted_batch_goes_on_with_the_next_server(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "READ_ROWS", 64)
    folder = tmp_path / "batches"
    content = lines(200)
    engine.seconds = 0.02
    with served(engine, batches=folder) as url:
        user = client(url)
        with (
            pytest.raises(NlptasksError, match="expected a folder of one server, found another one"),
            served(engine, batches=folder),
        ):
            pass
        first = begun(user, content)
        with held(engine, 64 // 8 + 1):  # into the second part
            second = begun(user, lines(3))
            assert user.batches.retrieve(first.id).status == "in_progress"
            assert len(list(folder.glob("work/*/*.parts/part-*"))) == 1
            steps = engine.steps
            servers[url].handle_exit(signal.SIGTERM, None)
            until(lambda: engine.models[-1].token.cancelled)
    assert engine.steps == steps
    engine.seconds = 0
    with served(engine, batches=folder) as url:
        user = client(url)
        batches = [ended(user, one) for one in (first, second)]
        assert [one.status for one in batches] == ["completed", "completed"]
        assert batches[0].output_file_id
        assert user.files.content(batches[0].output_file_id).content == expected(engine, tmp_path, content)
        assert list((folder / "work").iterdir()) == []
        assert [one.id for one in user.batches.list()] == [second.id, first.id]


def test_old_files_and_batches_are_deleted_and_time_ends_a_batch(engine: FakeEngine, tmp_path: Path) -> None:
    folder = tmp_path / "batches"
    with served(engine, batches=folder) as url:
        user = client(url)
        old = ended(user, begun(user, lines(1)))
        engine.gate.clear()
        late = begun(user, lines(1))
    long_ago = {"created_at": 0}
    for name, change in ((old.id, long_ago), (old.input_file_id, long_ago), (late.id, {"expires_at": 0})):
        [file] = folder.glob(f"*/{name}.json")
        record = json.loads(file.read_text())
        record["value"] |= change
        file.write_text(json.dumps(record))
    try:
        with served(engine, batches=folder) as url:
            user = client(url)
            assert ended(user, late).status == "expired"
            assert [one.id for one in user.batches.list()] == [late.id]
            assert {one.id for one in user.files.list()} == {late.input_file_id, old.output_file_id}
    finally:
        engine.gate.set()


def test_without_a_folder_they_are_off(engine: FakeEngine) -> None:
    with served(engine) as url:
        user = client(url)
        for call in (user.files.list, user.batches.list):
            with pytest.raises(openai.NotFoundError, match="are off: start the server with --batches FOLDER"):
                call()


SERVER = """
import sys
from pathlib import Path
from nlptasks.serve import ServeSettings, serve
from tests.fake_engine import SlowModel
from tests.ui_browser import FakeEngine, installed_plugins, own_settings

def writer(**more):
    return SlowModel(pause=0.005, kind="causal", completions=str, name="fake-writer", **more)

folder = Path(sys.argv[1])
with FakeEngine(own_settings(folder / "own"), {"generation": writer}, installed_plugins()) as engine:
    serve(engine, ServeSettings(port=int(sys.argv[2]), batches=folder / "batches"))
"""


@pytest.mark.full
def test_a_killed_server_loses_no_row_and_answers_none_twice(tmp_path: Path) -> None:
    rows = range(500)
    content = "".join(line(number, "/v1/tasks/generation", prompt=f"Lamp {number}") for number in rows).encode()
    port, written, kills = free_port(), b"", 0
    user = client(f"http://127.0.0.1:{port}")
    batch: Batch | None = None
    while not written:
        assert kills < 30
        process = subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path), str(port)], cwd=ROOT)
        try:
            until(lambda: ready(port), 60)
            batch = batch or begun(user, content, "/v1/tasks/generation")
            end = time.monotonic() + 0.9 + kills / 100
            while time.monotonic() < end and not written:
                batch = user.batches.retrieve(batch.id)
                if batch.status == "completed":
                    written = user.files.content(str(batch.output_file_id)).content
        finally:
            process.kill()
            process.wait()
        kills += not written
    assert kills > 1
    answers = [json.loads(text) for text in written.splitlines()]
    assert [answer["custom_id"] for answer in answers] == [f"row {number}" for number in rows]
    assert all(f"Lamp {number}" in answers[number]["response"]["body"]["text"] for number in rows)


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200
    except httpx.TransportError:
        return False
