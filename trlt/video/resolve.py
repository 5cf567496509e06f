"""Finds the file that an annotation names below a video root, in whatever layout it was downloaded. Opens no videos."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from trlt.errors import VideoError, shown
from trlt.errors.system import SYSTEMIC
from trlt.video.numbering import holds_frames
from trlt.video.remote import fetch, is_remote
from trlt.video.video_files import Below, composed, folded, stem_of

SHORT = 5
"""Names shorter than this (`3.mp4`) say too little: elsewhere they count only where the folder's name agrees."""


class VideoIndex:
    """The videos, and folders of numbered frames, below a root; read once, at the first search by name.

    Args:
        root: Folder that the samples' paths are relative to.
        downloads: Folder for videos that are named by http(s) address; None refuses them.
        links: A folder outside of the root that links may lead into (a download cache's `blobs`); None: none may lead out.
    """

    def __init__(self, root: str | Path, downloads: str | Path | None = None, links: str | Path | None = None) -> None:
        self.root = Path(os.path.realpath(root))
        self._downloads = Path(downloads) if downloads is not None else None
        if not self.root.is_dir():
            raise VideoError(f"{root}: no such folder; give the folder that holds the videos")
        self._links = Path(os.path.realpath(links)) if links is not None else None
        if self._links is not None and not self._links.is_dir():
            raise VideoError(f"video.links: {links}: no such folder; give the one that the links lead into")
        self._walked: Below | None = None

    def find(self, video: str) -> Path:
        """The path of a video, or of a folder of frames.

        First the exact path below the root, whatever its Unicode form and letter case; then the same name with any known
        extension anywhere below it. Of several, the one whose folders agree best with those in `video`. A name that is found
        twice equally well is never guessed.

        An http(s) address is downloaded where that is allowed.

        Raises:
            VideoError: missing, ambiguous, too long, a link that leads nowhere or outside of the root, or an address that is
                refused or can't be downloaded.
        """
        if is_remote(video):
            return fetch(video, self._downloads)
        wanted = PurePosixPath(video)
        if not video or wanted.is_absolute() or ".." in wanted.parts or "\0" in video:
            raise VideoError(f"{video!r}: must be a path inside the video root {self.root}")
        try:
            return self._find(video, wanted)
        except OSError as error:  # of this video alone
            raise VideoError(f"{shown(video)}: {_reason(error)}") from None

    def _find(self, video: str, wanted: PurePosixPath) -> Path:
        found = self._exact(wanted) or self._by_stem(wanted)
        if not found:
            raise VideoError(
                f"{video}: not in {self.root}: looked for that path, then for {stem_of(wanted)}.{{mp4,mkv,webm,…}} "
                f"and a folder of frames of that name anywhere below; download it, or give the right folder of videos"
            )
        if len({os.path.realpath(self.root / one) for one in found}) > 1:
            names = ", ".join(map(str, found[:3])) + (", …" if len(found) > 3 else "")
            raise VideoError(f"{video}: ambiguous in {self.root}: {names}; name one by its path")
        return self._inside(self.root / found[0])

    def all(self) -> list[str]:
        """Every video and folder of frames below the root, as `find` takes them; with what can't be looked into."""
        below = self._below()
        return sorted({path.as_posix() for paths in (*below.stems.values(), below.closed) for path in paths})

    def has(self, video: str) -> bool:
        """Whether `find` would give a path; of an address, whether downloads are allowed."""
        if is_remote(video):
            return self._downloads is not None
        try:
            self.find(video)
        except VideoError:
            return False
        return True

    def is_at(self, video: str) -> bool:
        """Whether something is at this path below the root, whatever its Unicode form and letter case."""
        if is_remote(video) or not video or "\0" in video:
            return False
        return os.path.exists(self.root / video) or folded(video) in self._below().folded

    def _below(self) -> Below:
        if self._walked is None:
            self._walked = Below(self.root, self._admits)
        return self._walked

    def _exact(self, wanted: PurePosixPath) -> list[PurePosixPath]:
        """The path itself, or those that differ from it by Unicode form alone, or else by letter case too."""
        path = self.root / wanted
        try:
            os.lstat(path)
            self._inside(path)
            if path.is_file() or (path.is_dir() and holds_frames(os.listdir(path))):
                return [wanted]
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise VideoError(f"{shown(wanted.as_posix())}: {_reason(error)}") from None
        alike = self._below().folded.get(folded(wanted.as_posix()), [])
        return [one for one in alike if composed(one.as_posix()) == composed(wanted.as_posix())] or alike

    def _by_stem(self, wanted: PurePosixPath) -> list[PurePosixPath]:
        """The best candidates, equally good."""
        stem, parents = stem_of(wanted), wanted.parent.parts
        alike = self._below().stems.get(folded(stem), [])
        named = [path for path in alike if composed(stem_of(path)) == composed(stem)] or alike
        ranked = []
        for path in named:
            inexact = _agreement(path.parent.parts, parents, folded)
            if inexact or len(stem) >= SHORT or not parents:
                exact = _agreement(path.parent.parts, parents, composed)
                ranked.append(((inexact, exact, composed(path.name) == composed(wanted.name)), path))
        best = max((rank for rank, _ in ranked), default=None)
        return [path for rank, path in ranked if rank == best]

    def _inside(self, path: Path) -> Path:
        try:
            real = os.path.realpath(path, strict=True)
            leading_out = self._frames_outside(path) if os.path.isdir(real) and self._admits(real) else []
        except OSError as error:
            raise VideoError(f"{path}: {_reason(error)}") from None
        if not self._admits(real):
            raise VideoError(f"{path}: {self._outside()}")
        if leading_out:
            raise VideoError(f"{path}: holds {leading_out[0]}, {self._outside()}")
        return path

    def _frames_outside(self, folder: Path) -> list[str]:
        """Frames of a folder that are links which lead out; one that leads nowhere shows nothing."""
        with os.scandir(folder) as entries:
            names = {entry.name: entry.is_symlink() for entry in entries}
        linked = sorted(name for name, is_link in names.items() if is_link and os.path.isfile(folder / name))
        return [name for name in linked if not self._admits(os.path.realpath(folder / name))] if holds_frames(names) else []

    def _outside(self) -> str:
        return (
            f"a link that leads outside of the video root {self.root}; copy it, give the other folder as root, "
            "or name the folder that the links lead into as video.links"
        )

    def _admits(self, real: str) -> bool:
        """Whether a path without links may be read."""
        return any(place is not None and Path(real).is_relative_to(place) for place in (self.root, self._links))


def on_disk(path: Path) -> Path:
    """A path as it is written on disk, where the only file like it has another Unicode form or letter case.

    Raises:
        VideoError: there is none, the name is too long, or a link leads nowhere.
    """
    try:
        os.stat(path)
        return path
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError)) and not path.is_symlink()
        if not missing:
            raise VideoError(f"{path}: {_reason(error)}") from None
    alike = [one for one in path.parent.glob("*") if folded(one.name) == folded(path.name)]
    if len(alike) != 1:
        raise VideoError(f"{path}: no such file; give a video, or a folder of numbered frames")
    return alike[0]


def _agreement(a: tuple[str, ...], b: tuple[str, ...], form: Callable[[str], str]) -> int:
    """How many trailing parts are equal in a form."""
    count = 0
    for left, right in zip(reversed(a), reversed(b), strict=False):
        if form(left) != form(right):
            break
        count += 1
    return count


def _reason(error: OSError) -> str:
    """Why a path can't be had; a fault of the machine rather than of the path is raised again."""
    if error.errno in SYSTEMIC:
        raise error
    if error.errno == errno.ELOOP:
        return "a link that leads in a circle; remove it, or put the video there"
    if error.errno == errno.ENAMETOOLONG:
        return "a name that is too long for the file system (255 bytes, mostly); shorten it in file and annotation"
    if isinstance(error, FileNotFoundError):
        return "a link to a file that isn't there; download it again, or remove the link"
    return f"can't be looked at ({error.strerror})"
