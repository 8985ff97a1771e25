"""Rows of files and data sets: one reader for every surface, and the labelled rows of training.

for row in read_rows("reviews.csv"):
    print(row.place, row.fault or row.fields)

Parquet, Arrow and Excel's libraries are imported when such a file is read.
"""

from nlptasks._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, __file__)
