"""`trlt download`: the official files of data sets, from where they are public into the folders in which trlt looks."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from trlt.commands._output import Output
from trlt.data.datasets import Remote, is_pinned, load, names
from trlt.data.download import fetch, fetch_of, fetchable, questions
from trlt.errors import DataError, TrltError, UsageError, counted
from trlt.evaluate.places import DATA

ALL = "all"
"""Stands for all data sets of which something can be fetched."""
VERIFIED = {
    "sha256": "by the SHA-256 that trlt knows",
    "git": "by git's id, which trlt knows",
    "hub": "by what the hub tells",
    None: "not verified: no checksum is known",
}


def download(
    targets: Annotated[
        Sequence[str], typer.Argument(metavar="[DATASET]...", help=f"Data sets and benchmarks, or `{ALL}` that can be fetched.")
    ] = (),
    *,
    data: Annotated[Path, typer.Option("--out", help="Folder for all data sets, each in one of its own name.")] = DATA,
    videos: Annotated[
        bool, typer.Option("--videos", help="Fetch videos, too, where they are a plain public archive (up to tens of GB).")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept the licenses that are shown.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List what can be fetched, how large it is, and what can't.")] = False,
    output: Output,
) -> dict[str, Any]:
    """Shows the licenses, fetches what is missing, reads it, and says what is left to do; see `trlt download --help`.

    Raises:
        UsageError: no or unknown data sets, or licenses that nobody accepts.
        TrltError: some could not be fetched; the others were.
    """
    if list_:
        return _list(output)
    if not targets:
        raise UsageError(f"which data sets? give their names, or `{ALL}`; `trlt download --list` shows them")
    wanted = list(dict.fromkeys(name for target in targets for name in (fetchable() if target == ALL else [target])))
    for name in wanted:
        load(name)  # an unknown name ends it before anything is fetched
    output.show(_licenses(wanted, videos))
    if not yes and any(fetch_of(name).files for name in wanted):
        _ask(output)
    if output.json_mode:
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars()
    done: dict[str, Any] = {}
    faults: dict[str, TrltError] = {}
    for name in wanted:
        try:
            done[name] = _one(name, data, videos, output)
        except TrltError as error:
            faults[name] = error
            if len(wanted) > 1:
                output.note(f"{name}: {error}")
    output.show(*_steps(wanted, data))
    if done and any(one["questions"] for one in done.values()):
        output.show("", *_next(done, data))
    if faults:
        output.result({"data": str(data), "datasets": done, "faults": {name: str(error) for name, error in faults.items()}})
        first = next(iter(faults.values()))
        if len(wanted) == 1:
            raise first
        raise type(first)(f"download: {len(faults)} of {len(wanted)} failed ({', '.join(faults)}); each is told above")
    return {"data": str(data), "datasets": done}


def _ask(output: Output) -> None:
    """Ends unless somebody accepts the licenses."""
    if output.json_mode or not sys.stdin.isatty():
        raise UsageError(
            "these data sets have licenses, shown by `trlt download --list`: read them, and accept them with --yes"
        )
    if not typer.confirm("Do you accept these licenses?"):
        raise UsageError("nothing was fetched")


def _one(name: str, data: Path, videos: bool, output: Output) -> dict[str, Any]:
    """Fetches one data set, reads it, and says what came."""

    @contextmanager
    def bar(path: str) -> Iterator[Any]:
        with output.progress(path, "kB") as view:
            yield lambda done, total: view(done // 1000, total // 1000)

    found = fetch(name, data, videos=videos, bar=bar)
    for file in found["files"]:
        line = f"{name}/{file['file']}: {file['bytes']:,} bytes, " + ("there already, " if file["state"] == "there" else "")
        output.show(line + VERIFIED[file["verified"]])
    counts: dict[str, int] = {}
    if found["files"]:
        try:
            counts = questions(name, data / name)
        except DataError as error:
            raise DataError(f"{name}: fetched, but it can't be read: {error}") from None
        output.show(
            f"{name}: " + (", ".join(f"{counted(n, 'question')} ({split})" for split, n in counts.items()) or "nothing to read")
        )
    steps = [step.format(data=data) for step in fetch_of(name).by_hand]
    return {"files": found["files"], "questions": counts, "by_hand": steps}


def _steps(wanted: Sequence[str], data: Path) -> Iterator[str]:
    """What is left to do by hand."""
    for name in wanted:
        if steps := fetch_of(name).by_hand:
            yield from ("", f"{name}, by hand:", *(f"  {step.format(data=data)}" for step in steps))


def _next(done: dict[str, Any], data: Path) -> Iterator[str]:
    """Commands that use what was fetched."""
    for name in done:
        place = data / (fetch_of(name).videos_at or f"{name}/videos")
        if name in names("bench"):
            yield f"next, with videos in {place}: trlt eval --bench {name} --annotations {data / name} --videos {place}"
        else:
            yield f"next, with videos in {place}: trlt prepare {name} --annotations {data / name} --videos {place}"


def _licenses(wanted: Sequence[str], videos: bool) -> Table:
    table = Table(title="Licenses", title_justify="left")
    for column in ("data set", "license", "is fetched", "from"):
        table.add_column(column, overflow="fold")
    for name in wanted:
        found = fetch_of(name)
        remotes = (*found.files, *(found.videos if videos else ()))
        hosts = dict.fromkeys(remote.url.split("/")[2] for remote in remotes)
        table.add_row(name, Text(load(name).LICENSE), _amount(remotes) or "nothing; by hand", "\n".join(hosts))
    return table


def _amount(remotes: Sequence[Remote]) -> str:
    """Number and size of files."""
    if not remotes:
        return ""
    known = sum(remote.size or 0 for remote in remotes)
    lower = any(remote.size is None for remote in remotes)
    size = f"{known / 1e9:.1f} GB" if known >= 1e9 else f"{known / 1e6:.1f} MB"
    return counted(len(remotes), "file") + (f", {'over ' if lower else ''}{size}" if known else ", size not known")


def _list(output: Output) -> dict[str, Any]:
    table = Table(title="Data sets and benchmarks", title_justify="left", show_lines=True)
    for column in ("name", "license", "annotation", "videos"):
        table.add_column(column, overflow="fold")
    listed = []
    for name in names():
        module, found = load(name), fetch_of(name)
        moving = [remote for remote in found.files if not is_pinned(remote)]
        annotation = _amount(found.files)
        if moving:
            annotation += "; may change there"
        head = Text(f"{name}\n").append(module.TITLE, style="dim")
        table.add_row(
            head,
            Text(module.LICENSE),
            annotation or "by hand",
            f"--videos: {_amount(found.videos)}" if found.videos else "by hand",
        )
        listed.append(
            {
                "name": name,
                "title": module.TITLE,
                "license": module.LICENSE,
                "files": [one._asdict() | {"path": one.path, "pinned": is_pinned(one)} for one in found.files],
                "videos": [one._asdict() | {"path": one.path, "pinned": is_pinned(one)} for one in found.videos],
                "by_hand": [step.format(data=DATA) for step in found.by_hand],
            }
        )
    # Below the table: what a column breaks into lines can't be copied.
    output.show(table, *_steps(names(), DATA), "")
    free = shutil.disk_usage(Path.cwd()).free
    output.show(f"{free / 1e9:.0f} GB are free here. `trlt download NAME` fetches the annotation of one into {DATA}/NAME.")
    return {"datasets": listed}
