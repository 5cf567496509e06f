"""Which family a model belongs to, by its config.json or, where that isn't at hand, by its published name. Loads nothing."""

from __future__ import annotations

from pathlib import Path

from trlt.engine.families import FAMILIES, Family
from trlt.engine.model.config import CONFIG, read_config
from trlt.engine.model.find import SHIPPED, find, resolve
from trlt.engine.model.hub import cached
from trlt.errors import ModelError


def config_at(name: str) -> Path | None:
    """The config.json of a model; None where it isn't on this machine.

    Args:
        name: `model.path` of a recipe: a folder, also of a run or an adapter, a hub id, or `miniature`.

    Raises:
        ModelError: a folder without a model.
    """
    there = name in SHIPPED or Path(name).expanduser().exists()
    base = resolve(find(name)).base if there else name
    folder = Path(base) if Path(base).is_dir() else _cached(base)
    return folder / CONFIG if folder is not None and (folder / CONFIG).is_file() else None


def family_at(name: str) -> Family:
    """The family of a model that needn't be on this machine; `name` as for `config_at`.

    Raises:
        ModelError: a config.json of another family, or neither that nor a published name.
    """
    if family := known_family(name):
        return family
    raise ModelError(
        f"model.path: {name!r}: its {CONFIG} isn't on this machine, and the name is none of a published model; give the folder "
        "of the model"
    )


def known_family(name: str) -> Family | None:
    """The same; None where neither a config.json nor the name tells it.

    Raises:
        ModelError: a folder without a model, or a config.json of another family.
    """
    config = config_at(name)
    return published_family(name) if config is None else read_config(config)[1]


def published_family(name: str) -> Family | None:
    """The family that publishes models by such names, the one with most of it; None if none does."""
    last = name.rpartition("/")[2].lower()
    # One family's names may go on where another's end, as those of a mixture of experts do.
    parts = {part: family for family in FAMILIES for part in family.hub_names if part in last}
    return parts[max(parts, key=len)] if parts else None


def _cached(name: str) -> Path | None:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        return None
    return cached(name)
