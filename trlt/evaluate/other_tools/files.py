"""The files that lmms-eval and VLMEvalKit write, as rows; and how they are told from our own predictions.

lmms-eval writes `<model>/<date>_samples_<task>.jsonl`, VLMEvalKit `<model>_<data set>.xlsx` (or `.tsv`, `.json`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trlt.data.own import SUFFIXES, read_table
from trlt.errors import DataError, shown
from trlt.evaluate.other_tools.rows import OUTPUTS, LoggedRow, logged_row
from trlt.files.bounded_json import parse_json
from trlt.files.sheet import read_sheet

SHEET = ".xlsx"
PICKLES = (".pkl", ".pickle")
LOG = ("resps", "filtered_resps")
"""Fields of an output in lmms-eval's logs."""


def is_ours(path: Path) -> bool:
    """Whether a path holds predictions in our own form: JSONL without the fields of another tool.

    Raises:
        DataError: a pickle, or a format that is unknown here.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise DataError(
            f"{path}: a pickle can run code when it is opened, so trlt opens none; let VLMEvalKit write another file "
            "(PRED_FORMAT=tsv), or save this one as .tsv or .json with pandas, where you trust it"
        )
    if path.is_dir() or suffix == SHEET or (suffix in SUFFIXES and suffix != ".jsonl"):
        return False
    if suffix == ".xls":
        raise DataError(f"{path}: an old Excel file; save it as .xlsx, .tsv or .csv")
    try:
        with path.open("rb") as lines:
            first = next((line for line in lines if line.strip()), b"")
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); give a file of predictions") from None
    try:
        record = parse_json(first, str(path), expected="an object per line", finite=False)
    except DataError:
        return True  # whose reader tells what is wrong
    return not isinstance(record, dict) or not (any(key in record for key in LOG) or "prediction" in record)


def log_files(path: Path) -> list[Path]:
    """The files of a path that hold outputs: itself, or those below a folder of results.

    Raises:
        DataError: a folder without any.
    """
    if not path.is_dir():
        return [path]
    logs = sorted(file for file in path.rglob("*.jsonl") if "samples_" in file.name)
    if logs:
        return logs
    tables = sorted(file for file in path.iterdir() if file.suffix.lower() in (SHEET, ".tsv", ".csv", ".json"))
    found = [file for file in tables if any("prediction" in values for values in _records(file).values())]
    if not found:
        raise DataError(
            f"{path}: holds neither lmms-eval's logs (<date>_samples_<task>.jsonl, which its option log_samples writes) nor a "
            "table of VLMEvalKit's with a column prediction; give the file itself"
        )
    return found


def read_logs(files: Sequence[Path]) -> list[LoggedRow]:
    """The rows of some files.

    Raises:
        DataError: a file or line that can't be read, or without any output.
    """
    rows = [logged_row(file, where, values) for file in files for where, values in _records(file).items()]
    if not rows:
        raise DataError(f"{files[0]}: holds no outputs")
    if all(row.fault for row in rows):
        names = ", ".join(OUTPUTS)
        raise DataError(f"{rows[0].where}: {rows[0].fault}; outputs are in resps (lmms-eval), or in one of the columns {names}")
    return rows


def _records(file: Path) -> Mapping[str, Mapping[str, Any]]:
    """Place to values of each row of a file."""
    if file.suffix.lower() == SHEET:
        return {f"{file}: row {number}": values for number, values in read_sheet(file)}
    table = read_table(file)
    if table.faults:
        first = next(iter(table.faults.values()))
        raise DataError(f"{first}" + (f" (and {shown(len(table.faults) - 1)} more lines)" if len(table.faults) > 1 else ""))
    return {row.where: row.values for row in table.rows}
