"""Part of `docs/versions.md`: what was run with which versions, from the notes of `tests/versions.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

RECORD = Path(__file__).resolve().parents[2] / "trlt/commands/doctor_checks/versions.json"


def matrix() -> str:
    """A table with a row for each set of versions, and a column for each part of the tests."""
    entries = json.loads(RECORD.read_text(encoding="utf-8"))
    libraries, parts = list(entries[0]["versions"]), list(entries[0]["parts"])
    rows = [
        "| " + " | ".join([*libraries, "Python", "date", *parts]) + " |",
        "|" + "---|" * (len(libraries) + 2 + len(parts)),
    ]
    for entry in entries:
        cells = [entry["versions"][name] for name in libraries]
        cells += [entry["python"], entry["date"], *(outcome(entry["parts"][part]) for part in parts)]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def outcome(found: Mapping[str, int]) -> str:
    """Numbers of tests in words, those of 0 left out."""
    return ", ".join(f"{number} {name}" for name, number in found.items() if number) or "not run"
