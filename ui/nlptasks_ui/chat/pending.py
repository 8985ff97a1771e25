"""Answers that are being written. They go on when their page is left, and are shown where it is opened again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeGuard

from nlptasks import CancelToken
from nlptasks_ui.chat.answers import Answers, Step
from nlptasks_ui.chat.conversation import Conversation

DELIVERY_SECONDS = 0.15
"""Seconds after which updates that were already sent have reached the page; Gradio sends them twenty times a second."""

MAX_KEPT = 200
"""The most finished answers that wait for a page to fetch them."""

_INTERVAL = 0.05


class PendingAnswer:
    """What one page knows of the answer that it shows: the token that stops it, whether its question is saved in the
    browser, and whether the page still shows it."""

    def __init__(self, cancel: CancelToken | None = None, *, saved: bool = False) -> None:
        self.cancel = cancel or CancelToken()
        self.saved = saved
        self.started = False
        self.finished = False
        self.abandoned = False


class RunningAnswers:
    """The answers of all conversations, by the id of the conversation, which nobody can guess."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._running: dict[str, _Running] = {}

    def pending(self, conversation: Conversation) -> PendingAnswer | None:
        """For a page that was just opened: the answer to the conversation's last turn, if it is kept here."""
        running = self._running.get(conversation.id)
        return PendingAnswer(running.cancel, saved=True) if running and conversation.waiting else None

    async def steps(self, conversation: Conversation, cancel: CancelToken) -> AsyncGenerator[Step, None]:
        """Begin the answer, or join it where it is. Leaving the loop does not end it; `cancel` does."""
        running = self._running.get(conversation.id)
        if running is None or running.cancel is not cancel:
            running = self._running[conversation.id] = _Running(conversation, cancel)
            running.task = asyncio.create_task(running.run(self._answers))
            for old in [id for id, one in self._running.items() if one.step.turn.finished][:-MAX_KEPT]:
                del self._running[old]
        last = None
        while True:
            if running.step is not last:
                last = running.step
                yield last
            if last.turn.finished:
                return
            await asyncio.sleep(_INTERVAL)


class _Running:
    """One answer and its last step."""

    def __init__(self, conversation: Conversation, cancel: CancelToken) -> None:
        self.cancel = cancel
        self.step = Step(conversation.turns[-1], "Waiting")
        self.task: asyncio.Task[None] | None = None
        self._conversation = conversation

    async def run(self, answers: Answers) -> None:
        async with aclosing(answers.answer(self._conversation, self.cancel)) as steps:
            async for step in steps:
                self.step = step


def is_busy(pending: PendingAnswer | None) -> TypeGuard[PendingAnswer]:
    """Whether an answer of the open conversation is still waiting or being written."""
    return pending is not None and not pending.finished and not pending.abandoned


async def abandon(pending: PendingAnswer | None, *, stop: bool = False) -> None:
    """Leave an answer whose conversation is being closed, so that it does not appear in the next one; or stop it.

    Gradio's `cancels` would not do: it lets updates on their way arrive later, and shows an error.
    """
    if not is_busy(pending):
        return
    pending.abandoned = True
    if stop:
        pending.cancel.cancel()
    await asyncio.sleep(DELIVERY_SECONDS)
