r"""The leaderboard for a paper: Markdown, and LaTeX that needs `\usepackage{booktabs}` alone. Names are escaped."""

from __future__ import annotations

from collections.abc import Sequence

from trlt.report.leaderboard.board import Cell, Column, Leaderboard
from trlt.report.leaderboard.words import NONE, average_words, blocks, bounds_words, count_words, title
from trlt.report.markdown_latex import latex_text, markdown_table, markdown_text

_SAME = "not significantly different from it, paired by question over videos"


def leaderboard_markdown(board: Leaderboard) -> str:
    """One table: bold is a column's highest value, italic what can't be told from it."""
    head = ["run"]
    for column in board.columns:
        count = f"<br>n = {column.n:,}" if column.n is not None else ""
        head.append(f"{markdown_text(column.bench)}<br>{markdown_text(column.metric)}{count}")
    head += [f"average of {len(board.averaged)}"] * (board.averages is not None)
    rows = []
    for place, name in enumerate(board.names):
        row = [markdown_text(name), *(_markdown_cell(column, column.cells[place]) for column in board.columns)]
        rows.append([*row, *([f"{board.averages[place]:.1f}"] if board.averages else [])])
    said = [f"{title(board)} **Bold**: the highest value; *italic*: {_SAME}.", *([average_words(board) or ""])]
    notes = [f"- <sup>{letter}</sup> {markdown_text(text)}" for letter, text in board.footnotes.items()]
    notes += [f"- {markdown_text(note)}" for note in board.notes]
    parts = ["# Leaderboard", " ".join(said).strip(), markdown_table(head, rows, texts=1), "\n".join(notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def leaderboard_latex(board: Leaderboard) -> str:
    r"""A `table*` environment, with a `tabular` per block of columns: bold is the highest value, underlined as in Markdown."""
    caption = latex_text(f"{title(board)} ") + rf" \textbf{{Bold}}: the highest value; \underline{{underlined}}: {_SAME}."
    if words := average_words(board):
        caption += f" {latex_text(words)}"
    lines = [r"\begin{table*}[t]", r"\centering\small", rf"\caption{{{caption}}}"]
    parts = list(blocks(board.columns))
    for number, columns in enumerate(parts):
        last = number == len(parts) - 1 and board.averages is not None
        lines += [r"\par\medskip"] * (number > 0)
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(columns) + last)}}}", r"\toprule"]
        heads = [_stack([latex_text(column.bench), *_small(_head(column))]) for column in columns]
        lines.append(" & ".join(["Run", *heads, *(["Average"] if last else [])]) + r" \\ \midrule")
        for place, name in enumerate(board.names):
            cells = [_latex_cell(column, column.cells[place]) for column in columns]
            average = [f"{board.averages[place]:.1f}"] if last and board.averages else []
            lines.append(" & ".join([latex_text(name), *cells, *average]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [rf"\par $^{{{letter}}}$ {latex_text(text)}." for letter, text in board.footnotes.items()]
    notes += [rf"\par {latex_text(note)}." for note in board.notes]
    if notes:
        lines += [r"\par\medskip\begin{minipage}{\textwidth}\footnotesize", *notes, r"\end{minipage}"]
    return "% \\usepackage{booktabs}\n" + "\n".join([*lines, r"\end{table*}"]) + "\n"


def _markdown_cell(column: Column, cell: Cell | None) -> str:
    if cell is None:
        return NONE
    mark = {"highest": "**", "level": "*"}.get(cell.standing, "")
    letters = f"<sup>{','.join(cell.notes)}</sup>" if cell.notes else ""
    below = "".join(f"<br>{words}" for words in (bounds_words(cell), count_words(column, cell)) if words)
    return f"{mark}{cell.value:.1f}{mark}{letters}{below}"


def _head(column: Column) -> list[str]:
    return [latex_text(column.metric), *([f"$n$ = {column.n:,}"] if column.n is not None else [])]


def _latex_cell(column: Column, cell: Cell | None) -> str:
    if cell is None:
        return "---"
    value = f"{cell.value:.1f}"
    value = {"highest": rf"\textbf{{{value}}}", "level": rf"\underline{{{value}}}"}.get(cell.standing, value)
    letters = f"$^{{{','.join(cell.notes)}}}$" if cell.notes else ""
    bounds = [f"[{cell.interval[0]:.1f}, {cell.interval[1]:.1f}]"] if cell.interval else []
    count = [f"$n$ = {cell.n:,}"] if column.n is None else []
    return _stack([value + letters, *_small([*bounds, *count])])


def _small(lines: Sequence[str]) -> list[str]:
    return [rf"{{\scriptsize {line}}}" for line in lines]


def _stack(lines: Sequence[str]) -> str:
    """Lines above one another in a cell; needs no package."""
    if len(lines) == 1:
        return lines[0]
    return r"\begin{tabular}[t]{@{}r@{}}" + r" \\ ".join(lines) + r"\end{tabular}"
