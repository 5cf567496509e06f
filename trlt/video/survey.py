"""Checks the files of a set before a run: sound, readable with warnings or broken, length, tokens. Knows no samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pydantic.dataclasses

from trlt.errors import UnforeseenError, VideoError
from trlt.errors.faults import Surprises
from trlt.files import append_jsonl, iter_jsonl, mend_tail, write_jsonl
from trlt.files.forms import STRICT, Count, Texts, build
from trlt.video.clip_codec import packed_size
from trlt.video.durations import durations_differ
from trlt.video.workers import ClipLoader, ClipRequest, LoadedClip

EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """A clip that samples need."""

    video: str
    """As the samples name it."""
    path: Path | None
    """None where no such file was found."""
    reason: str = ""
    """Why there is no path."""
    start: float | None = None
    end: float | None = None
    annotated_s: tuple[float, ...] = ()
    """Durations of the clip by its samples' annotation, each once."""
    samples: int = 1
    """How many samples need it."""


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class SurveyRow:
    """The result for a clip."""

    key: str
    """Changes with the file, the bounds and the budget; empty where there is no file."""
    video: str
    start: float | None
    end: float | None
    samples: Count
    annotated_s: tuple[float, ...]
    error: str | None
    warnings: Texts
    duration_s: float | None
    frames: Count
    tokens: Count
    store_bytes: Count
    limits: str | None = None
    """With which a clip couldn't be read: with others it is looked at anew."""

    @property
    def differing_s(self) -> tuple[float, ...]:
        """The annotated durations than which the clip is longer or shorter."""
        if self.duration_s is None:
            return ()
        return tuple(annotated for annotated in self.annotated_s if durations_differ(annotated, self.duration_s))


def survey(
    wanted: Sequence[Wanted],
    loader: ClipLoader,
    out: Path,
    *,
    fresh: bool = False,
    deep: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[SurveyRow, ...]:
    """Decodes every clip as a run would, and records the result.

    Rows are written one by one; a later call takes over those that are there, unless file, bounds or budget changed, or for a
    clip that couldn't be read the limits of time and memory.

    Args:
        wanted: The clips, each once.
        loader: Its budget decides frames and tokens; its frame store, where it has one, is filled on the way.
        out: JSONL file of the rows.
        fresh: Discard existing rows.
        deep: The loader decodes every frame: rows of one that doesn't are no answer.
        progress: Called at first, and after each clip.

    Raises:
        DataError: `out` holds something else.
        TrltError: most clips meet unforeseen errors.
    """
    known = {} if fresh else {row.key: row for row in _read(out) if row.key and _holds(row, loader)}
    rows: list[SurveyRow | None] = [None] * len(wanted)
    requests: list[ClipRequest] = []
    keys: dict[int, str] = {}
    for number, clip in enumerate(wanted):
        try:
            if clip.path is None:
                raise VideoError(clip.reason)
            keys[number] = loader.key(clip.path, clip.start, clip.end) + (" deep" if deep else "")
        except VideoError as error:
            rows[number] = _row(clip, "", error=str(error))
            continue
        there = known.get(keys[number])
        if there is not None:
            rows[number] = _row(clip, there.key, **{name: getattr(there, name) for name in _MEASURED})
        else:
            requests.append(ClipRequest(clip.path, clip.start, clip.end, number))
    kept = [row for row in rows if row is not None]
    write_jsonl(out, map(asdict, kept))
    surprises = Surprises()
    done = len(kept)
    if progress:
        progress(done, len(wanted))
    for loaded in loader.map(requests):
        number, is_bug = loaded.request.key, isinstance(loaded.error, UnforeseenError)
        # Without a key, the next call decodes the clip again.
        row = rows[number] = _measured(wanted[number], "" if is_bug else keys[number], loaded, loader.limits)
        append_jsonl(out, asdict(row))
        if loaded.error is None:
            surprises.passed("load")
        else:
            surprises.add("load", loaded.error)
        done += 1
        if progress:
            progress(done, len(wanted))
    found = tuple(row for row in rows if row is not None)
    write_jsonl(out, map(asdict, found))
    return found


_MEASURED: Mapping[str, Any] = {
    **dict.fromkeys(("error", "duration_s", "limits")),
    **dict.fromkeys(("frames", "tokens", "store_bytes"), 0),
    "warnings": (),
}
"""What a row says of a clip that wasn't decoded."""


def _holds(row: SurveyRow, loader: ClipLoader) -> bool:
    """Whether a row says what would come of its clip now."""
    return row.error is None or row.limits == loader.limits


def _measured(clip: Wanted, key: str, loaded: LoadedClip, limits: str) -> SurveyRow:
    if loaded.clip is None:
        return _row(clip, key, error=str(loaded.error), limits=limits)
    made = loaded.clip
    return _row(
        clip,
        key,
        warnings=made.warnings,
        duration_s=round(made.duration, 3),
        frames=len(made.frames),
        tokens=made.tokens,
        store_bytes=packed_size(made),
    )


def _row(clip: Wanted, key: str, **measured: Any) -> SurveyRow:
    return SurveyRow(key, clip.video, clip.start, clip.end, clip.samples, clip.annotated_s, **{**_MEASURED, **measured})


def _read(path: Path) -> Iterator[SurveyRow]:
    """Rows of an earlier call; a line torn by a kill is left out."""
    if not path.is_file():
        return
    mend_tail(path)
    for _, row in iter_jsonl(path, _known):
        yield row


def _known(value: Any, where: str) -> SurveyRow:
    # What a clip's samples say of it is theirs to say anew.
    known = value | {"annotated_s": ()} if isinstance(value, dict) else value
    return build(known, SurveyRow, where, "this is no row of `trlt video check`; give another --out, or --fresh")


def summarize(rows: Sequence[SurveyRow]) -> dict[str, Any]:
    """Counts over rows, with the reasons of what is broken: most frequent first, each with an example.

    Numbers in a reason that several clips share are written as N. Of a clip whose samples are annotated with several durations,
    each is compared.
    """
    broken = [row for row in rows if row.error is not None]
    sound = [row for row in rows if row.error is None]
    warned = [row for row in sound if row.warnings]
    differ = [(row, annotated) for row in sound for annotated in row.differing_s]
    tokens = [row.tokens for row in sound]
    return {
        "clips": len(rows),
        "sound": len(sound) - len(warned),
        "warned": len(warned),
        "broken": len(broken),
        "samples": sum(row.samples for row in rows),
        "samples_broken": sum(row.samples for row in broken),
        "reasons": grouped((row.error or "", row.video) for row in broken),
        "warnings": grouped((row.warnings[0], row.video) for row in warned),
        "seconds": round(sum(row.duration_s or 0.0 for row in sound), 1),
        "durations": {
            "compared": sum(len(row.annotated_s) for row in sound),
            "differ": len(differ),
            "examples": [
                {"video": row.video, "annotated_s": annotated, "duration_s": row.duration_s}
                for row, annotated in differ[:EXAMPLES]
            ],
        },
        "tokens": {"total": sum(tokens), "mean": sum(tokens) / len(tokens) if tokens else 0.0, "most": max(tokens, default=0)},
        "store_bytes": sum(row.store_bytes for row in sound),
    }


def grouped(reasons: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Reasons that are alike but for paths and numbers, most frequent first: `reason`, `clips` and a video as `example`.

    Args:
        reasons: Of each clip, with its video.
    """
    counts: Counter[str] = Counter()
    examples: dict[str, tuple[str, str]] = {}
    for text, video in reasons:
        reason = _general(text, video)
        counts[reason] += 1
        examples.setdefault(reason, (video, _own(text, video)))
    return [
        {"reason": reason if count > 1 else examples[reason][1], "clips": count, "example": examples[reason][0]}
        for reason, count in counts.most_common()
    ]


def _general(text: str, video: str) -> str:
    """A reason without what differs from file to file: its path, times and counts."""
    return re.sub(r"(?<![A-Za-z\d])\d+(\.\d+)?", "N", _own(text, video))


def _own(text: str, video: str) -> str:
    """A reason without the file's path, and without its name where other endings of it were tried."""
    name = video.rpartition("/")[2]
    _, found, rest = text.partition(f"{name}: ")
    return (rest if found else text.replace(video, "…")).replace(f"{Path(name).stem}.{{", "….{")


def listing(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The summary as lines of two columns."""
    yield "clips", f"{values['clips']:,}"
    yield "sound", f"{values['sound']:,}"
    yield "readable, with warnings", f"{values['warned']:,}"
    yield (
        "broken",
        f"{values['broken']:,}" + (f" (of {values['samples_broken']:,} samples)" if values["samples_broken"] else ""),
    )
    durations = values["durations"]
    if durations["compared"]:
        yield "other duration than annotated", f"{durations['differ']:,} of {durations['compared']:,}"
    seconds = values["seconds"]
    yield "total length", f"{seconds:,.1f} s" if seconds < 3600 else f"{seconds / 3600:,.2f} h"
    tokens = values["tokens"]
    yield "video tokens", f"{tokens['total']:,} (mean {tokens['mean']:,.0f}, most {tokens['most']:,})"
    yield "frame store", f"{values['store_bytes'] / 1e9:,.3f} GB"
