"""Finds a data set's module by its name, or runs the file of one outside of the package."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal

from trlt.data.datasets._metrics import Item
from trlt.data.datasets._outside import run_file
from trlt.errors import DataError, UsageError, did_you_mean
from trlt.stats.groups import group_weights

Role = Literal["train", "bench"]
RESERVED = ("all", "benchmarks")
"""Words that stand for several benchmarks on the command line."""
_NAME = re.compile(r"\w[\w.-]*")


def names(role: Role | None = None) -> tuple[str, ...]:
    """Names of the package's data sets, sorted; with `role`, only those that have it (a data set may have both)."""
    found = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name[0] != "_")
    return tuple(name for name in found if role is None or has_role(_module(name), role))


def load(name: str | ModuleType) -> ModuleType:
    """The module of one of the package's data sets; one that is loaded already stays.

    Raises:
        UsageError: no data set has this name.
    """
    if isinstance(name, ModuleType):
        return name
    # Compared with the names that exist, so a path or a dotted name never reaches the import.
    if name not in names():
        file = name if name.endswith(".py") else f"{name}.py"
        is_file = name.endswith(".py") or (name.isidentifier() and Path(file).is_file())
        remedy = f"; a file of your own is given by its path, to `eval` and `prepare` with --dataset {file}" if is_file else ""
        raise UsageError(f"unknown data set {name!r}; {did_you_mean(name, names())}{remedy}")
    return _module(name)


def open_dataset(given: str) -> ModuleType:
    """The data set that a user names: one of the package's, or the path of a file that ends in `.py`, whose code is run.

    Raises:
        UsageError: an unknown name, or a file whose name can't be a data set's.
        DataError: a file that isn't there, or has faults; names file, line and remedy.
    """
    return _opened(Path(given), _source(Path(given))) if given.endswith(".py") else load(given)


def dataset_name(given: str | ModuleType) -> str:
    """The name of a data set, given as `open_dataset` takes it, or loaded: a file's is its stem."""
    if isinstance(given, ModuleType):
        return Path(str(given.__file__)).stem
    return Path(given).stem if given.endswith(".py") else given


def dataset_file(module: ModuleType) -> Path | None:
    """The file of a data set outside of the package; None for one of the package's."""
    return None if module.__name__.startswith(__package__ or "") else Path(str(module.__file__))


def name_fault(name: str) -> str | None:
    """Why a benchmark of the user's can't have this name, or None."""
    if name in names():
        return f"{name!r} is the name of a data set of trlt"
    if name in RESERVED:
        return f"{name!r} stands for several benchmarks"
    if not _NAME.fullmatch(name) or len(name) > 100:
        return f"{name!r} can't name files and results: take at most 100 letters, digits, `_`, `-` and `.`"
    return None


def has_role(module: ModuleType, role: Role) -> bool:
    """Whether a data set can be trained on (`train`) or has a metric (`bench`)."""
    return hasattr(module, "TRAIN_SPLIT" if role == "train" else "metrics")


def item_weights(module: ModuleType, items: Sequence[Item]) -> list[float]:
    """Each item's weight in a benchmark's metrics but those of its `MICRO`: 1 on average."""
    return group_weights([module.group(item.sample) for item in items]) if hasattr(module, "group") else [1.0] * len(items)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"trlt.data.datasets.{name}")


def _source(path: Path) -> bytes:
    if fault := name_fault(path.stem):
        raise UsageError(f"{path}: {fault}; rename the file, as to my_bench.py")
    try:
        return path.read_bytes()
    except OSError as error:
        there = sorted(one.name for one in path.parent.glob("*.py")) if path.parent.is_dir() else []
        near = f"; {did_you_mean(path.name, there)}" if there else ""
        raise DataError(f"{path}: can't be read ({error.strerror}){near}") from None


@cache
def _opened(path: Path, source: bytes) -> ModuleType:
    """One module per content: what is edited is run anew."""
    return run_file(path, source)
