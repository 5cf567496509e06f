"""The leaderboard as an HTML page that opens from disk; its columns are sorted by the page's script."""

from __future__ import annotations

from collections.abc import Sequence

from trlt.report.leaderboard.board import Cell, Column, Leaderboard
from trlt.report.leaderboard.words import NONE, average_words, bounds_words, count_words, title
from trlt.report.page.markup import Markup, element, footer, head, inline, join, table
from trlt.report.page.protocol import Made, protocol_section

_STANDINGS = {"highest": "highest", "level": "level", "below": None, "unmarked": None}
_EXPLAINED = (
    "Highest: the highest value of a column. Level: not significantly different from it, by the 95% interval of the paired "
    "difference over videos. The others are significantly lower, or not paired with it; overlapping intervals of two values "
    "alone say neither. Nothing is corrected for the number of comparisons."
)


def leaderboard_page(board: Leaderboard, made: Sequence[Made] = ()) -> str:
    """The whole page.

    Args:
        board: Its content.
        made: How each run was made.
    """
    style, script = inline("page.css"), "\n".join(inline(name) for name in ("theme.js", "leaderboard.js"))
    toggle = element("button", "Theme: auto", type="button", id="theme", hidden=True)
    ways = [("leaderboard", "Leaderboard", _table_section(board)), ("differences", "Differences", _differences(board))]
    if made:
        ways.append(("protocol", "Protocol", protocol_section(made)))
    ways = [one for one in ways if one[2]]
    links = element("nav", *(element("a", name, href=f"#{id}") for id, name, _ in ways), aria_label="Sections")
    top = element("header", element("div", element("h1", "Leaderboard"), toggle, class_="title"), links)
    sections = [
        element("section", element("h2", name, id=f"{id}-title"), body, id=id, aria_labelledby=f"{id}-title")
        for id, name, body in ways
    ]
    end = Markup(f"<script>{script}</script>\n</body></html>\n")
    return join([head("Leaderboard - trlt", style, script), top, element("main", *sections), footer(), end])


def _table_section(board: Leaderboard) -> Markup:
    said = " ".join(filter(None, (title(board), _EXPLAINED, average_words(board))))
    heads = [element("th", "run", scope="col")]
    for column in board.columns:
        count = [element("small", f"n = {column.n:,}")] if column.n is not None else []
        heads.append(element("th", column.bench, element("small", column.metric), *count, scope="col", class_="number"))
    if board.averages:
        heads.append(element("th", "average", element("small", f"of {len(board.averaged)}"), scope="col", class_="number"))
    rows = []
    for place, (name, run) in enumerate(zip(board.names, board.runs, strict=True)):
        below = [] if run.path.name in name else [element("small", run.path.name)]
        cells = [element("th", name, *below, scope="row", data_value=name)]
        cells += [_cell(column, column.cells[place]) for column in board.columns]
        if board.averages:
            average = board.averages[place]
            cells.append(element("td", f"{average:.1f}", class_="number", data_value=average))
        rows.append(element("tr", *cells))
    caption = element("caption", "Leaderboard")
    grid = element("table", caption, element("thead", element("tr", *heads)), element("tbody", *rows), class_="sortable")
    notes = [element("li", element("sup", letter), f" {text}") for letter, text in board.footnotes.items()]
    notes += [element("li", note) for note in board.notes]
    caveats = [element("li", line) for line in board.caveats]
    summary = element("summary", f"Caveats of single values ({len(caveats):,})")
    return join(
        [
            element("p", said, class_="note"),
            element("p", class_="note", id="sorted", role="status"),
            element("div", grid, class_="scroll", tabindex="0", role="region", aria_label="Leaderboard"),
            element("ul", *notes, class_="warnings") if notes else Markup(),
            element("details", summary, element("ul", *caveats, class_="warnings")) if caveats else Markup(),
        ]
    )


def _cell(column: Column, cell: Cell | None) -> Markup:
    if cell is None:
        return element("td", NONE, class_="number")
    word = _STANDINGS[cell.standing]
    value = element("strong", f"{cell.value:.1f}") if word == "highest" else Markup(f"{cell.value:.1f}")
    letters = [element("sup", ", ".join(cell.notes))] if cell.notes else []
    below = [element("small", words) for words in (bounds_words(cell) or "no interval", count_words(column, cell)) if words]
    said = [element("small", word, class_=f"standing {word}")] if word else []
    return element("td", value, *letters, *below, *said, class_="number", data_value=cell.value)


def _differences(board: Leaderboard) -> Markup:
    """Each run's paired difference from the highest value, folded away."""
    rows = []
    for column in board.columns:
        highest = next((name for name, cell in _named(board, column) if cell.standing == "highest"), None)
        for name, cell in _named(board, column):
            if cell.change is None:
                continue
            bounds = cell.change["ci95"]
            interval = f"{bounds[0]:+.1f} to {bounds[1]:+.1f}" if bounds and bounds[0] < bounds[1] else "none"
            doubt = f" ({cell.change['doubt']})" if cell.change["doubt"] else ""
            said = {"below": "lower", "level": "level"}.get(cell.standing, "") + doubt
            against = f"{column.bench} {column.metric}", f"{name} - {highest}" if highest else name
            numbers = (f"{cell.change['difference']:+.1f}", interval, f"{cell.change['n']:,}", f"{cell.change['videos']:,}")
            rows.append([*against, said, *numbers])
    if not rows:
        return Markup()
    head = ["benchmark", "runs", "", "difference", "95% interval", "questions of both", "videos"]
    said = "Paired by question, in points: what levels and lower values stand on."
    return join([element("p", said, class_="note"), table(head, rows, text_columns=3, caption="Differences")])


def _named(board: Leaderboard, column: Column) -> list[tuple[str, Cell]]:
    return [(name, cell) for name, cell in zip(board.names, column.cells, strict=True) if cell is not None]
