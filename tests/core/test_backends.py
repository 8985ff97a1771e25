"""Backends: which one gets a request, what a fake one shows, and that a broken one is a line of warning."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nlptasks import BackendOptions, CancelledError, Engine, NlptasksError, Plugins, Resident, Settings, hookimpl
from nlptasks.errors import PluginError, UnknownNameError, UnsupportedModelError
from nlptasks.model import CancelToken
from nlptasks.testing import FakeBackend, FakeModel
from tests.fake_distributions import GOOD, Site, site_fixture  # noqa: F401 - fixture
from tests.sample_tasks import TITLES, Echo, Mood, Title

REMOTE = "openai:small@http://127.0.0.1:9/v1"


class Remote:
    """A backend of names that are no folders; `made` has the options that it got."""

    made: list[BackendOptions]

    def __init__(self, options: BackendOptions) -> None:
        type(self).made.append(options)
        self.closed = 0

    def serves(self, base: str, adapter: Any) -> bool:
        return base.startswith("openai:") and adapter is None

    @contextmanager
    def bind(self, base: str, adapter: Any, *, cancel: CancelToken, counter: Any) -> Iterator[FakeModel]:
        yield FakeModel(
            kind="causal", name=base, cancel=cancel, counter=counter, has_offsets=False,
            completions=lambda _: "TITLE: From afar", labels=Mood.labels, max_tokens=64,
        )  # fmt: skip

    def resident(self) -> list[Resident]:
        return [Resident(REMOTE, waiting=2)]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Any backend."""
    return dataclasses.replace(settings, backend=None)


@pytest.fixture
def plugins(settings: Settings) -> Plugins:
    class Plugin:
        @hookimpl
        def register_tasks(self, register: Any) -> None:
            for task in (Mood(), Echo(), Title()):
                register(task)

        @hookimpl
        def register_backends(self, register: Any) -> None:
            register("far", Remote)

    Remote.made = []
    made = Plugins(settings)
    made.register(Plugin(), "far")
    return made


@pytest.mark.long
def test_a_plugin_s_backend_gets_what_it_serves_and_torch_the_rest(
    settings: Settings, plugins: Plugins, tiny_causal: Path
) -> None:
    with Engine(settings=settings, plugins=plugins, device="cpu", dtype="float32", idle_seconds=60) as engine:
        assert Remote.made == [], "made when it is first needed"
        answer = engine.run("title", "A text about rain.", model=REMOTE)
        assert (answer.title, answer.model) == ("From afar", REMOTE)
        with engine.stream("title", "A text about rain.", model=REMOTE) as pieces:
            assert list(pieces) == ["TITLE:", " From", " afar"]
            assert pieces.result() == answer
        assert engine.run("echo", "Once", model=str(tiny_causal)).model == str(tiny_causal)
        [options] = Remote.made
        assert (options.device, options.dtype, options.idle_seconds) == ("cpu", "float32", 60)
        assert {base.name: base.waiting for base in engine.resident()} == {REMOTE: 2, str(tiny_causal): 0}
    with pytest.raises(NlptasksError, match="This engine is closed: make a new Engine"):
        engine.run("title", "x", model=REMOTE)


@pytest.mark.long
def test_one_may_be_forced(settings: Settings, plugins: Plugins, tiny_causal: Path) -> None:
    only = dataclasses.replace(settings, backend="torch")
    with Engine(settings=only, plugins=plugins) as engine:
        assert engine.run("echo", "Once", model=str(tiny_causal)).model == str(tiny_causal)
        with pytest.raises(UnknownNameError, match="Unknown base model 'openai:small"):
            engine.run("echo", "Once", model=REMOTE)
    with Engine(settings=only, plugins=plugins, backend="far") as engine:
        assert engine.run("title", "x", model=REMOTE).title == "From afar"
        with pytest.raises(UnsupportedModelError, match=r"The backend 'far' does not serve the base '.*': name"):
            engine.run("echo", "Once", model=str(tiny_causal))
    with pytest.raises(
        UnknownNameError, match=r"Unknown backend 'touch'\. Did you mean 'torch'\? Available: far, remote, torch"
    ):
        Engine(settings=settings, plugins=plugins, backend="touch")
    assert Settings.from_env({"NLPTASKS_BACKEND": "torch"}).backend == "torch"
    assert Settings.from_env({"NLPTASKS_BACKEND": " "}).backend is None


def test_long_texts_are_cut_by_characters_where_tokens_cannot_be_counted(settings: Settings, plugins: Plugins) -> None:
    with Engine(settings=settings, plugins=plugins) as engine:
        short, long = engine.run("mood", ["All is well.", "All is well. " * 100], model=REMOTE)
        assert (short.windows, short.windowed_by, short.truncated) == (1, "tokens", False)
        assert (long.windows > 1, long.windowed_by, long.truncated) == (True, "characters", False)
        cut = engine.run("mood", "All is well. " * 100, model=REMOTE, on_overflow="truncate")
        assert (cut.windows, cut.windowed_by, cut.truncated) == (1, "characters", True)


def test_a_fake_backend_answers_counts_and_stops(settings: Settings, plugins: Plugins) -> None:
    backend = FakeBackend(labels=Mood.labels, scores=lambda _: (5.0, 0.0))
    steps: list[tuple[int, int]] = []
    with Engine(settings=settings, plugins=plugins, backend=backend) as engine:
        results = engine.run("mood", ["a", "b"], model="any", progress=lambda number, all: steps.append((number, all)))
        assert [(result.label, result.model) for result in results] == [("calm", "any")] * 2
        assert steps[-1] == (2, 2)
        assert [model.calls for model in backend.models] == [[("classify", ["a", "b"])]]
        assert engine.resident() == [Resident("any")]
        token = CancelToken()
        token.cancel()
        with pytest.raises(CancelledError):
            engine.run("mood", "a", model="any", cancel=token)
    with pytest.raises(NlptasksError, match="This engine is closed"):
        engine.run("mood", "a", model="any")


def test_a_closed_stream_of_a_fake_backend_is_cancelled(settings: Settings, plugins: Plugins) -> None:
    backend = FakeBackend(kind="causal", completions=[TITLES[0][1].title + " and much more of it"])
    with Engine(settings=settings, plugins=plugins, backend=backend) as engine:
        for _ in engine.stream("title", "A text."):
            break
        with pytest.raises(CancelledError):
            backend.models[0].embed(["the request's token is set"])


BROKEN = {
    "no-function": ("register('x', 'not callable')", "expected a name and a function, found 'x', 'not callable'."),
    "taken": ("register('torch', print)", "Its backend 'torch' already exists; give it another name."),
    "twice": ("register('x', print)\n    register('x', print)", "Its backend 'x' already exists"),
    "raises": ("raise OSError('no device')", "OSError while it registered: no device."),
}
BACKEND = """

@hookimpl
def register_backends(register):
    {line}
"""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_registration_is_one_line_of_warning(site: Site, settings: Settings, name: str) -> None:
    line, reason = BROKEN[name]
    site.good("a-good")
    site.add("b-broken", GOOD.format(name="broken") + BACKEND.format(line=line))
    plugins = Plugins(settings)
    plugins.load_entry_points(site.entry_points())
    assert (list(plugins.tasks), plugins.backends) == (["a-good"], {}), "taken whole or not at all"
    [failure] = plugins.failures
    assert reason in failure.reason
    assert plugins.failure_notice() == "1 plugin is disabled (nlptasks-b-broken:b-broken): see `nlptasks plugins`."
    with pytest.raises(PluginError):
        Plugins(dataclasses.replace(settings, strict=True)).load_entry_points(site.entry_points())


@pytest.mark.long
@pytest.mark.parametrize("fault", ["make", "serves"])
def test_a_backend_that_fails_is_off_with_its_plugin_and_the_others_serve(
    settings: Settings, tiny_causal: Path, fault: str
) -> None:
    class Failing(Remote):
        def __init__(self, options: BackendOptions) -> None:
            if fault == "make":
                raise OSError("no device")

        def serves(self, base: str, adapter: Any) -> bool:
            raise OSError("no device")

    class Bad:
        @hookimpl
        def register_tasks(self, register: Any) -> None:
            register(Mood())

        @hookimpl
        def register_backends(self, register: Any) -> None:
            register("bad", Failing)

    class Good:
        @hookimpl
        def register_tasks(self, register: Any) -> None:
            register(Echo())

    for strict in (False, True):
        plugins = Plugins(dataclasses.replace(settings, strict=strict))
        plugins.register(Bad(), "bad")
        plugins.register(Good(), "good")
        with Engine(settings=settings, plugins=plugins) as engine:
            if strict:
                with pytest.raises(PluginError, match="Plugin bad: OSError in its backend 'bad': no device"):
                    engine.run("echo", "Once", model=str(tiny_causal))
                continue
            assert engine.run("echo", "Once", model=str(tiny_causal)).model == str(tiny_causal)
        assert list(plugins.tasks) == ["echo"]
        assert plugins.failure_notice() == "1 plugin is disabled (bad): see `nlptasks plugins`."
        [failure] = plugins.failures
        assert failure.reason == "OSError in its backend 'bad': no device."
        assert "Traceback" in failure.traceback


def test_many_threads_make_one_backend(settings: Settings, plugins: Plugins) -> None:
    with Engine(settings=settings, plugins=plugins) as engine:
        threads = [threading.Thread(target=engine.run, args=("title", "x"), kwargs={"model": REMOTE}) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(Remote.made) == 1
