"""`trlt eval --samples`: the questions of benchmarks with their exact prompts, for models that run elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trlt.commands._data import data_stem
from trlt.commands._output import Output
from trlt.commands._setup import next_command
from trlt.evaluate.places import Questions
from trlt.files import write_jsonl
from trlt.recipe import Recipe


def named_again(name: str, data: Mapping[str, str], dataset: Path | None) -> list[object]:
    """The flags that name a benchmark once more."""
    if name in data:
        return ["--data", data[name] if data_stem(data[name]) == name else f"{name}={data[name]}"]
    return ["--dataset", dataset] if dataset and dataset.stem == name else ["--bench", name]


def list_questions(
    listed_from: Sequence[Questions],
    asked_for: Mapping[str, Sequence[object]],
    recipes: Mapping[str, Recipe],
    out: Path,
    words: Sequence[object],
    output: Output,
) -> dict[str, Any]:
    """Writes each question with its exact prompt, for models that run elsewhere.

    `recipes` are those that each benchmark is asked by, `asked_for` the options that name it, `words` those to repeat beside
    when scoring the answers.
    """
    listed: dict[str, Any] = {}
    for benchmark in listed_from:
        name, questions = benchmark.name, []
        form = recipes[name].form("eval")
        form.try_out(benchmark.samples)
        for sample in benchmark.samples:
            prompt = form.prompt(sample)
            where = {"video": sample.video, "clip": list(sample.clip) if sample.clip else None}
            asked = {"id": sample.id, **where, "task": sample.task, "system": prompt.system, "user": prompt.user}
            if "caption_prompt" in sample.meta:  # asked first; `user` is for the judge of what it gave
                asked["caption_prompt"] = sample.meta["caption_prompt"]
            questions.append(asked)
        path = out / f"{name}.jsonl"
        write_jsonl(path, questions)
        output.show(f"{name}: {len(questions):,} questions: {path}")
        answers = out / f"{name}.answers.jsonl"
        output.show(f'Answer them in {answers}, one {{"id": …, "text": …}} per line. Then:')
        output.show(next_command("eval", *asked_for[name], *words, "--predictions", answers))
        listed[name] = {"questions": len(questions), "path": str(path)}
    return {"samples": listed}
