from nlptasks.data.labelled_texts import DataOptions as DataOptions
from nlptasks.data.labelled_texts import common_column as common_column
from nlptasks.data.splits import sample as sample
from nlptasks.data.tables import Record as Record
from nlptasks.data.tables import Table as Table
from nlptasks.data.tables import parse_table as parse_table
