"""`trlt eval`: a model, or its predictions, against benchmarks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trlt.commands._output import Output
from trlt.commands._setup import RUNS, make_engine, protocol, resolve
from trlt.datasets import Item, load, names, read_source, summary
from trlt.errors import DataError, UsageError, VideoError
from trlt.model import locate
from trlt.prompt import build
from trlt.recipe import Benchmark, Recipe, Video
from trlt.report import results_table
from trlt.rollout import Run, file_digest, find_videos, model_identity, open_run, read_answer, read_rows, run
from trlt.rollout.predictions import Predictions, read_predictions, write_prediction_rows
from trlt.sample import Sample, write_text_atomic
from trlt.video.resolve import VideoIndex

if TYPE_CHECKING:
    from trlt.engine.forest import Engine

DATA = Path("data")
"""Where a benchmark's files are looked for that neither flags nor recipe name: `data/<bench>`."""
IGNORED = ("prepare.", "probe.", "select.", "train.")
"""Sections of a recipe that don't concern an evaluation's rows."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A benchmark that is ready to be asked."""

    name: str
    samples: tuple[Sample, ...]
    """Whose videos are there, or all where no videos are needed."""
    index: VideoIndex | None
    missing_videos: int
    identity: Mapping[str, Any]


def evaluate(
    benches: Sequence[str],
    *,
    recipe_path: Path | None = None,
    sets: Sequence[str] = (),
    model: str | None = None,
    annotations: Path | None = None,
    videos: Path | None = None,
    split: str | None = None,
    predictions: Path | None = None,
    list_samples: bool = False,
    allow_missing: bool = False,
    think: bool | None = None,
    as_gqa: bool | None = None,
    max_tokens_video: int | None = None,
    paper: bool = False,
    out: Path | None = None,
    fresh: bool = False,
    retry_errors: bool = False,
    output: Output,
) -> dict[str, Any]:
    """Asks, scores and writes `results.json`; see `trlt eval --help`.

    Raises:
        TrltError: a benchmark, file, video, model or run folder that can't be used; before any work.
    """
    flags = {"model.path": model, "eval.think": think, "eval.as_gqa": as_gqa, "eval.max_tokens_video": max_tokens_video}
    recipe = resolve(recipe_path, sets, flags)
    wanted = _wanted(benches, recipe)
    places = {name: _place(name, recipe, annotations, videos, split, alone=len(wanted) == 1) for name in wanted}
    if list_samples:
        return _list_samples(places, recipe, out or RUNS / recipe.name / "samples", output)
    given = read_predictions(predictions) if predictions else None
    located = locate(recipe.model.path) if given is None else ""
    default = f"eval-{predictions.stem}" if predictions else f"eval-{Path(recipe.model.path).name}"
    target = out or RUNS / recipe.name / default
    ready = [_ready(name, place, recipe, given is None, allow_missing, target) for name, place in places.items()]
    video = _video(recipe)
    settings = protocol(recipe.eval, video)
    folder = open_run(
        target,
        "eval",
        recipe,
        model=model_identity(located) if predictions is None else {"predictions": file_digest(predictions)},
        inputs={bench.name: bench.identity for bench in ready},
        protocol=settings,
        ignore=IGNORED,
        fresh=fresh,
    )
    engine = make_engine(recipe.model) if given is None else None
    entries: dict[str, Any] = {}
    for bench in ready:
        rows = folder.rows(bench.name)
        if engine is not None:
            _ask(bench, recipe, video, engine, rows, retry_errors, output)
        if given is not None:
            write_prediction_rows(bench.samples, given, rows, settings=recipe.eval, weights=recipe.reward.weights())
        entries[bench.name] = _score(bench, recipe, rows, given)
    _report_extra(ready, given, entries)
    results = _write_results(folder, entries, settings)
    output.show(results_table({"benchmarks": entries}, paper=paper), f"\nResults: {target / 'results.json'}")
    return results


def _wanted(benches: Sequence[str], recipe: Recipe) -> list[str]:
    """Names without repeats; `all` stands for those of the recipe."""
    if "all" not in benches:
        for name in benches:
            if name not in names("bench"):
                load(name)  # tells an unknown name, with the nearest that is known
                raise UsageError(f"{name} is no benchmark; choose one of: {', '.join(names('bench'))}")
        return list(dict.fromkeys(benches))
    if not recipe.eval.benchmarks:
        raise UsageError("--bench all: takes the benchmarks of a recipe's `eval.benchmarks`; give such a recipe with --recipe")
    return list(recipe.eval.benchmarks)


def _place(
    name: str, recipe: Recipe, annotations: Path | None, videos: Path | None, split: str | None, *, alone: bool
) -> Benchmark:
    """Where a benchmark's files lie: flags, then the recipe, then `data/<bench>`."""
    if not alone and (annotations or videos or split):
        raise UsageError("--annotations, --videos and --split go with one --bench; a recipe's `eval.benchmarks` names several")
    place = recipe.eval.benchmarks.get(name)
    usual = DATA / name
    if place is None:
        if annotations is None and not usual.is_dir():
            raise UsageError(
                f"{name}: its official files weren't given: add --annotations DIR --videos DIR, name them in a recipe under "
                f"eval.benchmarks.{name}, or put them into {usual} (videos into {usual / 'videos'})"
            )
        below = usual / "videos"
        place = Benchmark(annotations=str(usual), videos=str(below if below.is_dir() else usual) if usual.is_dir() else None)
    changes = {"annotations": annotations, "videos": videos}
    return place.model_copy(
        update={key: str(path) for key, path in changes.items() if path} | ({"split": split} if split else {})
    )


def _ready(name: str, place: Benchmark, recipe: Recipe, with_videos: bool, allow_missing: bool, target: Path) -> Bench:
    """Reads a benchmark's annotation, and looks for all of its videos.

    Raises:
        VideoError: videos are missing, and that isn't allowed.
    """
    reading = read_source(name, Path(place.annotations), place.split, purpose="bench")
    samples = reading.samples
    files = {path.name: file_digest(path) for path in reading.files}
    identity = {"split": samples[0].split, "files": files}
    if not with_videos:
        return Bench(name, samples, None, 0, identity)
    if place.videos is None:
        raise UsageError(f"{name}: where are its videos? add --videos DIR, or eval.benchmarks.{name}.videos to the recipe")
    index = VideoIndex(place.videos, recipe.video.downloads)
    found = find_videos(samples, index)
    if found.missing and (not allow_missing or not found.samples):
        listing = target / f"{name}.missing_videos.txt"
        write_text_atomic(listing, "".join(f"{video}\n" for video in found.missing))
        shown = "\n  ".join([*list(found.missing)[:5], *(["…"] if len(found.missing) > 5 else [])])
        remedy = "" if not found.samples else ", or leave their questions out with --allow-missing"
        raise VideoError(
            f"{name}: {len(found.missing):,} videos of {found.left_out:,} questions are missing in {place.videos} "
            f"(all in {listing}); get them{remedy}:\n  {shown}"
        )
    return Bench(name, found.samples, index, len(found.missing), identity | {"videos": str(index.root)})


def _video(recipe: Recipe) -> Video:
    most = recipe.eval.max_tokens_video
    return recipe.video.model_copy(update={"max_tokens": most}) if most else recipe.video


def _ask(bench: Bench, recipe: Recipe, video: Video, engine: Engine, rows: Path, retry_errors: bool, output: Output) -> None:
    from trlt.video.workers import ClipLoader

    assert bench.index is not None
    with ClipLoader(video) as loader, output.progress(f"eval {bench.name}") as progress:
        run(
            bench.samples,
            engine=engine,
            loader=loader,
            videos=bench.index,
            settings=recipe.eval,
            n=1,
            weights=recipe.reward.weights(),
            out=rows,
            as_gqa=recipe.eval.as_gqa,
            retry_errors=retry_errors,
            progress=progress,
        )


def _score(bench: Bench, recipe: Recipe, rows: Path, given: Predictions | None) -> dict[str, Any]:
    """A benchmark's entry in `results.json`; rows without an answer count as wrong."""
    by_id = {sample.id: sample for sample in bench.samples}
    items: list[Item] = []
    unread: set[str] = set()
    for row in read_rows(rows):
        sample = by_id[row["id"]]
        text = row["texts"][0] if row["texts"] else ""
        if row["error"] is not None:
            unread.add(sample.video)
        items.append(Item(sample, text, read_answer(sample, text, recipe.eval, as_gqa=recipe.eval.as_gqa)))
    entry = summary(bench.name, items, bench.missing_videos, recipe.eval.bootstrap, recipe.eval.seed)
    if given is not None:
        return entry | {"missing_predictions": sum(sample.id not in given.texts for sample in bench.samples)}
    return entry | {"broken_videos": len(unread)}


def _report_extra(ready: Sequence[Bench], given: Predictions | None, entries: dict[str, Any]) -> None:
    """Notes predictions that belong to no question of any of the benchmarks."""
    if given is None:
        return
    known = {sample.id for bench in ready for sample in bench.samples}
    extra = [id for id in given.texts if id not in known]
    if len(extra) == len(given.texts):
        example = ready[0].samples[0].id
        raise DataError(
            f"{given.path}: no id is a question's of {', '.join(entries)} (the first: {extra[0]!r}; they look like {example!r})"
        )
    for entry in entries.values():
        entry["extra_predictions"] = len(extra)


def _write_results(folder: Run, entries: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`results.json`; what the same run said of other benchmarks stays in it."""
    path = folder.out / "results.json"
    before: Mapping[str, Any] = {}
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path}: damaged; delete it, the rows beside are enough to make it again") from None
    results = {"schema": 1, "benchmarks": {**before, **entries}, "protocol": dict(settings)}
    write_text_atomic(path, json.dumps(results, ensure_ascii=False, indent=2) + "\n")
    return results


def _list_samples(places: Mapping[str, Benchmark], recipe: Recipe, out: Path, output: Output) -> dict[str, Any]:
    """Writes each question with the very words that it is asked with, for models that run elsewhere."""
    listed: dict[str, Any] = {}
    settings = recipe.eval
    for name, place in places.items():
        lines = []
        for sample in read_source(name, Path(place.annotations), place.split, purpose="bench").samples:
            prompt = build(sample, think=settings.think, answer_format=settings.answer_format, as_gqa=settings.as_gqa)
            where = {"video": sample.video, "clip": list(sample.clip) if sample.clip else None}
            asked = {"id": sample.id, **where, "task": sample.task, "system": prompt.system, "user": prompt.user}
            lines.append(json.dumps(asked, ensure_ascii=False) + "\n")
        path = out / f"{name}.jsonl"
        write_text_atomic(path, "".join(lines))
        output.show(f"{name}: {len(lines):,} questions: {path}")
        listed[name] = {"questions": len(lines), "path": str(path)}
    output.show('Answer them as {"id": …, "text": …} a line, then: trlt eval --bench … --predictions FILE')
    return {"samples": listed}
