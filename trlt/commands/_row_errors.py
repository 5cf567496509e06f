"""Summary of rows with an error: how many, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trlt.errors import OwnCodeError, TrltError, VideoError, counted
from trlt.rollout import read_rows
from trlt.task.sample import Sample

SHOWN = 3
"""Number of reasons shown."""


def none_graded(rows: Path) -> TrltError:
    """The error of a run of which every row holds one: about the videos, or about a reward function."""
    reasons = [str(row["error"]) for row in read_rows(rows)]
    if all(reason.startswith(OwnCodeError.BEGINS) for reason in reasons):
        return unrewarded(reasons, rows)
    return VideoError(
        f"not one sample could be asked; the first: {reasons[0]} (--videos names the videos' folder, then --retry-errors)"
    )


def unpaid(rows: Path) -> list[str]:
    """Reasons of the rows for which a reward function raised."""
    return [row["error"] for row in read_rows(rows) if (row["error"] or "").startswith(OwnCodeError.BEGINS)]


def unrewarded(reasons: Sequence[str], rows: Path) -> TrltError:
    """The error of samples whose answers are there, and for which a reward function raised.

    Args:
        reasons: As their rows hold them.
        rows: Their file.
    """
    return TrltError(
        f"the answers to {counted(len(reasons), 'sample')} couldn't be rewarded: one of your reward functions raised; the "
        f"first: {reasons[0]}\n{rows} keeps the answers: `trlt reward try FILE --probe {rows}` tries a mended function on "
        "those of a probe without a model. A mended file makes another run (another --out, or --fresh); if it is a server or "
        "a file that the function needs, the same command with --retry-errors grades them once it is there"
    )


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
    if own := sum(reason.startswith(OwnCodeError.BEGINS) for reason in failed.values()):
        lines[0] += (
            f". A reward function raised for {own:,}, whose answers are kept: --retry-errors grades them by the same file, and "
            "a mended one makes another run (another --out, or --fresh)"
        )
    lines += [f"  {one['clips']:,} x {one['reason']}, for example {one['example']}" for one in reasons[:SHOWN]]
    if len(reasons) > SHOWN:
        others = sum(one["clips"] for one in reasons[SHOWN:])
        lines.append(f"  {others:,} for other reasons")
    return "\n".join(lines)
