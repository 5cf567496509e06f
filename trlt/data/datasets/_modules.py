"""Finds a data set's module by its name."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Literal

from trlt.errors import UsageError, did_you_mean

Role = Literal["train", "bench"]


def names(role: Role | None = None) -> tuple[str, ...]:
    """Names of the data sets, sorted; with `role`, only those that have it (a data set may have both)."""
    found = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name[0] != "_")
    return tuple(name for name in found if role is None or has_role(_module(name), role))


def load(name: str) -> ModuleType:
    """The data set's module.

    Raises:
        UsageError: no data set has this name.
    """
    # Compared with the names that exist, so a path or a dotted name never reaches the import.
    if name not in names():
        raise UsageError(f"unknown data set {name!r}; {did_you_mean(name, names())}")
    return _module(name)


def has_role(module: ModuleType, role: Role) -> bool:
    """Whether a data set can be trained on (`train`) or has a metric (`bench`)."""
    return hasattr(module, "TRAIN_SPLIT" if role == "train" else "metrics")


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"trlt.data.datasets.{name}")
