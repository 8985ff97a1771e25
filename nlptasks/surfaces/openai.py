"""OpenAI's requests and answers, in the shapes of its API reference: chat completions, embeddings, errors."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nlptasks import GeneratedText, UnknownNameError

if TYPE_CHECKING:
    from nlptasks import Vector


class _Body(BaseModel):
    """A request's body; a parameter that is not served is refused, for the answer would not be the one it asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1)
    user: str | None = None
    metadata: dict[str, str] | None = None


def _text(content: Any) -> Any:
    """A message's content as a text; parts of the type `text` are joined."""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    return content


class ChatMessage(BaseModel):
    """One turn of a chat; `developer` is another name of `system`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text)]
    name: str | None = None


class ChatRequest(_Body):
    """The body of a request to `/v1/chat/completions`."""

    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: str | tuple[str, ...] | None = None
    seed: int | None = Field(default=None, ge=0)
    n: Literal[1] | None = None
    logprobs: bool | None = None
    top_logprobs: Literal[0] | None = None
    stream: Literal[False] | None = None

    @property
    def turns(self) -> list[dict[str, str]]:
        """The messages as a chat task takes them."""
        roles = {"developer": "system"}
        return [{"role": roles.get(turn.role, turn.role), "content": turn.content} for turn in self.messages]

    @property
    def options(self) -> dict[str, Any]:
        """The parameters as options of a task that writes text; one that is not set keeps the task's default."""
        names = ("temperature", "top_p", "stop", "seed", "logprobs")
        values = {name: getattr(self, name) for name in names}
        values["max_new_tokens"] = self.max_completion_tokens or self.max_tokens
        return {name: value for name, value in values.items() if value is not None and value is not False}


_Visible = Annotated[str, Field(pattern=r"\S")]


class EmbeddingRequest(_Body):
    """The body of a request to `/v1/embeddings`."""

    input: _Visible | Annotated[tuple[_Visible, ...], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] = "float"

    @property
    def texts(self) -> list[str]:
        """The texts to embed."""
        return [self.input] if isinstance(self.input, str) else list(self.input)


def chat_body(
    request: ChatRequest, results: Sequence[GeneratedText], name: str = "", created: int = 0
) -> dict[str, Any]:
    """The answer to a chat, with a choice for each result; `name` is unique, `created` in seconds since 1970."""
    return {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": created,
        "model": request.model,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": result.text, "refusal": None},
                "logprobs": chat_logprobs(result),
                "finish_reason": result.finish_reason,
            }
            for index, result in enumerate(results)
        ],
        "usage": chat_usage(results),
        **truncation(results),
    }


def truncation(results: Sequence[GeneratedText] | Sequence[Vector]) -> dict[str, bool]:
    """`truncated`, which OpenAI's answers do not have, where a part of a text was not read."""
    return {"truncated": True} if any(result.truncated for result in results) else {}


def chat_usage(results: Sequence[GeneratedText]) -> dict[str, int]:
    """The tokens of a prompt, which is read once, and of all its answers."""
    prompt, written = results[0].num_tokens, sum(result.num_generated_tokens for result in results)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def chat_logprobs(result: GeneratedText) -> dict[str, Any] | None:
    """The tokens of an answer with their log-probabilities; None without the option `logprobs`."""
    if result.logprobs is None:
        return None
    content = [
        {
            "token": one.token,
            "logprob": one.logprob,
            "bytes": None if "\ufffd" in one.token else list(one.token.encode()),
            "top_logprobs": [],
        }
        for one in result.logprobs
    ]
    return {"content": content, "refusal": None}


def embedding_body(request: EmbeddingRequest, vectors: Sequence[Vector]) -> dict[str, Any]:
    """The answer to a request for embeddings; base64 is of 32-bit floats, lowest byte first, as the clients read it."""
    tokens = sum(vector.num_tokens for vector in vectors)
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector.values, request.encoding_format)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": request.model, "usage": usage, **truncation(vectors)}


def _encoded(values: Sequence[float], encoding: str) -> list[float] | str:
    if encoding == "float":
        return list(values)
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def error_body(message: str, error: BaseException | None = None) -> tuple[int, dict[str, Any]]:
    """The status and the body of a request that has no answer."""
    unknown = isinstance(error, UnknownNameError)
    code = "model_not_found" if unknown else None
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return 404 if unknown else 400, {"error": body}
