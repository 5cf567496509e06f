"""The shape of the model that a recipe names, from its config.json or from published facts."""

from __future__ import annotations

from dataclasses import replace

from trlt.engine.families.published import published
from trlt.engine.families.shape import Architecture
from trlt.engine.model import config_at, refuse_name
from trlt.engine.model.config import read_config


def find_architecture(name: str) -> Architecture | None:
    """The shape of a model; None where neither its config.json is at hand nor its size published.

    Args:
        name: `model.path` of a recipe: a folder, also of a run or an adapter, a hub id, or `miniature`.

    Raises:
        ModelError: a config.json that is none of a family that trlt tunes, or without one a name that tells as much.
    """
    path = config_at(name)
    if path is not None:
        config, family = read_config(path)
        return replace(family.shape(config), source=str(path))
    refuse_name(name)
    found = published(name)
    if found is None:
        return None
    return replace(found[1], source=f"that published for {found[0]}; its config.json isn't at hand")
