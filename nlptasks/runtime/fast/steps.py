"""Steps of OpenVINO GenAI's running batch, beside which Python goes on."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

OWN_TOKENS = 4
"""Tokens of the sequence that begins the steps: time for others to join."""


class Steps:
    """The steps of a pipeline, in a thread that leaves Python's lock to all others.

    `step` holds the lock for as long as it computes, which is nearly always while something is written: other threads,
    a server's among them, would stand still. `generate` does not, and goes on until all sequences are finished, those
    that joined it too; so a few tokens are generated for nobody, and others join. None may join before the first of
    these is there: `generate` takes all sequences that wait at its beginning for its own.
    """

    def __init__(self, pipeline: Any, prompt: Any, token: int) -> None:
        """`prompt` is a tensor of shape (1, 1) with the token, which ends a text."""
        import openvino_genai

        self._pipeline = pipeline
        self._prompt = prompt
        self._config = openvino_genai.GenerationConfig()
        self._config.eos_token_id, self._config.stop_token_ids = token, {token}
        self._config.ignore_eos, self._config.max_new_tokens = True, OWN_TOKENS
        self._begun = begun = threading.Event()

        class Signal(openvino_genai.StreamerBase):  # type: ignore[misc]
            """Says that the first token is there."""

            def write(self, _: Any) -> Any:
                begun.set()
                return openvino_genai.StreamingStatus.RUNNING

            def end(self) -> None:
                pass

        self._signal = Signal()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="nlptasks:steps")
        self._under_way: Future[Any] | None = None

    def go_on(self) -> None:
        """Let steps be under way when this returns, or take one."""
        if self._under_way and not self._under_way.done():
            return
        self.end()
        if self._pipeline.has_non_finished_requests():
            # A sequence joined at the moment in which the last of the others ended.
            self._pipeline.step()
            return
        self._begun.clear()
        self._under_way = self._threads.submit(self._generate)
        self._begun.wait()

    def end(self) -> None:
        """Wait for the end of the steps. Raises what they raised."""
        if self._under_way:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def close(self) -> None:
        """End the thread, which waits for nothing now."""
        self._threads.shutdown(wait=False)

    def _generate(self) -> None:
        try:
            self._pipeline.generate([self._prompt], [self._config], self._signal)
        finally:
            self._begun.set()
