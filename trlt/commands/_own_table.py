"""A user's own table for a command: read, shown (columns, tasks, first sample), and refused with all of its faults at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table
from rich.text import Text

from trlt.commands._output import Output
from trlt.data.datasets import Reading
from trlt.data.find_videos import find_videos
from trlt.data.own import (
    SPELLINGS,
    Columns,
    Converted,
    convert,
    holds_samples,
    is_hub,
    read_hub,
    read_table,
    table_stem,
    task_counts,
)
from trlt.errors import DataError, VideoError, counted
from trlt.files import SHOWN, write_text_atomic
from trlt.recipe import Recipe
from trlt.rollout import videos_root
from trlt.task.prompt import letter, render_span
from trlt.task.sample import Sample
from trlt.video.remote import is_remote
from trlt.video.resolve import VideoIndex

FIRST = 5
"""Missing videos that a message names; a file lists all of them."""
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
    gold = sample.answer_indices or (sample.answer_index,)
    lines += [
        f"{'*' if place in gold else ' '} {letter(place) if place < 26 else place}. {_short(text)}"
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


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """What was made of a user's own table."""

    samples: tuple[Sample, ...]
    root: Path
    table: Converted
    missing: Mapping[str, str]
    """Videos that were looked for and aren't there, with the reason."""


def open_table(given: str, recipe: Recipe, listing: Path, output: Output, *, ours: bool, look: bool) -> OpenedTable:
    """Samples of a table, whether or not their videos are there; shows columns, tasks and the first sample.

    Args:
        given: The table's path or address.
        recipe: As resolved.
        listing: File for the rows that can't be used, if they are many, or left out.
        output: Gets the tables.
        ours: Whether it is a file of samples, of which there are no columns to show.
        look: Whether to look for the videos.

    Raises:
        DataError: rows that can't be used, without `data.skip_bad`; or none that can.
        RecipeError: a field of `data.map` that doesn't exist.
    """
    settings = recipe.data
    hub = is_hub(given)
    root = Path(recipe.video.root or ".") if hub else videos_root(recipe.video.root, Path(given))
    columns = Columns(settings.map)
    if hub:
        output.note(f"reading {given}")
    table = read_hub(given) if hub else read_table(Path(given))
    stem = table_stem(given)
    made = convert(table.rows, table.faults, columns, path=given, stem=stem, root=root)
    if not made.rows:
        raise DataError(f"{given}: holds no rows; write one question per row")
    if not ours:
        show_columns(made, given, output)
    listing.unlink(missing_ok=True)
    if made.bad and (settings.skip_bad or len(made.bad) > SHOWN or not made.samples):
        write_text_atomic(listing, "".join(f"{fault}\n" for fault in made.bad))
    missing = _missing(made.samples, root, recipe) if look else {}
    for note in made.notes:
        output.note(f"{given}: {note}")
    if made.bad and not (settings.skip_bad and made.samples):
        besides = {} if settings.skip_missing or not look else missing | _missing_of(made.bad_videos, root, recipe)
        raise DataError(_bad_words(given, made, listing, besides, root))
    if made.bad:
        output.note(
            f"{given}: {made.bad_rows:,} of {counted(made.rows, 'row')} left out (--skip-bad), because what they hold can't be "
            f"used: {listing}"
        )
    return OpenedTable(made.samples, root, made, missing)


def read_own(given: str, recipe: Recipe, place: Path, output: Output, *, look: bool) -> Reading:
    """A user's own table, as `trlt prepare` reads a data set: what is left out is counted.

    Args:
        given: The table's path or address.
        recipe: As resolved.
        place: File that the samples go to; lists go beside it.
        output: Gets the table of columns.
        look: Whether the videos must be there; with `data.skip_missing`, missing ones are left for the step that drops them.

    Raises:
        DataError: rows that can't be used, without `data.skip_bad`; or none that can.
        VideoError: videos that aren't there, without `data.skip_missing`.
    """
    look = look and not recipe.data.skip_missing
    found = open_table(given, recipe, beside(place, "bad_rows.txt"), output, ours=holds_samples(given), look=look)
    require_videos(given, found, beside(place, "missing_videos.txt"))
    bad = found.table.bad_rows
    return Reading(
        samples=found.samples,
        read=len(found.samples) + bad,
        repaired=Counter(flag for sample in found.samples for flag in sample.meta.get("flags", ())),
        dropped=Counter({"bad_row": bad} if bad else {}),
        examples={"bad_row": list(found.table.bad[:5])} if bad else {},
        files=() if is_hub(given) else (Path(given),),
    )


def note_unfit(given: str, unfit: Sequence[str], place: Path, output: Output) -> None:
    """Tells of questions left out because their times don't fit their video, and lists them with the other bad rows."""
    listing = beside(place, "bad_rows.txt")
    before = listing.read_text(encoding="utf-8") if listing.exists() else ""
    write_text_atomic(listing, before + "".join(f"{line}\n" for line in unfit))
    told = f"{given}: {counted(len(unfit), 'question')} left out (--skip-bad), whose times don't fit the video: {listing}"
    output.note("\n".join([told, *unfit[:FIRST], *(["…"] if len(unfit) > FIRST else [])]))


def require_videos(given: str, found: OpenedTable, listing: Path, *, skip: bool = False) -> str:
    """Lists missing videos in a file; gives their number in words.

    Raises:
        VideoError: there are some, and they aren't to be skipped, or there are no others.
    """
    missing = found.missing
    listing.unlink(missing_ok=True)
    if not missing:
        return ""
    write_text_atomic(listing, "".join(f"{video}\t{reason}\n" for video, reason in missing.items()))
    without = sum(sample.video in missing for sample in found.samples)
    told = f"{counted(len(missing), 'video')} of {counted(without, 'question')}"
    some = without < len(found.samples)
    if skip and some:
        return told
    remedy = ", or leave their rows out with --skip-missing" if some else ""
    raise VideoError(
        f"{given}: {told} {_are(len(missing))} missing in {found.root} (all in {listing}); give the folder of videos with "
        f"--videos{remedy}:\n" + _first_of(missing)
    )


def _first_of(missing: Mapping[str, str]) -> str:
    return "\n".join(f"  {one}" for one in [*list(missing.values())[:FIRST], *(["…"] if len(missing) > FIRST else [])])


def beside(out: Path, name: str) -> Path:
    """A file in the run's folder, or beside its file of rows."""
    return out.with_suffix(f".{name}") if out.suffix == ".jsonl" else out / name


def _missing(samples: Sequence[Sample], root: Path, recipe: Recipe) -> dict[str, str]:
    """Videos that aren't there, with the reason; addresses are looked at when they are downloaded."""
    local = [sample for sample in samples if not (recipe.video.downloads and is_remote(sample.video))]
    if not local:
        return {}
    one_each = {sample.video: replace(sample, meta={}) for sample in local}
    return find_videos(one_each.values(), VideoIndex(root, None, recipe.video.links)).missing


def _missing_of(videos: Sequence[str], root: Path, recipe: Recipe) -> dict[str, str]:
    """Videos that aren't there, of rows that are no samples."""
    index, found = VideoIndex(root, None, recipe.video.links), {}
    for video in videos:
        try:
            if not is_remote(video):
                index.find(video)
        except VideoError as error:
            found[video] = str(error)
    return found


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _bad_words(given: str, made: Converted, listing: Path, missing: Mapping[str, str], root: Path) -> str:
    """All faults of a table, as many as fit, and what to do about them."""
    lines = [f"{given}: {made.bad_rows:,} of {counted(made.rows, 'row')} can't be used:", *made.bad[:SHOWN]]
    if len(made.bad) > SHOWN:
        lines.append(f"… and {len(made.bad) - SHOWN:,} more: {listing}")
    if missing:
        lines += [
            f"Besides, {counted(len(missing), 'video')} {_are(len(missing))} missing in {root}:",
            _first_of(missing),
        ]
    if made.samples:
        lines.append("Mend them, or leave these rows out with --skip-bad" + (" and --skip-missing" if missing else ""))
    return "\n".join(lines)
