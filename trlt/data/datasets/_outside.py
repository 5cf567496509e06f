"""Runs a data set's file that lies outside of the package, and tells its faults with file, line and remedy.

Such a file is a user's own code: it runs with all rights, and only from a path that the user names. What it does wrong is an
error of that file, never a bare traceback: each of its functions is called through a check of what it gives back.
"""

from __future__ import annotations

import hashlib
import linecache
import math
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from trlt.data.datasets._common import Example, Reading
from trlt.data.datasets._metrics import item_values
from trlt.errors import DataError, TrltError, shown
from trlt.task.sample import TASKS, Sample

KIT = "trlt.data.kit"
"""The public module for such files."""
TEXTS = {
    "TITLE": "its title in tables",
    "LICENSE": "the license of its annotation, or `unknown`",
    "WHERE": "where to get its files",
    "DOMAIN": "what its videos show",
}
"""Constants that are texts, with their meaning."""
BENCH = {
    "values": "a question's metrics from 0 to 1, by the paper's protocol",
    "official": "the same by the benchmark's own rule",
    "metrics": "the entry in results.json",
}
"""Functions of a benchmark, with what each gives."""


def run_file(path: Path, source: bytes) -> ModuleType:
    """The module of a data set's file.

    Args:
        path: Of the file; its stem is the data set's name.
        source: Its content, which is what runs: no compiled copy beside it counts.

    Raises:
        DataError: code that can't run, or lacks what a data set's file must have.
    """
    module = ModuleType(f"trlt_dataset_{path.stem}_{hashlib.sha256(source).hexdigest()[:12]}")
    module.__file__ = str(path)
    linecache.checkcache(str(path))
    try:
        code = compile(source, str(path), "exec")
    except SyntaxError as error:
        raise DataError(f"{path}:{error.lineno or 1}: not Python ({error.msg}): {shown((error.text or '').strip())}") from None
    except ValueError as error:  # a null byte
        raise DataError(f"{path}: not Python ({error})") from None
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    with faults_told(path, "when it is run", all_of_them=True):
        exec(code, module.__dict__)
    if faults := shape_faults(module):
        raise DataError("\n  ".join([f"{path}: this file describes no data set yet:", *faults]))
    for name in ("read", *BENCH, "together", "group", "video_weights"):
        if hasattr(module, name):
            setattr(module, name, _checked(module, path, name, getattr(module, name)))
    return module


def shape_faults(module: ModuleType) -> list[str]:
    """What a data set's module lacks, or has of another kind than it must; each with its remedy."""
    found = [
        f"{name}: {_is(module, name)}; write a text: {meaning}"
        for name, meaning in TEXTS.items()
        if not (isinstance(getattr(module, name, None), str) and getattr(module, name))
    ]
    if getattr(module, "TASK", None) not in TASKS:
        found.append(f"TASK: {_is(module, 'TASK')}; write one of {', '.join(TASKS)}")
    files = getattr(module, "FILES", None)
    if not _is_files(files):
        found.append(f'FILES: {_is(module, "FILES")}; write file names by split, as {{"test": ("mine_test.json",)}}')
        files = {}
    named = {file for wanted in (files or {}).values() for file in wanted}
    for name in ("OPTIONAL", "STREAMED"):
        other = [file for file in _several(getattr(module, name, ())) if file not in named]
        if other:
            found.append(f"{name}: {', '.join(map(shown, other))} isn't in FILES; spell it as there")
    if not callable(getattr(module, "read", None)):
        found.append("read: is missing; write `def read(files, split, purpose)`, which gives a Reading")
    return found + _role_faults(module, files or {})


def _role_faults(module: ModuleType, files: Mapping[str, Any]) -> list[str]:
    """Faults of what makes a data set a benchmark or a training source."""
    found = []
    has = [name for name in (*BENCH, "TEST_SPLIT") if hasattr(module, name)]
    if has == ["TEST_SPLIT"] and hasattr(module, "TRAIN_SPLIT"):  # which is only not to be trained on
        has = []
    for name in ("TEST_SPLIT", "TRAIN_SPLIT"):
        split = getattr(module, name, None)
        if hasattr(module, name) and split not in files:
            found.append(f"{name}: {shown(split)} is no split of FILES ({', '.join(files) or 'none'})")
    if has:
        if "TEST_SPLIT" not in has:
            found.append('TEST_SPLIT: is missing; a benchmark names its split in FILES, as "test"')
        elif module.TEST_SPLIT == getattr(module, "TRAIN_SPLIT", None):
            found.append(f"TRAIN_SPLIT: {shown(module.TEST_SPLIT)} is its TEST_SPLIT, too; take another for training")
        for name, gives in BENCH.items():
            if not callable(getattr(module, name, None)):
                found.append(
                    f"{name}: {_is(module, name)}; a benchmark has a function of this name, which gives {gives}: "
                    f"`from {KIT} import {', '.join(BENCH)}` has the usual ones"
                )
    elif not hasattr(module, "TRAIN_SPLIT"):
        found.append(
            f"TRAIN_SPLIT, TEST_SPLIT: neither is there; a source has the first, a benchmark the second and {', '.join(BENCH)}"
        )
    count = getattr(module, "PAPER_COUNT", None)
    if count is not None and not (isinstance(count, int) and count > 0):
        found.append(f"PAPER_COUNT: {shown(count)}; write a number of samples, or leave it out")
    example = getattr(module, "EXAMPLE", None)
    if example is not None and not isinstance(example, Example):
        found.append(f"EXAMPLE: is a {type(example).__name__}; write `Example(split=…, purpose=…, files=…, samples=…)`")
    return found


def _is(module: ModuleType, name: str) -> str:
    return f"is {shown(getattr(module, name))}" if hasattr(module, name) else "is missing"


def _several(value: Any) -> Sequence[Any]:
    return list(value) if isinstance(value, (tuple, list, set, frozenset)) else [value]


def _is_files(files: Any) -> bool:
    return (
        isinstance(files, Mapping)
        and bool(files)
        and all(
            isinstance(split, str) and isinstance(names, (tuple, list)) and names and all(isinstance(one, str) for one in names)
            for split, names in files.items()
        )
    )


@contextmanager
def faults_told(path: Path, doing: str, *, all_of_them: bool = False) -> Iterator[None]:
    """Turns an exception that a user's file caused into an error that names its line.

    Args:
        path: Of the file.
        doing: What was being done.
        all_of_them: Also errors of trlt's own kinds, such as that of a sample; others name the record at fault themselves.

    Raises:
        DataError: in place of any exception with a line of the file on its way; others are bugs of trlt and pass.
    """
    try:
        with redirect_stdout(sys.stderr):  # where results are printed, nothing else may be
            yield
    except (Exception, SystemExit) as error:  # of the user's own code alone
        if isinstance(error, TrltError) and not all_of_them:
            raise
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        if not lines:
            raise
        line = linecache.getline(str(path), lines[-1] or 0).strip()
        bad_record = doing == "in read" and isinstance(error, (ValueError, TypeError, IndexError, AttributeError))
        hint = "; `out.drop(reason, where)` leaves a record out that can't be used" if bad_record else ""
        raise DataError(f"{path}:{lines[-1]}: {doing}: {_words(error)}{hint}\n    {line}") from error


def _words(error: BaseException) -> str:
    if isinstance(error, TrltError):
        return str(error)
    text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'without a message'}"
    if isinstance(error, KeyError):
        return f"no key {error}: `get(record, key, type, where)` of {KIT} names the record that lacks it"
    if isinstance(error, ModuleNotFoundError):
        return f"{text}; install it, or keep what the file needs in the file: its folder isn't searched"
    if isinstance(error, ImportError):
        return f"{text}; {KIT} has what a data set's file needs"
    return text


def _checked(module: ModuleType, path: Path, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the file, called through the checks of what it gives."""

    @wraps(function)
    def call(*args: Any) -> Any:
        with faults_told(path, f"in {name}"):
            given = function(*args)
            fault = _result_fault(module, name, args, given)
        if fault:
            raise DataError(f"{path}: {fault}")
        return given

    return call


def _result_fault(module: ModuleType, name: str, args: Sequence[Any], given: Any) -> str | None:
    if name == "read":
        return next(iter(reading_faults(given, Path(str(module.__file__)).stem, args[1])), None)
    if name in ("values", "official"):
        where = f"{name}: question {shown(args[0].sample.id)}"
        return next((f"{where}: {fault}" for fault in value_faults(given)), None)
    if name == "metrics":
        return entry_fault(given, item_values(module, args[0]))
    if name == "group":
        return None if isinstance(given, str) else f"group: gives {shown(given)}; it must give a text, the name of a group"
    if name == "together":
        if not (isinstance(given, list) and len(given) == len(args[0])):
            return f"together: gives {shown(given)}; it must give a list with one dict of metrics per question"
        return next((f"together: {fault}" for row in given for fault in value_faults(row)), None)
    if not (isinstance(given, (list, tuple)) and len(given) == len(args[0])):
        return f"{name}: gives {shown(given)}; it must give a list with one weight per question"
    return None


def reading_faults(reading: Any, name: str, split: str) -> Iterator[str]:
    """What is wrong with the result of a data set's `read`."""
    if not isinstance(reading, Reading):
        yield f"read: gives a {type(reading).__name__}, not a Reading; end it with `return out.reading()`"
        return
    if other := next((one for one in reading.samples if not isinstance(one, Sample)), None):
        yield f"read: a sample is a {type(other).__name__}, not a Sample; add samples with `out.keep(…)`"
        return
    for sample in reading.samples:
        if sample.source != name:
            yield f"read: sample {shown(sample.id)} has the source {shown(sample.source)}; it must be the file's name: {name!r}"
            break
        if sample.split != split:
            yield f"read: sample {shown(sample.id)} has the split {shown(sample.split)}, but {split!r} was asked for"
            break
    twice = [id for id, count in Counter(sample.id for sample in reading.samples).items() if count > 1]
    if twice:
        yield f"read: the id {shown(twice[0])} occurs {Counter(s.id for s in reading.samples)[twice[0]]} times; ids are unique"
    if reading.read != len(reading.samples) + reading.dropped.total():
        yield (
            f"read: counts {reading.read:,} records, but keeps {len(reading.samples):,} and drops {reading.dropped.total():,}; "
            "call `out.keep` or `out.drop` once for each record"
        )


def value_faults(values: Any) -> Iterator[str]:
    """What is wrong with one question's metrics."""
    if not isinstance(values, dict):
        yield f'gives {shown(values)}; it must give metrics by name, as {{"acc": 1.0}}'
        return
    for key, value in values.items():
        if not isinstance(value, (int, float)) or not math.isfinite(value) or not 0 <= value <= 1:
            yield f"{key}: gives {shown(value)}; a question's metric is a number from 0 to 1, and 0 without a readable answer"


def entry_fault(entry: Any, rows: Sequence[Mapping[str, float]]) -> str | None:
    """What is wrong with a benchmark's entry in `results.json`; `rows` are the values of its questions."""
    if not isinstance(entry, dict):
        return f"metrics: gives {shown(entry)}; end it with `return benchmark_entry(…)`"
    kinds = {"n": int, "unanswered": int, "paper": dict, "official": dict, "by": dict}
    for key, kind in kinds.items():
        if not isinstance(entry.get(key), kind):
            return f"metrics: {key}: gives {shown(entry.get(key))}; `benchmark_entry(…)` makes it"
    for part in ("paper", "official"):
        for key, value in entry[part].items():
            if not isinstance(value, (int, float)) or not -1e-9 <= value <= 100 + 1e-9:
                return f"metrics: {part}: {key}: gives {shown(value)}; a metric is in percent, from 0 to 100"
    lacking = [key for key in entry["paper"] if not any(key in row for row in rows)]
    if lacking:
        return f"metrics: {lacking[0]} is a metric, but `values` gives it for no question, so it has no interval"
    return None
