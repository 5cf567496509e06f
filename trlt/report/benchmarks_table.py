"""What is known of each benchmark: size, rule, what published figures used, and where harnesses disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

_LABELS = {"rule": "rule", "published": "published figures", "protocols": "protocols", "where": "where", "license": "licence"}


def benchmark_lines(described: Mapping[str, Mapping[str, Any]]) -> Group:
    """A block per benchmark, as wide as the terminal.

    Args:
        described: Name to what `describe` tells.
    """
    blocks: list[RenderableType] = []
    for name, told in described.items():
        size = f"{told['questions']:,} questions" if told["questions"] else "unknown size"
        videos = f" over {told['videos']:,} videos" if told["videos"] else ""
        blocks.append(Text.assemble((name, "bold"), f"  {told['title']}: {size}{videos}, {told['kind'].replace('_', ' ')}"))
        for key, label in _LABELS.items():
            value = told[key]
            shown = ", ".join(value) if isinstance(value, list) else value or "unknown"
            blocks.append(Padding(Text.assemble((f"{label}: ", "dim"), shown), (0, 0, 0, 2)))
        blocks += [Padding(Text(f"- {line}"), (0, 0, 0, 2)) for line in told["disagreements"]]
        blocks.append(Text(""))
    return Group(*blocks[:-1])
