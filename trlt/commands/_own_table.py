"""Shows what trlt made of a user's own table: which column became which field, the tasks, and the first sample."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from trlt.commands._output import Output
from trlt.data.own import SPELLINGS, Converted, task_counts
from trlt.errors import counted
from trlt.task.prompt import letter, render_span
from trlt.task.sample import Sample

LONGEST = 100
"""Characters of a text that are shown."""


def show_columns(made: Converted, given: str, output: Output) -> None:
    """Shows columns by field, what wasn't used, tasks with counts, and the first sample."""
    output.show(f"{given}: {counted(made.rows, 'row')}")
    table = Table(box=None, pad_edge=False)
    for name in ("field", "column", "rows"):
        table.add_column(name, header_style="dim", justify="right" if name == "rows" else "left", overflow="fold")
    for field in (name for name in SPELLINGS if name in made.used):
        for column, rows in made.used[field].items():
            said = column
            if field == "answer" and made.counted_from != "texts":
                said = f"{column} (places count from {made.counted_from})"
            table.add_row(field, Text(said), f"{rows:,}")
    output.show(table)
    if made.unused:
        output.show(f"not used: {', '.join(made.unused)}")
    if made.samples:
        output.show(f"tasks: {', '.join(f'{name} {count:,}' for name, count in task_counts(made.samples).items())}")
        output.show("first sample:", *(f"  {line}" for line in sample_lines(made.samples[0])), "")


def sample_lines(sample: Sample) -> list[str]:
    """A sample in words, for a look at whether its columns were understood."""
    lines = [f"id {sample.id}, {next(iter(task_counts([sample])))}, video {sample.video}"]
    if sample.clip:
        lines.append(f"clip {render_span(sample.clip)} s of the file; times below count from its start")
    lines.append(f"question: {_short(sample.question)}")
    lines += [
        f"{'*' if place == sample.answer_index else ' '} {letter(place) if place < 26 else place}. {_short(text)}"
        for place, text in enumerate(sample.options or ())
    ]
    if sample.answer is not None and not sample.options:
        lines.append(f"answer: {_short(sample.answer)}")
    if sample.spans:
        lines.append(
            f"spans: {', '.join(render_span(span) for span in sample.spans[:5])} s{' …' if len(sample.spans) > 5 else ''}"
        )
    return lines


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
