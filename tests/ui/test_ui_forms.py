"""Forms made of types, results as HTML, and requests written for other ways in."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from nlptasks import (
    Answer,
    AnswerSpan,
    Classification,
    Entities,
    Entity,
    Explanation,
    GeneratedText,
    InvalidInputError,
    LabelScore,
    Message,
    Plugins,
    Result,
    Summary,
    SummaryChunk,
    TaskInput,
    WordWeight,
    hookimpl,
)
from nlptasks.cli import cli
from nlptasks.families.label_names import LabelNames
from nlptasks.task import Task, TaskOptions
from nlptasks_plugins import Embedding, Ranking, ScoredText
from nlptasks_ui import forms, snippets, views
from nlptasks_ui.views.spans import Span, hue, marked
from tests.sample_tasks import TitleResult
from tests.ui_browser import FakeEngine, engine, installed_plugins, own_settings, served, url  # noqa: F401 - fixtures


class Everything(TaskInput):
    text: str = Field(description="The text to read.")
    question: str = Field(description="What to ask.")
    tall: str = Field(description="Anything.", json_schema_extra={"format": "long"})
    tongue: str = Field(default="en", description="Language.", examples=["en", "fr"])
    paper: Path | None = Field(default=None, description="A file.")
    tone: Literal["calm", "loud"] = Field(default="calm", description="Tone.")
    mode: str = Field(default="fast", pattern="^(fast|good)$", description="Mode.")
    sure: bool | None = Field(default=None, description="Sure or not.")
    quick: bool = Field(default=True, description="Quick.")
    count: int = Field(default=3, ge=1, le=9, description="How many.")
    share: float | None = Field(default=None, gt=0, lt=1, description="Share.")
    labels: tuple[str, ...] | None = Field(default=None, description="Which labels.")
    size: Literal["short", "long"] | int = Field(default="short", description="Size.")
    turns: tuple[Message, ...] = Field(default=(), description="Turns.")
    extra: dict[str, int] | None = Field(default=None, description="More.")


@pytest.fixture(scope="module")
def form() -> forms.Form:
    import gradio as gr

    with gr.Blocks():
        return forms.build(Everything, labels=("red", "blue"))


def by_name(form: forms.Form) -> dict[str, Any]:
    return {entry.name: entry.component for entry in form.entries}


def test_each_type_has_its_component(form: forms.Form) -> None:
    kinds = {name: type(component).__name__ for name, component in by_name(form).items()}
    assert kinds == {
        "text": "Textbox", "question": "Textbox", "tall": "Textbox", "tongue": "Dropdown", "paper": "File",
        "tone": "Radio", "mode": "Radio", "sure": "Radio", "quick": "Checkbox", "count": "Number", "share": "Textbox",
        "labels": "Dropdown", "size": "Dropdown", "turns": "Dataframe", "extra": "Textbox",
    }  # fmt: skip


def test_components_know_bounds_choices_and_help(form: forms.Form) -> None:
    found = by_name(form)
    assert (found["text"].lines, found["question"].lines, found["tall"].lines) == (6, 1, 6)
    assert found["text"].info == "The text to read."
    assert found["text"].label == "Text"
    assert (found["count"].value, found["count"].info) == (3, "How many. (at least 1, at most 9)")
    assert (found["share"].placeholder, found["share"].info) == ("unset", "Share. (greater than 0, less than 1)")
    assert [value for value, _ in found["labels"].choices] == ["red", "blue"]
    assert [value for value, _ in found["mode"].choices] == ["fast", "good"]
    assert [value for value, _ in found["sure"].choices] == [forms.UNSET, "yes", "no"]
    assert [value for value, _ in found["tongue"].choices] == ["en", "fr"]


def filled(form: forms.Form, **values: Any) -> list[Any]:
    shown = dict(zip(by_name(form), form.values({}), strict=True))
    return list((shown | values).values())


class Named(TaskOptions):
    kinds: LabelNames = Field(default=None, description="Kinds.", examples=["billing, bug"])
    drafts: tuple[str, ...] = Field(default=(), description="Drafts.", json_schema_extra={"format": "lines"})
    count: int = 3


def test_names_of_labels_stand_beside_the_input_and_are_written_as_they_are_read() -> None:
    task = Task.__new__(type("Sorting", (Task,), {"options_type": Named, "run": lambda *_: []}))
    names, others = forms.names_of(task), forms.options_of(task)
    assert [entry.name for entry in names.entries] == ["kinds"]
    assert [entry.name for entry in others.entries] == ["drafts", "count"]
    assert names.components[0].placeholder == "billing, bug"
    assert names.fields(["a: first\nb"]) == {"kinds": "a: first\nb"}
    assert names.fields([" "]) == {}
    assert names.values({"kinds": {"a": "first", "b": ""}}) == ["a: first\nb"]
    assert names.values({"kinds": ("a", "b")}) == ["a, b"]
    assert others.fields(["one\n\n two ", 3]) == {"drafts": ("one", "two")}
    assert others.values({"drafts": ("one", "two")})[0] == "one\ntwo"


def test_an_untouched_form_gives_no_fields(form: forms.Form) -> None:
    assert form.fields(filled(form)) == {}


def test_values_become_fields(form: forms.Form) -> None:
    values = filled(
        form, text="A b", tongue="fr", paper="/some/a.txt", tone="loud", sure="no", quick=False, count=5, share="0.5",
        labels=["red"], size="40", turns=[["user", "Hi"], ["", ""]], extra='{"a": 1}',
    )  # fmt: skip
    assert form.fields(values) == {
        "text": "A b", "tongue": "fr", "paper": Path("/some/a.txt"), "tone": "loud", "sure": False, "quick": False,
        "count": 5, "share": 0.5, "labels": ("red",), "size": 40, "turns": ({"role": "user", "content": "Hi"},),
        "extra": {"a": 1},
    }  # fmt: skip


def test_what_cannot_be_read_is_told_by_name(form: forms.Form) -> None:
    with pytest.raises(InvalidInputError, match="Extra: expected JSON, found an error on line 1") as caught:
        form.fields(filled(form, extra="{", share="half"))
    assert caught.value.problems[0] == "Share: expected a number, found 'half'."


def test_fields_come_back_into_the_form(form: forms.Form) -> None:
    fields = {
        "text": "A", "question": "B", "tall": "C", "tongue": "fr", "tone": "loud", "mode": "good", "sure": True,
        "quick": False, "count": 2, "share": 0.1, "labels": ("blue",), "size": 7,
        "turns": ({"role": "user", "content": "x"},), "extra": {"a": 2},
    }  # fmt: skip
    assert form.fields(form.values(fields)) == fields


@pytest.mark.long
def test_every_example_of_every_task_fills_its_form() -> None:
    import gradio as gr

    for task in installed_plugins().tasks.values():
        with gr.Blocks():
            own = forms.form_of(task)
        for example in task.examples:
            given = own.fields(own.values(task.as_fields(example)))
            assert task.validate([given]) == task.validate([example])


SCORES = (LabelScore(label="good", score=0.75), LabelScore(label="<b>bad</b>", score=0.25))


def test_labels_are_bars_and_every_text_is_escaped() -> None:
    shown = views.show(Classification(label="good", score=0.75, scores=SCORES, labels=("good",)), None)
    assert 'aria-valuenow="0.750"' in shown
    assert "width:75.0%" in shown
    assert "&lt;b&gt;bad&lt;/b&gt;" in shown
    assert "<b>bad" not in shown


def test_no_label_is_said() -> None:
    shown = views.show(Classification(label=None, score=0.75, scores=SCORES, labels=()), None)
    assert "undecided" in shown
    assert "No label reaches the threshold." in shown


def test_entities_stand_in_their_text_with_a_legend() -> None:
    text = "😀 <i>Ada</i> in Oslo"
    entities = tuple(
        Entity(label=label, text=word, start=text.index(word), end=text.index(word) + len(word), score=0.9)
        for label, word in (("PER", "Ada"), ("LOC", "Oslo"))
    )
    shown = views.show(Entities(entities=entities), {"text": text})
    assert "😀 &lt;i&gt;<mark" in shown
    assert f'style="--hue:{hue("PER")}"' in shown
    assert "PER 1" in shown
    assert "2 entities" in shown


def test_colours_of_types_stay_the_same() -> None:
    assert [hue(label) for label in ("PER", "ORG", "LOC")] == [212, 28, 145]
    assert hue("DOSAGE") == hue("DOSAGE")
    assert hue("DOSAGE") != hue("DRUG")


def test_overlapping_spans_keep_the_text_whole() -> None:
    shown = marked("abcdef", [Span(1, 4), Span(2, 5), Span(5, 6)])
    assert re.sub(r"<[^>]*>", "", shown) == "abcdef"


def test_an_answer_stands_in_its_context_and_is_scrolled_to() -> None:
    result = Answer(
        text="red", start=4, end=7, score=0.8, answerable=True, null_score=-1,
        alternatives=tuple(AnswerSpan(text=t, start=s, end=e, score=0.1) for t, s, e in (("red", 4, 7), ("is", 8, 10))),
    )  # fmt: skip
    shown = views.show(result, {"question": "What?", "context": "The red is deep"})
    assert '<mark class="nlp-span" data-scroll>red</mark>' in shown
    assert "Other candidates" in shown
    spans = tuple(
        AnswerSpan(text=t, start=s, end=e, score=p) for t, s, e, p in (("red", 4, 7, 0.006), ("is", 8, 10, 0.004))
    )
    none = Answer(text="", start=0, end=0, score=0.99, answerable=False, null_score=3, alternatives=spans)
    shown = views.show(none, {"question": "What?", "context": "The red is deep"})
    assert "No answer in the text" in shown
    # A candidate of 0 % is listed and not marked.
    assert re.findall(r"<mark[^>]*>([^<]*)", shown) == ["red"]
    assert "<li>is <span>0 %</span></li>" in shown


def test_chunks_of_a_summary_are_paired_with_their_text() -> None:
    chunks = (SummaryChunk(start=0, end=4, summary="First."), SummaryChunk(start=5, end=9, summary="Second."))
    shown = views.show(
        Summary(summary="Both.", chunks=chunks, note="a note"), Everything.model_construct(text="Aaaa Bbbb")
    )
    assert shown.count('data-pair="chunk-1"') == 2
    assert "A note." in shown
    assert "Summary: 1 word. Source: 2 words." in shown


def test_written_text_keeps_its_prompt_apart() -> None:
    shown = views.show(GeneratedText(text=" upon", prompt="Once", finish_reason="length"), None)
    assert '<span class="nlp-prompt">Once</span> upon' in shown
    assert "Stopped at the limit of new tokens." in shown


def test_a_translation_lights_up_by_sentence_and_says_its_doubts() -> None:
    plugins = installed_plugins()
    task = plugins.task("translation")
    segment = {
        "source": "Hi.",
        "start": 0,
        "end": 3,
        "text": "Salut.",
        "target_start": 0,
        "target_end": 6,
        "score": 0.1,
    }
    result = task.result_type(
        translation="Salut.", source_language="en", target_language="fr", segments=[{**segment, "doubt": "too <short>"}]
    )
    [inputs] = task.validate([{"text": "Hi.", "target_language": "fr"}])
    shown = views.show(result, inputs, plugins.views())
    assert shown.count('data-pair="0" class="nlp-doubt" title="Doubtful: too &lt;short&gt;"') == 2
    assert "<h4>English</h4>" in shown


class Nested(Result):
    title: str = Field(description="Title.")
    parts: dict[str, list[float]] = Field(description="Parts.")


def test_words_are_coloured_by_their_weight_and_escaped() -> None:
    words = (
        WordWeight(text="<b>", start=0, end=3, weight=-1.0),
        WordWeight(text="good", start=4, end=8, weight=2.0),
        WordWeight(text="so", start=9, end=11, weight=0.01),
    )
    result = Classification(
        label="glad",
        score=0.9,
        scores=(LabelScore(label="glad", score=0.9), LabelScore(label="sad", score=0.1)),
        labels=("glad",),
        explanations=(Explanation(target="glad", words=words), Explanation(target="sad", words=words)),
    )
    page = views.show(result, "<b> good so")
    assert page.count("<details") == 2
    assert page.count("<details open") == 1
    assert 'style="--hue:145;--share:1.00" title="+2.00">good</mark>' in page
    assert 'style="--hue:8;--share:0.50" title="-1.00">&lt;b&gt;</mark>' in page
    assert "</mark> so" in page


def test_lists_of_records_are_tables_and_long_vectors_are_cut() -> None:
    page = views.show(Ranking(ranking=(ScoredText(index=1, score=0.5, text="<i>"),)), {"query": "q"})
    assert '<th scope="col">Score</th>' in page
    assert "<td>&lt;i&gt;</td>" in page
    assert "384 numbers: 0.1, " in views.show(Embedding(vector=(0.1,) * 384), "x")


def test_any_other_result_is_shown_field_by_field() -> None:
    shown = views.show(Nested(title="<T>", parts={"a": [0.5, 1.0]}), None)
    assert "&lt;T&gt;" in shown
    assert "<li>0.5</li><li>1</li>" in shown
    assert "nlp-headline" in views.show(TitleResult(title="Rain"), None)


def test_facts_tell_what_matters() -> None:
    result = TitleResult(title="x", model="minilm", adapter="mine", truncated=True, windows=3, num_tokens=1200)
    shown = views.facts(result, 1.234)
    for fact in ("model minilm", "adapter mine", "3 windows", "part of the input was cut", "1,200 tokens", "1.23 s"):
        assert f">{fact}</span>" in shown


CASES = [
    ("sentiment", {"text": 'It\'s "great", I love it $HOME'}, {"threshold": 0.9}),
    ("qa", {"question": "How long?", "context": "It lasts two days at most"}, {"top_k": 2}),
    ("ner", {"text": "Ada Lovelace saw Oslo again"}, {"labels": ("PER",)}),
    ("generation", {"messages": ({"role": "user", "content": "Hi"},)}, {"max_new_tokens": 2}),
]


def request(engine: FakeEngine, name: str, fields: dict[str, Any], options: dict[str, Any]) -> snippets.Request:
    return snippets.Request(engine.plugins.task(name), fields, options, adapter="none")


@pytest.mark.parametrize(("name", "fields", "options"), CASES)
def test_the_python_runs(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, name: str, fields: Any, options: Any
) -> None:
    import nlptasks

    monkeypatch.setattr(nlptasks, "run", engine.run)
    names: dict[str, Any] = {}
    exec(snippets.python(request(engine, name, fields, options)), names)
    assert names["result"] == engine.run(name, fields, **options)


@pytest.mark.parametrize(("name", "fields", "options"), CASES)
def test_the_command_runs(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: Any, name: str, fields: Any, options: Any
) -> None:
    class Lent:
        def __init__(self, **_: Any) -> None: ...
        def __enter__(self) -> FakeEngine:
            return engine

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr("nlptasks.cli.run.Engine", Lent)
    words = shlex.split(snippets.command(request(engine, name, fields, options)))
    cli.main(words[1:], standalone_mode=False)
    said = json.loads(capsys.readouterr().out)
    assert said == engine.run(name, fields, **options).model_dump(mode="json")


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("curl"), reason="no curl on this machine")
@pytest.mark.parametrize(("name", "fields", "options"), CASES)
def test_the_curl_runs(engine: FakeEngine, url: str, name: str, fields: Any, options: Any) -> None:
    script = snippets.curl(request(engine, name, fields, options), url)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    last = done.stdout.strip().splitlines()[-2:]
    assert last[0] == "event: complete"
    [said] = json.loads(last[1].removeprefix("data: "))
    assert said == engine.run(name, fields, **options).model_dump(mode="json")


class Heard(Task[Everything, TaskOptions, TitleResult]):
    """A task of every type of field."""

    name = "heard"
    input_type = Everything
    result_type = TitleResult

    def run(self, inputs: Any, options: Any, model: Any) -> list[TitleResult]:
        return [TitleResult(title=item.text) for item in inputs]


def test_any_plugin_has_an_endpoint_with_json_types(tmp_path: Path) -> None:
    from nlptasks_ui.api import endpoint
    from nlptasks_ui.context import Context

    class Plugin:
        @hookimpl
        def register_tasks(self, register: Any) -> None:
            register(Heard())

    plugins = Plugins(own_settings(tmp_path))
    plugins.register(Plugin(), "heard")
    made = endpoint(Context(FakeEngine(own_settings(tmp_path), {}, plugins), tmp_path), Heard())
    kinds = made.__annotations__
    assert kinds["turns"] == list[dict]
    assert kinds["labels"] == list[str] | None
    assert kinds["size"] == Literal["short", "long"] | int
    assert "    count: How many. (at least 1, at most 9)" in (made.__doc__ or "")
    assert "    share: Share. (greater than 0, less than 1)" in (made.__doc__ or "")
