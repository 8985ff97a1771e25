"""Text to text: a prompt goes to a language model, a parser reads its answer.

`prompt`, `parse` and `target` are pure. Training and serving use the same `prompt`; `target` is the text that
the model should write for a result, so that `parse(inputs, target(result)) == result`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import Field, field_validator

from nlptasks.model import Completion, Decoding, Model, ModelInfo, Prompt
from nlptasks.results import Result
from nlptasks.task import Recipe, Task, TaskInput, TaskOptions

GREEDY = 1e-3
"""Below this temperature the likeliest token is taken: what else could be drawn is in the range of rounding errors."""


class GenerationOptions(TaskOptions):
    """How a language model writes, in transformers' terms."""

    max_new_tokens: int = Field(default=256, ge=1, le=32768, description="Most tokens to write.")
    do_sample: bool | None = Field(
        default=None, description="Draw tokens at random. Unset: yes if temperature, top_p or top_k is given."
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=5,
        description="Below 1 safer, above 1 wilder; below 0.001 takes the likeliest token.",
    )
    top_p: float | None = Field(default=None, gt=0, le=1, description="Draw from the likeliest tokens of this mass.")
    top_k: int | None = Field(default=None, ge=0, description="Draw from this many likeliest tokens; 0 for all.")
    repetition_penalty: float = Field(default=1.0, ge=0.01, le=5, description="Above 1 discourages repetition.")
    num_beams: int = Field(default=1, ge=1, le=16, description="Beams of beam search; 1 for none.")
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Strings that end the text; they are not part of it."
    )
    seed: int | None = Field(default=None, ge=0, lt=2**64, description="Makes sampling repeatable.")
    on_overflow: str = Field(
        default="truncate",
        pattern="^(truncate|error)$",
        description="A prompt longer than the context: keep its end and say so (truncate), or refuse it (error).",
    )

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    def decoding(self) -> Decoding:
        """The options as the model's verbs take them: every option that is named like a field of `Decoding`."""
        sampling = ("temperature", "top_p", "top_k")
        unset = {name for name in sampling if getattr(self, name) is None}
        sample = len(unset) < len(sampling) if self.do_sample is None else self.do_sample
        names = (Decoding.__dataclass_fields__.keys() & type(self).model_fields.keys()) - unset
        values = {name: getattr(self, name) for name in names}
        values["do_sample"] = sample and (self.temperature is None or self.temperature >= GREEDY)
        return Decoding(**values, truncate_prompt=self.on_overflow != "error")


I = TypeVar("I", bound=TaskInput)  # noqa: E741 - Input, Options, Result
O = TypeVar("O", bound=GenerationOptions)  # noqa: E741
R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class TrainingExample(Generic[I, O]):
    """What a row of training data teaches: for this input and these options the model should write `target`."""

    inputs: I
    options: O
    target: str


class TextToText(Task[I, O, R], Generic[I, O, R]):
    """A text written by a language model.

    `text_metrics` names what written texts are measured by: `rouge`, `bleu`, `chrf`, `exact_match`.
    """

    family = "text_to_text"
    trainer = "nlptasks.training.families.text_to_text:TextToTextTrainer"
    options_type = GenerationOptions
    recipe: ClassVar[Recipe] = Recipe(
        base="smollm2", max_length=512, per_device_train_batch_size=8, metric_for_best_model="loss"
    )
    text_metrics: ClassVar[tuple[str, ...]] = ("exact_match", "rouge")

    @abstractmethod
    def prompt(self, inputs: I, options: O) -> Prompt:
        """The prompt for an input: plain text to continue, or messages to answer."""

    def ask(self, inputs: I, options: O, info: ModelInfo) -> Prompt:
        """The prompt for this model, in training and in serving alike; override it where models differ."""
        return self.prompt(inputs, options)

    def decoding(self, inputs: I, options: O, info: ModelInfo) -> Decoding:
        """How this model writes the answer to an input."""
        return options.decoding()

    @abstractmethod
    def parse(self, inputs: I, completion: str) -> R:
        """The result in the model's text.

        Raises:
            UnparsableOutputError: the text holds no result; do not make one up.
        """

    @abstractmethod
    def target(self, result: R) -> str:
        """What the model should write for this result: the inverse of `parse`, used in training."""

    def training_examples(self, row: Mapping[str, Any], options: O) -> Sequence[TrainingExample[I, O]]:
        """What a row of training data teaches; its columns are fields of the input and of the result by name.

        Override it for data of other shapes. `options` are those that the training names, or the defaults.

        Raises:
            ValueError: saying what was expected and what was found; the reader adds the place.
        """
        columns = [name for name in self.result_type.model_fields if name not in Result.model_fields]
        [inputs] = self.validate([_fields(row, self.input_type.model_fields, "input")])
        result = self.result_type.model_validate(_fields(row, columns, "result"))
        return [TrainingExample(inputs, options, self.target(result))]  # type: ignore[arg-type]

    def finish(self, inputs: I, completion: Completion) -> R:
        """The result with what only the completion knows; override to add fields of your own."""
        result = self.parse(inputs, completion.text)
        return result.model_copy(update={"num_tokens": completion.num_prompt_tokens, "truncated": completion.truncated})

    def run(self, inputs: Sequence[I], options: O, model: Model) -> list[R]:
        completions = self.write(inputs, options, model)
        pairs = zip(inputs, completions, strict=True)
        return [self.finish(item, completion).noted(completion.note) for item, completion in pairs]

    def write(self, inputs: Sequence[I], options: O, model: Model) -> list[Completion]:
        """One completion an input, in order; inputs with the same decoding share a call to the model."""
        groups: dict[Decoding, list[int]] = {}
        for place, item in enumerate(inputs):
            groups.setdefault(self.decoding(item, options, model.info), []).append(place)
        written: dict[int, Completion] = {}
        for decoding, places in groups.items():
            prompts = [self.ask(inputs[place], options, model.info) for place in places]
            written |= zip(places, model.generate(prompts, decoding), strict=True)
        return [written[place] for place in range(len(inputs))]

    def stream(self, inputs: I, options: O, model: Model) -> Generator[str, None, R]:
        """The raw text of one answer, piece by piece; returns its result."""
        prompt, decoding = self.ask(inputs, options, model.info), self.decoding(inputs, options, model.info)
        completion = yield from model.stream(prompt, decoding)
        return self.finish(inputs, completion).noted(completion.note)


def _fields(row: Mapping[str, Any], names: Iterable[str], what: str) -> dict[str, Any]:
    fields = {name: row[name] for name in names if row.get(name) is not None}
    if not fields:
        raise ValueError(f"expected a column of the {what} ({', '.join(names)}), found {', '.join(row) or 'none'}")
    return fields


def prompt_text(prompt: Prompt) -> str:
    """A prompt's texts, a line between the turns of a chat."""
    return prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)


def can_stream(task: Task[Any, Any, Any]) -> bool:
    """Whether a task's answer comes in pieces."""
    return callable(getattr(task, "stream", None))
