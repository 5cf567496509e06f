"""Atomic files, JSON within bounds, and bytes from the network.

Knows texts, bytes and JSON values; nothing of what they mean.
"""

from trlt.files.atomic import (
    HALF_PAIRS,
    append,
    checksum,
    create_text,
    file_digest,
    new_folder,
    open_atomic,
    replacing,
    sample_files,
    to_json,
    write_json,
    write_text_atomic,
)
from trlt.files.jsonl import SHOWN, Faults, append_jsonl, bounded_lines, iter_jsonl, mend_tail, read_log, to_line, write_jsonl

__all__ = [
    "HALF_PAIRS",
    "SHOWN",
    "Faults",
    "append",
    "append_jsonl",
    "bounded_lines",
    "checksum",
    "create_text",
    "file_digest",
    "iter_jsonl",
    "mend_tail",
    "new_folder",
    "open_atomic",
    "read_log",
    "replacing",
    "sample_files",
    "to_json",
    "to_line",
    "write_json",
    "write_jsonl",
    "write_text_atomic",
]
