"""Label Studio's ML backend for each task: `/TASK/health`, `/setup`, `/predict`. Training is left to `nlptasks train`.

A prediction fills the first control of the project's labeling configuration that fits the task: Choices for labels of
a text, Labels for spans, TextArea for what is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.requests import Request

from nlptasks import Answer, AnyTask, Classification, Engine, Entities, Result
from nlptasks.serve import Fault, answer_faults, read_as, run_task, state_of

MOST_CHARACTERS = 100_000
"""Length of a labeling configuration."""

CONTROLS = {"Choices": "Choice", "Labels": "Label", "TextArea": ""}
"""Controls that predictions fill, and the elements that hold their values."""


class SetupRequest(BaseModel):
    """A project's configuration. What else Label Studio sends, such as a token, is not looked at."""

    schema_: str = Field(alias="schema")


class LabelingTask(BaseModel):
    """A text to label, by the fields of its row."""

    data: dict[str, Any]


class PredictRequest(BaseModel):
    """Texts to label, and the project's configuration."""

    tasks: list[LabelingTask]
    label_config: str


@dataclass(frozen=True)
class Control:
    """A control, the element that it labels, the field of its text, and its values by their names in lower case."""

    tag: str
    name: str
    to_name: str
    field: str
    values: Mapping[str, str]
    several: bool

    def value(self, label: str | None) -> str | None:
        """The value that a task's label means."""
        return self.values.get((label or "").casefold())

    def region(self, value: dict[str, Any], score: float | None = None) -> dict[str, Any]:
        """A result in Label Studio's form."""
        names = {"from_name": self.name, "to_name": self.to_name, "type": self.tag.lower()}
        return {**names, "value": value, **({} if score is None else {"score": score})}


def add_routes(app: FastAPI, engine: Engine) -> None:
    """Add the routes of all tasks."""
    answer_faults(app, lambda fault: {"error": str(fault)})

    @app.get("/{task}/health")
    @app.get("/{task}", include_in_schema=False)
    async def health(task: str, request: Request) -> dict[str, str]:
        """Whether there is such a task."""
        return {"status": "UP", "model_class": state_of(request).names.resolve(task).task.name}

    @app.post("/{task}/setup")
    async def setup(task: str, request: Request) -> dict[str, str]:
        """Whether the task fits the project, and which model answers."""
        chosen, adapter = state_of(request).names.resolve(task)
        body = await read_as(SetupRequest, request, state_of(request).settings)
        folder, base = engine.choose(chosen, adapter, None)
        control_of(chosen, _labels(chosen, folder), body.schema_)
        return {"model_version": f"{base}@{folder.name}" if folder else base}

    @app.post("/{task}/predict")
    async def predict(task: str, request: Request) -> dict[str, Any]:
        """Predictions for texts; a text that is missing or blank has none."""
        chosen, adapter = state_of(request).names.resolve(task)
        body = await read_as(PredictRequest, request, state_of(request).settings)
        labels = _labels(chosen, engine.choose(chosen, adapter, None)[0])
        control = control_of(chosen, labels, body.label_config)
        inputs = [_input(chosen, one.data, control) for one in body.tasks]
        options: dict[str, Any] = {}
        if chosen.open_labels and not labels:
            options = {"labels": list(control.values.values()), **({"multi_label": True} if control.several else {})}
        readable = [one for one in inputs if one]
        results = iter(await run_task(request, chosen, readable, options, adapter=adapter) if readable else [])
        return {"results": [_prediction(control, next(results) if one else None) for one in inputs]}

    @app.post("/{task}/train")
    @app.post("/{task}/webhook", include_in_schema=False)
    async def train(task: str, request: Request) -> None:
        """Refused: training is a command."""
        name = state_of(request).names.resolve(task).task.name
        raise Fault(501, f"Training is a command here: export the project as JSON, then nlptasks train {name} FILE.")


def control_of(task: AnyTask, labels: Sequence[str], config: str) -> Control:
    """The control that the predictions of a task with these labels fill; a task without any takes the control's.

    Raises:
        Fault: 422 for a configuration that cannot be read, and one without such a control.
    """
    if len(config) > MOST_CHARACTERS or "<!" in config.replace("<!--", ""):
        # Entities can be expanded to any size.
        raise Fault(422, f"label_config: expected XML of {MOST_CHARACTERS:,} characters at most without <!DOCTYPE>.")
    try:
        root = ElementTree.fromstring(config)
    except ElementTree.ParseError as error:
        raise Fault(422, f"label_config: expected XML, found a fault: {error}.") from None
    controls = list(_controls(root))
    tags = _tags(task)
    control = next((one for tag in tags for one in controls if one.tag == tag), None)
    if control is None:
        names = ", ".join(f"<{one.tag}>" for one in controls) or "none"
        raise Fault(422, f"label_config: expected <{tags[0]}> on a <Text> for the task {task.name}, found {names}.")
    if control.tag != "TextArea" and not any(map(control.value, labels or control.values)):
        expected = f"values among {', '.join(labels)}" if labels else "values"
        listed = ", ".join(control.values.values()) or "none"
        raise Fault(422, f"label_config: expected {expected} in <{control.tag}>, found {listed}.")
    return control


def _labels(task: AnyTask, adapter: Any) -> tuple[str, ...]:
    """The labels of the adapter that answers, or else of the task; without the prefixes that a tagger's have."""
    labels = adapter and adapter.labels
    if not labels and not task.open_labels:
        labels = getattr(task, "labels", None)
    names = [one.removeprefix("B-").removeprefix("I-") for one in labels or () if one != "O"]
    return tuple(dict.fromkeys(names))


def _controls(root: ElementTree.Element) -> Iterator[Control]:
    texts = {one.get("name", ""): one for one in root.iter("Text")}
    for element in root.iter():
        to_name = element.get("toName", "").partition(",")[0]
        text = texts.get(to_name)
        if element.tag not in CONTROLS or text is None:
            continue
        if text.get("valueType") == "url":
            raise Fault(422, f"label_config: expected texts in <Text name={to_name!r}>, found addresses of them.")
        values = {
            name.casefold(): one.get("alias") or name
            for one in element.iter(CONTROLS[element.tag] or "-")
            if (name := one.get("value", ""))
        }
        several = element.get("choice", "").startswith("multiple")
        field = text.get("value", "").removeprefix("$")
        yield Control(element.tag, element.get("name", ""), to_name, field, values, several)


def _tags(task: AnyTask) -> tuple[str, ...]:
    """The controls that fit a task's results, the best first."""
    if issubclass(task.result_type, Classification):
        return ("Choices",)
    if issubclass(task.result_type, Entities):
        return ("Labels",)
    if issubclass(task.result_type, Answer):
        return ("Labels", "TextArea")
    if task.family == "vectors":
        raise Fault(422, f"{task.name}: expected a task with labels, spans or texts as answers, found one of vectors.")
    return ("TextArea",)


def _input(task: AnyTask, data: Mapping[str, Any], control: Control) -> dict[str, str] | None:
    """The row's fields that the task has, and the labelled text as the first that is missing; None without one."""
    text = data.get(control.field)
    if not isinstance(text, str) or not text.strip():
        return None
    fields = {name: value for name in task.input_type.model_fields if isinstance(value := data.get(name), str)}
    needed = [name for name, info in task.input_type.model_fields.items() if info.is_required()] or ["text"]
    missing = next((name for name in needed if name not in fields), needed[0])
    return {**fields, missing: text}


def _prediction(control: Control, result: Result | None) -> dict[str, Any]:
    regions = list(_regions(control, result)) if result else []
    scores = [one["score"] for one in regions if "score" in one]
    prediction = {"result": [{"id": f"{control.name}-{number}", **one} for number, one in enumerate(regions)]}
    return {**prediction, "score": min(scores)} if scores else prediction


def _regions(control: Control, result: Result) -> Iterator[dict[str, Any]]:
    """What the control has of an answer; labels that are not among its values are left out."""
    if isinstance(result, Classification):
        labels = result.labels if control.several else [result.label]
        values = [value for label in labels if (value := control.value(label))]
        if values:
            yield control.region({"choices": values}, result.score)
    elif isinstance(result, Entities):
        for one in result.entities:
            if value := control.value(one.label):
                yield control.region(_span(one, value), one.score)
    elif isinstance(result, Answer) and control.tag == "Labels":
        if result.answerable and control.values:
            yield control.region(_span(result, next(iter(control.values.values()))), result.score)
    else:
        field = result.main_field or "text"
        yield control.region({"text": [getattr(result, field)]})


def _span(span: Any, label: str) -> dict[str, Any]:
    # Label Studio counts code points too.
    return {"start": span.start, "end": span.end, "text": span.text, "labels": [label]}
