"""The trainer of entailment: that of labels, on pairs. Imported for training only."""

from __future__ import annotations

from nlptasks.training import LabelTrainer, TaskRow


class EntailmentTrainer(LabelTrainer):
    """Columns premise, hypothesis and label."""

    def head_input(self, row: TaskRow) -> tuple[str, str]:
        return row.inputs.premise, row.inputs.hypothesis
