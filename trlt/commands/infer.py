"""`trlt infer`: one question about one video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from trlt.answer import Answer
from trlt.commands._output import Output
from trlt.commands._setup import make_engine, resolve
from trlt.errors import UsageError, VideoError, did_you_mean
from trlt.model import locate
from trlt.prompt import letter
from trlt.report import timeline
from trlt.rollout import read_answer, request
from trlt.sample import TASKS, Sample, Span
from trlt.video.remote import fetch, is_remote


def infer(
    video: str | Path,
    question: str,
    *,
    task: str | None = None,
    options: Sequence[str] = (),
    recipe_path: Path | None = None,
    sets: Sequence[str] = (),
    model: str | None = None,
    think: bool | None = None,
    output: Output,
) -> dict[str, Any]:
    """Asks, and shows reasoning, answer and spans; see `trlt infer --help`.

    Raises:
        TrltError: a flag, video or model that can't be used.
    """
    recipe = resolve(recipe_path, sets, {"model.path": model, "eval.think": think})
    if is_remote(str(video)):
        downloads = recipe.video.downloads
        video = fetch(str(video), Path(downloads) if downloads else None)
    video = Path(video)
    if not video.exists():
        raise VideoError(f"{video}: no such file; give a video, or a folder of numbered frames")
    sample = _sample(video, question, task, options)
    locate(recipe.model.path)
    from trlt.engine.forest import Tree
    from trlt.engine.sampling import Sampling
    from trlt.video.workers import ClipLoader

    with ClipLoader(recipe.video) as loader:
        clip = loader.load(video)
    settings = recipe.eval
    output.note(f"{clip.duration:.1f} s, {len(clip.frames)} frames, {clip.tokens} tokens; asking {recipe.model.path}")
    engine = make_engine(recipe.model, output.note)
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens, settings.seed)
    [[[completion]]] = engine.generate([Tree(clip, (request(sample, settings, 1),))], sampling)
    answer = read_answer(sample, completion.text, settings)
    _show(answer, completion.text, sample, clip.duration, completion.finished, output)
    return {
        "video": str(video),
        "duration": clip.duration,
        "task": sample.task,
        "reasoning": answer.reasoning,
        "answer": answer.payload,
        "option": answer.option,
        "span": list(answer.span) if answer.span else None,
        "well_formed": answer.well_formed,
        "finished": completion.finished,
        "text": completion.text,
    }


def _sample(video: Path, question: str, task: str | None, options: Sequence[str]) -> Sample:
    """The question as a sample; its gold answer is a blank that no prompt shows."""
    task = task or ("multi_choice" if options else "grounding")
    if task not in TASKS:
        raise UsageError(f"--task {task}: unknown; {did_you_mean(task, TASKS)}")
    if task == "multi_choice" and not options:
        raise UsageError("--task multi_choice: needs at least two --option")
    if task == "grounding" and options:
        raise UsageError("--task grounding: asks when something happens and takes no --option; try --task grounded_qa")
    if options and len(set(options)) < max(2, len(options)):
        raise UsageError(f"--option: at least two different ones are needed, got {list(options)}")
    asked = task != "grounding"
    return Sample(
        id=question,
        source="infer",
        split="",
        task=task,
        video=video.resolve().name,
        question=question,
        options=tuple(options) or None,
        answer=(options[0] if options else "?") if asked else None,
        answer_index=0 if asked and options else None,
        spans=None if task == "multi_choice" else (Span(0.0, 1.0),),
    )


def _show(answer: Answer, text: str, sample: Sample, duration: float, finished: bool, output: Output) -> None:
    if answer.reasoning:
        output.show(Text(answer.reasoning, style="dim italic"), "")
    if answer.option is not None and sample.options:
        output.show(Text(f"{letter(answer.option)}. {sample.options[answer.option]}", style="bold"))
    elif answer.payload is not None:
        output.show(Text(answer.payload, style="bold"))
    else:
        output.show(Text("No answer in the form that was asked for. The model wrote:", style="yellow"), Text(text))
    if answer.span:
        output.show("", timeline(duration, [("video", [answer.span])]))
    if not finished:
        output.note("cut off at the token limit; raise it with --set eval.max_new_tokens=…")
