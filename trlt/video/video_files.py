"""Lists the videos below a folder by name, and what can't be looked into. Of files, only a WebP's head is read."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from trlt.video.numbering import holds_frames
from trlt.video.webp import SUFFIX as WEBP
from trlt.video.webp import is_animated

EXTENSIONS = tuple(
    ".mp4 .mkv .webm .avi .mov .gif .m4v .mpg .mpeg .flv .wmv .ts .3gp .3g2 .mts .m2ts .ogv .h264 .h265 .264 .265 .hevc .ivf "
    ".y4m .apng".split()
)
"""WebP isn't among them: downloads put a thumbnail of the video's name beside it. One that moves is looked into."""


class Below:
    """What lies below a root. Folders that links lead to are looked into where they may be and aren't below it anyway.

    Args:
        root: Without links.
        admits: Whether a path without links may be read.
    """

    def __init__(self, root: Path, admits: Callable[[str], bool]) -> None:
        self.stems: dict[str, list[PurePosixPath]] = {}
        """Videos and folders of frames, relative to the root, by folded stem."""
        self.folded: dict[str, list[PurePosixPath]] = {}
        """The same by folded path."""
        self.closed: list[PurePosixPath] = []
        """Folders that can't be read, or that a link outside leads to, and links that lead in a circle."""
        stems: defaultdict[str, list[PurePosixPath]] = defaultdict(list)
        paths: defaultdict[str, list[PurePosixPath]] = defaultdict(list)
        seen: set[str] = set()
        todo = [(PurePosixPath(), False)]
        while todo:
            below, linked = todo.pop()
            if linked:  # several ways may lead here, and some in circles
                real = os.path.realpath(root / below)
                if real in seen:
                    continue
                seen.add(real)
            try:
                with os.scandir(root / below) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError:
                self.closed.append(below)
                continue
            names = [entry.name for entry in found]
            frames = holds_frames(names) if below.parts else False
            videos = [below] if frames else []
            for entry in found:
                path = below / entry.name
                if entry.is_dir(follow_symlinks=False):
                    todo.append((path, linked))
                elif entry.is_symlink() and os.path.isdir(entry.path):
                    real = os.path.realpath(entry.path)
                    if not admits(real):
                        self.closed.append(path)
                    elif not Path(real).is_relative_to(root):
                        todo.append((path, True))
                elif _is_video(path, root):
                    videos.append(path)
                elif entry.is_symlink() and _is_circle(entry.path):
                    self.closed.append(path)
            for path in videos:
                stems[folded(path.name if path == below else stem_of(path))].append(path)
                paths[folded(path.as_posix())].append(path)
        self.stems = {stem: sorted(some) for stem, some in stems.items()}
        self.folded = {path: sorted(some) for path, some in paths.items()}


def folded(text: str) -> str:
    """One form for texts that differ by Unicode form and letter case alone."""
    return composed(composed(text).casefold())


def composed(text: str) -> str:
    """One form for texts that differ by Unicode form alone."""
    return unicodedata.normalize("NFC", text)


def stem_of(path: PurePosixPath) -> str:
    """A video's name without its extension; dots in other names stay."""
    return path.stem if path.suffix.lower() in (*EXTENSIONS, WEBP) else path.name


def _is_video(path: PurePosixPath, root: Path) -> bool:
    """Whether a file is a video by its name."""
    suffix = path.suffix.lower()
    if suffix != WEBP:
        return suffix in EXTENSIONS
    try:
        return os.path.isfile(root / path) and is_animated(root / path)
    except OSError:
        return False


def _is_circle(link: str) -> bool:
    try:
        os.stat(link)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False
