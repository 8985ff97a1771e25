"""The one stream: its pieces are the text, its end is a value, and to stop reading is to stop computing."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks import CancelToken, NlptasksError, Stream

PIECES = st.lists(st.text())


def written(pieces: list[str], log: list[str] | None = None, cancel: CancelToken | None = None) -> Stream[int]:
    """A stream of these pieces that ends in their number; `log` says how it ended."""
    token = cancel or CancelToken()

    def write() -> Generator[str, None, int]:
        try:
            yield from pieces
        except GeneratorExit:
            if log is not None:
                log.append("cancelled first" if token.cancelled else "closed first")
            raise
        return len(pieces)

    return Stream(write(), token)


@given(PIECES, PIECES)
def test_a_stream_within_a_stream_hands_its_pieces_and_its_value_on(first: list[str], second: list[str]) -> None:
    def both() -> Generator[str, None, int]:
        return (yield from written(first)) + (yield from written(second))

    stream = Stream(both())
    assert list(stream) == first + second
    assert stream.result() == len(first) + len(second)


@given(PIECES, st.integers(min_value=0, max_value=5))
def test_the_result_reads_what_nobody_has_read(pieces: list[str], read: int) -> None:
    stream = written(pieces)
    running = iter(stream)
    for _ in range(min(read, len(pieces))):
        next(running)
    assert stream.result() == len(pieces)


def test_an_early_end_cancels_the_computation_before_it_lets_go_of_the_model() -> None:
    for leave in ("loop", "close", "block"):
        log: list[str] = []
        token = CancelToken()
        stream = written(["a", "b"], log, token)
        if leave == "loop":
            for _ in stream:
                break
        elif leave == "close":
            running = iter(stream)
            next(running)
            stream.close()
            assert list(running) == []
        else:
            with stream:
                running = iter(stream)
                next(running)
        assert log == ["cancelled first"], leave
        with pytest.raises(NlptasksError, match="closed before its end: there is no result"):
            stream.result()


def test_the_end_of_a_text_cancels_nothing() -> None:
    token = CancelToken()
    with written(["a"], cancel=token) as stream:
        assert list(stream) == ["a"]
    assert (stream.result(), token.cancelled) == (1, False)


def test_another_thread_may_close_it_while_a_piece_is_waited_for() -> None:
    token, waiting = CancelToken(), threading.Event()

    def write() -> Generator[str, None, None]:
        waiting.set()
        while not token.cancelled:
            waiting.wait(0.01)
        token.raise_if_cancelled()
        yield "never"

    stream = Stream(write(), token)
    closer = threading.Thread(target=lambda: (waiting.wait(5), stream.close()))
    closer.start()
    with pytest.raises(NlptasksError, match="cancelled before it was finished"):
        list(stream)
    closer.join()
