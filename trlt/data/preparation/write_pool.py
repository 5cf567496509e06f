"""Writes several sources as files of samples, one per source, with all videos below one folder, and manifest entries."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from trlt.data.datasets import Reading, dataset_file, dataset_name, open_dataset
from trlt.data.preparation.duplicates import KeptQuestions
from trlt.data.preparation.leakage import Leaks
from trlt.data.preparation.prepare_source import Prepared, Rules, SourceReport, prepare
from trlt.data.preparation.statistics import SampleStatistics
from trlt.errors import DataError, UsageError, counted
from trlt.files import SHOWN, file_digest
from trlt.recipe import Source
from trlt.task.sample import Sample, write_samples
from trlt.video.scan import Scan

Tell = Callable[[int, str], None]
"""Receives a source's number and its status; an empty text ends it."""


@dataclass
class WrittenPool:
    """Outcome of all sources."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    """One manifest entry per source."""
    statistics: SampleStatistics = field(default_factory=SampleStatistics)
    leaked: list[str] = field(default_factory=list)
    """Tab-separated lines of sample, footage and benchmarks."""
    missing: list[str] = field(default_factory=list)
    """Tab-separated lines of data set, video and reason."""
    unfit: list[str] = field(default_factory=list)
    """Lines about questions whose times don't fit their video."""


def write_sources(
    sources: Sequence[Source],
    files: Sequence[Path],
    root: Path | None,
    rules: Rules,
    *,
    leaks: Leaks | None = None,
    scan: Scan | None = None,
    own: Reading | None = None,
    tell: Tell,
) -> WrittenPool:
    """Prepares one source after the other, so that only one is in memory, and writes its samples.

    Args:
        sources: Sources in order of priority: a duplicate is kept in the first one.
        files: Where each source's samples go; a source without any writes nothing.
        root: Folder that all videos' paths become relative to; None leaves them as they are.
        rules: How to treat leaks, several spans and unusable videos.
        leaks: Footage of benchmarks.
        scan: Looks at the videos.
        own: What was read of the only source, where that is a user's own table.
        tell: Receives status messages.

    Raises:
        TrltError: files that can't be used, times that fit no video (unless they are skipped), or an id that two sources hold.
    """
    seen, made, ids = KeptQuestions(), WrittenPool(), dict[str, str]()
    for number, (source, path) in enumerate(zip(sources, files, strict=True)):
        prepared = prepare(source, rules, seen, leaks=leaks, scan=scan, reading=own, say=partial(tell, number))
        unfit = prepared.entry.unfit
        if unfit and not rules.skip_unfit:
            more = [f"… and {len(unfit) - SHOWN:,} more"] if len(unfit) > SHOWN else []
            told = counted(len(unfit), "question")
            raise DataError(
                "\n".join(
                    (
                        f"{source.annotations}: {told} with times that don't fit the video:",
                        *unfit[:SHOWN],
                        *more,
                        "Mend them, or leave these rows out with --skip-bad",
                    )
                )
            )
        made.unfit += unfit
        tell(number, "writing")
        samples = _placed(prepared, root)
        _require_new(samples, source, ids)
        if samples:
            write_samples(path, samples)
        else:
            path.unlink(missing_ok=True)
        module = open_dataset(source.dataset) if own is None else None
        made.statistics.add(samples, module.DOMAIN if module else None)
        made.entries.append(_entry(prepared.entry, path if samples else None, module))
        made.leaked += ["\t".join(row) for row in prepared.entry.leaked]
        made.missing += [f"{dataset_name(source.dataset)}\t{video}\t{why}" for video, why in prepared.entry.missing.items()]
        tell(number, "")
    return made


def source_files(place: Path, sources: Sequence[Source], *, pooled: bool) -> list[Path]:
    """Where each source's samples go: `<data set>.jsonl` in a folder, or the one requested file.

    Raises:
        UsageError: a split is named twice.
    """
    if not pooled:
        return [place]
    named = [(dataset_name(source.dataset), source.split or "default") for source in sources]
    counts = Counter(name for name, _ in named)
    stems = [name if counts[name] == 1 else f"{name}-{split}" for name, split in named]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem, count in Counter(stems).items() if count > 1)
        raise UsageError(f"prepare.sources: {twice} is named twice; name each split once")
    return [place / f"{stem}.jsonl" for stem in stems]


def _placed(made: Prepared, root: Path | None) -> Sequence[Sample]:
    """Samples with video paths relative to the root of all sources."""
    if root is None or made.entry.source.videos is None:
        return made.samples
    prefix = Path(os.path.realpath(made.entry.source.videos)).relative_to(root).as_posix()
    return made.samples if prefix == "." else [_below(prefix, sample) for sample in made.samples]


def _below(prefix: str, sample: Sample) -> Sample:
    return replace(sample, video=f"{prefix}/{sample.video}", meta=_moved(prefix, sample.meta))


def _moved(prefix: str, meta: dict[str, Any]) -> dict[str, Any]:
    """`meta` with the other layouts' paths relative to the same root."""
    if "alternatives" not in meta:
        return meta
    return meta | {"alternatives": [other | {"video": f"{prefix}/{other['video']}"} for other in meta["alternatives"]]}


def _require_new(samples: Iterable[Sample], source: Source, ids: dict[str, str]) -> None:
    name = dataset_name(source.dataset)
    for sample in samples:
        if ids.setdefault(sample.id, name) != name:
            raise UsageError(f"{name}: {sample.id!r} is an id of {ids[sample.id]} too; name each split once")


def _entry(entry: SourceReport, path: Path | None, module: ModuleType | None) -> dict[str, Any]:
    """A manifest's entry for one source; `module` is None for a user's own table."""
    code = dataset_file(module) if module else None
    return {
        "dataset": dataset_name(entry.source.dataset),
        "split": entry.split,
        "task": module.TASK if module else "own table",
        "license": module.LICENSE if module else "",
        "file": path.name if path else None,
        "sha256": file_digest(path) if path else None,
        "read": entry.read,
        "kept": entry.kept,
        "repaired": dict(entry.repaired),
        "dropped": dict(entry.dropped),
        "examples": entry.examples,
        "missing_videos": len(entry.missing),
        "leaked": dict(Counter(bench for _, _, benches in entry.leaked for bench in benches.split(","))),
        "paper": getattr(module, "PAPER_COUNT", None) if module and entry.split == module.TRAIN_SPLIT else None,
        "notes": entry.notes,
        "files": {str(path): file_digest(path) for path in (*entry.files, *([code] if code else []))},
    }
