"""The runs of a report and the questions behind their rows, from the folders that other commands wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.commands._probed import noted_data, run_of
from trlt.data.datasets import read_source
from trlt.data.find_videos import find_videos
from trlt.errors import DataError, TrltError, VideoError, counted
from trlt.evaluate.benchmark import items_path, kept_questions, samples_path
from trlt.evaluate.places import find_place, samples_digest
from trlt.evaluate.question_scores import read_items
from trlt.files import file_digest
from trlt.files.bounded_json import loads
from trlt.files.forms import Form, read_form
from trlt.recipe import Recipe, load_recipe
from trlt.report.page import ShownSample
from trlt.rollout import RunFiles
from trlt.task.sample import Sample, Span, iter_sample_lines
from trlt.video.resolve import VideoIndex

KINDS = ("probe", "select", "train", "eval")
REPORT = ".report.json"
AGAIN = "run the same command again"


@dataclass(frozen=True, slots=True)
class FoundRun:
    """One run, from its files."""

    name: str
    kind: str
    """One of `KINDS`."""
    run: RunFiles
    manifest: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """The folder, or the file of rows or samples."""
        return self.run.out

    def recipe(self) -> Recipe | None:
        """The resolved recipe; None where none was saved.

        Raises:
            RecipeError: it has faults.
        """
        return load_recipe(self.run.recipe) if self.run.recipe.is_file() else None

    def row_files(self) -> list[tuple[str, Path]]:
        """Name (of the benchmark, or `probe`) and file of all rows."""
        if self.kind == "probe":
            return [("probe", self.run.rows("probe"))]
        names = self.manifest.get("inputs", {}) if self.kind == "eval" else {}
        return [(name, self.run.rows(name)) for name in names if self.run.rows(name).is_file()]


def find_runs(places: Sequence[Path]) -> list[FoundRun]:
    """The runs that paths stand for: each itself, or those of its folders, by kind and time, and those inside of trainings.

    A training of several stages stands for all of them.

    Probes and evaluations of the base model of one of the trainings come first of their kind, since the others are compared
    with the first: a gain of the tuned model is positive, whichever was measured first.

    Raises:
        DataError: a path that holds none.
    """
    found: dict[Path, FoundRun] = {}
    for place in places:
        here = list(_runs_at(place))
        if here and here[0].kind == "train":  # the stages before it lie in its folder
            here = [*(one for folder in sorted(place.glob("stage-*")) for one in _runs_at(folder)), *here]
        if not here and place.is_dir():
            below = [one for child in sorted(place.iterdir()) for one in _runs_at(child)]
            # The command that is named after a training puts the evaluation of its model inside.
            tuned = [one.path for one in below if one.kind == "train"]
            below += [one for folder in tuned for child in sorted(folder.iterdir()) for one in _runs_at(child)]
            bases = [one.manifest["model"] for one in below if one.kind == "train" and "model" in one.manifest]
            here = sorted(below, key=lambda one: _order(one, bases))
        if not here:
            raise DataError(
                f"{place}: holds no run; give folders that `trlt probe`, `trlt train` or `trlt eval` wrote, the samples of "
                "`trlt select`, or a folder of such"
            )
        for one in here:
            found.setdefault(one.path.resolve(), one)
    return _named(list(found.values()))


def _order(run: FoundRun, bases: Sequence[Any]) -> tuple[int, bool, str, str]:
    other = run.kind in ("probe", "eval") and run.manifest.get("model") not in bases
    return KINDS.index(run.kind), other, str(run.manifest.get("created", "")), run.name


def _runs_at(place: Path) -> Iterator[FoundRun]:
    """The run of a folder, of a file of rows, or of a file of selected samples, by its manifest; nothing without one.

    A `.report.json` alone doesn't tell: `trlt video check` writes one beside its rows, too.
    """
    if place.suffix == ".jsonl" or place.is_dir():
        run = run_of(place)
        manifest = run.read_manifest() or {}
        if manifest.get("kind") in KINDS:
            yield FoundRun(run.out.resolve().name, manifest["kind"], run, manifest)


def _named(runs: list[FoundRun]) -> list[FoundRun]:
    """Unique names: runs of the same name get their folder as a prefix."""
    names = [one.name for one in runs]
    result = []
    for one in runs:
        name = f"{one.path.resolve().parent.name}/{one.name}" if names.count(one.name) > 1 else one.name
        result.append(FoundRun(name, one.kind, one.run, one.manifest))
    return result


def read_json(path: Path, form: type[Form]) -> Any:
    """An object that a run wrote; None where there is none yet.

    Raises:
        DataError: it is damaged, or has another form.
    """
    return read_form(path, form, "run the same command again") if path.exists() else None


def questions(run: FoundRun, videos: Path | None, *, with_paths: bool) -> tuple[dict[str, ShownSample], list[str]]:
    """The questions behind a run's rows by id, with the places of their videos, and notes on what is missing.

    Args:
        run: A probe or an evaluation.
        videos: Folder of the videos; None uses the one in the run's manifest.
        with_paths: Look for the videos.
    """
    found: dict[str, ShownSample] = {}
    notes: list[str] = []
    recipe = run.recipe()
    links = recipe.video.links if recipe else None  # what the run itself was allowed to follow
    for name, _ in run.row_files():
        given = run.manifest.get("inputs", {}).get("data" if run.kind == "probe" else name, {})
        try:
            samples = _probed(run) if run.kind == "probe" else _asked(run, name, given)
        except TrltError as error:
            notes.append(f"{run.name}: what was asked isn't known in full: {error}")
            found |= _from_items(run, name)
            continue
        paths: dict[str, tuple[Sample, Path]] = {}
        root = videos or given.get("videos")  # none is noted of predictions that were given
        if with_paths and root is not None:
            try:
                paths, missing = _paths(samples, Path(root), links)
                if missing:
                    first = next(iter(missing.values()))
                    notes.append(f"{run.name}, {name}: no frames of {counted(len(missing), 'video')}; the first: {first}")
            except VideoError as error:
                notes.append(f"{run.name}, {name}: no frames: {error}")
        for sample in samples:
            placed, path = paths.get(sample.id, (sample, None))
            found[sample.id] = ShownSample.of(placed, path)
    return found, notes


def _probed(run: FoundRun) -> list[Sample]:
    return [sample for _, _, sample in iter_sample_lines(noted_data(run.run), Sample.from_json)]


def _asked(run: FoundRun, bench: str, given: Mapping[str, Any]) -> Sequence[Sample]:
    """A benchmark's questions: those that the run keeps, else read once more from the official files that were evaluated.

    No code is run that lies outside of the package.
    """
    kept = kept_questions(run.path, bench)
    if kept is not None:
        if given.get("sha256") not in (None, samples_digest(kept)):
            raise DataError(f"{samples_path(run.path, bench)}: other questions than those that were evaluated")
        return kept
    annotations, split = given.get("path"), given.get("split")
    if annotations is None:  # of an older trlt
        recipe = run.recipe()
        if recipe is None:
            raise DataError(f"{run.run.recipe}: isn't there, so the files of {bench} aren't known")
        place = find_place(bench, recipe)
        annotations, split = str(place.annotations), place.split
    reading = read_source(bench, Path(annotations), split, purpose="bench")
    files = {path.name: file_digest(path) for path in reading.files}
    if files != given.get("files"):
        raise DataError(f"{annotations}: other annotation files than those that were evaluated")
    return reading.samples


def _paths(
    samples: Sequence[Sample], root: Path, links: str | None
) -> tuple[dict[str, tuple[Sample, Path]], Mapping[str, str]]:
    """Each sample that was found with the path of its video, and for the other videos, why not.

    Raises:
        VideoError: a folder isn't there.
    """
    index = VideoIndex(root, links=links)
    found = find_videos(samples, index)
    return {one.id: (one, index.find(one.video)) for one in found.samples}, found.missing


def _from_items(run: FoundRun, bench: str) -> dict[str, ShownSample]:
    """The questions as far as an evaluation's own file knows them: no options, no video."""
    if run.kind != "eval" or not items_path(run.path, bench).is_file():
        return {}
    columns = read_items(items_path(run.path, bench))
    result = {}
    for id, task, question, answer, spans in zip(
        *(columns[key] for key in ("id", "task", "question", "gold_answer", "gold_spans")), strict=True
    ):
        try:
            gold = tuple(Span(*map(float, span)) for span in loads(spans)) if spans else None
        except (ValueError, TypeError):
            raise DataError(f"{items_path(run.path, bench)}: gold_spans of {id!r} are damaged; run it again") from None
        result[id] = ShownSample(id, bench, task, question, answer=answer, spans=gold)
    return result
