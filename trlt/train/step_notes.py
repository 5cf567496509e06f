"""What a training notes beside its checkpoints, and how the part of steps that aren't saved is forgotten.

Knows files only, and imports nothing heavy: an interruption is answered by it, which may come while PyTorch is imported, and
then no import of PyTorch succeeds any more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trlt.files import read_log, write_jsonl
from trlt.train.advantage_scale import cut_scales
from trlt.train.completion_log import cut_completions
from trlt.train.online.history import cut_history
from trlt.train.retirement import cut_visits
from trlt.train.unreadable_videos import cut_broken

LOG = "log.jsonl"
"""One line per step, in a run's folder."""


def forget_after(folder: Path, step: int) -> list[dict[str, Any]]:
    """Cuts off what a run has noted after a step, in its log and beside it; no process may be writing meanwhile.

    Returns:
        The log's rows that stay.
    """
    log, kept = folder / LOG, []
    if log.is_file():
        kept = [row for row in read_log(log) if row["step"] <= step]
        write_jsonl(log, kept)
    cut_broken(folder, step)
    cut_visits(folder, step)
    cut_history(folder, step)
    cut_scales(folder, step)
    cut_completions(folder, step)
    return kept
