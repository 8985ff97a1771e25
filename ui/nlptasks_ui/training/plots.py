"""The curves of a training as Gradio line plots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nlptasks_ui.training.history import History

POINTS = 400
"""The most points of a curve; a screen cannot resolve more."""

COLOURS = {"training": "#94a3b8", "validation": "#0f766e"}

Point = tuple[int, float, str]


def loss_points(history: History) -> list[Point]:
    """The training loss by step, averaged over neighbours if there are many, and the validation loss."""
    return [(step, value, "training") for step, value in thinned([(s, loss) for s, loss, _ in history.steps])] + [
        (step, metrics["loss"], "validation") for step, _, metrics, _ in history.evaluations if "loss" in metrics
    ]


def rate_points(history: History) -> list[tuple[int, float]]:
    """The learning rate of each step."""
    return thinned([(step, rate) for step, _, rate in history.steps])


def metric_points(history: History) -> list[Point]:
    """The validation metrics: the headline metric, and the one that selects the best checkpoint."""
    names = [name for name in dict.fromkeys((history.headline, history.metric)) if name != "loss"] or ["loss"]
    return [
        (step, metrics[name], name) for step, _, metrics, _ in history.evaluations for name in names if name in metrics
    ]


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most POINTS points: neighbours are averaged."""
    size = -(-len(points) // POINTS) or 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def loss(history: History) -> Any:
    """Training and validation loss by step."""
    return _lines(loss_points(history), "loss", "Loss", history, colours=COLOURS)


def rate(history: History) -> Any:
    """The learning rate by step."""
    points = ((step, value, "learning rate") for step, value in rate_points(history))
    return _lines(points, "learning rate", "Learning rate", history, colours={"learning rate": COLOURS["validation"]})


def metric(history: History) -> Any:
    """The validation metrics by step."""
    points = metric_points(history)
    names = dict.fromkeys(name for _, _, name in points)
    colours = dict(zip(names, reversed(COLOURS.values()), strict=False))
    return _lines(points, "value", "Metrics on held-out rows", history, colours=colours)


def _lines(points: Iterable[Point], measured: str, title: str, history: History, *, colours: dict[str, str]) -> Any:
    import gradio as gr
    import pandas

    frame = pandas.DataFrame(points, columns=["step", measured, "of"])
    return gr.LinePlot(
        value=frame, x="step", y=measured, color="of", title=title, color_map=colours, color_title="",
        x_lim=[0, max(history.total, 1)], visible=True,
    )  # fmt: skip
