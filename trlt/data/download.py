"""Fetches the official files of a data set into the folder in which the other commands look for them.

Only from the addresses that its module names (`FETCH`), only from the hosts in `ORIGINS`, and nothing that is fetched is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from trlt.data.datasets import Fetch, Remote, load, names, read_source
from trlt.data.hub import from_hub, is_on_hub
from trlt.errors import DataError
from trlt.files import write_json
from trlt.files.bounded_json import read_json
from trlt.files.download import Tell, download, file_digests
from trlt.files.unpack import unpack

ORIGINS = frozenset(
    {
        "https://raw.githubusercontent.com",
        "https://storage.googleapis.com",
        "https://ai2-public-datasets.s3-us-west-2.amazonaws.com",
    }
)
"""Whom files are fetched from, beside the hub; a redirection to another host is refused."""
MANIFEST = "download.json"
"""In a data set's folder: each file with its address, size and checksum, and whether that was known before."""
UNKNOWN_BYTES = 1 << 30
"""Largest file of which nobody has told the size."""
SLACK = 1 << 20
"""Bytes by which a file may be larger than told, beside a tenth: told sizes are rounded."""
UNPACKED = 20
"""How many times as large as a zip file of annotation its files may be; of videos, which are compressed already, twice."""


def fetch_of(name: str) -> Fetch:
    """What can be had of a data set.

    Raises:
        UsageError: no data set has this name.
    """
    found: Fetch = getattr(load(name), "FETCH", None) or Fetch(by_hand=(f"all of it: {load(name).WHERE}",))
    return found


def fetchable() -> list[str]:
    """Data sets of which something can be fetched."""
    return [name for name in names() if fetch_of(name).files]


Bar = Callable[[str], AbstractContextManager[Tell]]
"""For a file's path, what shows its progress."""


def fetch(name: str, data: Path, *, videos: bool = False, bar: Bar | None = None) -> dict[str, Any]:
    """Fetches what is missing of a data set; what is there stays as it is.

    Args:
        name: The data set.
        data: Folder of all data sets.
        videos: Also archives of videos.
        bar: Shows the progress of a file.

    Returns:
        The manifest, which was written: `files`, one entry each, with `state`: `fetched` or `there`.

    Raises:
        DataError: a file that is there, or one that came, isn't the one that is known.
        TrltError: unreachable, refused, too large, or no room.
    """
    folder = data / name
    wanted = fetch_of(name)
    manifest = _manifest(folder)
    known = {entry["url"]: entry for entry in manifest["files"]}
    states = {}
    for remote in (*wanted.files, *(wanted.videos if videos else ())):
        try:
            entry, states[remote.url] = _one(remote, folder, known.get(remote.url), remote in wanted.videos, bar)
        finally:
            _drop_empty((folder / remote.path).parent, data)  # an empty one would be taken for the data set's
        known[remote.url] = entry
        # After each: a later one may fail.
        write_json(folder / MANIFEST, manifest | {"dataset": name, "files": list(known.values())})
    files = [entry | {"state": states[url]} for url, entry in known.items() if url in states]
    return manifest | {"dataset": name, "files": files}


def questions(name: str, folder: Path) -> dict[str, int]:
    """Splits of a data set whose files are there -> how many questions are read of them.

    Raises:
        DataError: the files of a split are there and can't be used.
    """
    module, counts = load(name), dict[str, int]()
    for split, files in module.FILES.items():
        optional = getattr(module, "OPTIONAL", ())
        needed = [file for file in files if file not in optional]
        there = [file for file in files if (folder / file).is_file() or any(folder.glob(f"*/{file}"))]
        if there and all(file in there for file in needed):
            tests = name in names("bench") and (name not in names("train") or split == module.TEST_SPLIT)
            reading = read_source(name, folder, split, allow_test=True, purpose="bench" if tests else "train")
            counts[split] = len(reading.samples)
    return counts


def _one(
    remote: Remote, folder: Path, known: Mapping[str, Any] | None, video: bool, bar: Bar | None
) -> tuple[dict[str, Any], str]:
    """A file's entry in the manifest, and whether it was fetched or there."""
    path = folder / remote.path
    if remote.unpack:
        if known is not None and all((folder / member).is_file() for member in known["members"]):
            return dict(known), "there"
    elif path.is_file():
        return _there(remote, path, known), "there"
    entry = _got(remote, path, bar)
    if remote.unpack:
        members = unpack(path, path.parent, most_bytes=entry["bytes"] * (2 if video else UNPACKED))
        entry["members"] = [(path.parent / member).relative_to(folder).as_posix() for member in members]
        path.unlink()
    return entry, "fetched"


def _got(remote: Remote, path: Path, bar: Bar | None) -> dict[str, Any]:
    """Fetches a file; an archive that came whole, and couldn't be unpacked for want of room, isn't fetched again."""
    if path.is_file():
        return _there(remote, path, None)
    most = UNKNOWN_BYTES if remote.size is None else remote.size + remote.size // 10 + SLACK
    entry: dict[str, Any] = {"file": remote.path, "url": remote.url}
    if is_on_hub(remote.url):
        entry |= from_hub(remote.url, path, most_bytes=most, digest=remote.digest)
    else:
        with bar(remote.path) if bar is not None else nullcontext() as tell:
            digest = download(remote.url, path, origins=ORIGINS, most_bytes=most, digest=remote.digest, tell=tell)
        entry |= {"sha256": digest, "verified": remote.digest.partition(":")[0] or None}
    return entry | {"bytes": path.stat().st_size}


def _there(remote: Remote, path: Path, known: Mapping[str, Any] | None) -> dict[str, Any]:
    """The entry of a file that is there, whoever has put it there."""
    found = file_digests(path)
    if remote.digest and remote.digest not in found:
        raise DataError(
            f"{path}: is there and isn't the file at {remote.url} ({found[0]} instead of {remote.digest}); remove it to fetch "
            "that one, or go on with yours"
        )
    digest = found[0].removeprefix("sha256:")
    if known is not None and known["sha256"] != digest:
        raise DataError(
            f"{path}: has changed since it was fetched ({digest} instead of {known['sha256']}, by {MANIFEST}); remove it to "
            "fetch it again, or go on with yours"
        )
    told = {"file": remote.path, "url": remote.url, "sha256": digest, "verified": remote.digest.partition(":")[0] or None}
    return dict(known) if known is not None else told | {"bytes": path.stat().st_size}


def _drop_empty(folder: Path, data: Path) -> None:
    """Removes a folder and those above it, up to that of all data sets, where nothing was put into them."""
    while folder != data:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        return {"schema": 1, "kind": "download", "files": []}
    found = read_json(path, remedy="remove it; what is there is looked at again")
    if not isinstance(found, dict) or not isinstance(found.get("files"), list):
        raise DataError(f"{path}: isn't what `trlt download` writes; remove it, and what is there is looked at again")
    return found
