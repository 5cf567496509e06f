"""A benchmark from its questions to its metrics: which videos are missing, and what the rows score.

No output contains a time or a date, so a killed and resumed evaluation writes the same as an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from trlt.data.datasets import Item, by_task
from trlt.data.find_videos import find_videos
from trlt.data.protocols import PAPER, Protocol
from trlt.data.subtitles import has_subtitles
from trlt.errors import DataError, UsageError, VideoError, counted
from trlt.evaluate.lenient_items import lenient_items
from trlt.evaluate.places import Questions
from trlt.evaluate.predictions import Predictions
from trlt.evaluate.question_scores import columns_of_samples, write_items
from trlt.evaluate.summary import harness_metrics, summary_of_samples
from trlt.files import write_text_atomic
from trlt.recipe import Recipe, Video
from trlt.rollout import QuestionSet, RunFiles, read_rows
from trlt.task.sample import Sample, read_samples, write_samples
from trlt.video.resolve import VideoIndex

READING = ("think", "answer_format", "open_threshold", "as_gqa")
"""Settings for parsing an output of any model."""
DRAWING = ("temperature", "top_p", "max_new_tokens", "seed")
"""Settings for sampling our own outputs."""


SHOWING = ("subtitles", "subtitle_chars")
"""Settings of benchmarks that have subtitles."""


@dataclass(frozen=True, slots=True)
class LoadedBenchmark:
    """A benchmark ready to run."""

    questions: Questions
    samples: tuple[Sample, ...]
    """Those whose videos are there, or all if no videos are needed."""
    index: VideoIndex | None
    """None if no videos are needed."""
    missing_videos: int
    questions_left_out: int
    """Those of the missing videos."""
    identity: Mapping[str, Any]
    """That of the questions, and, if needed, `videos`."""

    @property
    def name(self) -> str:
        """Of the benchmark."""
        return self.questions.name


def open_bench(questions: Questions, recipe: Recipe, with_videos: bool, allow_missing: bool, target: Path) -> LoadedBenchmark:
    """Looks for all of a benchmark's videos.

    Raises:
        VideoError: videos are missing without `--allow-missing`.
    """
    name = questions.name
    if not with_videos:
        return LoadedBenchmark(questions, questions.samples, None, 0, 0, questions.identity)
    if questions.videos is None:
        raise UsageError(f"{name}: where are its videos? add --videos DIR, or eval.benchmarks.{name}.videos to the recipe")
    index = VideoIndex(questions.videos, recipe.video.downloads, recipe.video.links)
    found = find_videos(questions.samples, index)
    listing = target / f"{name}.missing_videos.txt"
    if found.missing:
        write_text_atomic(listing, "".join(f"{video}\t{reason}\n" for video, reason in found.missing.items()))
    else:
        listing.unlink(missing_ok=True)
    if found.missing and (not allow_missing or not found.samples):
        shown = "\n  ".join([*list(found.missing.values())[:5], *(["…"] if len(found.missing) > 5 else [])])
        remedy = "leave their questions out with --allow-missing" if found.samples else "name their folder: --videos DIR"
        raise VideoError(
            f"{name}: {counted(len(found.missing), 'video')} of {counted(found.left_out, 'question')} "
            f"{'is' if len(found.missing) == 1 else 'are'} missing in {questions.videos} "
            f"(all in {listing}); get them, or {remedy}:\n  {shown}"
        )
    identity = {**questions.identity, "videos": str(index.root)}
    return LoadedBenchmark(questions, found.samples, index, len(found.missing), found.left_out, identity)


def question_set(bench: LoadedBenchmark, recipe: Recipe, replies: Path | None = None) -> QuestionSet:
    """How a benchmark is asked; those with one budget, that are sampled alike, share clips.

    Args:
        bench: The benchmark.
        recipe: As resolved for it.
        replies: Folder where a judge's replies are kept.
    """
    video, settings, n = eval_video(recipe), recipe.eval, recipe.eval.samples_per_question
    grader = recipe.grader("eval", replies=replies)
    return QuestionSet(bench.name, bench.samples, bench.index, video, settings=settings, n=n, grader=grader)


def eval_video(recipe: Recipe) -> Video:
    """The section `video` with an evaluation's own budget."""
    most = recipe.eval.max_tokens_video
    return recipe.video.model_copy(update={"max_tokens": most}) if most else recipe.video


def keep_questions(bench: LoadedBenchmark, run: Path) -> None:
    """Writes questions that only the user has into the run's folder: reports show them without the user's files or code."""
    if bench.questions.outside:
        write_samples(samples_path(run, bench.name), bench.questions.samples)


def kept_questions(run: Path, bench: str) -> list[Sample] | None:
    """What `keep_questions` wrote; None of a benchmark whose questions are read from its official files.

    Raises:
        DataError: it is damaged.
    """
    path = samples_path(run, bench)
    return read_samples(path) if path.is_file() else None


def samples_path(run: Path, bench: str) -> Path:
    """Path of the questions that a run keeps."""
    return run / "samples" / f"{bench}.jsonl"


def items_path(run: Path, bench: str) -> Path:
    """Path of a benchmark's questions with their values."""
    return run / "items" / f"{bench}.parquet"


def score_bench(
    bench: LoadedBenchmark,
    recipe: Recipe,
    settings: Mapping[str, Any],
    folder: RunFiles,
    given: Predictions | None = None,
    extra: int = 0,
    harness: Protocol | None = None,
) -> dict[str, Any]:
    """A benchmark's entry in `results.json`, and its file of items; questions without an answer count as wrong.

    Questions about unreadable videos are left out: they say nothing about the model.

    Args:
        bench: The benchmark.
        recipe: As resolved.
        settings: The protocol of the call.
        folder: Of the run; its rows are there.
        given: The predictions, if no model was run.
        extra: Number of predictions for no question (`count_extra`).
        harness: The protocol of another harness, whose reading is scored beside; `recipe` is then its (`Protocol.recipe`).
    """
    by_id = {sample.id: sample for sample in bench.samples}
    k = recipe.eval.samples_per_question if given is None else given.k
    samples: list[list[Item]] = [[] for _ in range(k)]
    errors: dict[str, str] = {}
    warned = 0
    form = recipe.form("eval")
    for row in read_rows(folder.rows(bench.name)):
        sample = by_id[row["id"]]
        warned += "warning" in row
        if row["error"] is not None:
            errors[sample.id] = row["error"]
            if given is None:
                continue
        for items, text in zip(samples, row["texts"] or [""] * k, strict=True):
            items.append(Item(sample, text, form.read(sample, text)))
    module = bench.questions.module
    lenient = [lenient_items(items, letters=form.answer_format != "open") for items in samples]
    entry = summary_of_samples(module, samples, bench.missing_videos, recipe.eval.bootstrap, recipe.eval.seed, lenient=lenient)
    if harness is not None:
        scored = harness_metrics(module, samples[0], harness, recipe.eval.bootstrap, recipe.eval.seed)
        entry["harness"] = {"name": recipe.eval.protocol, "figure": harness.figure, **scored}
    write_items(items_path(folder.out, bench.name), columns_of_samples(module, samples, entry, errors, lenient))
    if bench.questions.subtitles is not None:
        entry["subtitles"] = dict(bench.questions.subtitles)
    if bench.questions.outside and module is not by_task:
        entry["dataset"] = _described(module)
    if given is not None:
        entry["missing_predictions"] = sum(sample.id not in given.texts for sample in bench.samples)
        entry["extra_predictions"] = extra
        if given.matched is not None:
            entry["matched_by"] = given.matched.counts(by_id)
        return entry | {"protocol": _protocol(bench, settings, None, k=k)}
    broken = {by_id[id].video for id in errors}
    entry["broken_videos"] = len(broken)
    if warned:
        entry["video_warnings"] = warned
    read = len({sample.video for sample in bench.samples} - broken)
    return entry | {"protocol": _protocol(bench, settings, read, len(errors), k=k)}


def broken_videos(bench: LoadedBenchmark, rows: Path, run: Path) -> str | None:
    """Lists unreadable videos of questions, with the reasons, in `<bench>.broken_videos.txt`.

    Returns:
        A message about them; None if all could be read.
    """
    by_id = {sample.id: sample for sample in bench.samples}
    reasons: dict[str, str] = {}
    questions = 0
    for row in read_rows(rows):
        if row["error"] is not None:
            reasons.setdefault(by_id[row["id"]].video, row["error"])
            questions += 1
    listing = run / f"{bench.name}.broken_videos.txt"
    if not reasons:
        listing.unlink(missing_ok=True)
        return None
    write_text_atomic(listing, "".join(f"{video}\t{reason}\n" for video, reason in reasons.items()))
    first = next(iter(reasons.values()))
    return (
        f"{bench.name}: {questions:,} questions about {len(reasons):,} videos couldn't be asked (all in {listing}): repair "
        f"them and repeat with --retry-errors, or leave their questions out with --allow-missing; the first: {first}"
    )


def _described(module: ModuleType) -> dict[str, str]:
    """What tables and reports say about a data set outside of the package, whose file they don't have."""
    told = {"title": module.TITLE, "file": Path(str(module.__file__)).name}
    rules = {key: getattr(module, key.upper(), None) for key in ("official_lower", "official_higher")}
    return told | {key: rule for key, rule in rules.items() if isinstance(rule, str)}


def _protocol(
    bench: LoadedBenchmark, settings: Mapping[str, Any], videos_read: int | None, broken: int = 0, *, k: int = 1
) -> dict[str, Any]:
    """What a benchmark's metrics depend on besides the model; `videos_read` is None if no model was run."""
    asked = videos_read is not None
    return {
        "name": settings.get("protocol", PAPER),
        **({"harness": settings["harness"]} if "harness" in settings else {}),
        "outputs": "model" if asked else "predictions",
        "prompt": settings["prompt"],
        "decoding": {key: settings[key] for key in (*READING, *(DRAWING if asked else ()))}
        | ({"samples_per_question": k} if k > 1 else {}),
        "budget": dict(settings["video"]) if asked else None,
        "bootstrap": {"resamples": settings["bootstrap"], "seed": settings["seed"]},
        "split": bench.identity["split"],
        "annotations": _annotations(bench),
        "videos_read": videos_read or 0,
        "questions_left_out": bench.questions_left_out + broken,
    } | ({key: settings[key] for key in SHOWING} if has_subtitles(bench.samples) else {})


def _annotations(bench: LoadedBenchmark) -> dict[str, str]:
    """Checksums by which two runs are known to be about the same questions: own ones may come from a file of any form."""
    own = bench.identity.get("sha256")
    return {bench.name: own} if own else dict(bench.identity["files"])


def count_extra(ready: Sequence[LoadedBenchmark], given: Predictions) -> int:
    """Counts predictions for no question of any of the benchmarks.

    Raises:
        DataError: all predictions are such.
    """
    known = {sample.id for bench in ready for sample in bench.samples}
    if given.matched is not None:
        return len(given.matched.left_out)
    extra = [id for id in given.texts if id not in known]
    if len(extra) == len(given.texts):
        names, example = ", ".join(bench.name for bench in ready), ready[0].samples[0].id
        raise DataError(f"{given.path}: no id is a question's of {names} (the first: {extra[0]!r}; they look like {example!r})")
    return len(extra)
