"""Summary of rows with an error: how many, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trlt.task.sample import Sample

SHOWN = 3
"""Number of reasons shown."""


def told(rows: Iterable[Mapping[str, Any]], samples: Sequence[Sample]) -> str:
    """The number of rows with an error and the most frequent reasons, each with an example; empty without errors.

    Args:
        rows: Of a probe or of answers.
        samples: That were asked.
    """
    from trlt.video.survey import grouped

    failed = {row["id"]: str(row["error"]) for row in rows if row["error"] is not None}
    if not failed:
        return ""
    reasons = grouped((failed[sample.id], sample.video) for sample in samples if sample.id in failed)
    hold, them = ("1 sample holds", "it") if len(failed) == 1 else (f"{len(failed):,} samples hold", "them")
    lines = [f"{hold} an error (`error` in the row says which); --retry-errors asks {them} again"]
    lines += [f"  {one['clips']:,} x {one['reason']}, for example {one['example']}" for one in reasons[:SHOWN]]
    if len(reasons) > SHOWN:
        others = sum(one["clips"] for one in reasons[SHOWN:])
        lines.append(f"  {others:,} for other reasons")
    return "\n".join(lines)
