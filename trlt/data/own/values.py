"""Reads the values of a table's cells: texts, times, spans, lists of options, paths of videos. Pure.

What can't be read is `Unusable`, with the value and what to write instead.
"""

from __future__ import annotations

import ast
import math
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

from trlt.data.datasets._options import split_options
from trlt.data.own.spellings import is_blank
from trlt.errors import VideoError, shown
from trlt.files.bounded_json import loads
from trlt.task.answer import LETTERS, parse_span
from trlt.task.mistakes import lettered, video_fault
from trlt.video.resolve import VideoIndex

LONGEST_LITERAL = 1 << 20
"""Characters of a cell that is read as a list written by Python."""
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})


class Unusable(ValueError):
    """A value that can't be read; the message quotes it and says what to write."""


def text(value: Any) -> str:
    """A text, or a number as text: `3.0`, which pandas makes of a column with gaps, is `3`.

    Raises:
        Unusable: anything else.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return str(int(value)) if float(value).is_integer() else str(value)
    raise Unusable(f"{shown(value)} is no text")


def literal(value: str) -> Any:
    """The list or object that a text holds as JSON, or as Python writes it; None if it holds none."""
    if value[:1] not in ("[", "(", "{") or len(value) > LONGEST_LITERAL:
        return None
    try:
        found = loads(value)
    except ValueError:
        try:
            found = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return list(found) if isinstance(found, tuple) else found if isinstance(found, (list, dict)) else None


_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:[.,]\d+)?)")
_NUMBER = re.compile(r"([+-]?(?:\d+(?:[.,]\d+)?|\.\d+)(?:e[+-]?\d+)?) ?(ms|s|secs?\.?|seconds?)?", re.IGNORECASE)


def seconds(value: Any) -> float:
    """A time in seconds: a number, or a text such as `12.5`, `12.5s`, `900 ms`, `1:02`, `1:02:03.250`.

    A comma may stand for the point, unless three digits follow it, which could be thousands.

    Raises:
        Unusable: anything else.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    said = " ".join(value.split()) if isinstance(value, str) else ""
    if (clock := _CLOCK.fullmatch(said)) is not None:
        hours, minutes, rest = int(clock[1] or 0), int(clock[2]), float(clock[3].replace(",", "."))
        if rest < 60 and (minutes < 60 or clock[1] is None):
            return 3600.0 * hours + 60.0 * minutes + rest
    elif (number := _NUMBER.fullmatch(said)) is not None and not re.search(r",\d{3}$", number[1]):
        return float(number[1].replace(",", ".")) / (1000 if (number[2] or "").lower() == "ms" else 1)
    raise Unusable(f"{shown(value)} is no time; write seconds (12.5) or m:ss")


_YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def yes_or_no(value: Any) -> bool:
    """True or false: a value of that kind, 1 or 0, or `true`, `false`, `yes`, `no` in any case.

    Raises:
        Unusable: anything else.
    """
    said = f"{value:g}" if isinstance(value, float) else str(value)
    if (found := _YES_NO.get(said.strip().lower())) is None:
        raise Unusable(f"{shown(value)} is neither; write true or false")
    return found


_APART = re.compile(r"\s*(?:–|—|\bto\b|\buntil\b|\band\b|(?<=[\ds])\s*-|,\s+|(?<=\d),(?=\d))\s*", re.IGNORECASE)
_START, _END = ("start", "start_time", "begin", "from"), ("end", "end_time", "stop", "to")


def spans(value: Any) -> list[tuple[float, float]]:
    """One span or several: `[1, 3]`, `[[1, 3], [5, 7]]`, `{"start": 1, "end": 3}`, `0:01 - 0:03`, `1-3; 5-7`.

    A text may also hold JSON.

    Raises:
        Unusable: anything else.
    """
    wanted = f"{shown(value)} is no [start, end] in seconds, nor a list of such"
    if isinstance(value, str):
        found = literal(value.strip())
        if found is not None:
            return spans(found)
        pairs = [_APART.split(one.strip().strip("[]()")) for one in re.split(r"[;|\n]", value) if one.strip()]
        if not pairs or any(len(pair) != 2 for pair in pairs):
            raise Unusable(wanted)
        return [(seconds(start), seconds(end)) for start, end in pairs]
    if isinstance(value, dict):
        ends = [next((value[key] for key in keys if key in value), None) for keys in (_START, _END)]
        if None in ends:
            raise Unusable(wanted)
        return _between(ends[0], ends[1])
    if not isinstance(value, list):
        raise Unusable(wanted)
    if len(value) == 2 and not any(isinstance(one, (list, dict)) for one in value):
        if not all(isinstance(one, str) and _APART.search(one.strip()) for one in value):
            return [(seconds(value[0]), seconds(value[1]))]
    if not value or not all(isinstance(one, (list, dict, str)) for one in value):
        raise Unusable(wanted)
    return [span for one in value for span in spans(one)]


def _between(start: Any, end: Any) -> list[tuple[float, float]]:
    """Spans of a start and an end, or of as many of both."""
    starts, ends = ([one] if not isinstance(one, list) else one for one in (start, end))
    if len(starts) != len(ends):
        raise Unusable(f"{len(starts)} starts and {len(ends)} ends; write as many of both")
    return [(seconds(one), seconds(other)) for one, other in zip(starts, ends, strict=True)]


def start_and_end(start: Any, end: Any) -> list[tuple[float, float]]:
    """The spans of the columns `start` and `end`, each a time, or a list of times."""
    lists = [literal(one.strip()) or one if isinstance(one, str) else one for one in (start, end)]
    return _between(lists[0], lists[1])


_COMMA = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-+]?\d+,\d+")
"""A number with thousands or a decimal comma, which without brackets is no span: `1,200`, `3,5`."""
_STATED = re.compile(r"[^\d<>]{0,100}?\b(?:in|from|between|at|is|during)\b:? *(\S.*?)", re.IGNORECASE | re.DOTALL)


def stated_span(answer: Any) -> list[tuple[float, float]] | None:
    """The span that is the whole of an answer: `[1.0, 3.5]`, `1.0 to 3.5`, `It happens in 1.0 - 3.5 seconds.`; else None."""
    if isinstance(answer, list):
        try:
            return spans(answer)
        except Unusable:
            return None
    if not isinstance(answer, str):
        return None
    said = answer.strip()
    if _COMMA.fullmatch(said):
        return None
    sentence = _STATED.fullmatch(said)
    found = parse_span(said) or (parse_span(sentence[1]) if sentence else None)
    return [(found.start, found.end)] if found else None


def options(value: Any) -> tuple[str, ...]:
    """The texts of options, without their letters.

    A list; an object by letter or number (`{"A": …, "B": …}`); or in one text: JSON, a list as Python writes it, `A. … B. …`,
    `… | …`, or a line each.

    Raises:
        Unusable: anything else, or an empty one among them.
    """
    if isinstance(value, str):
        found = literal(value.strip())
        if found is not None:
            return options(found)
        listed = split_options(value)
        if listed.options and not listed.question:
            return listed.options
        for mark in ("|", "\n"):
            if mark in value.strip():
                return options([part for part in value.strip().strip("|").split(mark) if part.strip() or mark == "|"])
        raise Unusable(f"{shown(value)} holds no list; write a JSON list, or put | between the options")
    if isinstance(value, dict):
        return options(_in_order(value))
    if not isinstance(value, list):
        raise Unusable(f"{shown(value)} is no list of options")
    while value and is_blank(value[-1]):  # padding of questions with fewer options
        value = value[:-1]
    texts = [str(one) if isinstance(one, bool) else text(one) if one is not None else "" for one in value]
    if not all(texts):
        raise Unusable(f"option {LETTERS[texts.index('') % 26]} is empty")
    return without_letters(texts)


def without_letters(texts: Sequence[str]) -> tuple[str, ...]:
    """Options without the letters that they all begin with, in order; others stay as they are."""
    lead = _MARK if lettered(texts) else None
    return tuple(" ".join((lead.sub("", one, count=1) if lead else one).split()) for one in texts)


_MARK = re.compile(r"\s*\(?[A-Za-z](?:[.:]\s|\)[.:]?)\s*")


def _in_order(value: dict[Any, Any]) -> list[Any]:
    """Values by letter or number, from A, 0 or 1 without a gap."""
    keys = [str(key).strip().upper().strip("().:") for key in value]
    for names in (LETTERS, [str(n) for n in range(100)], [str(n) for n in range(1, 101)]):
        if keys and sorted(keys) == sorted(names[: len(keys)]):
            return [dict(zip(keys, value.values(), strict=True))[name] for name in names[: len(keys)]]
    raise Unusable(f"{shown(value)}: its keys are neither A, B, … nor numbers from 0 or 1")


def video(value: Any, root: Path | None) -> str:
    """A video's path relative to the folder of videos, with forward slashes; an http(s) address stays.

    Args:
        value: A path, `file://…`, an object with `path`, or a list of one of these.
        root: The folder; None refuses absolute paths.

    Raises:
        Unusable: a path that leads out of the folder, a picture, the video's bytes, several videos, or something else.
    """
    if isinstance(value, str) and (found := literal(value.strip())) is not None:
        value = found
    if isinstance(value, list):
        if len(value) != 1:
            raise Unusable(f"{shown(value)} are {len(value)} videos; trlt asks about one")
        value = value[0]
    if isinstance(value, dict):
        named = next((value[key] for key in ("path", "video", "url", "src") if isinstance(value.get(key), str)), None)
        if named is None:
            raise Unusable("holds the video itself rather than its path; write it to a file, and the file's name here")
        value = named
    said = text(value)
    return _from_windows(said, root) if PureWindowsPath(said).drive and "://" not in said else _path(said, root)


@lru_cache(maxsize=1 << 17)
def _path(said: str, root: Path | None) -> str:
    """A path as `video` gives it; many questions are about one."""
    if said.startswith("file://"):
        said = unquote(urlsplit(said).path)
    if "://" in said:
        return said
    if PurePosixPath(said).suffix.lower() in PICTURES:
        raise Unusable(f"{shown(said)} is a picture, not a video")
    if "\\" in said and not PureWindowsPath(said).drive:
        said = said.replace("\\", "/")
    if PurePosixPath(said).is_absolute():
        said = _inside(said, root)
    said = PurePosixPath(said).as_posix() if said else said
    if fault := video_fault(said):
        raise Unusable(fault.removeprefix("video: "))
    return said


def _from_windows(said: str, root: Path | None) -> str:
    """The one video below the root that fits a path of Windows best: by its last folders and name, or its name alone.

    Raises:
        Unusable: none fits, or several do equally well.
    """
    names = PureWindowsPath(said).parts[1:]
    if root is None or not names:
        raise Unusable(f"{shown(said)} is a path of Windows; write it relative to the folder of videos, with /")
    why = ""
    for wanted in ("/".join(names), names[-1]):
        try:
            index = _index(root)
            return _path(index.find(wanted).relative_to(index.root).as_posix(), None)
        except VideoError as error:
            why = str(error)
    raise Unusable(
        f"{shown(said)} is a path of Windows, and its name stands for no single video in --videos; write it relative to the "
        f"folder of videos, with / ({why})"
    )


@lru_cache(maxsize=4)
def _index(root: Path) -> VideoIndex:
    """What lies below a root: read once for all rows."""
    return VideoIndex(root)


def _inside(path: str, root: Path | None) -> str:
    """An absolute path, relative to the root."""
    if root is None:
        raise Unusable(f"{shown(path)} is absolute; give the folder of videos with --videos")
    for place, folder in ((os.path.normpath(path), os.path.abspath(root)), (os.path.realpath(path), os.path.realpath(root))):
        if Path(place).is_relative_to(folder):
            return Path(place).relative_to(folder).as_posix()
    raise Unusable(
        f"{shown(path)} lies outside of the folder of videos, {os.path.abspath(root)}; give a folder that holds all "
        "videos with --videos, or write paths relative to it"
    )
