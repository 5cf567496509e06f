"""`trlt prepare`: turns official annotation files into samples, one source or a whole pool."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from trlt.commands._data import data_flags, data_stem
from trlt.commands._output import Output
from trlt.commands._own_table import note_unfit, read_own
from trlt.commands._setup import RUNS, beside_others, next_command
from trlt.commands._shared_options import ColumnMap, Overrides, SkipBad, SkipMissing
from trlt.data.datasets import dataset_name, load, names, open_dataset
from trlt.data.download import fetchable
from trlt.data.own import is_hub, is_table
from trlt.data.preparation import Leaks, Rules, benchmark_keys, benchmark_places, source_files, write_sources
from trlt.errors import DataError, UsageError, counted, did_you_mean
from trlt.evaluate.places import DATA
from trlt.files import file_digest, write_text_atomic
from trlt.recipe import Recipe, Source, is_plan, load_recipe, name_of, recipe_file, shipped
from trlt.report import prepared_markdown, reading_table, statistics_view
from trlt.rollout import RunFiles, environment
from trlt.video.scan import Scan

SCAN = RUNS / "video-scan.jsonl"
"""Verdicts on videos, shared by all runs in a folder."""


def prepare(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET",
            help="Your own table of questions (JSONL, JSON, CSV, TSV, Parquet, hf://org/name), a data set, or a recipe (path "
            "or name) whose `prepare.sources` make a pool.",
        ),
    ] = None,
    *,
    dataset: Annotated[
        Path | None,
        typer.Option(metavar="FILE.py", help="A data set's file of your own (its code is run); see `trlt dataset check`."),
    ] = None,
    annotations: Annotated[Path | None, typer.Option(help="Folder of the official annotation files, or the file.")] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder of the videos; without it, they aren't looked for.")] = None,
    columns: ColumnMap = None,
    skip_bad: SkipBad = False,
    skip_missing: SkipMissing = False,
    split: Annotated[str | None, typer.Option(help="A split other than the training split.")] = None,
    allow_test: Annotated[bool, typer.Option("--allow-test", help="Read a test split as training data.")] = False,
    check_videos: Annotated[
        bool, typer.Option("--check-videos/--no-check-videos", help="Drop samples whose video is missing or broken.")
    ] = True,
    several_spans: Annotated[
        str | None, typer.Option(help="Samples with several gold spans: keep (default), ask (for all), longest, hull or drop.")
    ] = None,
    against: Annotated[
        Sequence[str],
        typer.Option(help="Benchmarks whose videos are left out: `benchmarks`, BENCH=DIR, or a folder of them; repeatable."),
    ] = (),
    leaks: Annotated[str | None, typer.Option(help="Samples on benchmarks' videos: remove (default) or list.")] = None,
    scan: Annotated[Path | None, typer.Option(help="Cache of verdicts on videos; default: runs/video-scan.jsonl.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with an error when any record was dropped.")] = False,
    sets: Overrides = (),
    out: Annotated[
        Path | None, typer.Option(help="File of samples, or for a recipe a folder; default: samples.jsonl, or one in runs/.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the data sets, their files and where to get them.")] = False,
    output: Output,
) -> dict[str, Any]:
    """Reads one data set into a file, or all sources of a recipe into a folder; see `trlt prepare --help`.

    Paths of videos become relative to one folder: `videos`, or the common folder of all sources' videos.

    Raises:
        TrltError: an unknown data set, a file that can't be used, no sample with a video, or (`strict`) any drop.
    """
    if list_:
        return list_sources(output)
    if dataset is not None:
        if target is not None:
            raise UsageError(f"{target} and --dataset {dataset}: one data set at a time; leave one of them out")
        target = _dataset_file(dataset)
    if target is None:
        raise UsageError("which data set? give its name, or a recipe; `trlt prepare --list` shows them")
    own = is_hub(target) or is_table(target)
    if not own and (columns is not None or skip_bad or skip_missing):
        raise UsageError(
            f"{target}: --map, --skip-bad and --skip-missing go with your own table; a data set has its own reader"
        )
    recipe, sources = _sources(
        target,
        annotations,
        videos,
        split,
        sets,
        {"prepare.several_spans": several_spans, "prepare.leaks": leaks, "prepare.against": list(against) or None}
        | data_flags(columns, skip_bad, skip_missing)
        | ({"video.root": videos} if own else {}),
        own=own,
        outside=dataset is not None,
    )
    pooled = _is_recipe(target)
    place = _place(target, out, pooled)
    roots = [Path(os.path.realpath(source.videos)) for source in sources if source.videos]
    if roots and len(roots) < len(sources):
        raise UsageError(f"{target}: some sources name their videos and others don't; name all, or none")
    root = Path(os.path.commonpath(roots)) if roots else None
    if own and not is_hub(target) and place.resolve() == Path(target).resolve():
        raise UsageError(f"--out {place}: would overwrite its own input; give another file")
    reading = read_own(target, recipe, place, output, look=bool(roots) and check_videos) if own else None
    settings = recipe.prepare
    leaking = _leaks(recipe, output)
    rules = Rules(
        settings.several_spans, settings.leaks, check_videos, allow_test, recipe.video.links, not own or recipe.data.skip_bad
    )
    looked = Scan(scan or SCAN, recipe.video) if roots and check_videos else None
    files = source_files(place, sources, pooled=pooled)
    run = RunFiles(place)
    run.manifest.unlink(missing_ok=True)  # until all is there, nobody should take it for whole
    with output.stages([f"{dataset_name(s.dataset)}{f' ({s.split})' if s.split else ''}" for s in sources]) as stage:
        made = write_sources(sources, files, root, rules, leaks=leaking, scan=looked, own=reading, tell=stage)
    if own and made.unfit:
        note_unfit(target, made.unfit, place, output)
    entries, statistics = made.entries, made.statistics
    for path in set(place.glob("*.jsonl")) - set(files):  # of an earlier run with other sources
        path.unlink()
    missing_path = _listing(place, "missing_videos.txt", made.missing)
    leaks_path = _listing(place, "leaks.tsv", made.leaked)
    if not statistics.samples:
        raise DataError(_nothing(target, entries, missing_path))
    manifest = {
        "schema": 1,
        "kind": "prepare",
        **environment(),
        "videos": str(root) if root else None,
        "rules": settings.model_dump(mode="json", include={"several_spans", "against", "leaks"}),
        "samples": statistics.samples,
        "sha256": file_digest(place),
        "sources": entries,
        "against": _against(leaking, entries, settings.leaks),
        "statistics": statistics.to_json(),
    }
    run.write_manifest(manifest)
    report = place / "report.md" if pooled else place.with_suffix(".report.md")
    write_text_atomic(report, prepared_markdown(manifest))
    _show(manifest, output, missing_path, leaks_path)
    output.show(f"\n{statistics.samples:,} samples: {place}\nReport: {report}")
    if root or recipe.video.root:
        given = [*(["--recipe", target] if pooled else []), *(word for one in sets for word in ("--set", one))]
        usual = RUNS / recipe.name / f"probe-{place.stem}"
        output.show(next_command("probe", "--data", place, *given, *beside_others(usual, manifest["sha256"])))
    else:
        output.show("Its videos weren't named: `trlt probe --videos DIR` is given their folder")
    dropped = sum(sum(entry["dropped"].values()) for entry in entries)
    if strict and dropped:
        raise DataError(f"--strict: {dropped:,} records were dropped; {report} says which, and why")
    listings = {
        "missing_videos": str(missing_path) if missing_path else None,
        "leaks": str(leaks_path) if leaks_path else None,
    }
    return {"path": str(place), "report": str(report), **listings, **manifest, "count": statistics.samples}


def _dataset_file(path: Path) -> str:
    """The path of a data set's file, as a source names it."""
    if path.suffix != ".py":
        raise UsageError(f"--dataset {path}: a data set's file ends in .py; one that trlt has is given by its name alone")
    return str(path)


def _is_recipe(target: str) -> bool:
    """Whether a recipe is meant, by its path or name; the name of a data set is that of a data set."""
    return target not in names() and (target.endswith((".yaml", ".yml")) or name_of(target) is not None)


def _pools() -> list[str]:
    """Names of the shipped recipes that have sources."""
    return [name for name, path in shipped().items() if not is_plan(name) and load_recipe(path).prepare.sources]


def _place(target: str, out: Path | None, pooled: bool) -> Path:
    """A file for one source, a folder for the sources of a recipe."""
    if pooled:
        place = out or RUNS / recipe_file(target).stem / "samples"
        if place.suffix == ".jsonl" or place.is_file():
            raise UsageError(f"--out {place}: a recipe makes a folder with one file per source; give {place.with_suffix('')}")
        return place
    place = out or Path("samples.jsonl")
    if place.suffix != ".jsonl":
        raise UsageError(f"--out {place}: one source makes one file; give it a name that ends in .jsonl")
    return place


def _sources(
    target: str,
    annotations: Path | None,
    videos: Path | None,
    split: str | None,
    sets: Sequence[str],
    flags: Mapping[str, Any],
    *,
    own: bool,
    outside: bool,
) -> tuple[Recipe, list[Source]]:
    """The recipe, and one data set (or table) with its folders or the recipe's sources."""
    if own:
        if annotations or split:
            raise UsageError(f"{target}: --annotations and --split go with a data set's name; your own table is named alone")
        table = Source(dataset=data_stem(target), annotations=target, videos=str(videos) if videos else None)
        return load_recipe(None, sets=sets, flags=flags), [table]
    if not _is_recipe(target):
        if not set(target) & set("./") and target not in names():
            raise UsageError(f"unknown data set {target!r}; {did_you_mean(target, [*names(), *_pools()])}")
        module = open_dataset(target) if outside else load(target)  # an unknown name is told before anything else
        if annotations is None:
            raise UsageError(f"{target}: --annotations DIR is needed: the folder that holds {_wanted(module)}")
        one = Source(dataset=target, annotations=str(annotations), videos=str(videos) if videos else None, split=split)
        return load_recipe(None, sets=sets, flags=flags), [one]
    if annotations or videos or split:
        raise UsageError(f"{target}: a recipe names its own folders and splits; leave --annotations, --videos and --split out")
    recipe = load_recipe(Path(target), sets=sets, flags=flags)
    sources = list(recipe.prepare.sources)
    if not sources:
        raise UsageError(f"{target}: prepare.sources is empty; add entries with dataset, annotations and videos")
    for source in sources:
        open_dataset(source.dataset)
    return recipe, sources


def _leaks(recipe: Recipe, output: Output) -> Leaks | None:
    if not recipe.prepare.against:
        return None
    usual = {name: DATA / name for name in names("bench")}
    mine = recipe.eval.benchmarks
    usual |= {name: Path(bench.annotations) for name, bench in mine.items() if bench.annotations is not None}
    files = {name: bench.dataset for name, bench in mine.items() if bench.dataset is not None}
    places = benchmark_places(recipe.prepare.against, usual, files)
    output.note(f"prepare: reading the videos of {', '.join(places)}")
    return benchmark_keys(places, files)


def _against(leaks: Leaks | None, entries: Sequence[Mapping[str, Any]], done: str) -> dict[str, Any] | None:
    if leaks is None:
        return None
    counts: Counter[str] = Counter()
    for entry in entries:
        counts.update(entry["leaked"])
    return {"videos": dict(leaks.videos), "leaked": dict(counts), "unchecked": list(leaks.unchecked), "leaks": done}


def _listing(place: Path, name: str, lines: Sequence[str]) -> Path | None:
    """Writes a list beside the samples, or removes an earlier one if there is nothing to list."""
    path = place.with_suffix(f".{name}") if place.suffix == ".jsonl" else place / name
    if lines:
        write_text_atomic(path, "".join(f"{line}\n" for line in lines))
        return path
    path.unlink(missing_ok=True)
    return None


def _nothing(target: str, entries: Sequence[Mapping[str, Any]], missing: Path | None) -> str:
    """Why there is no sample."""
    reasons: Counter[str] = Counter()
    for entry in entries:
        reasons.update(entry["dropped"])
    why = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(5))
    remedy = f"; {missing} lists videos that aren't there or broken: check --videos" if missing else ""
    return f"{target}: no sample is left of {sum(entry['read'] for entry in entries):,} records ({why}){remedy}"


def _show(manifest: Mapping[str, Any], output: Output, missing: Path | None, leaks: Path | None) -> None:
    output.show(reading_table(manifest["sources"]), "", statistics_view(manifest["statistics"]))
    for entry in manifest["sources"]:
        for note in entry["notes"]:
            output.show(f"  {entry['dataset']}: {note}")
    against = manifest["against"]
    if against is not None:
        found = ", ".join(f"{name} {count:,}" for name, count in against["leaked"].items()) or "none"
        done = "left out" if against["leaks"] == "remove" else "kept, flagged"
        output.show(
            f"  samples on footage of {', '.join(against['videos'])} ({done}): {found}" + (f"; {leaks}" if leaks else "")
        )
        if against["unchecked"]:
            output.show(f"  not compared with (no annotation given): {', '.join(against['unchecked'])}")
    else:
        output.show("  not compared with benchmarks' videos: --against benchmarks does that")
    if missing:
        count = sum(entry["missing_videos"] for entry in manifest["sources"])
        output.show(f"  {counted(count, 'video')} missing or broken: {missing}")


def list_sources(output: Output) -> dict[str, Any]:
    """Lists the data sets: title, required files, and where to get them."""
    found = []
    table = Table(title="Training sources", title_justify="left", show_lines=True)
    for column in ("name", "task", "files of the training split", "where to get it, license", "paper"):
        table.add_column(column, justify="right" if column == "paper" else "left", overflow="fold")
    for name in names("train"):
        module = load(name)
        files, count = module.FILES[module.TRAIN_SPLIT], getattr(module, "PAPER_COUNT", None)
        found.append(
            {
                "name": name,
                "title": module.TITLE,
                "task": module.TASK,
                "splits": {s: list(f) for s, f in module.FILES.items()},
                "train_split": module.TRAIN_SPLIT,
                "where": module.WHERE,
                "download": name in fetchable(),
                "license": module.LICENSE,
                "paper": count,
            }
        )
        head = Text(f"{name}\n").append(module.TITLE, style="dim")
        get = Text(f"`trlt download {name}`\n" if name in fetchable() else "").append(f"{module.WHERE}\n")
        get.append(module.LICENSE, style="dim")
        paper = f"{count:,}" if count is not None else "-"
        table.add_row(head, module.TASK, Text("\n".join(files)), get, paper)
    total = sum(one["paper"] or 0 for one in found)
    output.show(table, f"The paper's counts sum to {total:,}.")
    return {"sources": found, "paper_total": total}


def _wanted(module: ModuleType) -> str:
    return ", ".join(module.FILES[getattr(module, "TRAIN_SPLIT", None) or module.TEST_SPLIT])
