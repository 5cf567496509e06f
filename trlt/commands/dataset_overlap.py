"""`trlt dataset overlap`: which training sets have samples about the videos of which benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._output import Output
from trlt.data.datasets import names
from trlt.data.preparation import Overlap, benchmark_places, overlaps, readable_leaks, training_places
from trlt.errors import UsageError, counted
from trlt.evaluate.places import DATA
from trlt.files import write_text_atomic


def overlap(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DIR|NAME=DIR...", help="Folder with one subfolder per data set, or one set's annotation; default: data."
        ),
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Also write the table here, as Markdown.")] = None,
    output: Output,
) -> dict[str, Any]:
    """Counts shared footage; see `trlt dataset overlap --help`.

    Raises:
        TrltError: no training set or no benchmark is there, or annotation that can't be read.
    """
    given = places or [str(DATA)]
    trained = training_places(given)
    tested = [one for one in given if "=" not in one or one.partition("=")[0] in names("bench")]
    asked = benchmark_places(tested, {}) if tested else {}
    leaks, unread = readable_leaks(asked)
    if not trained or not asked:
        lacks = "a training set" if not trained else "a benchmark"
        raise UsageError(
            f"{', '.join(given)}: holds no annotation of {lacks}; give a folder whose subfolders have the names of "
            "`trlt dataset list`, or NAME=DIR"
        )
    found, others = overlaps(trained, leaks)
    lines = overlap_table(found, leaks.videos)
    output.show(*lines)
    for name, reason in unread.items():
        output.note(f"benchmark {name}: left out: {reason}")
    for name, reason in others.items():
        output.note(f"training set {name}: left out: {reason}")
    if out is not None:
        write_text_atomic(out, "\n".join(lines) + "\n")
        output.show(f"\nTable: {out}")
    return {"benchmarks": dict(leaks.videos), "training": {one.name: one.to_json() for one in found}, "unread": unread | others}


def overlap_table(found: Sequence[Overlap], videos: Mapping[str, int]) -> list[str]:
    """A Markdown table: a row per training set, a column per benchmark that shares footage with any; samples (videos)."""
    touched = [bench for bench in videos if any(bench in one.shared_samples for one in found)]
    head = ["training set", "samples", "videos", *(f"{bench} ({videos[bench]:,} videos)" for bench in touched)]
    rows = [[one.name, f"{one.samples:,}", f"{one.videos:,}", *(_cell(one, bench) for bench in touched)] for one in found]
    apart = [bench for bench in videos if bench not in touched]
    said = ["", f"No shared footage with any of them: {', '.join(apart)}."] if apart else []
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)] + said


def _cell(one: Overlap, bench: str) -> str:
    shared = one.shared_samples.get(bench)
    return f"{shared:,} ({counted(one.shared_videos[bench], 'video')})" if shared else "–"
