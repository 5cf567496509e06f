"""A selection as a page of its own, beside its samples: the funnel, targets, and measures before and after."""

from __future__ import annotations

from pathlib import Path

from trlt.select import Selection

PAGE = ".selection.html"
"""The ending of the page's name, in place of the samples'."""


def write_selection_page(path: Path, name: str, selection: Selection) -> Path:
    """Writes the page in one step; it loads nothing and opens from disk.

    Args:
        path: The HTML file.
        name: Of the selection.
        selection: What was selected.

    Returns:
        The path.
    """
    # Pages know clips, whose libraries take a while to load.
    from trlt.report.page import Page, write_page
    from trlt.report.page.difficulty import Selected

    chosen = Selected(name, selection.report, selection.rules)
    write_page(Page(title=f"Selection {name}", selections=[chosen]), path, frame_bytes=0)
    return path
