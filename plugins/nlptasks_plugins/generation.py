"""Text generation: a prompt is continued, a chat is answered."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

import nlptasks
from nlptasks import (
    Completion,
    GeneratedText,
    Message,
    Model,
    Prompt,
    Recipe,
    SequenceInput,
    TextToText,
    TokenLogprob,
    TrainingExample,
    hookimpl,
)
from nlptasks_plugins import conversations
from nlptasks_plugins.english import noted

_TURN = Message.model_fields.keys()
_EMPTY = "nothing was written: a plain prompt is continued, and this one seems complete; the option chat answers it"


class GenerationInput(SequenceInput):
    """Plain text to continue, or a chat to answer."""

    prompt: str | None = Field(default=None, description="Text to continue, exactly as written.")
    messages: tuple[Message, ...] | None = Field(
        default=None,
        min_length=1,
        description="A chat to answer: turns with role (system, user, assistant) and content.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> GenerationInput:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("expected either prompt or messages, not both and not neither")
        return self


class GenerationOptions(nlptasks.GenerationOptions):
    """How to write."""

    chat: bool = Field(default=False, description="Treat a plain prompt as a user's message and answer it.")
    system: str | None = Field(default=None, description="A system message; it precedes a chat's own.")
    # Greedy decoding of a small model falls into loops without it.
    repetition_penalty: float = Field(default=1.1, ge=0.01, le=5, description="Above 1 discourages repetition.")
    logprobs: bool = Field(default=False, description="Say how likely each token was.")


class Generation(TextToText[GenerationInput, GenerationOptions, GeneratedText]):
    """Continue a text or answer a chat."""

    name = "generation"
    aliases = ("text-generation", "text2text-generation")
    input_type = GenerationInput
    options_type = GenerationOptions
    result_type = GeneratedText
    hub_base = "HuggingFaceTB/SmolLM2-360M-Instruct"
    recipe = Recipe(
        base="smollm2",
        learning_rate=3e-4,
        num_train_epochs=2,
        per_device_train_batch_size=8,
        max_length=512,
        min_steps=30,
        metric_for_best_model="loss",
    )
    examples = (
        {"messages": [{"role": "user", "content": "Name three things to pack for a rainy hike."}]},
        "Once upon a time, in a lighthouse at the end of the world,",
    )
    phrases = (
        "Write a story.",
        "Explain this to me.",
        "Give me some ideas.",
        "Tell me more about it.",
        "How do I do this?",
        "Help me with this problem.",
        "Write an email about it.",
        "What do you think of this?",
        "Continue this text.",
        "Thank you, that was helpful.",
    )

    def run(self, inputs: Sequence[GenerationInput], options: GenerationOptions, model: Model) -> list[GeneratedText]:
        results = super().run([_as_chat(item, options) for item in inputs], options, model)
        return noted(results, [_request(item) for item in inputs], model, "prompt")

    def stream(
        self, inputs: GenerationInput, options: GenerationOptions, model: Model
    ) -> Generator[str, None, GeneratedText]:
        text = yield from super().stream(_as_chat(inputs, options), options, model)
        return noted([text], [_request(inputs)], model, "prompt")[0]

    def prompt(self, inputs: GenerationInput, options: GenerationOptions) -> Prompt:
        inputs = _as_chat(inputs, options)
        if inputs.messages is None:
            return inputs.prompt or ""
        turns = list(inputs.messages)
        if options.system:
            # Most templates take one system message, the first.
            content = [options.system, *(turn.content for turn in turns[:1] if turn.role == "system")]
            turns[: len(content) - 1] = [Message(role="system", content="\n\n".join(content))]
        return turns

    def parse(self, inputs: GenerationInput, completion: str) -> GeneratedText:
        messages = None
        if inputs.messages is not None:
            messages = (*inputs.messages, Message(role="assistant", content=completion))
        return GeneratedText(text=completion, finish_reason="stop", prompt=inputs.prompt, messages=messages)

    def target(self, result: GeneratedText) -> str:
        return result.text

    def training_examples(
        self, row: Mapping[str, Any], options: GenerationOptions
    ) -> Sequence[TrainingExample[GenerationInput, GenerationOptions]]:
        return [
            TrainingExample(
                GenerationInput(prompt=prompt) if isinstance(prompt, str) else GenerationInput(messages=prompt),
                options,
                target,
            )
            for prompt, target in conversations.training_pairs(row)
        ]

    def finish(self, inputs: GenerationInput, completion: Completion) -> GeneratedText:
        empty = inputs.messages is None and completion.finish_reason == "stop" and not completion.text.strip()
        result = self.parse(inputs, completion.text).noted(_EMPTY if empty else None)
        return result.model_copy(
            update={
                "finish_reason": completion.finish_reason,
                "num_tokens": completion.num_prompt_tokens,
                "num_generated_tokens": completion.num_generated_tokens,
                "truncated": completion.truncated,
                "logprobs": tuple(
                    TokenLogprob(token=token, logprob=value)
                    for token, value in zip(completion.tokens, completion.logprobs, strict=True)
                )
                if completion.tokens
                else None,
            }
        )

    def is_one(self, value: Any) -> bool:
        # A list of turns is one chat, not many inputs; v4's pipeline read it so too.
        turns = isinstance(value, list | tuple) and value and all(_is_turn(turn) for turn in value)
        return bool(turns) or super().is_one(value)

    def as_fields(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return {"messages": value}
        return super().as_fields(value)


def _as_chat(inputs: GenerationInput, options: GenerationOptions) -> GenerationInput:
    """The input, a plain prompt as a user's message if the option `chat` says so."""
    if not options.chat or inputs.prompt is None:
        return inputs
    return GenerationInput(messages=(Message(role="user", content=inputs.prompt),))


def _request(inputs: GenerationInput) -> str:
    """The prompt, or the last turn of a chat."""
    return inputs.prompt or (inputs.messages[-1].content if inputs.messages else "")


def _is_turn(value: Any) -> bool:
    # One that lacks a field or has another is a turn with a fault: no input has either of these fields.
    return isinstance(value, Message) or (isinstance(value, Mapping) and not value.keys().isdisjoint(_TURN))


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(Generation())
