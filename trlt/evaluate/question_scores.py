"""Scores of each question of a benchmark, as a Parquet file beside the rows: for notebooks, and for `trlt compare`.

Knows items and Parquet; neither models nor videos. The columns are described in `docs/results.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from trlt.data.datasets import Item, is_answered, item_values, item_weights, load
from trlt.errors import DataError
from trlt.evaluate.compare import ScoredRun
from trlt.evaluate.lenient_items import lenient_items
from trlt.evaluate.several import SeveralSamples, mean_rows
from trlt.files import open_atomic
from trlt.stats.groups import group_weights
from trlt.stats.intervals import mean_interval
from trlt.task.sample import Sample

COLUMNS = {
    "id": "string",
    "video": "string",
    "task": "string",
    "question": "string",
    "gold_answer": "string",
    "gold_option": "int32",
    "gold_spans": "string",
    "text": "string",
    "error": "string",
    "option": "int32",
    "start": "float64",
    "end": "float64",
    "answered": "bool",
    "group": "string",
    "weight": "float64",
    "official_weight": "float64",
}
"""Name to Arrow type of the columns that every benchmark has; `paper.<metric>`, `official.<metric>` and `lenient.<metric>`
(float64) follow."""
LENIENT_COLUMNS = {"lenient_option": "int32", "lenient_start": "float64", "lenient_end": "float64"}
"""The answers read leniently; files of an older trlt lack them."""
SAMPLE_COLUMNS = {"texts": "string", "majority": "int32"}
"""Of several outputs per question; `agreement`, `std.<metric>` and `best.<metric>` (float64) follow."""
SEVERAL_COLUMNS = {"spans": "string", "lenient_spans": "string"}
"""All spans of answers to questions that asked for several, as JSON; only files that hold such questions have them."""
NEVER_NULL = ("id", "video", "task", "question", "text", "answered", "weight", "official_weight")
PAPER, OFFICIAL, LENIENT = "paper.", "official.", "lenient."
PROTOCOLS = {"paper": PAPER, "official": OFFICIAL, "lenient": LENIENT}
"""Protocols by which runs can be compared, with the prefix of their columns."""

Columns = dict[str, list[Any]]


def item_columns(
    bench: str | ModuleType,
    items: Sequence[Item],
    entry: Mapping[str, Any],
    errors: Mapping[str, str],
    lenient: Sequence[Item] | None = None,
) -> Columns:
    """The columns of a benchmark's file, one entry per item.

    Args:
        bench: Name of the benchmark, or its module.
        items: All of its questions, including unanswered ones.
        entry: Its entry in `results.json`, which names the metrics.
        errors: Why a question has no output, by id.
        lenient: The same items, read leniently; None reads them.
    """
    return columns_of_samples(bench, [items], entry, errors, None if lenient is None else [lenient])


def columns_of_samples(
    bench: str | ModuleType,
    samples: Sequence[Sequence[Item]],
    entry: Mapping[str, Any],
    errors: Mapping[str, str],
    leniently: Sequence[Sequence[Item]] | None = None,
) -> Columns:
    """The same of several outputs per question: values are means over them, the text and its answer are the first's.

    Args:
        bench: Name of the benchmark, or its module.
        samples: Items of the first outputs, of the second ones, and so on.
        entry: The benchmark's entry in `results.json`.
        errors: Why a question has no output, by id.
        leniently: The same items, read leniently; None reads them.
    """
    module = load(bench)
    leniently = [lenient_items(one) for one in samples] if leniently is None else leniently
    items, lenient = samples[0], leniently[0]
    further = SeveralSamples.of(module, samples) if len(samples) > 1 else None
    weights = item_weights(module, items)
    # ActivityNet-RTL's official metrics are means over videos, while the paper's are plain.
    official = module.video_weights(items) if hasattr(module, "video_weights") else weights
    scores = (
        mean_rows([item_values(module, one) for one in samples]),
        mean_rows([item_values(module, one, "official") for one in samples]),
        mean_rows([item_values(module, one) for one in leniently]),
    )
    several = any(item.sample.several for item in items)
    rows = [
        {
            **_question(item.sample),
            "text": item.text,
            "error": errors.get(item.sample.id),
            "option": item.answer.option,
            "start": item.answer.span.start if item.answer.span else None,
            "end": item.answer.span.end if item.answer.span else None,
            **({"spans": _spans(item), "lenient_spans": _spans(other)} if several else {}),
            "answered": is_answered(item),
            # Weights alone don't tell tasks of one size apart, and a part of the questions has other weights.
            "group": module.group(item.sample) if hasattr(module, "group") else None,
            "weight": weight,
            "official_weight": official_weight,
            "lenient_option": other.answer.option,
            "lenient_start": other.answer.span.start if other.answer.span else None,
            "lenient_end": other.answer.span.end if other.answer.span else None,
            **_named(PAPER, entry["paper"], paper),
            **_named(OFFICIAL, entry["official"], by_rule),
            **_named(LENIENT, entry["lenient"], by_lenient),
            **(_several(further, place, entry["paper"]) if further else {}),
        }
        for place, (item, other, weight, official_weight, paper, by_rule, by_lenient) in enumerate(
            zip(items, lenient, weights, official, *scores, strict=True)
        )
    ]
    return {key: [_encodable(row[key]) for row in rows] for key in rows[0]}


def _several(further: SeveralSamples, place: int, metrics: Iterable[str]) -> dict[str, Any]:
    """All outputs of a question, how far they agree, and the spread of each metric that a single question has."""
    values = further.columns(place)
    texts = json.dumps([items[place].text for items in further.samples])
    spread = {f"{kind}.{key}": values.get(f"{kind}.{key}") for kind in ("std", "best") for key in metrics}
    return {"texts": texts, "agreement": values["agreement"], "majority": values["majority"], **spread}


def _spans(item: Item) -> str | None:
    return json.dumps([list(span) for span in item.answer.spans]) if item.sample.several else None


def _named(prefix: str, metrics: Iterable[str], values: Mapping[str, float]) -> dict[str, float | None]:
    """A question's value in each of a benchmark's metrics; None if it doesn't count in one."""
    return {f"{prefix}{key}": values.get(key) for key in metrics}


def write_items(path: Path, columns: Columns) -> None:
    """Writes the file in one step: a kill leaves the old or the new one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = dict.fromkeys(columns, "float64") | COLUMNS | LENIENT_COLUMNS | SEVERAL_COLUMNS | SAMPLE_COLUMNS
    schema = pa.schema([(key, pa.type_for_alias(types[key])) for key in columns])
    table = pa.table(columns, schema)
    with open_atomic(path, "wb") as out:
        pq.write_table(table, out)


def read_items(path: Path) -> Columns:
    """The columns of a benchmark's file.

    Raises:
        DataError: it isn't there, is damaged, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    again = "run the same `trlt eval` again (rows that are there are kept, so it takes seconds)"
    try:
        # Not `read_table`, which makes columns of folders that are named `key=value`.
        with pq.ParquetFile(path) as file:
            table = file.read()
        columns: Columns = table.to_pydict()
    except FileNotFoundError:
        raise DataError(f"{path}: isn't there; {again}") from None
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # a name or a text with a flipped bit isn't UTF-8
        raise DataError(f"{path}: can't be read ({error}); {again}") from None
    missing = [key for key in COLUMNS if key not in columns]
    if missing:
        raise DataError(f"{path}: lacks the columns {', '.join(missing)}; {again}")
    types = {field.name: str(field.type).replace("double", "float64") for field in table.schema}
    known = COLUMNS | LENIENT_COLUMNS | SEVERAL_COLUMNS | SAMPLE_COLUMNS
    other = [key for key, kind in types.items() if kind != known.get(key, "float64")]
    other += [key for key in NEVER_NULL if None in columns[key]]
    if other:
        raise DataError(f"{path}: holds other values than trlt writes in the columns {', '.join(other)}; {again}")
    return columns


def scored(columns: Columns, protocol: str = "paper", micro: Sequence[str] = ()) -> ScoredRun:
    """The values of a benchmark's file by one of `PROTOCOLS`, as `trlt.evaluate.compare` takes them.

    A file of an older trlt has none by the lenient one. `micro` are the metrics in which groups don't count.
    """
    prefix = PROTOCOLS[protocol]
    values = {key.removeprefix(prefix): values for key, values in columns.items() if key.startswith(prefix)}
    groups: Sequence[str | None] = columns["group"]
    if protocol == "official" and columns["official_weight"] != columns["weight"]:
        # Official means over videos (a module's `video_weights`); numbers, since a slash would make groups in groups.
        known = {video: str(place) for place, video in enumerate(dict.fromkeys(columns["video"]))}
        groups = [known[video] for video in columns["video"]]
    return ScoredRun(columns["id"], columns["video"], groups, values, micro)


def metric_intervals(run: ScoredRun, resamples: int, seed: int) -> dict[str, list[float]]:
    """The 95% interval over videos of each metric of a run, in percent: what `results.json` has of the paper's protocol."""
    found = {}
    for metric, values in run.values.items():
        counted = [place for place, value in enumerate(values) if value is not None]
        if not counted:
            continue
        weights = group_weights([None if metric in run.micro else run.groups[place] for place in counted])
        percents = [100 * (values[place] or 0.0) for place in counted]
        interval = mean_interval(percents, [run.videos[place] for place in counted], resamples, seed, weights=weights)
        found[metric] = [interval.low, interval.high]
    return found


def _question(sample: Sample) -> dict[str, Any]:
    spans = None if sample.spans is None else json.dumps([list(span) for span in sample.spans])
    return {
        "id": sample.id,
        "video": sample.video_key or sample.video,
        "task": sample.task,
        "question": sample.question,
        "gold_answer": sample.answer,
        "gold_option": sample.answer_index,
        "gold_spans": spans,
    }


def _encodable(value: Any) -> Any:
    """A text without lone surrogates (JSON can hold them, Parquet's UTF-8 can't)."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value
