"""What people wait for who have a text written: alone, eight at once, beside a list, after a long prompt, in a chat.

    python benchmarks/writing.py [--rounds 3] [--list 500]

Prints JSON; rates in tokens a second, times in seconds, medians of the rounds. `torch` is nlptasks with
NLPTASKS_BACKEND=torch. `llama_cpp` is llama.cpp on the same GGUF file, if llama-cpp-python is installed (`make
bench-peers`); it writes one text after the other. The backends take turns in every round (A B A B).
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nlptasks import Engine
from nlptasks.model import CancelToken, Decoding, Message
from nlptasks.settings import Settings
from nlptasks.store.download import find_base

TOKENS = 128
WRITTEN = Decoding(max_new_tokens=TOKENS, min_new_tokens=TOKENS)
"""Every text has the same length, whatever a model would say."""

STORY = (
    "The river rises in the hills and runs past nine villages before it meets the sea. In each of them people tell "
    "another story about the bridge that was washed away in the great flood, and about the ferryman who did not go. "
)


def prompts(count: int) -> list[str]:
    """Different prompts of about 40 tokens."""
    return [f"{STORY[:150]} The story of village number {number} begins with" for number in range(count)]


class Nlptasks:
    """Texts through the base's own model, as tasks ask for them."""

    def __init__(self, backend: str | None) -> None:
        self._backends = Engine(backend=backend)._backends
        self.write(["Once"], Decoding(max_new_tokens=2))

    def _bound(self) -> Any:
        _, backend = self._backends.choose("smollm2", None)
        return backend.bind("smollm2", None, cancel=CancelToken(), counter=None)

    def write(self, texts: Sequence[Any], decoding: Decoding = WRITTEN) -> list[Any]:
        with self._bound() as model:
            written: list[Any] = model.generate(texts, decoding)
            return written

    def first_piece(self, text: Any, decoding: Decoding = WRITTEN) -> float:
        """Seconds until the first piece of a text; the rest is read too."""
        started, first = time.perf_counter(), 0.0
        with self._bound() as model:
            for _ in model.stream(text, decoding):
                first = first or time.perf_counter() - started
        return first


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def streams(backend: Nlptasks, count: int) -> tuple[float, float]:
    """Texts that begin together: tokens a second of all, and seconds until the last one's first piece."""
    firsts = [0.0] * count

    def run(place: int, prompt: str) -> None:
        firsts[place] = backend.first_piece(prompt)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(prompts(count))]
    seconds = timed(lambda: [*(thread.start() for thread in threads), *(thread.join() for thread in threads)])
    return count * TOKENS / seconds, max(firsts)


def beside_a_list(backend: Nlptasks, size: int) -> float:
    """Seconds until the last first piece of eight texts that begin while a list is written."""
    short = Decoding(max_new_tokens=16, min_new_tokens=16)
    under_way = threading.Thread(target=backend.write, args=([f"{STORY} {n}" for n in range(size)], short))
    under_way.start()
    time.sleep(2)
    _, last = streams(backend, 8)
    under_way.join()
    return last


def turns(backend: Nlptasks, number: int) -> tuple[float, float]:
    """Seconds to the first word of a chat's first turn of 1,000 tokens, and of its second turn."""
    short = Decoding(max_new_tokens=8, min_new_tokens=8)
    chat = [Message(role="user", content=f"Letter {number}. " + STORY * 19 + "What is it about?")]
    first = backend.first_piece(chat, short)
    answer = backend.write([chat], short)[0].text
    more = [*chat, Message(role="assistant", content=answer), Message(role="user", content="And who is in it?")]
    return first, backend.first_piece(more, short)


def reading(backend: Nlptasks, number: int) -> float:
    """Tokens a second of a prompt of 1,000 tokens that was never read before."""
    one = Decoding(max_new_tokens=1, min_new_tokens=1)
    started = time.perf_counter()
    text = backend.write([f"Page {number}. " + STORY * 19], one)[0]
    return float(text.num_prompt_tokens) / (time.perf_counter() - started)


class LlamaCpp:
    """llama.cpp by llama-cpp-python, on the file that the wheel brings."""

    def __init__(self, gguf: Path, threads: int) -> None:
        from llama_cpp import Llama

        self.model = Llama(str(gguf), n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)

    def one(self) -> float:
        self.model.reset()
        ids = self.model.tokenize(prompts(1)[0].encode())
        tokens = itertools.islice(self.model.generate(ids, temp=0.0, top_k=1), TOKENS)
        return TOKENS / timed(lambda: list(tokens))

    def reading(self, number: int) -> float:
        ids = self.model.tokenize(f"Page {number}. {STORY * 19}".encode())
        self.model.reset()
        return len(ids) / timed(lambda: next(iter(self.model.generate(ids, temp=0.0, top_k=1))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--list", type=int, default=500, help="prompts of the list that is under way")
    arguments = parser.parse_args()
    import torch

    backends = {"nlptasks": Nlptasks(None), "torch": Nlptasks("torch")}
    gguf = next(find_base("smollm2", Settings.from_env()).path.glob("*.gguf"))
    llama = LlamaCpp(gguf, torch.get_num_threads()) if find_spec("llama_cpp") else None
    figures: dict[str, dict[str, list[float]]] = {}

    def note(who: str, what: str, value: float) -> None:
        figures.setdefault(who, {}).setdefault(what, []).append(value)

    for number in range(arguments.rounds):
        for who, backend in backends.items():
            note(who, "one_stream", TOKENS / timed(lambda backend=backend: backend.write(prompts(1))))
            note(who, "prompt_of_1000", reading(backend, number))
            first, second = turns(backend, number)
            note(who, "first_turn_seconds", first)
            note(who, "second_turn_seconds", second)
            if who == "nlptasks":  # torch takes minutes
                rate, last = streams(backend, 8)
                note(who, "eight_streams", rate)
                note(who, "last_first_word_seconds", last)
        if llama:
            note("llama_cpp", "one_stream", llama.one())
            note("llama_cpp", "prompt_of_1000", llama.reading(number))
    note("nlptasks", "last_first_word_beside_a_list_seconds", beside_a_list(backends["nlptasks"], arguments.list))
    medians = {who: {what: round(statistics.median(v), 3) for what, v in rows.items()} for who, rows in figures.items()}
    print(json.dumps({"machine": platform.machine(), "threads": torch.get_num_threads(), **medians}, indent=2))


if __name__ == "__main__":
    main()
