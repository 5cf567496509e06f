"""`trlt select`: which probed samples are worth training on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trlt.commands._output import Output
from trlt.commands._setup import resolve
from trlt.errors import DataError, UsageError
from trlt.report import histogram_table, selection_table
from trlt.rollout import Run, environment, file_digest, read_rows, videos_root
from trlt.sample import read_samples, write_samples, write_text_atomic
from trlt.selection import select as choose


def select(
    probe: Path,
    *,
    out: Path,
    data: Path | None = None,
    recipe_path: Path | None = None,
    sets: Sequence[str] = (),
    output: Output,
) -> dict[str, Any]:
    """Writes the samples that a selection keeps; see `trlt select --help`.

    Raises:
        TrltError: a recipe or file that can't be used, or rows and samples that don't belong together.
    """
    recipe = resolve(recipe_path, sets, {})
    run = _run_of(probe)
    rows = run.rows("probe")
    if data is None:
        data = _noted_data(run)
    if out.resolve() in (data.resolve(), rows.resolve()):
        raise UsageError(f"--out {out}: would overwrite its own input; give another file")
    by_id = {sample.id: sample for sample in read_samples(data)}
    selection = choose(read_rows(rows), recipe.select)
    unknown = [id for id in selection.ids if id not in by_id]
    if unknown:
        raise DataError(
            f"{rows}: {len(unknown):,} probed samples aren't in {data} (the first: {unknown[0]!r}); "
            "give the samples that were probed with --data"
        )
    report = selection.report.to_json()
    report_path = out.with_suffix(".report.json")
    write_text_atomic(report_path, json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    output.show(histogram_table(report["histograms"]), "", selection_table(selection.report))
    if not selection.ids:
        raise DataError(f"{rows}: nothing was selected; {report_path} says what there was; probe more, or widen `select.*`")
    write_samples(out, (by_id[id] for id in selection.ids))
    root = (run.read_manifest() or {}).get("inputs", {}).get("data", {}).get("videos")
    Run(out).write_manifest(
        {
            "schema": 1,
            "kind": "select",
            **environment(),
            "videos": root or str(videos_root(recipe.video.root, data).resolve()),
            "samples": len(selection.ids),
            "sha256": file_digest(out),
            "inputs": {
                "probe": {"path": str(rows.resolve()), "sha256": file_digest(rows)},
                "data": {"path": str(data.resolve()), "sha256": file_digest(data)},
            },
        }
    )
    output.show(f"\nSamples: {out}\nReport: {report_path}\nNext: trlt train RECIPE --data {out}")
    return {"samples": str(out), "report": str(report_path), "taken": len(selection.ids), "selection": report}


def _run_of(probe: Path) -> Run:
    """The run behind a file of rows, or behind a run's folder."""
    if probe.is_dir():
        return Run(probe)
    if probe.parent.name == "rows" and (probe.parent.parent / "manifest.json").is_file():
        return Run(probe.parent.parent)
    return Run(probe)


def _noted_data(run: Run) -> Path:
    """The samples that were probed, as the run's manifest names them."""
    noted = (run.read_manifest() or {}).get("inputs", {}).get("data", {})
    if "path" not in noted:
        raise UsageError(f"{run.manifest}: isn't there, or names no samples; give those that were probed with --data")
    path = Path(noted["path"])
    if not path.exists() or file_digest(path) != noted.get("sha256"):
        raise DataError(f"{path}: has changed since it was probed, or is gone; give the samples that were probed with --data")
    return path
