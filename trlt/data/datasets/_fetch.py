"""Where a data set's files can be had, in the form in which its module says it (`FETCH`)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import NamedTuple

HUB = "https://huggingface.co/"
"""Begins the addresses that are fetched through the hub's client: `HUB/datasets/<owner>/<name>/resolve/<revision>/<path>`."""
_COMMIT = re.compile(r"/[0-9a-f]{40}/")


class Remote(NamedTuple):
    """One file at a public address."""

    url: str
    """https; a repository's is at a commit, where that is known."""
    size: int | None = None
    """Bytes, about; None where nobody has told."""
    digest: str = ""
    """`sha256:...` of the file as it was looked at, or `git:...`, the id of git's blob; empty: not known, so not verified."""
    to: str = ""
    """Folder below the data set's; of an archive, the one that it is unpacked into."""
    unpack: bool = False
    """A zip file, of which the files inside are wanted."""
    saved: str = ""
    """Name here, where it isn't that of the address."""

    @property
    def path(self) -> str:
        """Where it goes, below the data set's folder."""
        return (PurePosixPath(self.to) / (self.saved or PurePosixPath(self.url).name)).as_posix()


class Fetch(NamedTuple):
    """What can be had of a data set, and how."""

    files: tuple[Remote, ...] = ()
    """Annotation."""
    videos: tuple[Remote, ...] = ()
    """Plain public archives of videos; fetched only when they are asked for."""
    by_hand: tuple[str, ...] = ()
    """What trlt doesn't fetch: each a step, with address, target and size; `{data}` stands for the folder of all data sets."""
    videos_at: str = ""
    """Where the shipped recipes look for the videos, below the folder of all data sets; empty: `<name>/videos`."""


def on_github(repository: str, commit: str, path: str) -> str:
    """Address of a file in a repository on GitHub."""
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"


def hub(dataset: str, revision: str, path: str) -> str:
    """Address of a file of a data set on the hub."""
    return f"{HUB}datasets/{dataset}/resolve/{revision}/{path}"


def is_pinned(remote: Remote) -> bool:
    """Whether a file can't become another one: it has a digest, or its address names a commit and not a branch."""
    return bool(remote.digest or _COMMIT.search(remote.url))
