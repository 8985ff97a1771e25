"""Parquet, Arrow, and data sets of the Hub."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nlptasks.data.files import DataFile
from nlptasks.data.rows import Row, Table
from nlptasks.errors import DataError, MissingExtraError

HUB = re.compile(r"hub:(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?(?::(?P<split>[\w.-]+))?")

_ROWS = 1000
"""Number of rows that are unpacked at once."""


def arrow_rows(file: DataFile, table: Table) -> Iterator[Row]:
    """The rows of a Parquet file, or of an Arrow file or stream."""
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("Reading Parquet and Arrow", "tables") from error
    what = "Parquet" if file.format == ".parquet" else "Arrow"
    with file.open(seekable=True) as stream:
        try:
            number = 0
            for batch in _batches(stream, table, what):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{file.name}: row {number}", dict(zip(table.columns, values.values(), strict=True)))
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file.name}: expected {what}, found something else ({error}).") from error


def _batches(stream: Any, table: Table, what: str) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    if what == "Parquet":
        # Arrow's default allocator does not return freed memory; a reader uses the pool that is set at its creation.
        pool = pyarrow.default_memory_pool()
        pyarrow.set_memory_pool(pyarrow.system_memory_pool())
        try:
            parquet = pyarrow.parquet.ParquetFile(stream, buffer_size=1 << 16, pre_buffer=False)
        finally:
            pyarrow.set_memory_pool(pool)
        schema, batches = parquet.schema_arrow, parquet.iter_batches(batch_size=_ROWS, use_threads=False)
    elif stream.read(6) == b"ARROW1":
        reader = pyarrow.ipc.open_file(stream)
        schema, batches = reader.schema, map(reader.get_batch, range(reader.num_record_batches))
    else:
        stream.seek(0)
        batches = pyarrow.ipc.open_stream(stream)
        schema = batches.schema
    table.set_columns(schema.names)
    # Files of the Hub have their features in the metadata.
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
        table.class_names = _class_names(json.loads(schema.metadata[b"huggingface"])["info"]["features"])
    for batch in batches:
        yield from (batch.slice(start, _ROWS) for start in range(0, batch.num_rows, _ROWS))


def hub_rows(source: str, table: Table, *, offline: bool, split: str) -> Iterator[Row]:
    """The rows of a data set by `hub:ORG/NAME[@REVISION][:SPLIT]`; `split` is the default."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("Reading Hub data sets", "train") from error
    match = HUB.fullmatch(source)
    assert match is not None
    chosen = match["split"] or split
    try:
        data = datasets.load_dataset(
            match["repo"],
            revision=match["revision"],
            split=chosen,
            download_config=datasets.DownloadConfig(local_files_only=offline),
        )
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "the network is off, and it is not in the cache" if offline else "check its name, split and the network"
        raise DataError(f"{source}: the split {chosen!r} cannot be loaded: {reason} ({hint}).") from error
    table.set_columns(data.column_names)
    table.revision = match["revision"]
    table.class_names = _class_names(data.features.to_dict())
    for number, values in enumerate(data, start=1):
        yield Row(f"{source}: row {number}", dict(zip(table.columns, values.values(), strict=True)))


def _class_names(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The names of the numbers of each column, from the features of the `datasets` library."""
    meanings: dict[str, tuple[str, ...]] = {}
    for column, feature in features.items():
        match feature:
            # Tags are a sequence of class labels, in older files a list of one.
            case (
                {"_type": "ClassLabel", "names": names}
                | {"feature": {"_type": "ClassLabel", "names": names}}
                | [{"_type": "ClassLabel", "names": names}]
            ):
                meanings[column] = tuple(names)
    return meanings
