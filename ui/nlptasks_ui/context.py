"""What every page is given, and what a page is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.surfaces import Downloads

if TYPE_CHECKING:
    from nlptasks import Engine, Result

MODEL_QUEUE = "model"
"""The concurrency id of every event that computes with a resident model: they wait in one line."""

View = Callable[[Any, Any], str]
"""A result and its input as HTML."""


@dataclass(frozen=True)
class Context:
    """The engine that all pages share, and the folder in which what users start (trainings, batches) is kept.

    `loads` knows what is being downloaded, `views` how plugins want their results shown.
    """

    engine: Engine
    runs: Path
    loads: Downloads = field(default_factory=Downloads)
    views: Mapping[type[Result], View] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """A page of the app: `build` adds its components to the Blocks that is open when it is called.

    `path` is the last part of its address, without a slash; "" is the start page. `group` is its place
    on the start page, `summary` what it is for, in a sentence.
    """

    title: str
    path: str
    build: Callable[[Context], None]
    group: str = ""
    summary: str = ""
