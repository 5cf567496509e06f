"""The plan of `trlt train` as tables: batch arithmetic, steps, launcher and memory."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from trlt.train.memory_plan import GB
from trlt.train.memory_plan.lines import CONTEXT, FRAGMENTS

SYMBOLS = (
    "P parameters, T trained ones, A those of adapters, N processes, V vocabulary, d width, f width of the MLP, c bytes of a "
    "computed number, s of the residual stream. Computed, not measured."
)


def tables(found: dict[str, Any]) -> list[Table | str]:
    """The plan for a person."""
    table = Table(title="What would run", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in found.items():
        if key != "memory":
            table.add_row(key.replace("_", " "), _shown(key, value))
    memory = found["memory"]
    if memory is None:
        return [table, "Memory: unknown; neither the model's config.json is at hand nor its size published"]
    legend = f"Shape: {memory['shape']}\n{SYMBOLS}"
    return [table, _memory_table(memory), legend, *([_verdict(memory)] if memory["fits"] is not None else [])]


def _memory_table(memory: dict[str, Any]) -> Table:
    count, active = memory["parameters"], memory["active_parameters"]
    experts = f", of which a token meets {active / GB:.2f}B" if active < count else ""
    table = Table(title=f"Estimated memory per GPU in GB (10^9 bytes); {count / GB:.2f}B parameters{experts}")
    table.add_column("when")
    table.add_column("what")
    table.add_column("GB", justify="right")
    table.add_column("formula", overflow="fold")
    for when, name in (("held", "all the time"), ("pass", "a forward and backward pass"), ("rollout", "sampling")):
        lines = [line for line in memory["lines"] if line["when"] == when]
        for line in lines:
            table.add_row(when, line["name"], f"{line['gb']:.1f}", line["formula"])
        if lines:
            table.add_row(when, f"[bold]{name}[/bold]", f"[bold]{memory[f'{when}_gb']:.1f}[/bold]", "", end_section=True)
    table.add_row("start", "policy and reference model, as loaded", f"{memory['start_gb']:.1f}", "part of what is held")
    on_top = f"(held + max(pass, rollout)) x {1 + FRAGMENTS:g} + {CONTEXT / GB:g}"
    table.add_row("", "[bold]peak[/bold]", f"[bold]{memory['peak_gb']:.1f}[/bold]", on_top)
    return table


def _verdict(memory: dict[str, Any]) -> str:
    gpu = f"{memory['gpu_gb']:g} GB ({memory['gpu']})"
    host = f"Of the machine's memory, loading takes {memory['loading_gb_per_process']:.1f} GB per process at a time"
    if memory["saving_gb"]:
        host += f", and saving {memory['saving_gb']:.1f} GB of the first process"
    if memory["fits"]:
        return f"It fits {gpu}, with {memory['headroom_gb']:.1f} GB to spare. {host}."
    return f"It doesn't fit {gpu}: {-memory['headroom_gb']:.1f} GB are missing. {host}."


def _shown(key: str, value: Any) -> str:
    if value is None:
        return "-" if key == "passes_per_process_and_step" else "unknown until the data is there"
    return str(value)
