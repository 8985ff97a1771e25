"""Rows of files and data sets: one reader for every surface, and what training makes of the rows.

for row in read_rows("reviews.csv"):
    print(row.place, row.fault or row.fields)

Parquet, Arrow and Excel's libraries are imported when such a file is read.
"""

from nlptasks._lazy import lazy, stub

__getattr__, __dir__, __all__ = lazy(__name__, stub(__file__))
