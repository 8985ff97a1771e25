"""For plugin authors: a model without weights, a tiny real model, and the contract test.

from nlptasks.testing import check_task

def test_contract():
    check_task(Urgency())
"""

from __future__ import annotations

from nlptasks.testing.contract import check_task
from nlptasks.testing.fake import FakeBackend, FakeModel
from nlptasks.testing.tiny import ARCHITECTURES, tiny_model

__all__ = ["ARCHITECTURES", "FakeBackend", "FakeModel", "check_task", "tiny_model"]
