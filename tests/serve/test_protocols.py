"""The routes of TEI, LibreTranslate and Label Studio by the clients that speak them, over fake models."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import httpx
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from hypothesis import given
from hypothesis import strategies as st

from nlptasks import Engine, Settings
from nlptasks.testing import FakeModel
from tests.examples import examples
from tests.fake_engine import FakeEngine
from tests.serving import served
from tests.ui_browser import built_in_makers, installed_plugins, own_settings

http = httpx.Client(timeout=30)
KEY = {"Authorization": "Bearer secret"}
CHOICES = """<View><Text name="text" value="$review"/>
<Choices name="tone" toName="text"><Choice value="Positive"/><Choice value="Negative" alias="neg"/></Choices></View>"""
SPANS = (
    """<View><Labels name="label" toName="text"><Label value="PER"/></Labels><Text name="text" value="$text"/></View>"""
)
AREA = """<View><Text name="text" value="$text"/><TextArea name="answer" toName="text"/></View>"""
NAMES = ("%2e%2e", "%2e%2e%2fetc", "a%2Fb", "sentiment%00", "sentiment@..%2f..", "sentiment@..", "nothing")
PATHS = ("tei/{}/predict", "tei/{}/info", "tei/{}", "label-studio/{}/predict", "label-studio/{}/health")
HOSTILE = [b"", b"[]", b"null", b"{", b'{"inputs": NaN}', b"[" * 10_000, b'{"inputs": "\\ud800"}', b"\xff"]
VALUES = (
    None,
    1,
    1e300,
    True,
    "",
    " ",
    [],
    {},
    [[]],
    [[[]]],
    [None],
    ["a"] * 30,
    {"data": {}},
    [{"data": {"text": 1}}],
)
FIELDS = ("inputs", "q", "tasks", "label_config", "schema", "query", "texts", "source", "target", "parameters")


def vectors(**more: Any) -> FakeModel:
    return FakeModel(kind="encoder", name="fake-encoder", **more)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    makers = {**built_in_makers(), "embedding": vectors, "similarity": vectors, "rerank": vectors}
    settings = own_settings(tmp_path_factory.mktemp("protocols"))
    with FakeEngine(settings, makers, installed_plugins()) as made:
        yield made


@pytest.fixture(scope="module")
def url(engine: FakeEngine) -> Iterator[str]:
    with served(engine, max_body_mb=0.05, max_inputs=20, root="libretranslate") as address:
        yield address


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Hugging Face's client call this machine where the Hub is not to be called."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def locked(engine: FakeEngine) -> Iterator[str]:
    with served(engine, api_key="secret") as address:
        yield address


# TEI, and Hugging Face's client.


def test_inference_client_classifies_embeds_and_compares(url: str, engine: FakeEngine) -> None:
    client = InferenceClient(model=f"{url}/tei/sentiment")
    labels = client.text_classification("I love it.")
    assert [(one.label, one.score) for one in labels] == [
        (one.label, one.score) for one in engine.run("sentiment", "I love it.").scores
    ]
    assert len(client.text_classification("I love it.", top_k=1)) == 1
    client = InferenceClient(model=f"{url}/tei/embedding")
    vectors = [one.vector for one in engine.run("embedding", ["a cat", "a dog"])]
    assert abs(client.feature_extraction(["a cat", "a dog"]) - vectors).max() < 1e-6
    scores = client.sentence_similarity("a cat", other_sentences=["a dog", "a cat"])
    assert scores == list(engine.run("similarity", text="a cat", candidates=["a dog", "a cat"]).scores)
    assert scores[1] == pytest.approx(1)


def test_inference_client_gets_any_task_as_pipelines_answered(url: str) -> None:
    found = InferenceClient(model=f"{url}/tei/ner").token_classification("Ada Lovelace was in Oslo")
    assert [(one.entity_group, one.word, one.start, one.end) for one in found] == [
        ("PER", "Ada Lovelace", 0, 12),
        ("LOC", "Oslo", 20, 24),
    ]
    summary = InferenceClient(model=f"{url}/tei/summarization").summarization("The lamp never went out. " * 9)
    assert summary.summary_text == "The lamp never went out."


def test_inference_client_shows_the_sentence(url: str) -> None:
    with pytest.raises(HfHubHTTPError, match=r"Unknown task 'sentimnt'\. Did you mean") as caught:
        InferenceClient(model=f"{url}/tei/sentimnt").text_classification("a")
    assert caught.value.response.status_code == 404


def test_tei_s_routes(url: str) -> None:
    def post(path: str, body: Any) -> Any:
        answer = http.post(f"{url}/tei/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    single = post("sentiment/predict", {"inputs": "I love it.", "truncate": True})
    assert [one["label"] for one in single] == ["positive", "negative"]
    assert post("sentiment/predict", {"inputs": [["I love it."], ["Bad."]]})[0] == single
    assert len(post("embedding/embed", {"inputs": "a cat", "normalize": True})) == 1
    similar = post("embedding/similarity", {"inputs": {"source_sentence": "a cat", "sentences": ["a cat"]}})
    assert similar == pytest.approx([1])
    ranks = post("rerank/rerank", {"query": "a cat", "texts": ["a dog", "a cat"], "return_text": True})
    assert (ranks[0]["index"], ranks[0]["text"], ranks[0].keys()) == (1, "a cat", {"index", "score", "text"})
    assert "text" not in post("rerank/rerank", {"query": "a cat", "texts": ["a dog"]})[0]
    assert http.get(f"{url}/tei/sentiment/health").status_code == 200
    info = http.get(f"{url}/tei/sentiment/info").json()
    assert info["model_type"]["classifier"]["label2id"] == {"negative": 0, "positive": 1}
    assert (info["max_client_batch_size"], info["model_id"]) == (20, "minilm@sentiment")
    assert http.get(f"{url}/tei/embedding/info").json()["model_type"] == {"embedding": {"pooling": "mean"}}


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "sentence"),
    [
        ("sentiment/embed", {"inputs": "a"}, 424, "backend", "/embed: expected one of the tasks embedding; found"),
        ("embedding/predict", {"inputs": "a"}, 424, "backend", "/predict: expected one of the tasks "),
        ("generation/rerank", {"query": "a", "texts": ["a"]}, 424, "backend", "expected one of the tasks rerank;"),
        ("sentiment/predict", {"inputs": ["a", "b"]}, 413, "validation", "expected 1 text for each input, found 2."),
        ("sentiment/predict", {"inputs": [["a"]] * 21}, 413, "validation", "expected a list of 1 to 20"),
        ("sentiment/predict", {"inputs": []}, 413, "validation", "inputs: expected a list of 1 to 20, found 0 inputs"),
        ("sentiment/predict", {"inputs": ""}, 413, "validation", "expected a text with at least one visible character"),
        ("sentiment/predict", {"inputs": "a", "raw_scores": True}, 413, "validation", "raw_scores: input should be"),
        ("sentiment/predict", {"input": "a"}, 413, "validation", "inputs"),
        ("embedding/embed", {"inputs": "a", "normalize": False}, 413, "validation", "normalize: input should be True"),
        ("embedding/embed", {"inputs": "a", "dimensions": 3}, 413, "validation", "dimensions: input should be None"),
        ("rerank/rerank", {"query": "a", "texts": []}, 413, "validation", "documents"),
        ("sentiment", {"inputs": "a", "parameters": {"top_k": "x"}}, 413, "validation", "top_k: expected"),
        ("sentiment", {"inputs": "a", "parameters": {"top_k": -1}}, 413, "validation", "top_k: expected"),
        ("sentiment", {"inputs": "a", "parameters": {"topk": 1}}, 413, "validation", "Option 'topk' is not known"),
        ("sentiment", {"inputs": "a", "parameters": {"model": "/etc"}}, 413, "validation", "Option 'model' is not"),
        ("rerank/rerank", {"query": "a", "texts": ["a"] * 21}, 413, "validation", "Expected at most 20 texts, found"),
        ("sentiment", {"inputs": "a", "parameters": {"cancel": 1}}, 413, "validation", "Option 'cancel' is not known"),
        ("sentiment", {"inputs": None}, 413, "validation", ""),
        ("sentiment@mine/predict", {"inputs": "a"}, 404, "validation", "Unknown adapter 'mine'."),
    ],
)  # fmt: skip
def test_tei_s_errors(url: str, path: str, body: Any, status: int, kind: str, sentence: str) -> None:
    answer = http.post(f"{url}/tei/{path}", json=body)
    assert (answer.status_code, answer.json().get("error_type")) == (status, kind), answer.text
    assert sentence in answer.json()["error"]


# LibreTranslate.


@pytest.mark.parametrize("path", ["", "/libretranslate"])
def test_libretranslate_s_client_translates_and_detects(url: str, path: str) -> None:
    api = pytest.importorskip("libretranslatepy").LibreTranslateAPI(url + path, api_key="any")
    assert api.translate("Good morning.", "en", "fr") == "Bonjour."
    assert api.detect("The train to the north is late again today.")[0]["language"] == "en"
    assert api.languages() == [
        {"code": "en", "name": "English", "targets": ["fr"]},
        {"code": "fr", "name": "French", "targets": ["en"]},
    ]
    with pytest.raises(HTTPError) as caught:
        api.translate("Good morning.", "en", "??")
    assert caught.value.code == 400
    assert "expected a BCP 47 tag such as en" in json.load(caught.value)["error"]


def test_libretranslate_s_documented_requests(url: str) -> None:
    def post(**body: Any) -> Any:
        answer = http.post(f"{url}/libretranslate/translate", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert post(q="Good morning.", source="en", target="fr", format="text", alternatives=0, api_key="") == {
        "translatedText": "Bonjour."
    }
    several = post(q=["Good morning.", "", "See you soon."], source="en", target="fr")
    assert several == {"translatedText": ["Bonjour.", "", "À bientôt."]}
    assert post(q=["", " "], source="en", target="fr") == {"translatedText": ["", " "]}
    detected = post(q="Good morning. See you soon.", source="auto", target="fr")
    assert detected["translatedText"] == "Bonjour. À bientôt."
    assert detected["detectedLanguage"].keys() == {"confidence", "language"}
    marked = post(q="<p>Good morning.</p>", source="en", target="fr", format="html")
    assert marked["translatedText"] == "<p>Bonjour.</p>"
    assert post(q="Good morning.", source="en", target="fr", alternatives=2)["alternatives"] == []


@pytest.mark.parametrize(
    ("content", "kind", "status", "sentence"),
    [
        (b"q=a&target=fr", "form", 400, "source: field required, found nothing."),
        (b"", "form", 400, "q: field required"),
        (b"q=%FF&source=en&target=fr", "form", 400, "Expected a form of at most 100 fields in UTF-8"),
        (b"&".join([b"a=b"] * 200), "form", 400, "Expected a form of at most 100 fields in UTF-8"),
        (b"q=+&source=en&target=fr", "form", 400, "expected a text with at least one visible character"),
        (b"q=a&source=en&target=fr&format=pdf", "form", 400, "format: input should be 'text', 'html'"),
        (b"q=a&source=en&target=fr&alternatives=99", "form", 400, "alternatives: input should be less than"),
        (b"q=" + b"a" * 60_000, "form", 413, "Expected a body of at most 0.05 MB"),
        (b'{"q": 3, "source": "en", "target": "fr"}', "json", 400, "q.str: input should be a valid string"),
        (b'{"q": [], "source": "en", "target": "fr"}', "json", 400, "expected a list of 1 to 20"),
        (b'{"q": NaN}', "json", 400, "Expected a JSON object"),
        (b"--x", "multipart", 415, "Expected a body of type application/json"),
    ],
)  # fmt: skip
def test_libretranslate_s_errors(url: str, content: bytes, kind: str, status: int, sentence: str) -> None:
    types = {
        "form": "application/x-www-form-urlencoded",
        "json": "application/json",
        "multipart": "multipart/form-data",
    }
    answer = http.post(f"{url}/libretranslate/translate", content=content, headers={"Content-Type": types[kind]})
    assert answer.status_code == status
    assert sentence in answer.json()["error"]


def test_a_form_of_another_origin_is_refused(url: str) -> None:
    form = {"q": "Good morning.", "source": "en", "target": "fr"}
    for origin in ("https://evil.example", "null"):
        answer = http.post(f"{url}/translate", data=form, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["error"]["message"]) == (
            403,
            f"Expected a page of this server as Origin, found '{origin}': see --cors-origin.",
        )
    assert http.post(f"{url}/translate", data=form, headers={"Origin": url}).status_code == 200


def test_libretranslate_s_key_is_in_the_header(locked: str) -> None:
    api = pytest.importorskip("libretranslatepy").LibreTranslateAPI(f"{locked}/libretranslate", api_key="secret")
    with pytest.raises(HTTPError, match="401"):
        api.translate("Good morning.", "en", "fr")
    opener = urllib.request.build_opener()
    opener.addheaders = [("Authorization", "Bearer secret")]
    urllib.request.install_opener(opener)
    try:
        assert api.translate("Good morning.", "en", "fr") == "Bonjour."
    finally:
        urllib.request.install_opener(urllib.request.build_opener())


# Label Studio.


def labelled(url: str, task: str, config: str, *rows: dict[str, Any]) -> Any:
    body = {"tasks": [{"id": number, "data": row} for number, row in enumerate(rows)], "label_config": config}
    answer = http.post(f"{url}/label-studio/{task}/predict", json={**body, "project": "1.2", "params": {"login": None}})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def test_label_studio_connects(url: str, locked: str) -> None:
    assert http.get(f"{url}/label-studio/sentiment/health").json() == {"status": "UP", "model_class": "sentiment"}
    setup = {"project": "1.2", "schema": CHOICES, "hostname": "http://label", "access_token": "t", "extra_params": ""}
    assert http.post(f"{url}/label-studio/sentiment/setup", json=setup).json() == {"model_version": "minilm@sentiment"}
    # Label Studio knows no keys but a name with a password.
    address = f"{locked}/label-studio/sentiment/setup"
    assert http.post(address, json=setup, auth=("anyone", "secret")).status_code == 200
    for password in ("wrong", ""):
        assert http.post(address, json=setup, auth=("secret", password)).status_code == 401
    assert http.post(address, json=setup, headers={"Authorization": "Basic =="}).status_code == 401


def test_label_studio_gets_choices_spans_and_texts(url: str) -> None:
    good, bad, none = labelled(url, "sentiment", CHOICES, {"review": "I love it."}, {"review": "Bad."}, {"review": ""})
    [region] = good["result"]
    score = region.pop("score")
    assert (good["score"], 0.9 < score < 1) == (score, True)
    assert region == {
        **{"id": "tone-0", "from_name": "tone", "to_name": "text", "type": "choices"},
        "value": {"choices": ["Positive"]},
    }
    assert bad["result"][0]["value"] == {"choices": ["neg"]}
    assert none == {"result": []}
    [spans] = labelled(url, "ner", SPANS, {"text": "💡 Ada Lovelace was in Oslo."})
    assert [one["value"] for one in spans["result"]] == [
        {"start": 2, "end": 14, "text": "Ada Lovelace", "labels": ["PER"]}
    ]
    [written] = labelled(url, "translation", AREA, {"text": "Good morning.", "target_language": "fr"})
    assert written["result"][0]["value"] == {"text": ["Bonjour."]}
    [answer] = labelled(url, "qa", AREA, {"text": "It takes two days.", "question": "How long?"})
    assert answer["result"][0]["value"] == {"text": ["two days."]}


@pytest.mark.parametrize(
    ("task", "config", "sentence"),
    [
        ("sentiment", SPANS, "label_config: expected <Choices> on a <Text> for the task sentiment, found <Labels>."),
        ("sentiment", CHOICES.replace("tive", ""), "expected values among negative, positive in <Choices>"),
        ("embedding", CHOICES, "expected a task with labels, spans or texts as answers, found one of vectors."),
        ("classify", '<View><Text name="t" value="$text"/><Choices name="c" toName="t" value="$list"/></View>',
         "label_config: expected values in <Choices>, found none."),
        ("sentiment", "<View>", "label_config: expected XML, found a fault: "),
        ("sentiment", '<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>', "characters at most without <!DOCTYPE>."),
        ("sentiment", "<a>" * 5_000 + "</a>" * 5_000, "label_config: expected <Choices> on a <Text> for the task"),
        ("sentiment", CHOICES.replace('value="$', 'valueType="url" value="$'), "expected texts in <Text name='text'>"),
        ("sentiment", "", "label_config: expected XML, found a fault: "),
    ],
)  # fmt: skip
def test_a_project_that_a_task_does_not_fit(url: str, task: str, config: str, sentence: str) -> None:
    body = {"tasks": [{"data": {"review": "a", "text": "a"}}], "label_config": config}
    answer = http.post(f"{url}/label-studio/{task}/predict", json=body)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]


def test_training_is_a_command(url: str) -> None:
    for path in ("train", "webhook"):
        answer = http.post(f"{url}/label-studio/sentiment/{path}", json={"action": "START_TRAINING"})
        assert answer.status_code == 501
        assert answer.json()["error"].endswith("then nlptasks train sentiment FILE.")


# All of them.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "path", ["tei/{}/predict", "tei/{}/info", "tei/{}", "label-studio/{}/predict", "label-studio/{}/health"]
)
def test_names_of_tasks_are_no_paths(url: str, path: str, name: str) -> None:
    for method in ("GET", "POST"):
        answer = http.request(
            method, f"{url}/{path.format(name)}", json={"inputs": "a", "tasks": [], "label_config": ""}
        )
        assert answer.status_code in (404, 405, 413, 422), answer.text
        assert answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        *(f"tei/{path}" for path in ("sentiment", "embedding", "sentiment/predict", "embedding/embed")),
        *("tei/similarity/similarity", "tei/rerank/rerank", "libretranslate/translate", "libretranslate/detect"),
        *("label-studio/sentiment/setup", "label-studio/sentiment/predict", "translate"),
    ],
)
def test_no_body_breaks_a_route(url: str, path: str) -> None:
    for content in [*HOSTILE, *(json.dumps(dict.fromkeys(FIELDS, value)).encode() for value in VALUES)]:
        answer = http.post(f"{url}/{path}", content=content, headers={"Content-Type": "application/json"})
        assert 400 <= answer.status_code < 500 or path.endswith("detect"), (content, answer.text)
        assert answer.status_code == 200 or isinstance(answer.json()["error"], str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
WORDS = ("text", "html", "auto", "en", "fr", CHOICES, SPANS, AREA, ["a", "b"], [{"data": {"text": "a", "review": "b"}}])
BODIES = st.dictionaries(
    st.sampled_from((*FIELDS, "format", "alternatives", "truncate", "normalize", "raw_scores", "return_text")),
    JSON | st.sampled_from(WORDS),
    max_size=6,
)
ROUTES = (
    *(f"/tei/{{}}{path}" for path in ("", "/predict", "/embed", "/similarity", "/rerank")),
    *(f"/label-studio/{{}}/{path}" for path in ("setup", "predict")),
    "/libretranslate/translate",
)


@given(st.data())
@examples(1500)
def test_no_body_makes_a_protocol_fail(url: str, engine: FakeEngine, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(ROUTES)).format(data.draw(st.sampled_from(sorted(engine.plugins.tasks))))
    body = data.draw(BODIES)
    answer = http.post(url + path, json=body)
    assert answer.status_code in (200, 400, 404, 413, 422, 424, 503), (path, body, answer.text)
    assert answer.status_code == 200 or isinstance(answer.json()["error"], str)


@pytest.mark.long
@pytest.mark.embedded
def test_real_weights_answer_as_the_engine_does(embedded_settings: Settings) -> None:
    with Engine(plugins=installed_plugins(), settings=embedded_settings) as engine, served(engine) as address:
        labels = InferenceClient(model=f"{address}/tei/sentiment").text_classification("I loved every minute.")
        assert [(one.label, one.score) for one in labels] == [
            (one.label, one.score) for one in engine.run("sentiment", "I loved every minute.").scores
        ]
        form = {"q": "The train is late.", "source": "en", "target": "fr"}
        text = http.post(f"{address}/libretranslate/translate", data=form).json()["translatedText"]
        translation = engine.run("translation", "The train is late.", source_language="en", target_language="fr")
        assert text == translation.translation
        [spans] = labelled(address, "ner", SPANS, {"text": "💡 Angela Merkel met Barack Obama in Berlin."})
        assert [one["value"]["text"] for one in spans["result"]] == ["Angela Merkel", "Barack Obama"]
