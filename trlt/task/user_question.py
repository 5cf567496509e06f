"""One question from a user, without a gold answer: as a sample, as a prompt, and its result.

Shared by `trlt infer` and `trlt serve`. Knows prompts and answers; neither models nor frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trlt.errors import UsageError, did_you_mean
from trlt.task.answer import Answer
from trlt.task.mistakes import lettered
from trlt.task.prompt import unaskable
from trlt.task.sample import TASKS, Sample, Span


def question_sample(
    video: str, question: str, task: str | None, options: Sequence[str], *, flag: str = "", several: bool = False
) -> Sample:
    """The question as a sample; its gold answer is a blank that no prompt shows.

    Args:
        video: Name of the video.
        question: The question; for grounding, the event.
        task: None means multi_choice with options, else grounding.
        options: Answers to choose from.
        several: Ask for all times at which the event happens.
        flag: Prefix of field names in errors: `--` on a command line.

    Raises:
        UsageError: an unknown task, options that don't fit it, or text that can't be put to a model.
    """
    task = task or ("multi_choice" if options else "grounding")
    if not question.strip():
        raise UsageError("question: is empty; say what is asked, or for grounding the event")
    if task not in TASKS:
        raise UsageError(f"{flag}task {task}: unknown; {did_you_mean(task, TASKS)}")
    if task == "multi_choice" and not options:
        raise UsageError(f"{flag}task multi_choice: needs at least two {flag}option")
    if task == "grounding" and options:
        raise UsageError(f"{flag}task grounding: asks when something happens and takes no {flag}option; try grounded_qa")
    if several and task != "grounding":
        raise UsageError(f"{flag}several: asks at which times an event happens, and {task} questions ask for one answer")
    if options and len(set(options)) < max(2, len(options)):
        raise UsageError(f"{flag}option: at least two different ones are needed, got {list(options)}")
    if fault := lettered(options):
        raise UsageError(f"{flag}{fault.replace('options', 'option', 1)}")
    asked = task != "grounding"
    sample = Sample(
        id=question,
        source="infer",
        split="",
        task=task,
        video=video,
        question=question,
        options=tuple(options) or None,
        answer=(options[0] if options else "?") if asked else None,
        answer_index=0 if asked and options else None,
        spans=None if task == "multi_choice" else (Span(0.0, 1.0),),
        several=several,
    )
    if reason := unaskable(sample):
        raise UsageError(reason)
    return sample


def stated_spans(values: Mapping[str, Any]) -> list[Span]:
    """All spans of an answer's JSON values (of `answer_values`, or of a row); those of one span have no `spans`."""
    spans = values.get("spans") or ([values["span"]] if values["span"] else [])
    return [Span(*span) for span in spans]


def answer_values(answer: Answer, text: str, *, finished: bool) -> dict[str, Any]:
    """The parsed completion as JSON values; times in seconds of the clip.

    Args:
        answer: As parsed.
        text: The completion.
        finished: False when the token limit cut it off.
    """
    return {
        "reasoning": answer.reasoning,
        "answer": answer.payload,
        "option": answer.option,
        **({"choices": list(answer.choices)} if answer.choices else {}),
        "span": list(answer.span) if answer.span else None,
        **({"spans": [list(span) for span in answer.spans]} if answer.further else {}),
        "well_formed": answer.well_formed,
        "finished": finished,
        "text": text,
    }
