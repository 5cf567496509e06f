"""`trlt dataset check`: whether the file of a data set keeps what it promises, and what it makes of real annotation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from trlt.commands._output import Output
from trlt.data.datasets import dataset_name, gold_text, open_dataset
from trlt.errors import DataError, TrltError, counted
from trlt.evaluate.annotation_check import RealReading, check_annotation
from trlt.evaluate.dataset_check import Check, check_dataset

SHOWN = 3
"""Number of samples that are shown."""


def check(
    dataset: Annotated[
        str, typer.Argument(metavar="FILE.py", help="The file (its code is run), or the name of one of trlt's.")
    ],
    *,
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of real annotation files: counts, first samples and baselines.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="A split other than the test split (or the training split).")] = None,
    output: Output,
) -> dict[str, Any]:
    """Checks a data set's file; see `trlt dataset check --help`.

    Raises:
        TrltError: a file that can't be used at all, or a check that failed.
    """
    module = open_dataset(dataset)
    checks = check_dataset(module)
    real = None
    if annotations is not None:
        try:
            real = check_annotation(module, annotations, split)
        except DataError as error:
            checks.append(Check("annotation is read", (str(error),)))
        else:
            checks += real.checks
    _show(checks, output)
    result: dict[str, Any] = {"dataset": dataset_name(dataset), "checks": [one.to_json() for one in checks]}
    if real is not None:
        _show_real(real, output)
        result["annotation"] = _annotation(real)
    failed = [one for one in checks if one.faults]
    if failed:
        if output.json_mode:
            output.result(result | {"ok": False})
        raise TrltError(
            f"{dataset}: {counted(len(failed), 'check')} of {len(checks)} failed: {', '.join(o.name for o in failed)}"
        )
    if real is None:
        output.show(f"\n{dataset}: all is well with its example; --annotations DIR checks it on real files")
    return result | {"ok": True}


def _show(checks: Sequence[Check], output: Output) -> None:
    for one in checks:
        output.show(Text(f"{'✗' if one.faults else '✓'} {one.name}", style="red" if one.faults else "green"))
        for fault in one.faults:
            output.show(f"    {fault}")


def _show_real(real: RealReading, output: Output) -> None:
    reading = real.reading
    output.show(f"\n{real.split}: {reading.read:,} records, {counted(len(reading.samples), 'sample')}")
    for what, counts in (("dropped", reading.dropped), ("kept with", reading.repaired)):
        for reason, count in counts.most_common():
            output.show(f"  {what} {reason}: {count:,}, as {reading.examples.get(reason, ['?'])[0]}")
    for note in reading.notes:
        output.show(f"  {note}")
    output.show("The first samples:")
    for sample in reading.samples[:SHOWN]:
        output.show(f"  {sample.id}  {sample.video}  {sample.question}  -> {gold_text(sample)}")
    if real.baselines:
        metrics = list(dict.fromkeys(key for parts in real.baselines.values() for part in parts.values() for key in part))
        table = Table("baseline", "protocol", title="Baselines (percent)", title_justify="left")
        for metric in metrics:
            table.add_column(metric, justify="right")
        for name, parts in real.baselines.items():
            for part, values in parts.items():
                table.add_row(name, part, *(f"{values[key]:.2f}" if key in values else "" for key in metrics))
        output.show(table)


def _annotation(real: RealReading) -> dict[str, Any]:
    reading = real.reading
    return {
        "split": real.split,
        "read": reading.read,
        "samples": len(reading.samples),
        "dropped": dict(reading.dropped),
        "repaired": dict(reading.repaired),
        "examples": reading.examples,
        "first": [sample.to_json() for sample in reading.samples[:SHOWN]],
        "baselines": real.baselines,
    }
