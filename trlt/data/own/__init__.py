"""A user's own table of questions, in whatever format and under whatever names, as samples.

`tables` and `hub` open it as rows, `spellings` finds the fields among its columns, `values`, `answers` and `chat` read the
cells, `rows` puts a row's questions together, and `convert` makes samples of all of them. Only `tables` and `hub` touch files.
Whatever can't be used is a line that names place, field, value and remedy; nothing is guessed.
"""

from trlt.data.own.convert import CANONICAL, SPLIT, Converted, convert, task_counts
from trlt.data.own.hub import is_hub, read_hub, table_stem
from trlt.data.own.spellings import FAMILIES, SPELLINGS, Columns
from trlt.data.own.tables import SUFFIXES, Table, holds_samples, is_table, read_table

__all__ = [
    "CANONICAL",
    "FAMILIES",
    "SPELLINGS",
    "SPLIT",
    "SUFFIXES",
    "Columns",
    "Converted",
    "Table",
    "convert",
    "holds_samples",
    "is_hub",
    "is_table",
    "read_hub",
    "read_table",
    "table_stem",
    "task_counts",
]
