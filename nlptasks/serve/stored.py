"""OpenAI's files and batches: their shapes, and how they are kept in a folder."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nlptasks.serve.faults import Fault
from nlptasks.store import write_whole

ENDED = frozenset({"completed", "failed", "cancelled", "expired"})
"""The states of a batch in which nothing happens any more."""

_ID = re.compile(r"(file-|batch_)[0-9a-f]{24}")


class _Object(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    created_at: int = Field(default_factory=lambda: int(time.time()))
    expires_at: int | None = None


class FileObject(_Object):
    """A file: requests, or the answers of a batch."""

    object: Literal["file"] = "file"
    bytes: int
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"] = "processed"


class RequestCounts(BaseModel):
    """The lines of a batch."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchFault(BaseModel):
    """Why a batch failed as a whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class BatchFaults(BaseModel):
    """Why a batch failed as a whole."""

    object: Literal["list"] = "list"
    data: list[BatchFault]


class Batch(_Object):
    """A batch; times are in seconds since 1970."""

    object: Literal["batch"] = "batch"
    endpoint: str
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ] = "validating"
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: BatchFaults | None = None
    request_counts: RequestCounts = RequestCounts()
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    metadata: dict[str, str] | None = None


V = TypeVar("V", FileObject, Batch)


class Record(BaseModel, Generic[V]):
    """An object, whose it is, and when it came."""

    model_config = ConfigDict(frozen=True)

    owner: str
    order: int = Field(default_factory=time.time_ns)
    value: V


class Shelf(Generic[V]):
    """The objects of one kind, in memory and in a folder."""

    def __init__(self, folder: Path, kind: type[Record[V]], noun: str) -> None:
        self.folder, self._noun = folder, noun
        self.records: dict[str, Record[V]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.json"):
            with suppress(ValidationError):
                record = kind.model_validate_json(file.read_bytes())
                if _ID.fullmatch(record.value.id):
                    self.records[record.value.id] = record
        for file in folder.glob("*.jsonl"):
            if file.stem not in self.records:
                file.unlink()  # half written, or half removed

    def get(self, owner: str, name: str) -> V:
        """An object; raises Fault for an id that is not this caller's."""
        record = self.records.get(name)
        if record is None or record.owner != owner:
            raise Fault(404, f"Expected the id of a {self._noun}, found {name[:60]!r}, which is none of yours.")
        return record.value

    def lines(self, owner: str, name: str) -> Path:
        """Where the lines of a file are; raises Fault."""
        return self.folder / f"{self.get(owner, name).id}.jsonl"

    def put(self, record: Record[V]) -> V:
        """Add an object, or replace it."""
        write_whole(self.folder / f"{record.value.id}.json", record.model_dump_json())
        self.records[record.value.id] = record
        return record.value

    def remove(self, name: str) -> None:
        """Remove an object, its record first: lines without one are nobody's."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)
        (self.folder / f"{name}.jsonl").unlink(missing_ok=True)
        self.records.pop(name, None)

    def of(self, owner: str) -> list[V]:
        """A caller's objects, newest first."""
        records = sorted(self.records.values(), key=lambda record: -record.order)
        return [record.value for record in records if record.owner == owner]
