"""Files of requests in the form of OpenAI's Batch API, read by the types of OpenAI's client."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from nlptasks import NlptasksError
from nlptasks.batches import run_batch
from nlptasks.testing import FakeModel
from tests.fake_engine import FakeEngine, SlowModel
from tests.ui_browser import own_settings

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    def writer(**arguments: Any) -> FakeModel:
        return SlowModel(pause=0, completions=lambda prompt: "Guten Tag.", kind="causal", **arguments)

    with FakeEngine(own_settings(tmp_path_factory.mktemp("data")), {"generation": writer}) as made:
        yield made


def chat(**body: Any) -> dict[str, Any]:
    return {"model": "smollm2", "messages": [{"role": "user", "content": "Good day."}], **body}


def responses(engine: FakeEngine, folder: Path, *lines: Any) -> list[dict[str, Any]]:
    source, output = folder / "requests.jsonl", folder / "responses.jsonl"
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    source.write_text("\n".join(texts) + "\n", "utf-8")
    run_batch(source, output, engine=engine, restart=True)
    return [json.loads(line) for line in output.read_text("utf-8").splitlines()]


def request(number: int, url: str, body: Any, **others: Any) -> dict[str, Any]:
    return {"custom_id": f"line {number}", "method": "POST", "url": url, "body": body, **others}


def test_each_line_has_its_response_in_the_shape_of_the_client(engine: FakeEngine, tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Good "}, {"type": "text", "text": "day."}]
    lines = [
        request(1, CHAT, chat(max_tokens=5, temperature=0, stop="!")),
        request(2, EMBEDDINGS, {"model": "minilm", "input": ["one", "two"]}),
        request(
            3, CHAT, chat(messages=[{"role": "developer", "content": "Be short."}, {"role": "user", "content": parts}])
        ),
        request(4, EMBEDDINGS, {"model": "minilm", "input": "two", "encoding_format": "base64"}),
    ]
    answers = responses(engine, tmp_path, *lines)
    assert [answer["custom_id"] for answer in answers] == ["line 1", "line 2", "line 3", "line 4"]
    assert [(answer["response"]["status_code"], answer["error"]) for answer in answers] == [(200, None)] * 4
    assert len({answer["id"] for answer in answers}) == 4
    bodies = [answer["response"]["body"] for answer in answers]
    for body in (bodies[0], bodies[2]):
        completion = ChatCompletion.model_validate(body, strict=True)
        assert completion.choices[0].message.content == "Guten Tag."
        assert completion.choices[0].finish_reason == "stop"
        assert completion.usage is not None
        assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    both = CreateEmbeddingResponse.model_validate(bodies[1])
    packed = base64.b64decode(bodies[3]["data"][0]["embedding"])
    values = struct.unpack(f"<{len(packed) // 4}f", packed)
    assert [item.index for item in both.data] == [0, 1]
    assert values == pytest.approx(both.data[1].embedding)
    assert responses(engine, tmp_path, *lines) == answers


@pytest.mark.parametrize(
    ("line", "status", "sentence"),
    [
        (request(1, CHAT, chat(tools=[])), 400, "tools: this parameter is not served."),
        (request(1, CHAT, chat(n=2)), 400, "n: input should be 1, found 2."),
        (request(1, CHAT, chat(stream=True)), 400, "stream: input should be False, found True."),
        (request(1, CHAT, {"model": "smollm2"}), 400, "messages: field required, found nothing."),
        (request(1, CHAT, chat(model="generation@nobody")), 404, "Unknown adapter 'nobody'."),
        (request(1, EMBEDDINGS, {"model": "minilm", "input": []}), 400, "input."),
        (
            request(1, "/v1/tasks/sentimnt", {"text": "Good."}),
            404,
            "Unknown task 'sentimnt'. Did you mean 'sentiment'?",
        ),
        (
            request(1, "/v1/tasks/sentiment", {"text": "Good.", "progress": 1}),
            400,
            "Option 'progress' is not known; known: ",
        ),
        (
            request(1, "/v1/images", {}),
            0,
            "url: expected /v1/chat/completions or /v1/embeddings or /v1/tasks/TASK, found '/v1/images'.",
        ),
        (request(1, CHAT, chat(), method="GET"), 0, "method: input should be 'POST', found 'GET'."),
        ('{"custom_id": "line 1", ', 0, "Expected a JSON object, found broken JSON"),
    ],
)
def test_a_bad_line_is_one_bad_line(engine: FakeEngine, tmp_path: Path, line: Any, status: int, sentence: str) -> None:
    bad, good = responses(engine, tmp_path, line, request(2, CHAT, chat()))
    assert good["response"]["status_code"] == 200
    if status:
        assert bad["error"] is None
        assert bad["response"]["status_code"] == status
        message = bad["response"]["body"]["error"]["message"]
    else:
        assert bad["response"] is None
        message = bad["error"]["message"]
    assert message.startswith(sentence)


def test_other_files_are_refused(engine: FakeEngine, tmp_path: Path) -> None:
    source = tmp_path / "requests.csv"
    source.write_text("custom_id\n1\n", "utf-8")
    with pytest.raises(
        NlptasksError, match=r"Expected files that end in .jsonl, found .*requests.csv and .*out.jsonl."
    ):
        run_batch(source, tmp_path / "out.jsonl", engine=engine)
