"""`trlt video`: checks videos before a run, and warms, shows and clears the frame store."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from trlt.commands._data import data_flags, open_data
from trlt.commands._output import Output
from trlt.commands._setup import RUNS, geometry_for
from trlt.commands._shared_options import ColumnMap, Fresh, Overrides, RecipeFile, SkipBad, StoreFolder
from trlt.data.datasets import outside_words, span_outside
from trlt.errors import DataError, UsageError, VideoError, counted, shown
from trlt.errors.system import is_full
from trlt.files import sample_files, write_json
from trlt.recipe import Recipe, Video, load_recipe
from trlt.task.sample import Sample, group_by_clip
from trlt.video.clip_cache import ClipCache, StoreInfo
from trlt.video.decode import cores
from trlt.video.deep import LOAD_CLIP as DEEP
from trlt.video.numbering import holds_frames
from trlt.video.resolve import VideoIndex
from trlt.video.survey import EXAMPLES, SurveyRow, Wanted, listing, summarize, survey
from trlt.video.video_files import EXTENSIONS
from trlt.video.webp import SUFFIX as WEBP
from trlt.video.workers import ClipLoader, ClipRequest


def check(
    target: Annotated[
        Path, typer.Argument(help="A video, a folder of videos or of frames, or samples from `trlt prepare` or your own table.")
    ],
    *,
    recipe_path: RecipeFile = None,
    videos: Annotated[Path | None, typer.Option(help="Folder that the samples' paths are relative to.")] = None,
    columns: ColumnMap = None,
    skip_bad: SkipBad = False,
    sets: Overrides = (),
    out: Annotated[Path | None, typer.Option(help="JSONL file of rows; a report goes beside it. Default: in runs/.")] = None,
    fresh: Fresh = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Decode every frame of each clip, not only those that a run uses; takes about twice as long."
        ),
    ] = False,
    output: Output,
) -> dict[str, Any]:
    """Decodes a video, every one of a folder, or the clips that samples need; see `trlt video check --help`.

    Raises:
        TrltError: a recipe, folder or file that can't be used.
    """
    recipe = load_recipe(recipe_path, sets=sets, flags={"video.root": videos} | data_flags(columns, skip_bad))
    settings = _all_cores(recipe.video)
    rows_path = out or RUNS / recipe.name / f"video-check-{target.stem}.jsonl"
    samples, wanted = _wanted_of(target, recipe, settings, rows_path, output)
    output.note(f"video check: {counted(len(wanted), 'clip')}; rows in {rows_path}")
    # What was decoded earlier says nothing of other frames.
    # Tokens are counted, and the store is filled, as for the recipe's model.
    geometry = geometry_for(recipe.model, output)
    if deep:
        loader = ClipLoader(settings.model_copy(update={"store": None}), geometry, decoder=DEEP)
    else:
        loader = ClipLoader(settings, geometry)
    with loader, output.progress("check", "clips") as progress:
        rows = survey(wanted, loader, rows_path, fresh=fresh, deep=deep, progress=progress)
    result = summarize(rows) | {"spans": _spans(samples, rows), "rows": str(rows_path)}
    bound = settings.store_gb * 1e9
    result["store_fits"] = result["store_bytes"] <= bound
    report = rows_path.with_suffix(".report.json")
    write_json(report, result)
    table = Table(title=f"Videos of {target}", title_justify="left", show_header=False)
    for name, value in listing(result):
        table.add_row(name, Text(value))
    if result["spans"]["compared"]:
        table.add_row("gold span outside the video", "{outside:,} of {compared:,} samples".format_map(result["spans"]))
    output.show(table)
    for title, key in (("Broken, by reason", "reasons"), ("Warnings", "warnings")):
        if result[key]:
            output.show(_reasons(title, result[key]))
    for example in result["durations"]["examples"]:
        output.show(f"{example['video']}: {example['duration_s']:.1f} s, annotated {example['annotated_s']:.1f} s")
    for example in result["spans"]["examples"]:
        output.show(f"{example['video']}: sample {shown(example['id'])}: {example['reason']}")
    if not result["store_fits"]:
        output.show(
            f"The frame store of this recipe holds {settings.store_gb:g} GB and would need {result['store_bytes'] / 1e9:.1f}: "
            "raise video.store_gb"
        )
    output.show(f"Rows: {rows_path}\nReport: {report}")
    return result


def cache_info(
    recipe_path: RecipeFile = None,
    store: StoreFolder = None,
    sets: Overrides = (),
    *,
    output: Output,
) -> dict[str, Any]:
    """Shows the content of the frame store.

    Raises:
        TrltError: no store is named.
    """
    settings = _store_settings(recipe_path, sets, store)
    held, bound = _held(settings), int(settings.store_gb * 1e9)
    share = held.bytes / bound
    output.show(
        f"{settings.store}: {counted(held.entries, 'clip')}, {held.bytes / 1e9:.3f} GB of {bound / 1e9:g} GB ({share:.0%})"
    )
    return {"store": settings.store, "entries": held.entries, "bytes": held.bytes, "bound": bound}


def cache_clear(
    recipe_path: RecipeFile = None,
    store: StoreFolder = None,
    sets: Overrides = (),
    *,
    output: Output,
) -> dict[str, Any]:
    """Removes every entry of the frame store.

    Raises:
        TrltError: no store is named.
    """
    settings = _store_settings(recipe_path, sets, store)
    before = _held(settings)
    if before.entries:
        _opened(settings).clear()
    output.show(f"{settings.store}: {counted(before.entries, 'clip')} removed, {before.bytes / 1e9:.3f} GB")
    return {"store": settings.store, "removed": before.entries, "bytes": before.bytes}


def cache_warm(
    data: Annotated[Path, typer.Option(help="Samples, from `trlt prepare` or `trlt select`.")],
    *,
    recipe_path: RecipeFile = None,
    store: StoreFolder = None,
    videos: Annotated[Path | None, typer.Option(help="Folder that the samples' paths are relative to.")] = None,
    sets: Overrides = (),
    output: Output,
) -> dict[str, Any]:
    """Decodes the clips of samples into the frame store; see `trlt video cache warm --help`.

    Raises:
        TrltError: no store is named, or a file that can't be used.
    """
    recipe = load_recipe(recipe_path, sets=sets, flags={"video.root": videos, "video.store": store})
    settings = _all_cores(_with_store(recipe))
    opened = open_data(data, recipe, RUNS / recipe.name / f"warm-{data.stem}", output, look=False)
    wanted = _of_samples(opened.samples, opened.root, settings)
    broken = {clip.video: clip.reason for clip in wanted if clip.path is None}
    there = decoded = 0
    geometry = geometry_for(recipe.model, output)
    with ClipLoader(settings, geometry) as loader, output.progress("warm", "clips") as progress:
        requests = []
        for clip in wanted:
            if clip.path is not None and loader.is_stored(clip.path, clip.start, clip.end):
                there += 1
            elif clip.path is not None:
                requests.append(ClipRequest(clip.path, clip.start, clip.end, clip.video))
        done = len(wanted) - len(requests)
        progress(done, len(wanted))
        for loaded in loader.map(requests):
            if loaded.error is not None:
                broken[loaded.request.key] = str(loaded.error)
            else:
                decoded += 1
            done += 1
            progress(done, len(wanted))
    held = _held(settings)
    output.show(
        f"{settings.store}: {counted(decoded, 'clip')} decoded, {there:,} were there, {len(broken):,} can't be read; "
        f"{held.bytes / 1e9:.3f} GB of {settings.store_gb:g} GB"
    )
    for reason in list(broken.values())[:5]:
        output.show(f"  {reason}")
    if held.entries < there + decoded:
        if is_full(Path(str(settings.store))):  # which costs other commands time alone, but here it was the purpose
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(settings.store))
        output.show(
            f"Only {held.entries:,} of {there + decoded:,} clips are left in the store: it is too small, raise video.store_gb"
        )
    return {
        "store": settings.store,
        "decoded": decoded,
        "there": there,
        "broken": broken,
        "entries": held.entries,
        "bytes": held.bytes,
    }


def _spans(samples: Sequence[Sample], rows: Sequence[SurveyRow]) -> dict[str, Any]:
    """Number of samples whose gold spans could be compared with their clips, and of those outside."""
    lengths = {(row.video, row.start, row.end): row.duration_s for row in rows if row.duration_s is not None}
    compared, outside = 0, list[dict[str, Any]]()
    for sample in samples:
        length_s = lengths.get((sample.video, *(sample.clip or (None, None))))
        if not sample.spans or length_s is None:
            continue
        compared += 1
        if span := span_outside(sample, length_s):
            what = {"span": list(span), "duration_s": length_s, "reason": outside_words(sample, length_s)}
            outside.append({"id": sample.id, "video": sample.video, **what})
    return {"compared": compared, "outside": len(outside), "examples": outside[:EXAMPLES]}


def _wanted_of(target: Path, recipe: Recipe, settings: Video, rows: Path, output: Output) -> tuple[list[Sample], list[Wanted]]:
    """The clips of a video, a folder of frames, samples (a file, or a folder from `trlt prepare`), or a folder of videos.

    Returns:
        The samples, none where there are only videos, and the clips.
    """
    suffix = target.suffix.lower()
    if holds_frames(os.listdir(target)) if target.is_dir() else suffix in EXTENSIONS or suffix == WEBP:
        index = VideoIndex(target.absolute().parent, links=settings.links)
        if not index.is_at(target.name):
            raise VideoError(f"{target}: no such video; give a video, a folder of videos, or a file of samples")
        return [], [_wanted(index, target.name, samples=0)]
    if not target.exists():
        what = "a video, a folder of videos, or samples (a file of them, or a folder of such files)"
        raise DataError(f"{target}: no such file or folder; give {what}")
    if target.is_dir() and not sample_files(target):
        return [], _of_folder(target, settings)
    opened = open_data(target, recipe, rows, output, look=False)
    return opened.samples, _of_samples(opened.samples, opened.root, settings)


def _of_folder(folder: Path, settings: Video) -> list[Wanted]:
    index = VideoIndex(folder, links=settings.links)
    found = [_wanted(index, video, samples=0) for video in index.all()]
    if not found:
        raise VideoError(f"{folder}: holds no videos; give the folder that holds them, or a file of samples")
    return found


def _of_samples(samples: Sequence[Sample], root: Path, settings: Video) -> list[Wanted]:
    """Every clip that samples need, once, below the folder of videos."""
    index = VideoIndex(root, settings.downloads, settings.links)
    wanted = []
    for (video, bounds), group in group_by_clip(samples).items():
        start, end = bounds or (None, None)
        annotated = tuple(dict.fromkeys(float(sample.duration) for sample in group if sample.duration is not None))
        wanted.append(_wanted(index, video, start=start, end=end, annotated_s=annotated, samples=len(group)))
    return wanted


def _wanted(index: VideoIndex, video: str, **more: Any) -> Wanted:
    """The clip with its path, or why there is none."""
    try:
        return Wanted(video, index.find(video), **more)
    except VideoError as error:
        return Wanted(video, None, str(error), **more)


def _all_cores(settings: Video) -> Video:
    """One decoding process per core, since nothing else runs meanwhile."""
    return settings.model_copy(update={"workers": max(settings.workers, cores())})


def _store_settings(recipe_path: Path | None, sets: Sequence[str], store: Path | None) -> Video:
    return _with_store(load_recipe(recipe_path, sets=sets, flags={"video.store": store}))


def _with_store(recipe: Recipe) -> Video:
    if recipe.video.store is None:
        raise UsageError("which frame store? give --store DIR, or a recipe that sets video.store")
    return recipe.video


def _opened(settings: Video) -> ClipCache:
    return ClipCache(str(settings.store), int(settings.store_gb * 1e9))


def _held(settings: Video) -> StoreInfo:
    """Content of a store; doesn't create a missing one."""
    return _opened(settings).info() if Path(str(settings.store)).is_dir() else StoreInfo(0, 0)


def _reasons(title: str, groups: Sequence[dict[str, Any]]) -> Table:
    table = Table(Column("clips", justify="right"), "reason", "for example", title=title, title_justify="left")
    for group in groups:
        table.add_row(f"{group['clips']:,}", Text(group["reason"]), Text(group["example"]))
    return table
