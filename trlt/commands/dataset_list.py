"""`trlt dataset list`: the training sets and benchmarks that trlt reads."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from trlt.commands._output import Output
from trlt.data.datasets import has_role, load, names


def list_datasets(*, output: Output) -> dict[str, Any]:
    """Lists the data sets; see `trlt dataset list --help`."""
    found: dict[str, dict[str, Any]] = {}
    table = Table(box=None, pad_edge=False)
    for column in ("name", "for", "task", "questions", "what it is"):
        table.add_column(column, justify="right" if column == "questions" else "left", overflow="fold")
    for name in names():
        module = load(name)
        facts = getattr(module, "FACTS", None)
        roles = [role for role in ("train", "bench") if has_role(module, role)]
        found[name] = {
            "title": module.TITLE,
            "roles": roles,
            "task": module.TASK,
            "test_questions": facts.questions if facts else None,
            "license": module.LICENSE,
            "where": module.WHERE,
        }
        count = f"{facts.questions:,}" if facts else "–"
        said = {"train": "training", "bench": "benchmark"}
        table.add_row(name, ", ".join(said[role] for role in roles), module.TASK.replace("_", " "), count, Text(module.TITLE))
    output.show(table)
    output.show(
        "",
        "questions: of a benchmark's test split. `trlt eval --list` says more of benchmarks, and `trlt download NAME` how one "
        "is had, with its licence.",
    )
    return {"datasets": found}
