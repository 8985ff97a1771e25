"""Measure the ranges of activations on some rows; dtype int8 takes its scales from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nlptasks.data.labelled_texts import DataOptions
from nlptasks.data.splits import sample
from nlptasks.errors import AdapterError, UnsupportedModelError
from nlptasks.runtime.compiled.ranges import Ranges, observing, save_ranges
from nlptasks.runtime.loading.base import load_config, model_kind
from nlptasks.runtime.resident import ResidentModel
from nlptasks.settings import Settings
from nlptasks.store.adapters import AdapterFolder
from nlptasks.task import AnyTask
from nlptasks.training.families.base import FamilyTrainer, adapter_trainer

if TYPE_CHECKING:
    from nlptasks.plugins import Plugins
    from nlptasks.store.download import BaseFolder
    from nlptasks.store.sources import ProgressCallback

ROWS = 256
"""Rows that are run: some thousand tokens, after which the ranges hardly change."""

SEED = 13


def measure_ranges(
    family: FamilyTrainer,
    base: BaseFolder,
    adapter: AdapterFolder | None,
    rows: Sequence[Any],
    count: int = ROWS,
    *,
    trust_remote_code: bool = False,
) -> Ranges:
    """The ranges of activations over at most `count` rows, served in float32 on the CPU.

    Raises:
        AdapterMismatchError: the adapter was trained on another base.
        UnsupportedModelError: the base is no encoder; int8 is for encoders only.
    """
    task = family.task
    inputs = [family.task_input(row) for row in sample(rows, count, SEED, label=family.stratum)]
    kind = model_kind(load_config(base, trust_remote_code))
    if kind != "encoder":
        raise UnsupportedModelError(
            f"dtype 'int8' is for encoders, and {base.id} is a {kind} model: it has no use for ranges."
        )
    resident = ResidentModel(
        base, "cpu", "float32", trust_remote_code=trust_remote_code, head=lambda _: family.trained_head
    )
    try:
        root = resident.load()
        # One row a batch, one batch at a time: without padding, which would count.
        resident.reading.budget, resident.reading.threads = 1, None
        with observing(root.backbone) as ranges:
            task.run(task.validate(inputs), task.options_type(), resident.bind(adapter))
    finally:
        resident.close()
    return ranges


def add_ranges(
    task: AnyTask,
    adapter: AdapterFolder,
    sources: Sequence[str],
    settings: Settings,
    plugins: Plugins,
    *,
    options: DataOptions | None = None,
    model: str | None = None,
    on_progress: ProgressCallback | None = None,
) -> Ranges:
    """Measure an adapter's ranges on labelled data, and write them into its folder.

    Args:
        task: the task of the adapter.
        adapter: its folder is written to.
        sources: files and Hub data sets as for `evaluate`, with rows similar to the training data.
        settings: the folder of the bases.
        plugins: whose bases may be named.
        options: columns, label names, maximum of rows.
        model: the base; by default the one that the adapter names.
        on_progress: receives the progress of the base's download.

    Raises:
        DataError: bad rows.
        AdapterError: the folder cannot be written to.
        AdapterMismatchError: the base is not the one that the adapter was trained on.
        UnsupportedModelError: the base is no encoder.
    """
    from nlptasks.store.download import find_base

    family, options = adapter_trainer(task, adapter), options or DataOptions()
    labels = adapter.labels
    read = family.read(sources, options, labels=labels, offline=settings.offline)
    base = find_base(model or adapter.base_id, settings, on_progress=on_progress, shipped=plugins.bases)
    ranges = measure_ranges(family, base, adapter, read.rows, options.max_rows or ROWS)
    try:
        save_ranges(ranges, adapter.path)
    except OSError as error:
        raise AdapterError(
            f"{adapter.path} cannot be written to ({error.strerror}): copy it with `nlptasks adapters export` and "
            "measure the copy with -a FOLDER."
        ) from error
    return ranges
