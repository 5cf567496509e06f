"""Which files of a folder are frames of a video, by their names alone. Opens no file."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping

_IMAGE = r"\.(?:jpe?g|png|webp|bmp)"
_FRAME = re.compile(rf"(?P<prefix>.*?)(?P<number>\d+){_IMAGE}", re.IGNORECASE | re.ASCII | re.DOTALL)
"""`1.png`, `00001.jpg`, `frame_0001.png`, `img00001.jpg`, `shot.0001.png`."""
_TIMED = re.compile(
    rf"(?:\d+\.\d+"  # 0.5
    r"|.*\d\s*(?:ms|s|secs?|seconds?)"  # frame_12.5s
    r"|(?:.*\D)?\d{1,2}(?P<split>[-_:.])\d\d(?P=split)\d\d(?:[-_.,]\d+)?"  # 00-01-05, 00:01:05.250
    r"|(?:.*\D)?(?:19|20)\d{6}[-_T ]?\d{6}(?:[-_.]?\d+)?"  # 20240131_120500
    rf"){_IMAGE}",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_EPOCH = 10**9
"""Numbers from here on are seconds, or parts of seconds, of a calendar."""
REMEDY = "name frames by number from 1 on (00001.jpg), none left out"


def holds_frames(names: Iterable[str]) -> bool:
    """Whether a folder of such names stands for a video, be it one that can't be read."""
    names = list(names)
    groups = _groups(names)
    return "" in groups or any(len(group) > 1 for group in groups.values()) or len(_timed(names)) > 1


def number_frames(names: Iterable[str]) -> dict[int, str]:
    """The frames' names by number, rising; of a folder's other files, none.

    Numbers alone come first (`00001.jpg`); else the one name that is there with several numbers (`frame_0001.png`).

    Raises:
        ValueError: there are no frames, or no rate can be told from their names.
    """
    names = list(names)
    if len(timed := _timed(names)) > 1:
        raise ValueError(f"its frames are named by times ({timed[0]}, {timed[1]}), and a folder is read at one rate; {REMEDY}")
    groups = _groups(names)
    many = sorted(prefix for prefix, group in groups.items() if len(group) > 1)
    if "" not in groups and len(many) > 1:
        raise ValueError(f"frames of several names ({many[0]}*, {many[1]}*); leave one kind in the folder")
    prefix = "" if "" in groups else many[0] if many else next(iter(groups)) if len(groups) == 1 else None
    if prefix is None:
        raise ValueError(f"a folder without numbered frames; {REMEDY}")
    return _checked(groups[prefix])


def _checked(group: Mapping[int, list[str]]) -> dict[int, str]:
    numbers = sorted(group)
    for number in numbers:
        if len(group[number]) > 1:
            raise ValueError(f"frame {number} is there more than once ({', '.join(sorted(group[number])[:3])})")
    if numbers[-1] >= _EPOCH:
        raise ValueError(f"its frames are named by times ({group[numbers[-1]][0]}), and a folder is read at one rate; {REMEDY}")
    step = statistics.median(b - a for a, b in zip(numbers, numbers[1:], strict=False)) if len(numbers) > 1 else 1
    if step > 1:
        raise ValueError(
            f"its frames' numbers rise by {step:g} ({group[numbers[0]][0]}, {group[numbers[1]][0]}): times, or places in "
            f"another video, and a folder is read at one rate; {REMEDY}"
        )
    return {number: group[number][0] for number in numbers}


def _groups(names: Iterable[str]) -> dict[str, dict[int, list[str]]]:
    """Frames' names by what stands before the number, and by number."""
    groups: defaultdict[str, defaultdict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        if found := _FRAME.fullmatch(name):
            groups[found["prefix"]][int(found["number"])].append(name)
    return {prefix: dict(group) for prefix, group in groups.items()}


def _timed(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if _TIMED.fullmatch(name))
