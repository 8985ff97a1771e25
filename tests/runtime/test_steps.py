"""While a text is written, Python's other threads go on."""

from __future__ import annotations

import threading
import time

import pytest

from nlptasks import Engine, Settings

pytestmark = [pytest.mark.embedded, pytest.mark.long]

CHATS = [[{"role": "user", "content": f"Tell me {n} facts about lighthouses."}] for n in range(2, 6)]


def test_a_thread_beside_a_writer_does_not_stand_still(embedded_settings: Settings) -> None:
    pytest.importorskip("openvino_genai")
    with Engine(settings=embedded_settings) as engine:
        engine.run("generation", messages=CHATS[0], max_new_tokens=2)
        waits: list[float] = []
        ended = threading.Event()

        def sleep() -> None:
            while not ended.is_set():
                begin = time.perf_counter()
                time.sleep(0.001)
                waits.append(time.perf_counter() - begin)

        thread = threading.Thread(target=sleep)
        thread.start()
        begin = time.perf_counter()
        engine.run("generation", CHATS, max_new_tokens=24)
        seconds = time.perf_counter() - begin
        ended.set()
        thread.join()
    # Steps of 30 to 60 milliseconds that hold the lock would leave it 15 to 30 a second.
    assert len(waits) > 60 * seconds
