"""A plan's verdicts, tables and runs become files: JSON, Markdown, pictures and one page. Knows no commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trlt.files import write_json, write_text_atomic
from trlt.lab.reproduce import markdown
from trlt.lab.reproduce.claims_page import Report, write_page
from trlt.lab.reproduce.plots import claims_png, curves_png
from trlt.lab.reproduce.records import spent
from trlt.lab.reproduce.verdicts import COVERS

VERDICTS = "verdicts.json"


def write_report(report: Report, folder: Path) -> dict[str, Path]:
    """Writes everything; gives what lies where."""
    files = {"verdicts": folder / VERDICTS, "tables and verdicts": folder / "evidence.md"}
    write_json(files["verdicts"], _json(report))
    text = markdown.evidence(report.plan.name, facts(report), report.verdicts, report.tables)
    write_text_atomic(files["tables and verdicts"], text)
    pictures = _pictures(report, folder)
    files["page"] = folder / "evidence.html"
    write_page(report, facts(report), pictures, files["page"])
    return files | pictures


def _pictures(report: Report, folder: Path) -> dict[str, Path]:
    """What could be drawn, in words, to its file; a picture of an earlier report with nothing to draw now goes."""
    rewards = {key: record.reward for key, record in report.counted.items()}
    names = [table.name for table in report.tables]
    claims, learning = folder / "claims.png", folder / "curves.png"
    drawn = {
        "each claim's mean and interval": (claims, claims_png(report.plan, report.claims, report.verdicts, claims)),
        "learning curves": (learning, curves_png(report.plan, names, rewards, learning)),
    }
    for path, there in drawn.values():
        if not there:
            path.unlink(missing_ok=True)
    return {words: path for words, (path, there) in drawn.items() if there}


def facts(report: Report) -> list[str]:
    """What was done, a line each."""
    world = report.plan.world
    versions = sorted(
        {f"trlt {one.versions.get('trlt')}, torch {one.versions.get('torch')}" for one in report.counted.values()}
    )
    failed = sum(one.error is not None for one in report.records)
    lines = [
        f"{len(report.counted)} of {report.of} runs are there; the plan has {len(report.plan.seeds)} seeds for each arm",
        f"base model {report.plan.recipe.get('model', {}).get('path', 'of the recipe')}",
        f"a synthetic world, seed {world.seed}, {world.scale:g} times the demo's clips to train on and {world.bench_scale:g} "
        "times its benchmarks'",
        *versions,
    ]
    if report.counted:
        hours = spent(report.counted.values()) / 3600
        lines.append(f"their commands would take {hours:.1f} hours one after the other, without videos, pool and its probe")
    if failed:
        lines.append(f"runs that failed, are listed, and don't count: {failed}")
    return lines


def _json(report: Report) -> dict[str, Any]:
    return {
        "schema": 1,
        "plan": report.plan.name,
        "world": report.plan.world.model_dump(mode="json"),
        "seeds": list(report.plan.seeds),
        "intervals": COVERS,
        "claims": [one.to_json() for one in report.verdicts],
        "tables": {table.name: table.to_json() for table in report.tables},
        "made": len(report.counted),
        "of": report.of,
        # The curves stand in the log of runs.
        "runs": [{key: value for key, value in one.to_json().items() if key != "reward"} for one in report.counted.values()],
    }
