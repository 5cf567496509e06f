"""Turns annotation into samples: one file per data set, found by its name.

`trlt eval --bench nextgqa` opens `nextgqa.py`; there is no list to keep. Such a file has a docstring (origin, splits,
protocol, license), the constants `TITLE`, `TASK`, `LICENSE`, `WHERE` (to get it), `DOMAIN` (what its videos show), `FILES`
(official file names by split), perhaps `FETCH` (addresses), `OPTIONAL` (those that may be missing) and `STREAMED` (large
lists of records), an invented `EXAMPLE` with its expected samples, and `read(files, split, purpose)`. Training sources have
`TRAIN_SPLIT` and `PAPER_COUNT` (None where the paper doesn't use it); a benchmark has `TEST_SPLIT`, `values`, `official` and
`metrics`, perhaps `together(items, rows)` (metrics that questions have only together), `group(sample)` (groups whose means
weigh alike in its metrics, but those in `MICRO`), `OFFICIAL_LOWER` or `OFFICIAL_HIGHER` (why its official metric may be far
below or above the paper's), `HELD_OUT` (splits besides `TEST_SPLIT` that aren't trained on), `prediction(record, where)` (a
line of its own form of predictions as id and text), and `FACTS` (size, rule, and what published figures used). A file whose
name starts with an underscore is shared code. Knows no prompt, no frames and no model.
"""

from trlt.data.datasets import _by_task as by_task
from trlt.data.datasets._common import Example, Purpose, Reading, keep_example
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import HUB, Fetch, Remote, is_pinned
from trlt.data.datasets._metrics import Item, gold_text, is_answered, item_values
from trlt.data.datasets._modules import (
    dataset_file,
    dataset_name,
    has_role,
    item_weights,
    load,
    name_fault,
    names,
    open_dataset,
)
from trlt.data.datasets._outside import entry_fault, reading_faults, shape_faults, value_faults
from trlt.data.datasets._source import read_source
from trlt.data.datasets._spans import file_warning, fit_to_file, outside_words, span_outside
from trlt.data.datasets._videos import locate

__all__ = [
    "HUB",
    "Example",
    "Facts",
    "Fetch",
    "Item",
    "Purpose",
    "Reading",
    "Remote",
    "by_task",
    "dataset_file",
    "dataset_name",
    "entry_fault",
    "file_warning",
    "fit_to_file",
    "gold_text",
    "has_role",
    "is_answered",
    "is_pinned",
    "item_values",
    "item_weights",
    "keep_example",
    "load",
    "locate",
    "name_fault",
    "names",
    "open_dataset",
    "outside_words",
    "read_source",
    "reading_faults",
    "shape_faults",
    "span_outside",
    "value_faults",
]
