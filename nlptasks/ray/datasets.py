"""A task on every row of a Ray dataset."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from nlptasks import AnyTask, DataError, default_engine
from nlptasks.batches import TableAnswers, TaskWork, default_rows, divide_fields
from nlptasks.data import input_columns
from nlptasks.ray.cluster import import_ray, use_share

if TYPE_CHECKING:
    from nlptasks import Engine


def map(
    dataset: Any,
    task: str | AnyTask,
    /,
    *,
    engine: Engine | None = None,
    adapter: str | None = None,
    model: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    keep: Collection[str] | None = None,
    batch_size: int | None = None,
    concurrency: int | tuple[int, int] | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    **fields: Any,
) -> Any:
    """Add the answers of a task to every row of a `ray.data.Dataset`, as columns; nothing is computed yet.

    The columns are those of `nlptasks.batch`, but for `row`: those of the dataset (those that `keep` names, all by
    default), and `TASK.FIELD` for each field of the answer, typed as in Parquet; lists and objects are JSON. A row
    without an answer has `TASK.error`, and costs no other row its answer. `columns` names the dataset's columns by
    fields of the task's input; the others are matched by their usual names.

    Actors with an engine each, like `engine`, answer `batch_size` rows at a time, by default as many as
    `nlptasks.batch`. `concurrency` is their number, or the least and the most, by default what Ray decides; `num_cpus`
    and `num_gpus` is what each takes. All other keywords are those of `Engine.run`.

    Raises:
        MissingExtraError: Ray is not installed.
        InvalidInputError: an option that the task does not have.
        DataError: the dataset's columns do not fit the task, or lack one to keep. If they are known only when the
            dataset is computed, Ray raises it then.
        NlptasksError: as `Engine.choose`.
    """
    import_ray()
    from ray.data import ActorPoolStrategy

    engine = engine or default_engine()
    described = engine.plugins.task(task)
    shared, options = divide_fields(described, fields)
    engine.choose(described, adapter, model, described.validate_options(options))
    work = TaskWork(engine, described, {"adapter": adapter, "model": model, **options}, keep)
    schema = dataset.schema(fetch_if_missing=False)
    if schema is not None:
        input_columns(described, "the dataset", schema.names, columns, shared)
        for name in set(keep or ()) - set(schema.names):
            raise DataError(f"keep: expected columns of the dataset ({', '.join(schema.names)}), found {name!r}.")
    least, most = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    sizes = {} if concurrency is None else {"min_size": least, "max_size": most}
    return dataset.map_batches(
        _TableActor,
        fn_constructor_args=(work.maker(), dict(columns or {}), shared),
        batch_size=batch_size or default_rows(described),
        batch_format="pyarrow",
        compute=ActorPoolStrategy(**sizes),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        udf_modifying_row_count=False,
    )


class _TableActor:
    """A process with one engine, which answers tables."""

    def __init__(
        self, make: Callable[[], TaskWork], columns: Mapping[str, str | None], fields: Mapping[str, Any]
    ) -> None:
        use_share()
        self._answers = TableAnswers(make(), columns, fields)

    def __call__(self, table: Any) -> Any:
        return self._answers.add(table)
