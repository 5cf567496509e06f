"""The page of a run that has just ended: what `trlt report RUN` writes, or a note on why it isn't there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from trlt.commands._output import Output
from trlt.errors import TrltError
from trlt.errors.faults import unforeseen

FRAMES_MB = 2.0
"""Frames in the page at the end of a run: of some dozens of clips, so that decoding them takes seconds."""

NoPage = Annotated[bool, typer.Option("--no-page", help="Don't write report.html into the run's folder at the end.")]


class WrittenPage(NamedTuple):
    """What came of a page."""

    path: Path | None
    """None where it couldn't be written."""
    said: str
    """Where it is, or why there is none."""


def write_page(folder: Path, *, frames_mb: float = FRAMES_MB) -> WrittenPage:
    """Writes `report.html` into a run's folder, as `trlt report` with that folder does; loads no model.

    The run is over and its results are written: whatever the page's fault is, it must not become theirs.

    Args:
        folder: Of a run, or of several.
        frames_mb: Megabytes of frames.
    """
    from trlt.commands.report import report

    kept = "the results are there all the same"
    try:
        page = Path(report([folder], frames_mb=frames_mb, output=Output(json_mode=True))["page"])
    except (TrltError, OSError) as error:
        return WrittenPage(None, f"Page: not written, {kept}; `trlt report {folder}` tries again: {error}")
    except Exception as error:  # of the page alone
        return WrittenPage(None, f"Page: not written, {kept}; this is a bug of trlt: {unforeseen(error)}")
    return WrittenPage(page, f"Page: {page}")


def with_page(result: dict[str, Any], folder: Path, output: Output, *, wanted: bool) -> dict[str, Any]:
    """A run's result, with the path of its page, which is written now if `wanted`."""
    if not wanted:
        return result
    page, said = write_page(folder)
    (output.show if page else output.note)(said)
    return result | {"page": page and str(page)}
