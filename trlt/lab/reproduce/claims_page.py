"""Verdicts, tables, pictures and runs as one HTML page that opens from disk, in the style of `trlt report`.

It loads nothing and runs nothing: its policy allows its own style and its own pictures. Every text is escaped on its way in.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trlt.files import write_text_atomic
from trlt.lab.reproduce import markdown
from trlt.lab.reproduce.plan_sections import Claim, Plan
from trlt.lab.reproduce.records import RunRecord
from trlt.lab.reproduce.verdicts import COVERS, ClaimVerdict, FilledTable
from trlt.report.page.markup import Markup, element, escape, footer, head, inline, join, table

_STYLES = {"holds": "better", "refuted": "worse"}


@dataclass(frozen=True, slots=True)
class Report:
    """What a report is about."""

    plan: Plan
    claims: Sequence[Claim]
    verdicts: Sequence[ClaimVerdict]
    """One a claim."""
    tables: Sequence[FilledTable]
    counted: Mapping[tuple[str, int], RunRecord]
    """Arm and seed to the run that counts."""
    records: Sequence[RunRecord]
    """Every run that was ever made, the failed and the outdated too."""
    of: int
    """Runs that the tables need."""


def write_page(report: Report, facts: Sequence[str], pictures: Mapping[str, Path], path: Path) -> None:
    """Writes the page in one step; `pictures` are PNG files by what is drawn, in words."""
    sections = [("claims", "Claims", _claims(report.verdicts))]
    if pictures:
        sections.append(("pictures", "Pictures", join(_picture(words, file) for words, file in pictures.items())))
    shown = [one for one in report.tables if one.rows and one.columns]
    sections += [(f"table-{one.name}", f"Table {one.name}: {one.title}", _table(one)) for one in shown]
    sections.append(("runs", "Runs", _runs(report.records, list(report.counted.values()))))
    body = [
        element("section", element("h2", title, id=f"{id}-title"), inner, id=id, aria_labelledby=f"{id}-title")
        for id, title, inner in sections
    ]
    links = element("nav", *(element("a", title, href=f"#{id}") for id, title, _ in sections), aria_label="Sections")
    facts = element("ul", *(element("li", fact) for fact in facts), class_="facts")
    top = element("header", element("div", element("h1", report.plan.name), class_="title"), facts, links)
    start = head(f"{report.plan.name} - trlt reproduce", inline("page.css"))
    write_text_atomic(path, join([start, top, element("main", *body), footer(), Markup("</body></html>\n")]))


def _claims(verdicts: Sequence[ClaimVerdict]) -> Markup:
    rows: list[list[str]] = []
    for one in verdicts:
        said = [element("small", text) for text in (one.text, one.compared, one.note) if text]
        rows.append(
            [
                one.id,
                join(said),
                one.paper,
                element("strong", markdown.state(one), class_=_STYLES.get(one.state)),
                markdown.seeds(one),
                markdown.number(one.mean, signed=True),
                markdown.interval(one.low, one.high, signed=True),
            ]
        )
    head = ["claim", "in words; what is measured", "the paper", "verdict", "seeds", "ours", "95% interval"]
    grid = table(head, rows, text_columns=5, caption="Claims")
    return join([element("p", markdown.counts(verdicts)), grid, element("p", COVERS, class_="note")])


def _table(one: FilledTable) -> Markup:
    rows: list[list[str]] = []
    for arm, cells in one.rows:
        shown = [markdown.cell(found) for found in cells]
        rows.append([arm, *(join([mean, element("small", more)]) for mean, more in shown)])
    return table(["arm", *one.columns], rows, caption=f"Table {one.name}")


def _picture(words: str, file: Path) -> Markup:
    data = base64.b64encode(file.read_bytes()).decode()
    image = Markup(f'<img alt="{escape(words)}" src="data:image/png;base64,{data}" width="100%">')
    return element("figure", element("figcaption", words), image)


def _runs(records: Sequence[RunRecord], counted: Sequence[RunRecord]) -> Markup:
    """Every run that was ever made: what counts, and what doesn't and why."""
    counts = {id(record) for record in counted}
    rows: list[list[str]] = []
    for one in records:
        state = "counts" if id(one) in counts else "failed" if one.error is not None else "of another plan, or made again"
        spent = ", ".join(f"{name} {seconds:,.0f} s" for name, seconds in one.seconds.items())
        where = [element("small", text) for text in (one.error or "", ", ".join(one.places.values()), one.origin) if text]
        versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
        rows.append([one.arm, str(one.seed), state, one.when, one.run[:12], versions, spent, join(where)])
    head = ["arm", "seed", "state", "when", "digest", "versions", "commands", "files, below the output folder"]
    note = f"{len(records)} runs were made; {len(counted)} of them count. None was removed."
    return join([element("p", note, class_="note"), table(head, rows, text_columns=len(head), caption="Runs")])
