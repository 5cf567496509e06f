"""`results.json` as tables for a paper: Markdown, and LaTeX with booktabs. Knows texts only.

Names are escaped: nothing in a file becomes markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trlt.report.caveats import interval, notes_on, official_notes
from trlt.report.results_table import PAPER, PaperResult, asked
from trlt.report.sample_lines import sample_lines

CAPTION = (
    "Results in percent, with 95% intervals from a bootstrap over videos. Lenient: what outputs state in any spelling. "
    "Unanswered questions count as wrong."
)


class _MetricRow(NamedTuple):
    """One metric of a benchmark; None for an empty cell."""

    bench: str
    metric: str
    value: float | None
    """By the paper's protocol."""
    interval: tuple[float, float] | None
    lenient: float | None
    read_within: tuple[float, float] | None
    """The interval of `lenient`."""
    official: float | None
    n: str
    """In a benchmark's first line only, as `unanswered`."""
    unanswered: str
    published: PaperResult | None


def markdown(results: Mapping[str, Any], paper: bool = False) -> str:
    """One table, one line per metric; the official metrics that the paper doesn't have come last.

    Args:
        results: Content of `results.json`.
        paper: Add the paper's results of its base model, SFT baseline and tuned model (Table 1).
    """
    head = ["benchmark", "metric", "value", "95% interval", "lenient", "official", "n", "unanswered"]
    head += ["paper: base", "paper: SFT", "paper: tuned"] * paper
    rows: list[list[str]] = []
    notes: list[str] = []
    for bench, entry in results["benchmarks"].items():
        for line in _lines(bench, entry):
            bounds = f"{line.interval[0]:.1f} to {line.interval[1]:.1f}" if line.interval else ""
            read = f" ({line.read_within[0]:.1f} to {line.read_within[1]:.1f})" if line.read_within else ""
            cells = [markdown_text(line.bench), markdown_text(line.metric), _number(line.value), bounds]
            cells += [_number(line.lenient) + read, _number(line.official), line.n, line.unanswered]
            rows.append(cells + [_number(value) for value in line.published or (None,) * 3] * paper)
        notes += [
            f"- {markdown_text(bench)}: {markdown_text(note)}"
            for note in (*notes_on(bench, entry), *official_notes(bench, entry))
        ]
    table = markdown_table(head, rows, texts=2)
    return "\n\n".join(["# Results", CAPTION, table, *(["\n".join(notes)] if notes else [])]) + "\n"


def latex(results: Mapping[str, Any], paper: bool = False) -> str:
    r"""The same as a `table` environment; the document needs `\usepackage{booktabs}`.

    Args:
        results: Content of `results.json`.
        paper: As in `markdown`.
    """
    count = 7 + 3 * paper
    head = " & ".join(
        ["Benchmark", "Metric", "Value", "Lenient", "Official", "$n$", "Unanswered", *["Base", "SFT", "Tuned"] * paper]
    )
    above = [rf" & & & & & & & \multicolumn{{3}}{{c}}{{Paper}} \\ \cmidrule(l){{8-{count}}}"] * paper
    body: list[str] = []
    notes: list[str] = []
    for bench, entry in results["benchmarks"].items():
        body.append(r"\midrule")
        for line in _lines(bench, entry):
            bounds, read = (
                rf" {{\scriptsize [{one[0]:.1f}, {one[1]:.1f}]}}" if one else "" for one in (line.interval, line.read_within)
            )
            cells = [latex_text(line.bench), latex_text(line.metric), _number(line.value) + bounds]
            cells += [_number(line.lenient) + read, _number(line.official), line.n, line.unanswered]
            cells += [_number(value) for value in line.published or (None,) * 3] * paper
            body.append(" & ".join(cells).rstrip() + r" \\")
        notes += [
            rf"\par {latex_text(f'{bench}: {note}')}." for note in (*notes_on(bench, entry), *official_notes(bench, entry))
        ]
    lines = [r"\begin{table}[t]", r"\centering", rf"\caption{{{latex_text(CAPTION)}}}"]
    lines += [rf"\begin{{tabular}}{{ll{'r' * (count - 2)}}}", r"\toprule", *above, rf"{head} \\", *body, r"\bottomrule"]
    lines += [r"\end{tabular}", *([r"\par\footnotesize", *notes] if notes else []), r"\end{table}"]
    return "% \\usepackage{booktabs}\n" + "\n".join(lines) + "\n"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int) -> str:
    """A table of cells in Markdown; the columns after the first so many `texts` are numbers."""
    marks = ["---"] * texts + ["---:"] * (len(head) - texts)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))


def markdown_text(text: str) -> str:
    """A text that stays plain text in a cell of a Markdown table, and in the HTML made from it."""
    out = " ".join(text.split())
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        out = out.replace(char, entity)
    return "".join(f"\\{char}" if char in r"\`*_[]|#~" else char for char in out)


_LATEX = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def latex_text(text: str) -> str:
    """A text in which no character is a command of LaTeX."""
    return "".join(_LATEX.get(char, char) for char in " ".join(text.split()))


def _lines(bench: str, entry: Mapping[str, Any]) -> Iterator[_MetricRow]:
    official, first = entry["official"], True
    for key in (*entry["paper"], *(key for key in official if key not in entry["paper"])):
        counts = (asked(entry), f"{entry['unanswered']:,}") if first else ("", "")
        known = PAPER.get(bench, {}).get(key) if key in entry["paper"] else None
        yield _MetricRow(
            bench if first else "",
            key,
            entry["paper"].get(key),
            interval(entry, key) if key in entry["paper"] else None,
            entry.get("lenient", {}).get(key),
            interval(entry, key, "lenient_ci95"),
            official.get(key),
            *counts,
            known,
        )
        for more in sample_lines(entry, key):
            yield _MetricRow("", more.metric, more.value, more.interval, None, None, None, "", "", None)
        first = False


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
