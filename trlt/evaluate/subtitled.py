"""The questions of a benchmark with its subtitles, if a recipe asks for them (`eval.subtitles`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trlt.data.datasets import load, names
from trlt.data.subtitles import FOLDERS, add_subtitles, has_subtitles
from trlt.errors import UsageError, VideoError, counted
from trlt.evaluate.places import Questions
from trlt.files import write_text_atomic
from trlt.recipe import Recipe


def with_subtitles(
    questions: Questions, recipe: Recipe, target: Path, note: Callable[[str], None], *, asked: bool
) -> Questions:
    """The questions as the recipe asks them; `eval.subtitles` leaves a benchmark that has none to an error.

    Questions whose file is missing or can't be read are asked without; they are counted, and the files listed in
    `<bench>.missing_subtitles.txt`.

    Args:
        questions: As read.
        recipe: As resolved.
        target: Folder of the run.
        note: Told what was left out.
        asked: Whether prompts are made of them; else the files aren't needed.

    Raises:
        UsageError: a benchmark without subtitles.
        VideoError: no file of subtitles is there at all.
    """
    if not recipe.eval.subtitles:
        return questions
    name = questions.name
    if not has_subtitles(questions.samples):
        if any(sample.subtitles for sample in questions.samples):  # own questions that bring their own
            return questions
        having = ", ".join(bench for bench in names("bench") if has_subtitles(load(bench).EXAMPLE.samples))
        raise UsageError(
            f"eval.subtitles: {name} has no subtitles; leave --subtitles out (benchmarks that have some: {having})"
        )
    if not asked:
        return questions
    videos = [Path(questions.videos), Path(questions.videos).parent] if questions.videos else []
    annotation = Path(questions.identity["path"])
    places = [*videos, annotation if annotation.is_dir() else annotation.parent]
    made = add_subtitles(questions.samples, places, recipe.eval.subtitle_chars)
    listing = target / f"{name}.missing_subtitles.txt"
    if made.missing:
        write_text_atomic(listing, "".join(f"{path}\t{reason}\n" for path, reason in made.missing.items()))
    else:
        listing.unlink(missing_ok=True)
    if made.without == len(made.samples):
        why = next(iter(made.missing.values()), "all files are empty")
        raise VideoError(
            f"{name}: none of its questions has subtitles ({why}); unpack them into a folder {FOLDERS[0]} beside the videos, "
            "or leave --subtitles out"
        )
    if made.missing or made.shortened:
        note(
            f"{name}: {counted(made.without, 'question')} without subtitles ({counted(len(made.missing), 'file')} missing, "
            f"{listing}), {counted(made.shortened, 'question')} with lines left out (eval.subtitle_chars)"
        )
    digest = hashlib.sha256()
    for sample in made.samples:
        digest.update(f"{sample.id}\0{sample.subtitles}\0".encode("utf-8", "surrogatepass"))
    shown = {"questions_without": made.without, "questions_shortened": made.shortened}
    identity = {**questions.identity, "subtitles": digest.hexdigest()}
    return replace(questions, samples=made.samples, identity=identity, subtitles=shown)
