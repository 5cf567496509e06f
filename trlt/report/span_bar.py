"""Spans of time drawn over a video's length, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from trlt.task.sample import Span

_STYLES = ("cyan", "green", "magenta", "yellow")
_NAME_WIDTH = 16


def timeline(duration: float, rows: Sequence[tuple[str, Sequence[Span]]], *, width: int = 60) -> Text:
    """One line per row with its spans as blocks, and an axis of seconds below.

    A span shorter than a character still shows; a part past the end of the video is cut off and marked by `>`.

    Args:
        duration: Seconds of the video.
        rows: Name and spans of each line.
        width: Characters of the video's length.
    """
    margin = min(_NAME_WIDTH, max((len(name) for name, _ in rows), default=0))
    out = Text(no_wrap=True)
    for number, (name, spans) in enumerate(rows):
        cells = ["─"] * width
        for span in spans:
            first = min(width - 1, max(0, int(span.start / duration * width)))
            last = min(width, max(first + 1, round(span.end / duration * width)))
            cells[first:last] = "█" * (last - first)
        late = any(span.end > duration for span in spans)
        shown = ", ".join(f"{span.start:.1f} to {span.end:.1f} s" for span in spans) or "no span"
        out.append(f"{name[:margin]:<{margin}} ")
        out.append("".join(cells) + (">" if late else " "), style=_STYLES[number % len(_STYLES)])
        out.append(f" {shown}\n")
    out.append(" " * (margin + 1) + _axis(duration, width), style="dim")
    return out


def _axis(duration: float, width: int) -> str:
    """Five marks in seconds from 0 to the end, each under its position."""
    cells = [" "] * (width + 12)
    reached = -1
    for step in range(5):
        place = round(step / 4 * width)
        label = f"{duration * step / 4:.1f}".removesuffix(".0") + (" s" if step == 4 else "")
        start = max(0, place - len(label) // 2) if step else 0
        if start > reached:
            cells[start : start + len(label)] = label
            reached = start + len(label)
    return "".join(cells).rstrip()
