"""Recipes and plans that ship with trlt, and the file that a name or a path stands for. Knows file names, not what files hold.

The files lie inside the package, so that an installed one has them; the repository's `recipes` is a link to this folder. See
docs/decisions/shipped-recipes.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePath

from trlt.errors import RecipeError
from trlt.errors.faults import tell

FOLDER = Path(__file__).parent / "shipped"
PLANS = "ablations/plans/"
"""How names of plans for `trlt reproduce` begin."""
SUFFIXES = (".yaml", ".yml")
MEANT = 3
"""Maximum number of names that a message suggests for an unknown one."""


@cache
def shipped() -> Mapping[str, Path]:
    """Every name with its file: recipes first, then ablations, then plans, each by name (`32k`, `ablations/table2-all`)."""
    names = {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in FOLDER.rglob("*.yaml")}
    return {name: names[name] for name in sorted(names, key=lambda name: (name.count("/"), name))}


def is_plan(name: str) -> bool:
    """Whether a name is that of a plan for `trlt reproduce`."""
    return name.startswith(PLANS)


def name_of(path: Path | str) -> str | None:
    """The name that is meant: `32k`, `32k.yaml` and `recipes/32k.yaml` alike; None where none is."""
    text = PurePath(path).as_posix()
    for suffix in SUFFIXES:
        text = text.removesuffix(suffix)
    return next((name for name in (text, text.removeprefix("recipes/")) if name in shipped()), None)


def shipped_name(text: str) -> str:
    """The name that is meant; see `name_of`.

    Raises:
        RecipeError: none is; suggests names that are near.
    """
    name = name_of(text)
    if name is None:
        raise RecipeError(unknown(text))
    return name


def recipe_file(path: Path | str) -> Path:
    """The file that a path or a name stands for; one that exists goes before a name, and a name is told with its file.

    Raises:
        RecipeError: neither a file nor a name; suggests names that are near.
    """
    given = Path(path)
    if given.is_file() or (name := name_of(given)) is None:
        if not given.exists():
            raise RecipeError(unknown(str(path)))
        return given
    _tell_once(str(path), shipped()[name])
    return shipped()[name]


def unknown(text: str) -> str:
    """Says that a text is neither a file nor the name of a recipe or plan, and suggests what is near."""
    near = similar(text)
    remedy = f"did you mean {' or '.join(near)}?" if near else "give its path, or a name, e.g. 32k"
    return f"{text}: no such file, and no recipe that ships with trlt has this name; {remedy} (`trlt recipe list` shows all)"


def similar(text: str) -> list[str]:
    """The names that a text is near to: by the whole name, or by its last part."""
    last = PurePath(text).name.lower()
    for suffix in SUFFIXES:
        last = last.removesuffix(suffix)
    lasts = {name.rpartition("/")[2].lower(): name for name in reversed(list(shipped()))}
    if last in lasts:
        return [lasts[last]]
    return [lasts[near] for near in difflib.get_close_matches(last, lasts, n=MEANT, cutoff=0.7)]


@cache
def _tell_once(text: str, file: Path) -> None:
    """Once per process, since a command may read its recipe several times."""
    tell(f"{text}: the recipe that ships with trlt, {file}\n")
