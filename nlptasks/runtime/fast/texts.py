"""Texts written by an engine whose sequences share steps, with the same answers as `generation`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from nlptasks.model import CancelToken, Completion, Decoding
from nlptasks.runtime.fast.genai import Writer, Writing
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.verbs.completions import PieceWriter, completion_of


def begin(
    base: LoadedBase,
    writer: Writer,
    prompts: Sequence[tuple[list[int], bool]],
    decoding: Decoding,
    cancel: CancelToken,
    *,
    bulk: bool,
    on_piece: Callable[[str], None] | None = None,
) -> list[Future[Completion]]:
    """Begin to write after each prompt, its tokens and whether its start was cut; `bulk` lets others go first.

    `on_piece` gets the text of a single prompt as it is written, on the writer's thread. The tokenizer decodes on that
    thread and encodes on another: what `decode` does, it does without releasing Python's lock.
    """
    completions: list[Future[Completion]] = []
    writings = []
    for ids, cut in prompts:
        pieces = PieceWriter(base.tokenizer, decoding.stop, on_piece or _ignore) if on_piece or decoding.stop else None
        room = min(decoding.max_new_tokens, max(1, base.max_tokens - len(ids)))
        writing = Writing(ids, decoding, room, cancel, bulk=bulk, on_tokens=pieces.add if pieces else None)
        writings.append(writing)
        completions.append(_completion(base, writing, pieces, cut))
    writer.submit(writings)
    return completions


def _completion(base: LoadedBase, writing: Writing, pieces: PieceWriter | None, cut: bool) -> Future[Completion]:
    completion: Future[Completion] = Future()

    def finish(written: Future[None]) -> None:
        try:
            written.result()
            if pieces:
                pieces.end()
            made = completion_of(
                base, writing.tokens, writing.logprobs, writing.decoding, num_prompt=len(writing.ids), truncated=cut
            )
        except BaseException as error:
            completion.set_exception(error)
        else:
            completion.set_result(made)

    writing.finished.add_done_callback(finish)
    return completion


def _ignore(piece: str) -> None:
    """For a text that is followed only for its stop strings."""
