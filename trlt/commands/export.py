"""`trlt export`: writes samples as the training file of another tool."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any, cast, get_args

import typer
from rich.table import Table
from rich.text import Text

from trlt.commands._data import data_flags, open_data
from trlt.commands._output import Output
from trlt.commands._setup import resolve
from trlt.commands._shared_options import ColumnMap, SkipBad, Think
from trlt.data.export import FORMATS, REASONS, TOOLS, Format, LeftOut, convert
from trlt.data.own import holds_samples
from trlt.errors import DataError, UsageError, did_you_mean
from trlt.files import open_atomic, sample_files, write_text_atomic
from trlt.recipe import load_recipe, to_yaml
from trlt.rollout import videos_root
from trlt.task.answer import AnswerFormat
from trlt.task.prompt import Words
from trlt.task.sample import Sample, iter_sample_lines
from trlt.video.remote import is_remote

EXAMPLES_KEPT = 3
_TOLD_EVERY = 1000


@dataclass
class _Count:
    """Outcome for the samples."""

    samples: int = 0
    written: int = 0
    several_spans: int = 0
    """Written samples with more than one gold span."""
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: str, id: str) -> None:
        self.left_out[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES_KEPT:
            shown.append(id)


def export(
    data: Annotated[
        str,
        typer.Argument(metavar="SAMPLES", help="File of samples, folder from `trlt prepare`, or your own table of questions."),
    ],
    *,
    format: Annotated[str, typer.Option(help="video-r1, temporal-r1, ms-swift or trl.")],
    out: Annotated[Path, typer.Option(help="File to write: .json for video-r1 and temporal-r1, .jsonl for the others.")],
    videos: Annotated[Path | None, typer.Option(help="Folder to put before the videos' paths.")] = None,
    columns: ColumnMap = None,
    skip_bad: SkipBad = False,
    think: Think = None,
    answer_format: Annotated[str | None, typer.Option(help="letter (default), text or open.")] = None,
    recipe_path: Annotated[
        Path | None,
        typer.Option("--recipe", "-r", help="Recipe whose own prompts (`prompt`) to ask by; trl and ms-swift alone."),
    ] = None,
    output: Output,
) -> dict[str, Any]:
    """Writes samples as another tool's training file, one at a time; see `trlt export --help`.

    Raises:
        TrltError: options that can't work together, samples that can't be read, or none that the format can carry.
    """
    if recipe_path is not None and format in FORMATS and TOOLS[format].fixed:
        raise UsageError(f"--recipe: {format} asks in its own words, whatever the file says; leave it out")
    words = resolve(recipe_path, (), {}).prompt.words()
    chosen, form = _format(format, think, answer_format), cast(AnswerFormat, answer_format or "letter")
    path, converted = Path(data), None
    if not holds_samples(str(data)):
        recipe = load_recipe(None, flags={"video.root": videos} | data_flags(columns, skip_bad))
        converted = open_data(data, recipe, out.with_suffix(".jsonl"), output, look=False)
    _check_paths(path, chosen, out, videos)
    place = _placer(chosen, videos)
    count = _Count()
    samples = converted.samples if converted else _samples(path)
    with output.stages([chosen]) as stage, open_atomic(out) as file:
        asked = think is not False
        _write(file, _records(samples, chosen, place, asked, form, words, count, lambda said: stage(0, said)), chosen)
        stage(0, "")
        if not count.written:
            why = "; ".join(f"{n:,} {reason} (as {count.examples[reason][0]})" for reason, n in count.left_out.items())
            raise DataError(f"{data}: {chosen} can carry none of the {count.samples:,} samples: {why}")
    config = _write_config(out, videos, path) if chosen == "temporal-r1" else None
    notes = _notes(chosen, count)
    _show(count, output)
    output.show(f"{count.written:,} of {count.samples:,} samples: {out}", *([f"Config: {config}"] if config else []))
    for note in notes:
        output.note(note)
    return {
        "format": chosen,
        "out": str(out),
        "config": str(config) if config else None,
        "samples": count.samples,
        "written": count.written,
        "left_out": dict(count.left_out.most_common()),
        "examples": count.examples,
        "notes": notes,
    }


def _format(format: str, think: bool | None, answer_format: str | None) -> Format:
    """The format, after a look at whether the flags go with it.

    Raises:
        UsageError: an unknown value, or a flag that the tool pays no heed to.
    """
    if format not in FORMATS:
        raise UsageError(f"--format {format}: unknown; {did_you_mean(format, FORMATS)}")
    if answer_format is not None and answer_format not in get_args(AnswerFormat):
        raise UsageError(f"--answer-format {answer_format}: unknown; {did_you_mean(answer_format, get_args(AnswerFormat))}")
    if TOOLS[format].fixed and (think is False or answer_format not in (None, "letter")):
        flag = "--no-think" if think is False else f"--answer-format {answer_format}"
        raise UsageError(f"{flag}: {format} asks for reasoning and one form of answer, whatever the file says; leave it out")
    return format


def _check_paths(data: Path, format: Format, out: Path, videos: Path | None) -> None:
    suffix = TOOLS[format].suffix
    if out.suffix != suffix:
        raise UsageError(f"--out {out}: {format} reads {suffix} files; give {out.with_suffix(suffix)}")
    if out.resolve() in [path.resolve() for path in sample_files(data)]:
        raise UsageError(f"--out {out}: would overwrite its own input; give another file")
    if format == "video-r1" and videos is not None and videos.is_absolute():
        raise UsageError(
            f"--videos {videos}: Video-R1 puts its own data folder before every path; give a folder relative to that one"
        )


def _placer(format: Format, videos: Path | None) -> Callable[[Sample], str]:
    """Gives the function that writes a sample's path."""
    # Temporal-R1 has the folder in its config, beside the file.
    if videos is None or format == "temporal-r1":
        return lambda sample: sample.video
    return lambda sample: sample.video if is_remote(sample.video) else (videos / sample.video).as_posix()


def _samples(data: Path) -> Iterator[Sample]:
    """Samples one at a time: only the ids stay in memory.

    Raises:
        DataError: unreadable lines, ids that occur twice (all are told), or no sample at all.
    """
    empty = True
    for _, _, sample in iter_sample_lines(data, Sample.from_json):
        empty = False
        yield sample
    if empty:
        raise DataError(f"{data}: holds no samples; make it with `trlt prepare` or `trlt select`")


def _records(
    samples: Iterable[Sample],
    format: Format,
    place: Callable[[Sample], str],
    think: bool,
    form: AnswerFormat,
    words: Words,
    count: _Count,
    tell: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    for sample in samples:
        count.samples += 1
        if count.samples % _TOLD_EVERY == 0:
            tell(f"{count.samples:,} samples")
        made = convert(sample, format, number=count.written, video=place(sample), think=think, answer_format=form, words=words)
        if isinstance(made, LeftOut):
            count.leave_out(made.reason, sample.id)
            continue
        count.written += 1
        count.several_spans += not sample.several and len(sample.spans or ()) > 1
        yield made


def _write(file: IO[str], records: Iterator[dict[str, Any]], format: Format) -> None:
    """Writes one list, or one object per line."""
    listed = TOOLS[format].suffix == ".json"
    before, between, after = ("[\n", ",\n", "\n]\n") if listed else ("", "\n", "\n")
    file.write(before)
    for number, record in enumerate(records):
        file.write((between if number else "") + json.dumps(record, ensure_ascii=False))
    file.write(after)


def _write_config(out: Path, videos: Path | None, data: Path) -> Path:
    """Writes Temporal-R1's configuration: the paths of the file and its videos."""
    folder = videos_root(str(videos) if videos else None, data).resolve()
    entry = {"json_path": str(out.resolve()), "data_folder": str(folder)}
    path = out.with_suffix(".tvg.yaml")
    write_text_atomic(path, to_yaml({"datasets": [entry]}))
    return path


def _notes(format: Format, count: _Count) -> list[str]:
    notes = [TOOLS[format].note] if TOOLS[format].note else []
    if count.several_spans:
        notes.append(
            f"{count.several_spans:,} samples have several gold spans: `solution` has the longest, `sample` has all of them"
        )
    return notes


def _show(count: _Count, output: Output) -> None:
    if not count.left_out:
        return
    table = Table(title="Left out", title_justify="left")
    for name in ("reason", "samples", "why", "such as"):
        table.add_column(name, justify="right" if name == "samples" else "left", overflow="fold")
    for reason, n in count.left_out.most_common():
        # Ids come from files: nothing in them is markup.
        table.add_row(reason, f"{n:,}", REASONS[reason], Text(count.examples[reason][0]))
    output.show(table)
