"""Finds the file that an annotation names below a video root, in whatever layout it was downloaded. Opens no videos."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from trlt.disk import SYSTEMIC
from trlt.errors import VideoError, shown
from trlt.video.remote import fetch, is_remote

EXTENSIONS = (
    ".mp4",
    ".mkv",
    ".webm",
    ".avi",
    ".mov",
    ".gif",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".flv",
    ".wmv",
    ".ts",
    ".3gp",
    ".3g2",
    ".mts",
    ".m2ts",
    ".ogv",
)
FRAMES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SHORT = 5
"""Names shorter than this (`3.mp4`) say too little: elsewhere they count only where the folder's name agrees."""


class VideoIndex:
    """The videos, and folders of numbered frames, below a root; read once, at the first search by name.

    Args:
        root: Folder that the samples' paths are relative to.
        downloads: Folder for videos that are named by http(s) address; None refuses them.
    """

    def __init__(self, root: str | Path, downloads: str | Path | None = None) -> None:
        self.root = Path(root).resolve()
        self._downloads = Path(downloads) if downloads is not None else None
        if not self.root.is_dir():
            raise VideoError(f"{root}: no such folder; give the folder that holds the videos")
        self._stems: dict[str, list[PurePosixPath]] | None = None

    def find(self, video: str) -> Path:
        """The path of a video, or of a folder of frames.

        First the exact path below the root; then the same name with any known extension anywhere below it. Of several, the one
        whose folders agree best with those in `video`. A name that is found twice equally well is never guessed.

        An http(s) address is downloaded where that is allowed.

        Raises:
            VideoError: missing, ambiguous, outside of the root, or an address that is refused or can't be downloaded.
        """
        if is_remote(video):
            return fetch(video, self._downloads)
        wanted = PurePosixPath(video)
        if not video or wanted.is_absolute() or ".." in wanted.parts or "\0" in video:
            raise VideoError(f"{video!r}: must be a path inside the video root {self.root}")
        try:
            return self._find(video, wanted)
        except (OSError, RuntimeError) as error:  # a name that is too long, links in a circle: of this video alone
            if getattr(error, "errno", None) in SYSTEMIC:
                raise
            why = getattr(error, "strerror", None) or "links in a circle"
            raise VideoError(f"{shown(video)}: can't be looked for in {self.root} ({why}); correct its name") from None

    def _find(self, video: str, wanted: PurePosixPath) -> Path:
        exact = self.root / wanted
        if exact.is_file() or (exact.is_dir() and _holds_frames(os.listdir(exact))):
            return self._inside(exact)
        found = self._by_stem(wanted)
        if not found:
            raise VideoError(
                f"{video}: not in {self.root}: looked for that path, then for {_stem(wanted)}.{{mp4,mkv,webm,…}} "
                f"and a folder of frames of that name anywhere below; download it, or give the right folder of videos"
            )
        if len(found) > 1:
            names = ", ".join(map(str, found[:3])) + (", …" if len(found) > 3 else "")
            raise VideoError(f"{video}: ambiguous in {self.root}: {names}; name one by its path")
        return self._inside(self.root / found[0])

    def all(self) -> list[str]:
        """Every video and folder of frames below the root, as `find` takes them."""
        if self._stems is None:
            self._stems = _walk(self.root)
        return sorted({path.as_posix() for paths in self._stems.values() for path in paths})

    def has(self, video: str) -> bool:
        """Whether `find` would give a path; of an address, whether downloads are allowed."""
        if is_remote(video):
            return self._downloads is not None
        try:
            self.find(video)
        except VideoError:
            return False
        return True

    def _by_stem(self, wanted: PurePosixPath) -> list[PurePosixPath]:
        """The best candidates, equally good."""
        if self._stems is None:
            self._stems = _walk(self.root)
        stem = _stem(wanted)
        parents = wanted.parent.parts
        ranked = [
            ((_agreement(path.parent.parts, parents), path.name == wanted.name), path) for path in self._stems.get(stem, [])
        ]
        if len(stem) < SHORT and parents:
            ranked = [item for item in ranked if item[0][0]]
        best = max((rank for rank, _ in ranked), default=None)
        return [path for rank, path in ranked if rank == best]

    def _inside(self, path: Path) -> Path:
        if not path.resolve().is_relative_to(self.root):
            raise VideoError(
                f"{path}: a link that leads outside of the video root {self.root}; copy it, or give the other folder as root"
            )
        return path


def _stem(path: PurePosixPath) -> str:
    return path.stem if path.suffix.lower() in EXTENSIONS else path.name


def _agreement(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """How many trailing parts are equal."""
    count = 0
    for left, right in zip(reversed(a), reversed(b), strict=False):
        if left != right:
            break
        count += 1
    return count


def _holds_frames(names: Iterable[str]) -> bool:
    return any(name.lower().endswith(FRAMES) and name.rpartition(".")[0].isdigit() for name in names)


def _walk(root: Path) -> dict[str, list[PurePosixPath]]:
    stems: defaultdict[str, list[PurePosixPath]] = defaultdict(list)
    for folder, _, files in os.walk(root):
        below = PurePosixPath(Path(folder).relative_to(root).as_posix())
        if _holds_frames(files) and folder != str(root):
            stems[below.name].append(below)
        for name in files:
            path = below / name
            if path.suffix.lower() in EXTENSIONS:
                stems[path.stem].append(path)
    return {stem: sorted(paths) for stem, paths in stems.items()}
