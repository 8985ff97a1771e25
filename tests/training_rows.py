"""Sentences to train on, a task for them, and a gate without a second process."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nlptasks import Head, Recipe, TextClassification
from nlptasks.settings import Settings
from nlptasks.store.download import BaseFolder
from nlptasks.testing import tiny_model
from nlptasks.training import TrainReport, finetune
from nlptasks.training.publishing import gate

QUICK = Recipe(
    num_train_epochs=3, learning_rate=5e-3, per_device_train_batch_size=16, max_length=48, min_steps=0, dtype="float32"
)


class Feeling(TextClassification):
    """Whether a note is glad or sad."""

    name = "feeling"
    labels = ("sad", "glad")
    examples = ("What a good day.",)


def rows(count: int = 160, seed: int = 0) -> list[tuple[str, str]]:
    """Texts whose label one word decides, as many of each."""
    chance = random.Random(seed)
    made = []
    for index in range(count):
        label = ("sad", "glad")[index % 2]
        words = ["".join(chance.choice("mnopqr") for _ in range(chance.randint(1, 4))) for _ in range(2)]
        made.append((f"{words[0]} {'bad' if label == 'sad' else 'good'} {words[1]} {index}", label))
    return made


def write_csv(path: Path, content: Sequence[tuple[str, str]], header: str = "text,label") -> str:
    path.write_text("\n".join([header, *(f"{text},{label}" for text, label in content)]) + "\n", encoding="utf-8")
    return str(path)


def serve_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the gate's serving in this process: the same code, without the seconds that imports take."""

    def serve(base: BaseFolder, adapter: Path | None, head: Head, texts: Sequence[str], **options: Any) -> Any:
        fields = {"id": base.id, "revision": base.revision, "path": str(base.path), "source": base.source}
        # Through JSON, as in a process of its own.
        description, requests = json.loads(json.dumps([dataclasses.asdict(head), list(texts)]))
        return gate.serve_folder(fields, adapter and str(adapter), description, requests, **options)

    monkeypatch.setattr(gate, "serve_again", serve)


def base_finder(root: Path) -> Callable[[str], Path]:
    """Tiny models by architecture, each made once."""

    def find(architecture: str) -> Path:
        folder = root / architecture
        return folder if folder.is_dir() else tiny_model(folder, architecture=architecture)

    return find


def quick_training(
    settings: Settings, folder: Path, bases: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TrainReport]:
    """`finetune` on 160 sentences, a tiny BERT and a gate in this process, unless told otherwise."""
    serve_here(monkeypatch)
    data = write_csv(folder / "notes.csv", rows())

    def run(name: str = "mine", recipe: Recipe = QUICK, base: str = "bert", **options: Any) -> TrainReport:
        recipe = recipe.replace(base=str(bases(base)))
        options = {"data": data, "settings": settings, "device": "cpu", **options}
        return finetune(Feeling(), name=name, recipe=recipe, **options)

    return run


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return base_finder(tmp_path_factory.mktemp("bases"))


@pytest.fixture
def train(
    settings: Settings, tmp_path: Path, bases: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TrainReport]:
    return quick_training(settings, tmp_path, bases, monkeypatch)
