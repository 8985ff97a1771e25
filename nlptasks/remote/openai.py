"""A model of a server that speaks OpenAI's protocol: vLLM, llama-server, Ollama, SGLang, `transformers serve`, ours.

https://platform.openai.com/docs/api-reference describes its requests and answers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from nlptasks.errors import OverflowRefusedError, RemoteServerError, UnsupportedModelError, clip
from nlptasks.model import Completion, Decoding, Likelihoods, ModelInfo, Prompt, Stream, TextStream, Vector
from nlptasks.remote.model import RemoteModel
from nlptasks.remote.server import NO_ROUTE
from nlptasks.remote.waiting import Put, each

CHAT, COMPLETIONS, EMBEDDINGS = "/chat/completions", "/completions", "/embeddings"

DEFAULT_WINDOW = 4096
"""Tokens that a model reads, where its server does not say."""

_WINDOWS = ("max_model_len", "context_length", "max_context_length", "context_window")
"""Where servers write in `/v1/models` how much a model reads: vLLM and SGLang, then others."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "min_new_tokens": (0, None),
    "top_k": (0,),
    "repetition_penalty": (1.0, None),
    "no_repeat_ngram_size": (0, None),
    "num_beams": (1, None),
    "early_stopping": (False, None),
}
"""Settings that the protocol has no parameter for, with the values that ask for nothing."""

AS_MESSAGE = "the server continues no text: the prompt was sent as a user's message"


class OpenAIModel(RemoteModel):
    """Writes, embeds and, where the server gives log-probabilities, chooses.

    Each text is a request, so that counts are exact and one that fails stops no other.
    """

    @property
    def info(self) -> ModelInfo:
        """Causal, with a chat template; its window is that of `/v1/models`, or else `DEFAULT_WINDOW`."""
        if self._server.windows is None:

            async def ask(_: Put) -> list[Any]:
                return [await self._server.get("/models")]

            [page] = self._all(ask, 0)
            self._server.windows = _windows(page)
        return ModelInfo(
            name=self._address.base,
            kind="causal",
            max_tokens=self._server.windows.get(self._address.name, DEFAULT_WINDOW),
            has_chat_template=True,
            has_offsets=False,
        )

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        async def one(text: str) -> Vector:
            body = {"model": self._address.name, "input": text, "encoding_format": "float"}
            return await self._server.post(EMBEDDINGS, body, _vector)

        return self._all(lambda put: each([one(text) for text in texts], put), len(texts))

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Completion]:
        self._check(decoding)

        async def one(prompt: Prompt) -> Completion:
            async def send(path: str, body: Any) -> Completion:
                return await self._server.post(path, body, lambda value: _completion(value, path))

            return await self._write(prompt, decoding, send)

        return self._all(lambda put: each([one(prompt) for prompt in prompts], put), len(prompts))

    def stream(self, prompt: Prompt, decoding: Decoding) -> TextStream:
        self._check(decoding)

        async def write(put: Put) -> Completion:
            async def send(path: str, body: Any) -> Completion:
                events = _Events(path)
                body |= {"stream": True, "stream_options": {"include_usage": True}}
                await self._server.stream(path, body, events, put)
                return events.completion()

            return await self._write(prompt, decoding, send)

        return Stream(self._call(self._cancel, write), self._cancel)

    async def _write(
        self, prompt: Prompt, decoding: Decoding, send: Callable[[str, Any], Awaitable[Completion]]
    ) -> Completion:
        """What `send` gets for a request; a plain prompt is a message where the server continues no text."""
        plain = isinstance(prompt, str) and COMPLETIONS not in self._server.lacks
        path = COMPLETIONS if plain else CHAT
        try:
            answer = await send(path, self._body(prompt, path, decoding))
        except RemoteServerError as error:
            if path == CHAT or error.status not in NO_ROUTE:
                raise
            # If it is the model that is missing, the chat says so too.
            path = CHAT
            answer = await send(path, self._body(prompt, path, decoding))
            self._server.lacks.add(COMPLETIONS)
        if answer.truncated and not decoding.truncate_prompt:
            raise OverflowRefusedError(f"The prompt is too long for {self._server.host}, which cut it: shorten it.")
        return self._noted(answer, prompt, path, decoding)

    def choose(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[tuple[float, ...]]:
        """Log-likelihoods by `echo` of `/v1/completions`: the server reads the choice as a part of the prompt.

        Raises:
            UnsupportedModelError: the server gives no log-probabilities of a prompt's tokens, or a prompt is a chat.
        """
        if not all(isinstance(prompt, str) for prompt in prompts):
            raise UnsupportedModelError(
                "Expected plain prompts to choose after, found a chat, whose template only the server knows."
            )

        async def one(prompt: str, choice: str) -> tuple[float, int]:
            body = {"model": self._address.name, "prompt": f"{prompt}{choice}", "echo": True, "logprobs": 1}
            # Some servers read 0 as "no limit".
            body |= {"max_tokens": 1, "temperature": 0}
            try:
                return await self._server.post(COMPLETIONS, body, lambda value: _likelihood(value, prompt, choice))
            except RemoteServerError as error:
                is_model = re.search(rf"(?<!\w){re.escape(self._address.name)}(?!\w)", str(error))
                if error.status in NO_ROUTE and not is_model:
                    raise self._no_likelihoods() from error
                raise

        async def all_of(put: Put) -> list[tuple[float, ...]]:
            # The first shows whether the server can do it, before hundreds are sent.
            pairs = [(prompt, choice) for prompt in prompts for choice in choices]
            first = await one(*pairs[0]) if pairs else None  # type: ignore[arg-type]
            if first and math.isnan(first[0]):
                raise self._no_likelihoods()
            rest = await each([one(*pair) for pair in pairs[1:]], lambda _: None)  # type: ignore[arg-type]
            values = iter([first, *rest])
            answers: list[tuple[float, ...]] = []
            for _ in prompts:
                scored = [value for value in (next(values) for _ in choices) if value]
                answer = Likelihoods(value for value, _ in scored)
                answer.num_tokens = min((count for _, count in scored), default=0)
                answers.append(answer)
                put(1)
            return answers

        answers = self._all(all_of, len(prompts))
        if any(math.isnan(value) for answer in answers for value in answer):
            raise self._no_likelihoods()
        return answers

    def _no_likelihoods(self) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"{self._server.host} does not say how likely each token of a prompt is (echo and logprobs of "
            "/v1/completions), which a choice between labels needs: use a server that does, such as vLLM, or a base of "
            "this machine."
        )

    def _body(self, prompt: Prompt, path: str, decoding: Decoding) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._address.name, "temperature": 0}
        if path == COMPLETIONS:
            body["prompt"] = prompt
        elif isinstance(prompt, str):
            body["messages"] = [{"role": "user", "content": prompt}]
        else:
            body["messages"] = [{"role": turn.role, "content": turn.content} for turn in prompt]
        # OpenAI's newer models refuse the old name, most other servers know no other.
        body["max_completion_tokens" if self._address.is_openai and path == CHAT else "max_tokens"] = (
            decoding.max_new_tokens
        )
        if decoding.do_sample:
            body["temperature"] = decoding.temperature
            if decoding.top_p != 1:
                body["top_p"] = decoding.top_p
        if decoding.stop:
            body["stop"] = list(decoding.stop)
        if decoding.seed is not None:
            body["seed"] = decoding.seed
        if decoding.logprobs:
            body["logprobs"] = 1 if path == COMPLETIONS else True
        return body

    def _check(self, decoding: Decoding) -> None:
        if decoding.num_return_sequences > 1:
            raise UnsupportedModelError(
                f"Expected one text for each prompt, found {decoding.num_return_sequences}: several need beam search, "
                f"which OpenAI's protocol does not have. Ask {self._server.host} for one."
            )

    def _noted(self, answer: Completion, prompt: Prompt, path: str, decoding: Decoding) -> Completion:
        """The answer with what the server could not take."""
        dropped = [name for name, neutral in _NEUTRAL.items() if getattr(decoding, name) not in neutral]
        if not decoding.do_sample and "top_k" in dropped:
            dropped.remove("top_k")
        notes = [answer.note] if answer.note else []
        notes += [f"not sent, for the server takes none: {', '.join(dropped)}"] if dropped else []
        if isinstance(prompt, str) and path == CHAT:
            notes.append(AS_MESSAGE)
        if decoding.logprobs and not answer.tokens and answer.text:
            notes.append("the server gave no log-probabilities")
        return replace(answer, note="; ".join(notes) or None)


class _Events:
    """The events of one answer."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.clear()

    def clear(self) -> None:
        """Forget what was read."""
        self._texts: list[str] = []
        self._tokens: list[tuple[str, float]] = []
        self._finish: str | None = None
        self._whole: dict[str, Any] = {}

    def read(self, value: Any) -> str | None:
        """The text of an event, None if it has none."""
        if value.get("usage"):
            self._whole |= {"usage": value["usage"], "truncated": value.get("truncated")}
        if not (choices := value.get("choices")):
            return None
        [choice] = choices
        self._finish = choice.get("finish_reason") or self._finish
        self._tokens += _tokens(choice.get("logprobs"))
        text = choice["text"] if self._path == COMPLETIONS else (choice.get("delta") or {}).get("content")
        if not isinstance(text, str | None):
            raise TypeError(f"text is {type(text).__name__}")
        self._texts += [text] if text else []
        return text

    @property
    def is_whole(self) -> bool:
        """Whether the model has ended its text."""
        return self._finish is not None

    def completion(self) -> Completion:
        """The whole."""
        return _made("".join(self._texts), self._finish, self._tokens, self._whole)


def _windows(page: Any) -> dict[str, int]:
    """The tokens that each model of a `/v1/models` page reads."""
    windows = {}
    models = page.get("data") if isinstance(page, dict) else None
    for model in models if isinstance(models, list) else ():
        if not isinstance(model, dict):
            continue
        meta = model["meta"] if isinstance(model.get("meta"), dict) else {}
        values = [*(model.get(name) for name in _WINDOWS), meta.get("n_ctx"), meta.get("n_ctx_train")]
        size = next((value for value in values if isinstance(value, int) and value > 0), None)
        if size:
            windows[str(model.get("id"))] = size
    return windows


def _completion(value: Any, path: str) -> Completion:
    choice = value["choices"][0]
    text = choice["text"] if path == COMPLETIONS else choice["message"]["content"]
    if not isinstance(text, str | None):
        raise TypeError(f"text is {type(text).__name__}")
    # A model that thinks may have used up its tokens before the first word of an answer.
    return _made(text or "", choice.get("finish_reason"), _tokens(choice.get("logprobs")), value)


def _made(text: str, finish: str | None, tokens: Sequence[tuple[str, float]], value: Mapping[str, Any]) -> Completion:
    return Completion(
        text=text,
        finish_reason="length" if finish == "length" else "stop",
        num_prompt_tokens=_count(value, "prompt_tokens"),
        num_generated_tokens=_count(value, "completion_tokens") or len(tokens),
        logprobs=tuple(value for _, value in tokens),
        tokens=tuple(token for token, _ in tokens),
        truncated=value.get("truncated") is True,
        note=None if finish in ("stop", "length", None) else f"the server ended the text: {clip(str(finish))}",
    )


def _count(value: Mapping[str, Any], name: str) -> int:
    """A number of an answer's `usage`; 0 if the server gives none."""
    usage = value.get("usage")
    number = usage.get(name) if isinstance(usage, dict) else None
    return number if isinstance(number, int) and number > 0 else 0


def _tokens(logprobs: Any) -> list[tuple[str, float]]:
    """Tokens with their log-probabilities, in the shape of chats or in that of completions."""
    if not logprobs:
        return []
    if "content" in logprobs:
        return [(str(one["token"]), float(one["logprob"])) for one in logprobs["content"] or ()]
    pairs = zip(logprobs.get("tokens") or (), logprobs.get("token_logprobs") or (), strict=True)
    return [(str(token), float(value)) for token, value in pairs]


def _vector(value: Any) -> Vector:
    numbers = [float(number) for number in value["data"][0]["embedding"]]
    length = math.sqrt(sum(number * number for number in numbers))
    if not 0 < length < math.inf:
        raise ValueError("no direction")
    return Vector(
        tuple(number / length for number in numbers),
        num_tokens=_count(value, "prompt_tokens"),
        truncated=value.get("truncated") is True,
    )


def _likelihood(value: Any, prompt: str, choice: str) -> tuple[float, int]:
    """The log-likelihood of a choice after a prompt, and the prompt's tokens; not a number if the server gives none.

    A token that begins in the prompt and ends in the choice belongs to the choice.
    """
    answer = value["choices"][0]
    logprobs = answer.get("logprobs") or {}
    tokens, values = list(logprobs.get("tokens") or ()), list(logprobs.get("token_logprobs") or ())
    starts = _starts(tokens, list(logprobs.get("text_offset") or ()), f"{prompt}{choice}")
    end = len(prompt) + len(choice)
    # llama-cpp-python gives each token the value of the next place, and the new one none, where a model has no BOS.
    shifted = bool(starts) and len(answer["text"]) > end and starts[-1] < end
    if not starts or shifted or len(values) != len(starts):
        return math.nan, 0
    total, count, chosen = 0.0, 0, 0
    for start, stop, number in zip(starts, [*starts[1:], math.inf], values, strict=True):
        if stop <= len(prompt):
            count += 1
        elif start < end:
            total += math.nan if number is None else float(number)
            chosen += 1
    return (total, count) if chosen else (math.nan, 0)


def _starts(tokens: Sequence[str], offsets: Sequence[int], text: str) -> list[int]:
    """Where each token begins in the text, special tokens before it below 0; empty if the tokens are of another text.

    vLLM counts a BOS as characters of the text, SGLang counts nothing: so the tokens decide, unless a character is
    spread over several.
    """
    at = "".join(tokens).find(text)
    if at >= 0:
        return [start - at for start in accumulate((len(token) for token in tokens[:-1]), initial=0)]
    return list(offsets) if offsets and offsets[0] == 0 and len(offsets) == len(tokens) else []
