"""Several processes train one adapter: the same weights as one process, one writer, and they end together."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file

from nlptasks.settings import Settings
from nlptasks.store.adapters import PEFT_WEIGHTS
from nlptasks.training import TrainReport
from tests.training_rows import QUICK, bases, train  # noqa: F401 - fixtures

STILL = QUICK.replace(num_train_epochs=2, lora_dropout=0.0, base_dropout=0.0, ema_decay=0.9, evals_per_epoch=2)
"""Without chance in the steps."""


@pytest.mark.long
def test_two_processes_make_the_adapter_that_one_makes(train: Callable[..., TrainReport], settings: Settings) -> None:
    one, two = train("one", STILL), train("two", STILL, num_processes=2)
    assert two.metrics == pytest.approx(one.metrics, abs=1e-4)
    assert [entry["step"] for entry in two.history] == [entry["step"] for entry in one.history]
    losses = [[entry["train_loss"] for entry in report.history] for report in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    first, second = load_file(one.path / PEFT_WEIGHTS), load_file(two.path / PEFT_WEIGHTS)
    assert set(first) == set(second)
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=1e-4, rtol=1e-3)
    assert sorted(path.name for path in two.path.parent.iterdir()) == ["one", "two"]
