"""The generated part of `docs/ready-recipes.md`: shipped recipes with the GPUs that they need."""

from __future__ import annotations

from trlt.train.ready import ready_recipes


def table() -> str:
    """Recipes that aren't ablations or plans, as a table."""
    rows = ["| name | for | model | GPUs | GB by plan | what it is |", "|---|---|---|---|---|---|"]
    for one in ready_recipes():
        if one.kind != "recipe":
            continue
        gpus = f"{one.processes} x {one.gpu_gb:g} GB" if one.processes and one.gpu_gb else "none"
        needed = "–" if one.needed_gb is None else f"{one.needed_gb:.1f}"
        cells = (f"`{one.name}`", one.purpose, one.model.rpartition("/")[2] or "–", gpus, needed, one.comment)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
