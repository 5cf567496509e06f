"""The report of `trlt prepare` in Markdown: for a paper's appendix, and to trace a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trlt.report.markdown_latex import markdown_table, markdown_text
from trlt.report.samples_table import BLOCKS


def prepared_markdown(manifest: Mapping[str, Any]) -> str:
    """The report: counts beside the paper's, every reason with examples, leakage, statistics, licenses.

    Args:
        manifest: As `trlt prepare` writes it.
    """
    sources = manifest["sources"]
    parts = ["# Prepared samples", f"{manifest['samples']:,} samples, by trlt {manifest['trlt']}.", _counts(sources)]
    if manifest["against"] is not None:
        parts.append(_leakage(manifest["against"]))
    parts += [_reasons(entry) for entry in sources]
    parts.append(_statistics(manifest["statistics"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _counts(sources: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for entry in sources:
        paper = f"{entry['paper']:,}" if entry["paper"] is not None else "-"
        counts = (entry["read"], entry["kept"], sum(entry["repaired"].values()), sum(entry["dropped"].values()))
        rows.append([entry["dataset"], entry["split"], entry["task"], *(f"{n:,}" for n in counts), paper, entry["license"]])
    return _table(["source", "split", "task", "read", "kept", "repaired", "dropped", "paper", "license"], rows)


def _leakage(against: Mapping[str, Any]) -> str:
    rows = [[name, f"{videos:,}", f"{against['leaked'].get(name, 0):,}"] for name, videos in against["videos"].items()]
    done = "left out" if against["leaks"] == "remove" else "kept and flagged"
    lines = ["## Footage of benchmarks", f"Samples on footage of a benchmark are {done}."]
    lines.append(_table(["benchmark", "videos", "samples on them"], rows))
    if against["unchecked"]:
        lines.append(f"Not compared, since no annotation was given: {', '.join(against['unchecked'])}.")
    return "\n\n".join(lines)


def _reasons(entry: Mapping[str, Any]) -> str:
    rows = []
    for what in ("dropped", "repaired"):
        for reason, count in sorted(entry[what].items(), key=lambda item: (-item[1], item[0])):
            shown = "<br>".join(map(markdown_text, entry["examples"].get(reason, [])))
            rows.append([what, reason, f"{count:,}", shown])
    notes = "".join(f"\n\n{markdown_text(note)}" for note in entry["notes"])
    if not rows:
        return f"## {entry['dataset']}\n\nNothing was dropped or repaired.{notes}"
    return f"## {entry['dataset']}{notes}\n\n" + markdown_table(["", "reason", "records", "examples"], rows, texts=4)


def _statistics(statistics: Mapping[str, Any]) -> str:
    parts = ["## Statistics of the samples"]
    for key, title in BLOCKS.items():
        if any(statistics[key].values()):
            parts.append(_table([title, "samples"], [[name, f"{count:,}"] for name, count in statistics[key].items()]))
    return "\n\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table(head, [[markdown_text(cell) for cell in row] for row in rows], texts=len(head))
