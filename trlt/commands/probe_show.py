"""`trlt probe show`: one probed sample with all of its answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt.commands._output import Output
from trlt.commands._probed import Thresholds, find_line, noted_data, probe_rows, run_of, thresholds, words_of
from trlt.commands._shared_options import ProbedSamples
from trlt.errors import DataError
from trlt.files import sample_files
from trlt.files.forms import RowForm, hold
from trlt.files.renamed import ROW, renew
from trlt.report.answers import answers_view
from trlt.report.page.questions import LISTS
from trlt.select import deviation
from trlt.select.probe_shift import digest
from trlt.task.prompt import OURS, Words
from trlt.task.sample import Sample


def show(
    id: Annotated[str, typer.Argument(help="Id of the sample.")],
    *,
    probe: Annotated[Path, typer.Option(help="Rows of `trlt probe`, or its folder.")],
    data: ProbedSamples = None,
    output: Output,
) -> dict[str, Any]:
    """Shows a sample, what was answered, and what selection makes of it; see `trlt probe show --help`.

    Raises:
        UsageError: the probe noted no samples, and none were given.
        DataError: a file that can't be used, or no such id; the nearest are suggested.
        RecipeError: the recipe beside the rows has faults.
    """
    run = run_of(probe)
    rows = probe_rows(run)
    where, row = find_line([rows], id, rows)
    samples = data if data is not None else noted_data(run)
    place, found = find_line(sample_files(samples), id, samples)
    result = shown(Sample.from_json(found, place), row, thresholds(run), where, words_of(run))
    output.show(answers_view(result), f"  (`select` of {result['select']['origin']})")
    return result


def shown(sample: Sample, row: Mapping[str, Any], limits: Thresholds, where: str, words: Words = OURS) -> dict[str, Any]:
    """A sample and its row as one object; `words` are what it was asked in.

    Raises:
        DataError: they don't belong together, or the row lacks something; `where` starts the message.
    """
    row = hold(renew(row, ROW, where.rpartition(":")[0]), RowForm, where, "probe the sample again")
    if row.get("task") != sample.task:
        raise DataError(
            f"{where}: is {row.get('task')!r}, the sample {sample.task!r}; give the samples that were probed (--data)"
        )
    head = {key: value for key, value in sample.to_json().items() if key not in ("split", "video_key", "license", "meta")}
    numbers = {key: row.get(key) for key in ("n", "correct", "delta_iou", "reward_range", "mean", "format_rate", "error")}
    found = digest(row, limits.settings)
    chosen = limits.settings.model_dump(include={"by", "hard", "easy", "delta_iou", "grounded_delta_iou"})
    return {
        **head,
        "answers": _answers(sample, row, where, words) if found is not None else [],
        **numbers,
        "deviation": deviation(row) if found is not None else None,
        "mean_iou": found.mean_iou if found is not None else None,
        "class": found.klass if found is not None else None,
        "select": {**chosen, "origin": limits.origin},
    }


def _answers(sample: Sample, row: Mapping[str, Any], where: str, words: Words) -> list[dict[str, Any]]:
    """Each answer: text, what was read from it, scores and reward."""
    columns = [row.get(name) for name in LISTS]
    if any(not isinstance(column, list) or len(column) != row.get("n") for column in columns):
        raise DataError(f"{where}: {', '.join(LISTS)} must be lists of n = {row.get('n')!r} entries; probe the sample again")
    # Reasoning is shown where there is some, whether or not it was asked for.
    laid_out, result = words.layout(sample.task, think=False), []
    own = row.get("parts", {})
    if any(len(values) != row.get("n") for values in own.values()):
        raise DataError(f"{where}: parts must be lists of n = {row.get('n')!r} entries; probe the sample again")
    each = zip(*(column for column in columns if column), strict=True)
    for place, (text, answer, scores, reward, tokens, finished) in enumerate(each):
        choice = answer["option"]
        if choice is not None and not (sample.options and 0 <= choice < len(sample.options)):
            raise DataError(f"{where}: option {choice!r} isn't one of the sample's; give the samples that were probed (--data)")
        right = None if scores["accuracy"] is None else scores["accuracy"] == 1
        result.append(
            {"text": text, "reasoning": laid_out.inside("reasoning", text), **answer, "right": right, **scores}
            | ({"parts": {name: values[place] for name, values in own.items()}} if own else {})
            | {"reward": reward, "tokens": tokens, "finished": finished}
        )
    return result
