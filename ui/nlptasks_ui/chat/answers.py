"""Answering a turn: the language model's text while it is written, or the result of a task."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from nlptasks import CancelledError, CancelToken, can_stream, surfaces
from nlptasks.surfaces import in_thread, render, sentence, waiting_for
from nlptasks_ui.chat import commands
from nlptasks_ui.chat.conversation import ChatTurn, Conversation
from nlptasks_ui.chat.planning import Planner, Request
from nlptasks_ui.context import Context

INTERVAL = 0.1
"""Seconds between two updates of an answer."""


@dataclass(frozen=True)
class Step:
    """A turn with its answer so far, and the current activity while there is none; the last step's turn is finished."""

    turn: ChatTurn
    status: str = ""


class Answers:
    """Answers the last turn of a conversation."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._engine = context.engine
        self._planner = Planner(context.engine)

    async def answer(self, conversation: Conversation, cancel: CancelToken) -> AsyncGenerator[Step, None]:
        """Steps of the last turn; an error or a stop becomes part of the turn.

        Iterate within `contextlib.aclosing`: leaving the loop stops the computation within one step.
        """
        last = conversation.turns[-1]
        try:
            async with aclosing(self._steps(conversation, cancel)) as steps:
                async for step in steps:
                    last = step.turn
                    yield step
        except CancelledError:
            yield Step(last.model_copy(update={"finished": True, "notes": ("Stopped.",), "aside": not last.answer}))
        except Exception as error:
            yield Step(last.model_copy(update={"finished": True, "error": sentence(error), "aside": True}))

    async def _steps(self, conversation: Conversation, cancel: CancelToken) -> AsyncGenerator[Step, None]:
        turn = conversation.turns[-1]
        command = commands.parse(turn.message)
        if command and command.name == commands.HELP and not turn.wanted:
            text = commands.help_text(self._engine.plugins)
            yield Step(turn.model_copy(update={"answer": text, "aside": True, "finished": True}))
            return
        plan = partial(self._planner.plan, conversation, cancel)
        async with aclosing(in_thread(plan, every=INTERVAL, cancel=cancel)) as waits:
            async for request in waits:
                if request is None:
                    yield Step(turn, self._loading())
        assert request is not None
        turn = turn.model_copy(update={"task": request.task.name, "others": request.others, "notes": request.notes})
        yield Step(turn, self._waiting(request))
        stream = can_stream(request.task)
        steps = surfaces.answer(
            self._engine, request.task.name, dict(request.fields), every=INTERVAL, stream=stream, cancel=cancel,
            adapter=request.adapter, **request.options,
        )  # fmt: skip
        async with aclosing(steps) as parts:
            async for part in parts:
                if part.result is not None:
                    yield Step(self._finished(turn, request, part))
                elif part.text:
                    turn = turn.model_copy(update={"answer": part.text})
                    yield Step(turn)
                else:
                    count = f"{part.completed} of {part.total} parts processed" if part.total > 1 else ""
                    yield Step(turn, count or self._waiting(request))

    def _finished(self, turn: ChatTurn, request: Request, step: surfaces.Step) -> ChatTurn:
        result = step.result
        notes = list(request.notes)
        reason = getattr(result, "finish_reason", None)
        if reason == "length":
            notes.append(f"Stopped at the limit of {result.num_generated_tokens} tokens.")
        if reason == "cancelled":
            notes.append("Stopped.")
        chat = "messages" in request.fields
        [inputs] = request.task.validate([dict(request.fields)])
        return turn.model_copy(
            update={
                "answer": result.text if chat else render(result),
                "result": None if chat else result.model_dump(mode="json"),
                "inputs": None if chat else inputs.model_dump(mode="json"),
                "notes": tuple(notes),
                "seconds": round(step.seconds, 3),
                "finished": True,
            }
        )

    def _waiting(self, request: Request) -> str:
        base = waiting_for(self._engine, request.task.name, request.adapter, None)
        return self._context.loads.line() or (f"Loading base model {base}" if base else "Computing")

    def _loading(self) -> str:
        return self._context.loads.line() or "Choosing a task"
