"""What a server says of its model in /v1/models, and what the model's config.json says where that is on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trlt.errors import ServerError, TrltError

if TYPE_CHECKING:  # torch loads with the first run
    from trlt.engine.families import Family


class ModelCard:
    """One model at one server.

    Args:
        name: Of the model there.
        cards: What the server lists, by name.
    """

    def __init__(self, name: str, cards: Mapping[str, Mapping[str, Any]]) -> None:
        card = cards.get(name, {})
        self._said = card.get("model_type")
        """As `trlt serve` says, whose model's config.json needn't be seen from here."""
        base = cards.get(str(card.get("parent")), {})
        # Folders or hub ids, of the model and of what it is an adapter of.
        places = [place for place in (card.get("root"), base.get("root"), name) if isinstance(place, str)]
        self._configs = {place: _config(place) for place in places}
        self.place = places[0]
        """Where its server has it from: a folder or a hub id."""

    @property
    def family(self) -> Family | None:
        """As the server says, by the model's config.json, or by its published name; None where neither tells.

        Raises:
            ServerError: trlt doesn't know the model's family.
        """
        from trlt.engine.families import FAMILIES, family_named
        from trlt.engine.model import published_family

        if said := family_named(self._said):
            return said
        for place, config in self._configs.items():
            if "model_type" not in config:
                continue
            family = family_named(config["model_type"])
            if family is None:
                known = ", ".join(one.name for one in FAMILIES)
                raise ServerError(f"its model {place} says model_type {config['model_type']!r}; trlt asks {known}")
            return family
        return next((family for family in map(published_family, self._configs) if family), None)

    def has_outer_marks(self, family: Family) -> bool:
        """Whether the model's config.json, where it can be seen, says that it was tuned with marks around a whole video."""
        return any(family.has_outer_marks(config) for config in self._configs.values())

    def refuse_other_rule(self, program: str) -> None:
        """Refuses weights that were trained by another rule of positions than a program's, where their config.json can be seen.

        Raises:
            ServerError: they say so.
        """
        from trlt.engine.mrope import LIBRARY, RULE

        for place, config in self._configs.items():
            if config.get(RULE) == LIBRARY:
                raise ServerError(
                    f"its model {place} says {RULE}: {LIBRARY} in its config.json, and {program} places text by the published "
                    "rule; leave out --server, or serve it with `trlt serve`"
                )


def _config(place: str) -> dict[str, Any]:
    """A model's config.json, if its folder or its copy in the hub's cache is on this machine; else empty."""
    from trlt.engine.model import CONFIG

    try:
        path = Path(place) / CONFIG
        if not path.is_file():
            from huggingface_hub import try_to_load_from_cache

            cached = try_to_load_from_cache(place, CONFIG)
            if not isinstance(cached, str):
                return {}
            path = Path(cached)
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, TrltError):  # another machine's path, or no name of a hub's
        return {}
    return found if isinstance(found, dict) else {}
