"""Statistics of a set of samples (Fig. 3 of the paper) as bars in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trlt.errors import counted
from trlt.report.bars import bar

_WIDTH = 18
BLOCKS = {
    "sources": "source",
    "tasks": "task",
    "domains": "domain",
    "shared_footage": "videos in several sources",
    "options": "options a question",
    "duration_s": "duration",
    "spans_a_sample": "spans a sample",
    "span_length_s": "length of a span",
    "span_share_of_video": "share of the video that a span covers",
    "span_middle_in_video": "middle of a span, from start to end of the video",
}


def statistics_view(statistics: Mapping[str, Any]) -> Group:
    """A block of bars for each distribution.

    Args:
        statistics: As `trlt.data.preparation.SampleStatistics.to_json` gives them.
    """
    mean = statistics["mean_duration_s"]
    line = f"{counted(statistics['samples'], 'sample')} on {counted(statistics['clips'], 'clip')}"
    head = Text(line + (f", {mean:.1f} s on average" if mean is not None else ""), style="bold")
    blocks: list[RenderableType] = [
        _block(title, statistics[key]) for key, title in BLOCKS.items() if any(statistics[key].values())
    ]
    return Group(head, Columns(blocks, padding=(1, 3)))


def _block(title: str, counts: Mapping[str, int]) -> Table:
    table = Table(title=title, title_justify="left", title_style="cyan", box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(min_width=_WIDTH)
    table.add_column(justify="right")
    most = max(counts.values(), default=0) or 1
    for name, count in counts.items():
        if count or len(counts) <= 12:
            table.add_row(Text(name, style="dim"), Text(bar(count / most, _WIDTH)), f"{count:,}")
    return table
