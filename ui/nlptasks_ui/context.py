"""What every page is given, and what a page is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nlptasks import Engine

MODEL_QUEUE = "model"
"""The concurrency id of every event that computes with a resident model: they wait in one line."""


@dataclass(frozen=True)
class Context:
    """The engine that all pages share, and the folder in which what users start (trainings, batches) is kept."""

    engine: Engine
    runs: Path


@dataclass(frozen=True)
class Page:
    """A page of the app: `build` adds its components to the Blocks that is open when it is called."""

    title: str
    path: str
    build: Callable[[Context], None]
