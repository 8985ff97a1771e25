"""Rows of files and data sets: one reader for every surface, and what training makes of the rows.

for row in read_rows("reviews.csv"):
    print(row.place, row.fault or row.fields)

Parquet, Arrow and Excel's libraries are imported when such a file is read.
"""

from nlptasks.data.columns import field_values, input_columns, match_columns
from nlptasks.data.files import FORMATS, open_text
from nlptasks.data.rows import DataOptions, Row, Table
from nlptasks.data.tables import read_rows, read_table, read_text
from nlptasks.data.text import text_rows

# fmt: off
__all__ = [
    "FORMATS", "DataOptions", "Row", "Table", "field_values", "input_columns", "match_columns", "open_text",
    "read_rows", "read_table", "read_text", "text_rows",
]
