"""Builds the page and writes it block by block. Knows sections; neither folders nor models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from trlt.files import open_atomic
from trlt.report.page.difficulty import Probed, Selected, Shift, difficulty_section, selection_section
from trlt.report.page.frames import SETTINGS, Embedded, FrameBlocks, Progress
from trlt.report.page.markup import Markup, element, footer, head, inline, join
from trlt.report.page.protocol import Made, protocol_section
from trlt.report.page.questions import MOST, RunRows, ShownSample, chosen, in_turns, questions_of
from trlt.report.page.results import EvalRun, RunComparison, results_section
from trlt.report.page.samples import SampleBlocks
from trlt.report.page.training import Training, training_section
from trlt.video.workers import ClipLoader

_SAMPLES = (
    "Every question with all answers. Gold: the right answer, by the annotation. Right: the right option, or "
    "a time span that overlaps the gold one with an IoU of at least 0.5. Format: 1 where an answer has the form that was asked "
    "for. Δ: IoU of the best answer minus their mean."
)


@dataclass(frozen=True, slots=True)
class Page:
    """The content of a page; empty parts have no section."""

    title: str
    made: Sequence[Made] = ()
    results: Sequence[EvalRun] = ()
    comparisons: Sequence[RunComparison] = ()
    paper: bool = True
    """Show the paper's results alongside."""
    trainings: Sequence[Training] = ()
    probes: Sequence[Probed] = ()
    shifts: Sequence[Shift] = ()
    selections: Sequence[Selected] = ()
    runs: Sequence[RunRows] = ()
    """Runs whose rows can be browsed."""
    questions: Mapping[str, ShownSample] = field(default_factory=dict)
    """By id, for the rows' texts and videos."""
    notes: Sequence[str] = ()
    """Notes on the samples."""
    lead: Sequence[Sequence[str]] = ()
    """The lead: verdicts, or what is needed for one; lists of sentences, with the answer first."""
    commands: Sequence[str] = ()
    """Commands to type, below the lead."""


@dataclass(frozen=True, slots=True)
class WrittenPage:
    """Counts of a written page."""

    bytes: int
    samples: int
    of: int
    """Samples in the runs."""
    frames: Embedded


def write_page(page: Page, path: Path, *, frame_bytes: int, progress: Progress | None = None) -> WrittenPage:
    """Writes the page in one step: a reader sees the old or the new one.

    Args:
        page: Its content.
        path: The HTML file.
        frame_bytes: Maximum bytes of embedded frames.
        progress: Called with the number of decoded clips.

    Raises:
        DataError: rows that lack something.
    """
    ids = chosen(page.runs, MOST)
    questions = questions_of(page.runs, page.questions, ids)
    held = len({id for run in page.runs for id in run.rows.ids})
    size = 0
    with ExitStack() as stack:
        loader = stack.enter_context(ClipLoader(SETTINGS))
        frames = FrameBlocks(in_turns(page.runs, questions) if frame_bytes else [], frame_bytes, loader, progress)
        out = stack.enter_context(open_atomic(path))
        for part in _parts(page, questions, held, frames):
            size += len(part.encode())
            out.write(part)
    return WrittenPage(size, len(questions), held, frames.embedded())


def _parts(page: Page, questions: Sequence[ShownSample], held: int, frames: FrameBlocks) -> Iterator[Markup]:
    style, script = inline("page.css"), "\n".join(inline(name) for name in ("theme.js", "page.js"))
    sections = _sections(page, len(questions))
    yield head(f"{page.title} - trlt report", style, script)
    yield _top(page, [(id, title) for id, title, _ in sections])
    yield Markup("<main>\n")
    for id, title, body in sections:
        yield element("section", element("h2", title, id=f"{id}-title"), body, id=id, aria_labelledby=f"{id}-title")
    yield Markup("</main>\n")
    yield footer()
    if questions:
        yield from frames.blocks()
        blocks = SampleBlocks(page.runs, questions, frames.embedded().blocks, _notes(page, questions, held, frames.embedded()))
        yield from blocks.details()
        yield blocks.index()
    yield Markup(f"<script>{script}</script>\n</body></html>\n")


def _sections(page: Page, samples: int) -> list[tuple[str, str, Markup]]:
    found = []
    if page.results:
        found.append(("results", "Results", results_section(page.results, page.comparisons, paper=page.paper)))
    if page.trainings:
        found.append(("training", "Training", training_section(page.trainings)))
    if page.probes or page.shifts:
        found.append(("difficulty", "Difficulty", difficulty_section(page.probes, page.shifts)))
    if page.selections:
        found.append(("selection", "Selection", selection_section(page.selections)))
    if samples:
        note = element("p", _SAMPLES, class_="note")
        wait = element("p", "The samples are shown by the page's script, which doesn't run here.", class_="note")
        found.append(("samples", "Samples", join([note, element("div", wait, id="browser")])))
    if page.made:
        found.append(("protocol", "Protocol", protocol_section(page.made)))
    return found


def _notes(page: Page, questions: Sequence[ShownSample], held: int, frames: Embedded) -> list[str]:
    lines = list(page.notes)
    if len(questions) < held:
        lines.append(f"{len(questions):,} of {held:,} samples are here: first those in several runs, then an even spread")
    if frames.clips + frames.errors < frames.wanted:
        lines.append(
            f"frames of {frames.clips:,} of {frames.wanted:,} clips fit (`trlt report --frames-mb` makes room for more)"
        )
    if frames.errors:
        lines.append(f"{frames.errors:,} clips couldn't be read")
    return lines


def _top(page: Page, links: Sequence[tuple[str, str]]) -> Markup:
    """Title, the runs of the page, and links to its sections."""
    runs = element("p", *(_chip(run) for run in page.made))
    ways = element("nav", *(element("a", title, href=f"#{id}") for id, title in links), aria_label="Sections")
    toggle = element("button", "Theme: auto", type="button", id="theme", hidden=True)
    lead = [element("p", element("strong", first), " ".join(["", *rest])) for first, *rest in page.lead]
    lead += [element("pre", command) for command in page.commands]
    first = [element("div", *lead, id="verdict")] if lead else []
    return element("header", element("div", element("h1", page.title), toggle, class_="title"), runs, *first, ways)


def _chip(run: Made) -> Markup:
    """A run's name with its kind, which isn't said twice."""
    kind = [] if run.name == run.kind else [" ", element("small", run.kind)]
    return element("span", run.name, *kind, class_="chip")
