"""How entailment is trained: as any family with labels, on pairs. Imported for training only."""

from __future__ import annotations

from nlptasks.training import LabelTrainer, TaskRow


class EntailmentTrainer(LabelTrainer):
    """Columns premise, hypothesis and label."""

    def request_of(self, row: TaskRow) -> tuple[str, str]:
        return row.inputs.premise, row.inputs.hypothesis
