"""LibreTranslate's routes over the task `translation`: `/translate`, `/detect`, `/languages`."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from nlptasks import CancelToken, Engine, ModelInfo
from nlptasks.serve import answer_faults, read_fields, run_task, state_of, to_model
from nlptasks_plugins import languages
from nlptasks_plugins.translation.results import Translation

AUTO = "auto"
"""The source of which LibreTranslate detects the language."""

TASK = "translation"


class DetectRequest(BaseModel):
    """A text or a list; the key is in the header, and what clients have of it in the body is not looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    q: str | list[str]
    api_key: str | None = None
    secret: str | None = None


class TranslateRequest(DetectRequest):
    """What to translate, as a form or as JSON."""

    source: str
    target: str
    format: Literal["text", "html", "", None] = None
    alternatives: int = Field(default=0, ge=0, le=8)


def add_routes(app: FastAPI, engine: Engine) -> None:
    """Add the routes."""
    answer_faults(app, lambda fault: {"error": str(fault)}, {422: 400})

    @app.post("/translate")
    async def translate(request: Request) -> dict[str, Any]:
        """Translate a text, or each text of a list."""
        state = state_of(request)
        body = to_model(TranslateRequest, await read_fields(request, state.settings))
        texts = [body.q] if isinstance(body.q, str) else body.q
        pair = {"source_language": body.source, "target_language": body.target}
        # Blank lines of a list stay as they are.
        inputs = [{"text": text, **pair} for text in texts if text.strip() or isinstance(body.q, str)]
        options = {"format": body.format or "text", "alternatives": body.alternatives}
        task = state.names.task(TASK)
        results = iter(await run_task(request, task, inputs, options) if inputs or not texts else [])
        answers = [_answer(body, next(results) if text.strip() else text) for text in texts]
        return answers[0] if isinstance(body.q, str) else {name: [one[name] for one in answers] for name in answers[0]}

    @app.post("/detect")
    async def detect(request: Request) -> list[dict[str, Any]]:
        """The language of a text, `und` if it is not certain, and a confidence from 0 to 100."""
        state = state_of(request)
        q = to_model(DetectRequest, await read_fields(request, state.settings)).q
        text = q if isinstance(q, str) else "\n".join(q)
        language = await state.computing.run(request, lambda _: languages.detect(text))
        return [_detected(language.tag, language.confidence)]

    @app.get("/languages")
    async def known(request: Request) -> list[dict[str, Any]]:
        """The languages of the model, each with those that it can be translated to."""
        state = state_of(request)

        def info(cancel: CancelToken) -> ModelInfo:
            with engine.bind(state.names.task(TASK), cancel=cancel) as model:
                return model.info

        model = await state.computing.run(request, info)
        codes = model.languages or model.direction or tuple(languages.NAMES)
        sources = codes[:1] if model.direction and not model.languages else codes
        return [
            {"code": code, "name": languages.name(code), "targets": [other for other in codes if other != code]}
            for code in sources
        ]


def _answer(body: TranslateRequest, result: Any) -> dict[str, Any]:
    """The answer to one text; `result` is a blank text itself."""
    read = isinstance(result, Translation)
    answer: dict[str, Any] = {"translatedText": result.translation if read else result}
    if body.source == AUTO:
        language = (result.source_language, result.confidence) if read else (languages.UNDETERMINED, 0.0)
        answer["detectedLanguage"] = _detected(*language)
    if body.alternatives:
        others = [_alternative(result, number) for number in range(body.alternatives)] if read else []
        answer["alternatives"] = list(dict.fromkeys(one for one in others if one != answer["translatedText"]))
    return answer


def _alternative(result: Translation, number: int) -> str:
    """The text with each sentence's alternative of this number, or its translation where there are fewer."""
    parts, last = [], 0
    for one in result.segments:
        other = one.alternatives[number] if number < len(one.alternatives) else one.text
        parts += [result.translation[last : one.target_start], other]
        last = one.target_end
    return "".join([*parts, result.translation[last:]])


def _detected(tag: str, confidence: float) -> dict[str, Any]:
    return {"confidence": round(100 * confidence, 1), "language": tag}
