"""What pages share, and what defines a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.surfaces import Downloads

if TYPE_CHECKING:
    from nlptasks import Engine, Result

MODEL_QUEUE = "model"
"""The concurrency id of every event that computes with a resident model: they wait in one queue."""

View = Callable[[Any, Any], str]
"""A function of a result and its input that returns HTML."""


@dataclass(frozen=True)
class Context:
    """The engine that all pages share, and the folder that holds the trainings and batches of users.

    `loads` reports downloads, `views` are the plugins' functions that render their results, `logins` says whether users
    log in. The functions in `closing` are called when the app ends.
    """

    engine: Engine
    runs: Path
    loads: Downloads = field(default_factory=Downloads)
    views: Mapping[type[Result] | str, View] = field(default_factory=dict)
    logins: bool = False
    closing: list[Callable[[], None]] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """A page of the app; `build` adds its components to the current Blocks.

    `path` is the last part of its URL, without a slash; "" is the start page. `group` is the heading under which the
    start page lists it, `summary` its purpose in one sentence.
    """

    title: str
    path: str
    build: Callable[[Context], None]
    group: str = ""
    summary: str = ""
