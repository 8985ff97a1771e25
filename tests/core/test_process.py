"""What a process shares: loads beside each other, its end in mid-stream, forks, and what other processes get."""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import pickle
import pkgutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import nlptasks
import nlptasks_plugins
from nlptasks import Engine, NlptasksError, Plugins, results
from nlptasks.engine import default_engine
from nlptasks.testing import tiny_model
from tests import warm_processes

BASES = {"encoder": "bert", "causal": "llama", "seq2seq": "marian"}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny base of each kind."""
    folder = tmp_path_factory.mktemp("bases")
    return {kind: str(tiny_model(folder / kind, architecture=name)) for kind, name in BASES.items()}


def child(code: str, *arguments: str, seconds: float = 120, warm: bool = False) -> subprocess.CompletedProcess[str]:
    """A Python program in a process of its own, which may have torch from its start; one that hangs is a failure."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    if warm:
        return warm_processes.run(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, timeout=seconds)
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


COLD_START = """
    import sys, threading
    from pathlib import Path
    from nlptasks import Engine, Settings
    from nlptasks.process import LOADING

    unguarded = []

    class Imports:
        def find_spec(name, *_):
            if name.split(".")[0] == "transformers" or name == "torch":
                if not LOADING._is_owned(): unguarded.append(name)

    sys.meta_path.insert(0, Imports)
    nowhere = Settings(Path("/nowhere"), Path("/nowhere"), offline=True)
    engines = [Engine(base, dtype=dtype, settings=nowhere)
               for base, dtype in zip(sys.argv[1:], ("float32", "bfloat16", "float32"))]

    def embed():
        with engines[0].bind(engines[0].plugins.tasks["generation"]) as model:
            return model.embed(["Once"])[0].values

    calls = [
        embed,
        lambda: engines[1].run("generation", "Once", max_new_tokens=4).text,
        lambda: engines[2].run("translation", "One word.", source_language="en", target_language="fr",
                               max_new_tokens=4).translation,
    ]
    answers, barrier = [[] for _ in calls], threading.Barrier(8)

    def ask(number):
        barrier.wait()
        try:
            answers[number % 3].append(calls[number % 3]())
        except BaseException as error:
            answers[number % 3].append(repr(error))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    # What is loaded beside others answers as it does alone, but for the rounding of its batch.
    def near(found, alone):
        if isinstance(found, str): return found == alone
        return max(abs(a - b) for a, b in zip(found, alone, strict=True)) < 1e-5

    wrong = [found for call, several in zip(calls, answers) for found in several if not near(found, call())]
    # Two threads that import parts of transformers at once may get half of one: by chance, so that none may try.
    sys.exit(f"wrong: {wrong}, imported without the lock: {unguarded}" if wrong or unguarded else 0)
"""


def assert_cold_starts(bases: dict[str, str], times: int) -> None:
    for number in range(times):
        ended = child(COLD_START, *(bases[kind] for kind in BASES))
        assert ended.returncode == 0, f"start {number}: {ended.stderr[-2000:]}"


def test_the_number_of_threads_is_known_while_another_thread_imports_torch() -> None:
    code = """
        import sys, threading
        from nlptasks.runtime.cpu.threads import num_threads
        thread = threading.Thread(target=__import__, args=("torch",))
        thread.start()
        while "torch" not in sys.modules: pass
        assert num_threads() >= 1
        thread.join()
    """
    ended = child(textwrap.dedent(code))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.long
def test_the_first_requests_of_a_process_may_load_three_bases_at_once(bases: dict[str, str]) -> None:
    assert_cold_starts(bases, 1)


@pytest.mark.full
def test_two_hundred_cold_starts(bases: dict[str, str]) -> None:
    assert_cold_starts(bases, 200)


LEAVE = """
    import sys, threading
    from pathlib import Path
    from nlptasks import Engine, Settings

    base, how = sys.argv[1:3]
    engine = Engine(settings=Settings(Path("/nowhere"), Path("/nowhere"), offline=True))
    pieces = engine.stream("generation", "Once", model=base, max_new_tokens=30000 if how != "whole" else 3)
    if how == "break":
        for piece in pieces: break
    elif how == "next":
        running = iter(pieces)
        next(running)
    elif how == "raise":
        for piece in pieces: raise ValueError("an error of the script's")
    elif how == "dropped":
        running = iter(pieces)
        next(running)
        del engine, pieces, running
    elif how == "thread":
        running = iter(pieces)
        next(running)
        threading.Thread(target=list, args=(running,), daemon=True).start()
    elif how == "import":
        threading.Thread(target=list, args=(pieces,), daemon=True).start()
        while "torch" not in sys.modules: pass
    elif how == "async":
        import asyncio

        async def first():
            async for piece in engine.astream("generation", "Once", model=base, max_new_tokens=30000): break

        asyncio.run(first())
    elif how == "whole":
        list(pieces)
"""
LEAVINGS = ("break", "next", "raise", "dropped", "thread", "import", "async", "whole")


def assert_leaves(base: str, how: str, warm: bool = False) -> None:
    ended = child(LEAVE, base, how, warm=warm)
    assert ended.returncode == (how == "raise"), f"{how}: {ended.returncode}, {ended.stderr[-2000:]}"
    assert ("an error of the script's" in ended.stderr) == (how == "raise")


@pytest.mark.long
@pytest.mark.parametrize("how", ["break", "thread", "import"])
def test_a_script_that_leaves_a_stream_ends_as_any_other(bases: dict[str, str], how: str) -> None:
    assert_leaves(bases["causal"], how, warm=how != "import")


@pytest.mark.full
@pytest.mark.parametrize("number", range(100))
def test_a_hundred_exits_in_mid_stream(bases: dict[str, str], number: int) -> None:
    assert_leaves(bases["causal"], LEAVINGS[number % len(LEAVINGS)])


FORK = """
    import os, pickle, sys, threading
    import nlptasks
    from nlptasks.engine import default_engine

    base, times = sys.argv[1], int(sys.argv[2])
    run = nlptasks.run
    def ask(): return run("generation", "Once", model=base, max_new_tokens=4).text
    engine = nlptasks.Engine()
    expected = ask()
    assert engine.run("generation", "Once", model=base, max_new_tokens=4).text == expected
    started = nlptasks.stream("generation", "Once", model=base, max_new_tokens=400)
    pieces = iter(started)
    next(pieces)
    stop = threading.Event()

    def loads():
        while not stop.is_set():
            with nlptasks.Engine() as other:
                other.run("generation", "Once", model=base, max_new_tokens=1)

    # A load that is under way in another thread must be over in the child.
    loader = threading.Thread(target=loads)
    loader.start()
    failed = []
    for number in range(times):
        reader, writer = os.pipe()
        if not (child := os.fork()):
            try:
                with engine:
                    try: engine.run("generation", "Once", model=base)
                    except nlptasks.NlptasksError as error: found = [ask(), str(error)]
                try: list(pieces)
                except nlptasks.NlptasksError as error: found.append(str(error))
            except BaseException as error:
                found = [repr(error)]
            os.write(writer, pickle.dumps(found))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            found = pickle.load(answer)
        os.waitpid(child, 0)
        if found[0] != expected or sum("inherited by a fork" in line for line in found) != 2:
            failed.append(found)
    stop.set()
    loader.join()
    assert ask() == expected, "the parent goes on"
    sys.exit(str(failed) if failed else 0)
"""


def assert_forks(base: str, times: int, warm: bool = False) -> None:
    ended = child(FORK, base, str(times), seconds=60 + 20 * times, warm=warm)
    assert ended.returncode == 0, ended.stderr[-3000:]


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no forks")
def test_a_forked_child_has_an_engine_of_its_own(bases: dict[str, str]) -> None:
    assert_forks(bases["causal"], 3, warm=True)


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no forks")
def test_a_hundred_forks(bases: dict[str, str]) -> None:
    assert_forks(bases["causal"], 100)


def modules() -> Iterator[Any]:
    for package in (nlptasks, nlptasks_plugins):
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def classes(parent: type[Any]) -> list[Any]:
    """Every subclass that is written in nlptasks or in what comes with it."""
    members = {member for module in modules() for member in vars(module).values() if isinstance(member, type)}
    ours = [member for member in members if issubclass(member, parent) and member.__module__.startswith("nlptasks")]
    return sorted(ours, key=lambda member: (member.__module__, member.__qualname__))


def made(error: type[Exception]) -> Exception:
    """An error with some value for each argument of its class."""
    if not inspect.isfunction(error.__init__):
        return error("what happened")
    hints = get_type_hints(error.__init__)
    needed = [p for p in inspect.signature(error).parameters.values() if p.default is p.empty]
    return error(*(f"the {p.name}" if hints[p.name] is str else ["one", "two"] for p in needed))


def test_every_error_arrives_in_another_process_as_it_was() -> None:
    errors = classes(Exception)
    assert len(errors) >= 20
    for error in map(made, errors):
        error.add_note("a note")
        for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))


@pytest.mark.long
@given(st.data())
@settings(max_examples=3, suppress_health_check=list(HealthCheck), deadline=None)
def test_every_result_input_and_option_arrives_in_another_process_as_it_was(data: st.DataObject) -> None:
    kinds = [kind for kind in classes(BaseModel) if kind.__module__.startswith((results.__name__, "nlptasks_plugins"))]
    # Bodies of requests stay in the server.
    kinds = [kind for kind in kinds if ".protocols." not in kind.__module__]
    assert len(kinds) >= 15
    for kind in kinds:
        types = {name: field.annotation for name, field in kind.model_fields.items()}
        item = kind.model_construct(**{name: data.draw(st.from_type(each)) for name, each in types.items()})
        # NaN is not equal to itself.
        assert repr(pickle.loads(pickle.dumps(item))) == repr(item)


def test_functions_of_the_module_reach_another_process_and_an_engine_says_why_it_does_not() -> None:
    assert pickle.loads(pickle.dumps(nlptasks.run)).__self__ is default_engine()
    with pytest.raises(NlptasksError, match="An Engine cannot be pickled, for its models are in this process"):
        pickle.dumps(Engine(plugins=Plugins()))
