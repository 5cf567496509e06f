"""How each run was made, as a section of the page: its manifest and its recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trlt.recipe import flat
from trlt.report.page.markup import Markup, element, join, table


class Made(NamedTuple):
    """One run."""

    name: str
    kind: str
    """`probe`, `select`, `train` or `eval`."""
    manifest: Mapping[str, Any]
    recipe: str | None
    """The resolved recipe as YAML."""


def protocol_section(runs: Sequence[Made]) -> Markup:
    """One folded block per run: what its metrics depend on, line by line, and the resolved recipe."""
    parts = []
    for run in runs:
        rows = [[key, _shown(value)] for key, value in flat(run.manifest) if value is not None]
        inner = [table(["key", "value"], rows, text_columns=2, caption=f"Manifest of {run.name}")]
        if run.recipe:
            inner.append(element("details", element("summary", "Recipe"), element("pre", run.recipe)))
        parts.append(element("details", element("summary", element("b", run.name), f" ({run.kind})"), *inner))
    return join(parts)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
