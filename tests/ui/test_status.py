"""The status page's parts, apart from a browser: bases, queue, plugins, the machine."""

from __future__ import annotations

import threading
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from nlptasks import Engine, Plugins
from nlptasks.model import CancelToken
from nlptasks.runtime.worker import BatchRequest, Job, Worker
from nlptasks.settings import Settings

pytest.importorskip("gradio", reason="the web app needs pip install 'nlptasks[ui]'")

from nlptasks_ui.status import Base, bases, live_part, machine_part, plugins_part


@pytest.fixture
def plugins(settings: Settings) -> Plugins:
    made = Plugins(settings)
    made.load_entry_points()
    return made


def test_bases_are_told_with_their_memory_and_numbers(settings: Settings, plugins: Plugins, tiny_encoder: Path) -> None:
    with Engine(settings=settings, plugins=plugins, device="cpu", dtype="float32") as engine:
        assert bases(engine) == []
        with engine.bind(plugins.task("sentiment"), "none", str(tiny_encoder)) as bound:
            [base] = bases(engine)
            assert (base.state, base.size) == ("not loaded", 0)
            # Describing a base loads no weights; computing does.
            bound.embed(["text"])
            [base] = bases(engine)
        assert (base.name, base.state, base.placement, base.waiting) == (
            str(tiny_encoder.resolve()), "in memory", "float32 on cpu", 0
        )  # fmt: skip
        assert base.size == engine.resident()[0].num_bytes > 0
        assert "cpu, because asked for" in machine_part(engine)
        assert "Number format (dtype)</th><td>float32, because asked for" in machine_part(engine)


def test_a_worker_tells_how_many_calls_wait() -> None:
    worker, gate = Worker("base"), threading.Event()
    begun = threading.Event()

    def hold(request: BatchRequest) -> None:
        begun.set()
        gate.wait(5)

    jobs = [Job(key=None, items=[1], handle=hold, cancel=CancelToken()) for _ in range(3)]
    futures = [worker.submit(job) for job in jobs]
    assert begun.wait(5)
    assert worker.waiting == 2
    gate.set()
    for future in futures:
        future.result(5)
    assert worker.waiting == 0
    worker.close()


def test_what_is_under_way_is_told_first() -> None:
    loading = Base("minilm", "loading", 0, "", 1)
    ready = Base("smollm2", "in memory", 270_000_000, "bfloat16 on cpu", 0)
    html = live_part([loading, ready], "", (2, 3))
    assert html.index("Loading minilm") < html.index("Models in memory")
    assert ">270 MB<" in html
    assert "Total: 270 MB." in html
    assert ">Dtype and device<" in html
    assert "2 requests running, 3 waiting." in html
    assert "smollm2: downloading, 40 %" in live_part([loading], "smollm2: downloading, 40 %", (0, 0))
    assert "No base model is in memory." in live_part([], "", (0, 0))


def test_a_plugin_that_is_off_is_shown_with_its_reason_and_traceback(plugins: Plugins) -> None:
    plugins.load_entry_points([EntryPoint("<b>weather</b>", "nowhere.at_all", "nlptasks")])
    said = plugins_part(plugins)
    [failure] = plugins.failures
    assert "&lt;b&gt;weather&lt;/b&gt; (no package) is disabled: " in said
    assert failure.reason in said
    assert ("<pre" in said) == bool(failure.traceback)
    assert "sentiment" in said
