"""`trlt prepare`: official annotation files become samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from trlt.commands._output import Output
from trlt.datasets import Reading, load, names, read_source
from trlt.errors import DataError, UsageError
from trlt.recipe import Source, load_recipe
from trlt.report import reading_table
from trlt.rollout import Found, Run, environment, file_digest, find_videos
from trlt.sample import Sample, write_samples, write_text_atomic
from trlt.video.resolve import VideoIndex

MISSING = "video_missing"


def prepare(
    target: str,
    *,
    out: Path,
    annotations: Path | None = None,
    videos: Path | None = None,
    split: str | None = None,
    allow_test: bool = False,
    check_videos: bool = True,
    output: Output,
) -> dict[str, Any]:
    """Reads one data set, or all sources of a recipe, into one file of samples; see `trlt prepare --help`.

    Paths of videos become relative to one folder: `videos`, or the one that holds those of all sources.

    Raises:
        TrltError: an unknown data set, a file that can't be used, or no sample whose video is there.
    """
    sources = _sources(target, annotations, videos, split)
    roots = [Path(source.videos).resolve() for source in sources if source.videos]
    if roots and len(roots) < len(sources):
        raise UsageError(f"{target}: some sources name their videos and others don't; name all, or none")
    root = Path(os.path.commonpath(roots)) if roots else None
    samples: dict[str, Sample] = {}
    entries: list[dict[str, Any]] = []
    missing: list[str] = []
    for source in sources:
        output.note(f"reading {source.dataset} from {source.annotations}")
        reading = read_source(source.dataset, Path(source.annotations), source.split, allow_test=allow_test)
        kept: Sequence[Sample] = reading.samples
        found: Found | None = None
        if source.videos and check_videos:
            found = find_videos(kept, VideoIndex(source.videos))
            kept = found.samples
            missing += [f"{source.dataset}\t{video}\t{why}" for video, why in found.missing.items()]
        if source.videos and root:
            prefix = Path(source.videos).resolve().relative_to(root).as_posix()
            kept = [_below(prefix, sample) for sample in kept]
        for sample in kept:
            if samples.setdefault(sample.id, sample) is not sample:
                raise UsageError(f"{source.dataset}: {sample.id!r} comes from two sources; name each split once")
        entries.append(_entry(source, reading, len(kept), found))
    missing_path = out.with_suffix(".missing_videos.txt")
    if missing:
        write_text_atomic(missing_path, "".join(f"{line}\n" for line in missing))
    else:
        missing_path.unlink(missing_ok=True)
    if not samples:
        raise DataError(f"{target}: none of the {len(missing):,} videos is there ({missing_path} lists them); check --videos")
    write_samples(out, samples.values())
    manifest = {
        "schema": 1,
        "kind": "prepare",
        **environment(),
        "videos": str(root) if root else None,
        "samples": len(samples),
        "sha256": file_digest(out),
        "sources": entries,
    }
    Run(out).write_manifest(manifest)
    output.show(reading_table(entries))
    for entry in entries:
        for note in entry["notes"]:
            output.show(f"  {entry['dataset']}: {note}")
    if missing:
        output.show(f"  {len(missing):,} videos are missing: {missing_path}")
    output.show(f"\n{len(samples):,} samples: {out}\nNext: trlt probe --data {out}")
    return {"samples": str(out), "missing_videos": str(missing_path) if missing else None, **manifest, "count": len(samples)}


def _sources(target: str, annotations: Path | None, videos: Path | None, split: str | None) -> list[Source]:
    """One data set with its folders, or the sources of a recipe."""
    if not target.endswith((".yaml", ".yml")):
        load(target)  # an unknown name is told before anything else
        if annotations is None:
            raise UsageError(f"{target}: --annotations DIR is needed: the folder that holds {_files(target)}")
        return [Source(dataset=target, annotations=str(annotations), videos=str(videos) if videos else None, split=split)]
    if annotations or videos or split:
        raise UsageError(f"{target}: a recipe names its own folders and splits; leave --annotations, --videos and --split out")
    sources = list(load_recipe(Path(target)).prepare.sources)
    if not sources:
        raise UsageError(f"{target}: prepare.sources is empty; add entries with dataset, annotations and videos")
    return sources


def _below(prefix: str, sample: Sample) -> Sample:
    return sample if prefix == "." else replace(sample, video=f"{prefix}/{sample.video}", meta=_moved(prefix, sample.meta))


def _moved(prefix: str, meta: dict[str, Any]) -> dict[str, Any]:
    """`meta` with the other layouts' paths below the same folder."""
    if "alternatives" not in meta:
        return meta
    return meta | {"alternatives": [other | {"video": f"{prefix}/{other['video']}"} for other in meta["alternatives"]]}


def _entry(source: Source, reading: Reading, kept: int, found: Found | None) -> dict[str, Any]:
    """What a manifest says about one source."""
    module = load(source.dataset)
    dropped, examples = dict(reading.dropped), dict(reading.examples)
    if found and found.left_out:
        dropped[MISSING], examples[MISSING] = found.left_out, list(found.missing)[:3]
    return {
        "dataset": source.dataset,
        "split": reading.samples[0].split,
        "task": module.TASK,
        "license": module.LICENSE,
        "read": reading.read,
        "kept": kept,
        "repaired": dict(reading.repaired),
        "dropped": dropped,
        "examples": examples,
        "missing_videos": len(found.missing) if found else None,
        "paper": module.PAPER_COUNT,
        "notes": list(reading.notes),
        "files": {str(path): file_digest(path) for path in reading.files},
    }


def list_sources(output: Output) -> dict[str, Any]:
    """The data sets that can be prepared: what they are, and which files they want."""
    found = []
    table = Table(title="Training sources", title_justify="left")
    for column in ("name", "title", "task", "files of the training split", "licence", "paper"):
        table.add_column(column, justify="right" if column == "paper" else "left")
    for name in names("train"):
        module = load(name)
        files = module.FILES[module.TRAIN_SPLIT]
        found.append(
            {
                **{
                    "name": name,
                    "title": module.TITLE,
                    "task": module.TASK,
                    "splits": {s: list(f) for s, f in module.FILES.items()},
                },
                **{"train_split": module.TRAIN_SPLIT, "license": module.LICENSE, "paper": module.PAPER_COUNT},
            }
        )
        table.add_row(
            name, Text(module.TITLE), module.TASK, Text("\n".join(files)), Text(module.LICENSE), f"{module.PAPER_COUNT:,}"
        )
    output.show(table)
    return {"sources": found}


def _files(name: str) -> str:
    module = load(name)
    return ", ".join(module.FILES[getattr(module, "TRAIN_SPLIT", None) or module.TEST_SPLIT])
