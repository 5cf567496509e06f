"""`trlt probe`: how often, and how differently, does a model answer each sample?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trlt.commands._output import Output
from trlt.commands._setup import RUNS, make_engine, protocol, resolve
from trlt.errors import VideoError
from trlt.model import locate
from trlt.report import histogram_table
from trlt.rollout import file_digest, model_identity, open_run, read_rows, run, videos_root
from trlt.sample import read_samples
from trlt.selection import histogram
from trlt.video.resolve import VideoIndex

IGNORED = ("prepare.", "select.", "train.", "eval.")
"""Sections of a recipe that don't concern a probe's rows."""


def probe(
    data: Path,
    *,
    n: int | None = None,
    recipe_path: Path | None = None,
    model: str | None = None,
    videos: Path | None = None,
    sets: Sequence[str] = (),
    out: Path | None = None,
    fresh: bool = False,
    retry_errors: bool = False,
    output: Output,
) -> dict[str, Any]:
    """Asks a model n times about each sample of `data`; see `trlt probe --help`.

    Raises:
        TrltError: a recipe, file, model or run folder that can't be used; before any work, where it can be known.
    """
    flags = {"probe.n": n, "model.path": model, "video.root": str(videos) if videos else None}
    recipe = resolve(recipe_path, sets, flags)
    samples = read_samples(data)
    root = videos_root(recipe.video.root, data)
    index = VideoIndex(root, recipe.video.downloads)
    located = locate(recipe.model.path)
    source = {"sha256": file_digest(data), "samples": len(samples), "path": str(data.resolve()), "videos": str(root.resolve())}
    folder = open_run(
        out or RUNS / recipe.name / f"probe-{data.stem}",
        "probe",
        recipe,
        model=model_identity(located),
        inputs={"data": source},
        protocol=protocol(recipe.probe, recipe.video),
        ignore=IGNORED,
        fresh=fresh,
    )
    rows = folder.rows("probe")
    output.note(f"probe: {len(samples):,} samples, {recipe.probe.n} answers each, by {recipe.model.path}; rows in {rows}")
    engine = make_engine(recipe.model)
    from trlt.video.workers import ClipLoader

    with ClipLoader(recipe.video) as loader, output.progress("probe") as progress:
        summary = run(
            samples,
            engine=engine,
            loader=loader,
            videos=index,
            settings=recipe.probe,
            n=recipe.probe.n,
            weights=recipe.reward.weights(),
            out=rows,
            retry_errors=retry_errors,
            progress=progress,
        )
    if summary.errors == summary.rows:
        first = next(read_rows(rows))["error"]
        raise VideoError(f"no video could be read; the first: {first} (--videos names their folder, then --retry-errors)")
    found = histogram(read_rows(rows), recipe.select)
    output.show(histogram_table(found))
    if summary.errors:
        output.show(f"\n{summary.errors:,} samples hold an error: their video can't be read (`error` in the row says why)")
    output.show(f"\nRows: {rows}\nNext: trlt select --probe {rows} --out train.jsonl")
    return {"rows": str(rows), "manifest": str(folder.manifest), "summary": asdict(summary), "histogram": found}
