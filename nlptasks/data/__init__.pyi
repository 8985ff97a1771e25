from nlptasks.data.columns import (
    field_values as field_values,
    input_columns as input_columns,
    match_columns as match_columns,
)
from nlptasks.data.files import FORMATS as FORMATS, open_text as open_text, text_fault as text_fault
from nlptasks.data.frames import frame_rows as frame_rows
from nlptasks.data.rows import (
    DataOptions as DataOptions,
    Row as Row,
    Table as Table,
    plural as plural,
    windows as windows,
)
from nlptasks.data.splits import sample as sample
from nlptasks.data.tables import read_rows as read_rows, read_table as read_table, read_text as read_text
from nlptasks.data.text import text_rows as text_rows
