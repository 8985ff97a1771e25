from nlptasks.batches.answers import Outcome as Outcome, answer_rows as answer_rows, iter_answers as iter_answers
from nlptasks.batches.columns import Column as Column, answer_columns as answer_columns
from nlptasks.batches.files import OUTPUTS as OUTPUTS, PartTable as PartTable, write_csv as write_csv
from nlptasks.batches.joining import finished_files as finished_files, join_shards as join_shards
from nlptasks.batches.openai import run_batch as run_batch
from nlptasks.batches.parts import ChangedBatchError as ChangedBatchError
from nlptasks.batches.rows import RowReader as RowReader, TaskRow as TaskRow
from nlptasks.batches.loop import (
    Answers as Answers,
    BatchProgress as BatchProgress,
    BatchReport as BatchReport,
    PartRows as PartRows,
)
from nlptasks.batches.run import batch as batch
from nlptasks.batches.tables import TableAnswers as TableAnswers
from nlptasks.batches.work import TaskWork as TaskWork, default_rows as default_rows, divide_fields as divide_fields
