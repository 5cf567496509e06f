"""Subtitles of benchmarks: finds a sample's file, reads its lines with their times, and lays them out for the prompt.

A data set's reader opens no file: it names one in `meta.subtitle_file`, a path and the second of the subtitles' clock at which
the video begins. True interleaving with frames isn't possible, because the questions about a clip share its encoding: the
lines stand after the video, each with its time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from trlt.errors import DataError, shown
from trlt.files.bounded_json import loads
from trlt.task.prompt import unsaid
from trlt.task.sample import Sample

FOLDERS = ("subtitles", "subtitle")
"""Names of the folder of subtitles, beside the videos' or in it."""
MAX_BYTES = 50_000_000
"""Of a file; those of a video of ten hours have some megabytes."""
WORD_GAP_S = 0.5
"""Silence between words that ends a line, where a file has words (`group_subtitle_segments` of Video-MME-v2)."""
SENTENCE_GAP_S = 0.1
"""The same after the end of a sentence."""


class Line(NamedTuple):
    """What is said, in seconds of the video."""

    start_s: float
    end_s: float | None
    """None: until the end of the video."""
    text: str


@dataclass(frozen=True, slots=True)
class Subtitled:
    """Samples with the subtitles that could be found."""

    samples: tuple[Sample, ...]
    missing: Mapping[str, str]
    """Path of a file -> why there are none of it; its questions are asked without."""
    without: int
    """Questions without any line."""
    shortened: int
    """Questions of which lines were left out because of the limit."""


def has_subtitles(samples: Iterable[Sample]) -> bool:
    """Whether a benchmark's samples name files of subtitles."""
    return any("subtitle_file" in sample.meta for sample in samples)


def add_subtitles(samples: Sequence[Sample], places: Sequence[Path], limit: int) -> Subtitled:
    """Samples with the lines of their files.

    Args:
        samples: With `meta.subtitle_file`; those without have no subtitles.
        places: Folders in which a folder of subtitles is looked for, in this order.
        limit: Most characters of a sample's lines. Of longer ones whole lines are left out, evenly over the video.
    """
    roots = [place / name for place in places for name in FOLDERS if (place / name).is_dir()]
    missing: dict[str, str] = {}

    @cache
    def text(path: str, offset_s: float, duration_s: float | None) -> tuple[str, bool]:
        try:
            lines = read_subtitles(find_subtitles(path, roots), offset_s, duration_s)
        except DataError as error:
            missing[path] = str(error)
            return "", False
        kept = thinned([f"{clock(line.start_s)} {line.text}" for line in lines], limit)
        return "\n".join(kept), len(kept) < len(lines)

    made: list[Sample] = []
    shortened = 0
    for sample in samples:
        said, cut = "", False
        if file := sample.meta.get("subtitle_file"):
            said, cut = text(file["path"], file["offset_s"], sample.duration)
        shortened += cut
        made.append(replace(sample, subtitles=said))
    return Subtitled(tuple(made), missing, sum(not sample.subtitles for sample in made), shortened)


def find_subtitles(path: str, roots: Sequence[Path]) -> Path:
    """A file in one of several folders.

    Raises:
        DataError: it isn't there, or the path leads out of the folder.
    """
    parts = PurePosixPath(path)
    if not path or parts.is_absolute() or ".." in parts.parts or "\0" in path or "\\" in path or PureWindowsPath(path).drive:
        raise DataError(f"{shown(path)}: must be a path inside the folder of subtitles")
    for root in roots:
        if (root / path).is_file():
            if not (root / path).resolve().is_relative_to(root.resolve()):
                raise DataError(f"{root / path}: a link that leads out of the folder of subtitles")
            return root / path
    raise DataError(f"{path}: not in {', '.join(map(str, roots)) or 'any folder ' + ' or '.join(FOLDERS)}")


def read_subtitles(path: Path, offset_s: float = 0.0, duration_s: float | None = None) -> list[Line]:
    """The lines of a file that fall into a video, in order of time.

    Args:
        path: `.json`, a list of `{"timestamp": [start, end or null], "text"}` or `{"start": "h:mm:ss.s", "end", "line"}`;
            `.jsonl`, a word per line, `{"text", "start_time", "end_time"}`; or `.srt`.
        offset_s: Second of the file's clock at which the video begins.
        duration_s: Length of the video; None keeps everything after its beginning.

    Raises:
        DataError: a file that can't be read; names the record.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES:,} bytes; is this a file of subtitles?")
        content = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    reader = {".json": _json, ".jsonl": _words, ".srt": _srt}.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: subtitles are read from .json, .jsonl and .srt files")
    found: list[Line] = []
    for line in reader(path, content):
        start, end = line.start_s - offset_s, None if line.end_s is None else line.end_s - offset_s
        text = " ".join(line.text.split())
        ended = end is not None and end <= 0
        if text and not unsaid(text) and not ended and (duration_s is None or start < duration_s):
            found.append(Line(max(0.0, start), end, text))
    return sorted(found, key=lambda line: line.start_s)


def thinned(lines: Sequence[str], limit: int) -> list[str]:
    """As many lines as have at most `limit` characters in all, taken evenly from the whole."""

    def some(count: int) -> list[str]:
        # Line i is taken where i * count / n passes a whole number: the first of each of `count` equal stretches.
        return [lines[-(-place * len(lines) // count)] for place in range(count)]

    low, high = 0, len(lines)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(len(line) + 1 for line in some(middle)) <= limit:
            low = middle
        else:
            high = middle - 1
    return some(low) if low else []


def clock(seconds: float) -> str:
    """`1:05`, and from an hour on `1:01:05`."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _json(path: Path, content: str) -> Iterable[Line]:
    records = _value(path, content)
    if not isinstance(records, list):
        raise DataError(f"{path}: expected a list of lines, got {type(records).__name__}")
    for index, record in enumerate(records):
        where = f"{path}[{index}]"
        if not isinstance(record, dict):
            raise DataError(f"{where}: expected an object, got {shown(record)}")
        if "timestamp" in record:
            times, text = record["timestamp"], record.get("text")
            if not isinstance(times, list) or len(times) != 2:
                raise DataError(f"{where}: timestamp: expected [start, end], got {shown(times)}")
            start, end = times
        else:
            start, end, text = record.get("start"), record.get("end"), record.get("line")
        if not isinstance(text, str):
            raise DataError(f"{where}: expected a text, got {shown(text)}")
        yield Line(_seconds(start, where), None if end is None else _seconds(end, where), text)


def _words(path: Path, content: str) -> Iterable[Line]:
    """Lines of words without a gap between them."""
    words: list[Line] = []
    for number, row in enumerate(content.splitlines(), 1):
        if not row.strip():
            continue
        where = f"{path}:{number}"
        record = _value(path, row, where)
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise DataError(f"{where}: expected an object with a text, got {shown(record)}")
        word = Line(_seconds(record.get("start_time"), where), _seconds(record.get("end_time"), where), record["text"])
        if words:
            gap = word.start_s - (words[-1].end_s or 0.0)
            ended = words[-1].text.rstrip().endswith((".", "!", "?"))
            if gap > WORD_GAP_S or (ended and gap > SENTENCE_GAP_S):
                yield _joined(words)
                words = []
        words.append(word)
    if words:
        yield _joined(words)


def _joined(words: Sequence[Line]) -> Line:
    return Line(words[0].start_s, words[-1].end_s, " ".join(word.text for word in words))


_ARROW = re.compile(r"\s*([\d:.,]+)\s*-->\s*([\d:.,]+)")
_MARKUP = re.compile(r"<[^<>]{1,40}>|\{\\[^{}]{1,40}\}")


def _srt(path: Path, content: str) -> Iterable[Line]:
    """Blocks with a blank line between them: a number, `start --> end`, and lines of text."""
    found = 0
    for block in re.split(r"\n\s*\n", content.replace("\r\n", "\n")):
        rows = block.strip().split("\n")
        place = next((place for place, row in enumerate(rows[:2]) if _ARROW.match(row)), None)
        if place is None:
            continue
        times = _ARROW.match(rows[place])
        assert times is not None
        where = f"{path}: {rows[place].strip()}"
        found += 1
        yield Line(_seconds(times[1], where), _seconds(times[2], where), _MARKUP.sub("", " ".join(rows[place + 1 :])))
    if not found and content.strip():
        raise DataError(f"{path}: no line `start --> end`; is this an .srt file?")


def _value(path: Path, text: str, where: str = "") -> Any:
    try:
        return loads(text)
    except (json.JSONDecodeError, ValueError) as error:
        raise DataError(f"{where or path}: not JSON ({error})") from None


_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d+)?)")


def _seconds(value: Any, where: str) -> float:
    """A number of seconds, or a clock's text (`00:01:02.500`)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and -1e9 < value < 1e9:
        return float(value)
    told = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 40 else None
    if told is None:
        raise DataError(f"{where}: expected seconds or h:mm:ss, got {shown(value)}")
    return 3600 * int(told[1] or 0) + 60 * int(told[2] or 0) + float(told[3].replace(",", "."))
