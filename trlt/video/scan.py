"""Checks whether files match their samples: the header, the first, middle and last frames, the length. Cached by file.

Knows paths and verdicts; nothing of samples. `survey` decodes clips as a run will and measures tokens; this only looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from trlt.errors import UnforeseenError, VideoError
from trlt.errors.faults import Surprises
from trlt.files import append_jsonl, iter_jsonl, mend_tail
from trlt.files.forms import STRICT, Texts, build
from trlt.recipe import Video
from trlt.video.decode import VERSION, cores
from trlt.video.workers import ClipLoader, ClipRequest, limits_of

FRAMES = 4
"""First, last, and two in the middle: an even number, as of every clip."""


@dataclass(frozen=True, slots=True, config=STRICT)
class ScanResult:
    """The verdict on a file."""

    duration_s: float | None
    """Seconds of the file; None where it can't be read."""
    error: str | None
    """Why it can't be used."""
    warnings: Texts
    """What is wrong with it although it can."""
    limits: str | None = None
    """With which it couldn't be read: with others it is looked at anew."""


@dataclass(frozen=True, slots=True, config=STRICT)
class _File:
    """Which file a line of the cache is about, and the version of the loader that looked."""

    path: str
    size: int
    mtime_ns: int
    loader: int | str | None = None


class Scan:
    """Verdicts on files, kept in a JSONL file so that each is looked at once; changes of size or time count as another file.

    Verdicts of another version of the loader aren't taken over; that a file can't be read holds for the same limits alone.

    Args:
        cache: The JSONL file; made when it isn't there.
        settings: The recipe's `video` section: its limits of time and memory hold.

    Raises:
        DataError: `cache` holds something else.
    """

    def __init__(self, cache: Path, settings: Video) -> None:
        self._cache = cache
        self._settings = settings.model_copy(
            # Frames of one token, four of the whole file: the least that every decoder has to do.
            update={"fps": 1e-4, "min_frames": FRAMES, "max_frames": FRAMES, "min_tokens": 1, "max_tokens": FRAMES // 2}
            | {"store": None, "workers": cores()}
        )
        self._known: dict[str, tuple[int, int, ScanResult]] = {}
        self._load()

    def look(self, paths: Iterable[Path], progress: Callable[[int, int], None] | None = None) -> dict[Path, ScanResult]:
        """A verdict for each path; those that aren't in the cache are looked at, several at a time.

        A verdict is written as soon as it is there, so that an interrupted scan goes on.

        Raises:
            TrltError: most files meet unforeseen errors.

        Args:
            paths: Files, or folders of numbered frames.
            progress: Is told how many of the files that had to be looked at are done; first of none.
        """
        found: dict[Path, ScanResult] = {}
        new: dict[Path, tuple[int, int]] = {}
        limits = limits_of(self._settings)
        for path in paths:
            try:
                stamp = _stamp(path)
            except VideoError as error:
                found[path] = ScanResult(None, str(error), ())
                continue
            known = self._known.get(str(path))
            if known is not None and known[:2] == stamp and (known[2].error is None or known[2].limits == limits):
                found[path] = known[2]
            else:
                new[path] = stamp
        if new:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            surprises = Surprises()
            if progress:
                progress(0, len(new))
            with ClipLoader(self._settings) as loader:
                for done, loaded in enumerate(loader.map(ClipRequest(path) for path in new), 1):
                    path, clip = loaded.request.path, loaded.clip
                    verdict = ScanResult(None, str(loaded.error), (), limits)
                    if clip is not None:
                        verdict = ScanResult(round(clip.duration, 3), None, clip.warnings)
                    found[path] = verdict
                    if isinstance(loaded.error, UnforeseenError):  # says nothing of the file, which is looked at again
                        surprises.add("load", loaded.error)
                    else:
                        surprises.passed("load")
                        self._known[str(path)] = (*new[path], verdict)
                        append_jsonl(self._cache, _row(path, new[path], verdict))
                    if progress:
                        progress(done, len(new))
        return found

    def _load(self) -> None:
        if not self._cache.is_file():
            return
        mend_tail(self._cache)
        for _, (path, known) in iter_jsonl(self._cache, _known):
            if known is not None:
                self._known[path] = known


def _known(row: Any, where: str) -> tuple[str, tuple[int, int, ScanResult] | None]:
    """A path, and what is known of the file there; None where another version of the loader looked."""
    remedy = "this is no verdict on a video; give another file as --scan"
    file, verdict = build(row, _File, where, remedy), build(row, ScanResult, where, remedy)
    return file.path, (file.size, file.mtime_ns, verdict) if file.loader == VERSION else None


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change: together with the path they stand for the content."""
    try:
        stat = path.stat()
    except OSError as error:
        raise VideoError(f"{path}: can't be looked at ({error.strerror})") from None
    return (0 if path.is_dir() else stat.st_size), stat.st_mtime_ns


def _row(path: Path, stamp: tuple[int, int], verdict: ScanResult) -> dict[str, object]:
    row: dict[str, object] = {"path": str(path), "size": stamp[0], "mtime_ns": stamp[1], "duration_s": verdict.duration_s}
    row |= {"error": verdict.error, "warnings": list(verdict.warnings), "loader": VERSION}
    return row | ({"limits": verdict.limits} if verdict.limits else {})
