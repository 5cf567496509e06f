"""Loads, overrides, compares and saves recipes; reports all faults at once, each with its origin and key."""

from __future__ import annotations

import copy
import difflib
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from trlt.errors import RecipeError, did_you_mean, shown
from trlt.files import write_text_atomic
from trlt.files.bounded_json import MOST_LINE, loads
from trlt.files.renamed import TRAIN, renew
from trlt.recipe._texts import read_texts
from trlt.recipe._yaml import from_yaml, read_yaml, to_yaml
from trlt.recipe.keys import ELSEWHERE, meant
from trlt.recipe.names import recipe_file
from trlt.recipe.sections import Recipe

FLAG = "a flag"
"""Origin of a key that a flag has set; messages name the key alone."""
MEANT = 4
"""Maximum number of keys that a message suggests for an unknown one."""


def load_recipe(path: Path | None, *, sets: Sequence[str] = (), flags: Mapping[str, Any] | None = None) -> Recipe:
    """The resolved recipe.

    Args:
        path: A recipe file, or the name of one that ships with trlt (`trlt.recipe.names`); None for the defaults.
        sets: `a.b=c` overrides; the value is read as YAML.
        flags: Dotted key to value, applied last; None values are left out, and a path becomes text.

    Raises:
        RecipeError: every fault at once, each with file and key.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    where = str(path) if path else "recipe"
    if path is not None:
        if _holds_samples(path):
            raise RecipeError(f"{path}: this holds samples, not a recipe: `trlt train RECIPE --data {shlex.quote(str(path))}`")
        loaded = read_yaml(recipe_file(path), "give a recipe's path, or the name of one that ships with trlt, e.g. 32k")
        if loaded is not None and not isinstance(loaded, dict):
            raise RecipeError(f"{path}: a recipe is a mapping of sections, got {type(loaded).__name__}")
        if loaded and loaded.keys() >= {"arms", "seeds"}:
            raise RecipeError(f"{path}: this is a plan, not a recipe: `trlt reproduce --plan {shlex.quote(str(path))}`")
        values = loaded or {}
        renew_keys(values, where)
    for item in sets:
        key, equals, raw = item.partition("=")
        if not equals or not all(key.split(".")):
            raise RecipeError(f"--set {item}: expected key=value, e.g. --set train.beta=0")
        source, value = f"--set {key}", from_yaml(raw, f"--set {item}")
        section, _, name = key.rpartition(".")
        # Renewed before it is put over the file, which may have today's name.
        if section == "train":
            key = f"train.{next(iter(renew({name: None}, TRAIN, source)))}"
        _put(values, key, renew(value, TRAIN, source) if key == "train" else value, origin, source)
    for key, value in (flags or {}).items():
        if value is not None:
            _put(values, key, str(value) if isinstance(value, Path) else value, origin, FLAG)
    read_texts(values, path.parent if path else None, origin, where)
    if faults := _faults(values, where, origin):
        raise RecipeError("\n".join(faults))
    return Recipe.model_validate(values)


def renew_keys(values: dict[str, Any], where: str) -> None:
    """Gives keys of the version before their names of today, in place; says so, and where they stand."""
    if "train" in values:
        values["train"] = renew(values["train"], TRAIN, where)


def _holds_samples(path: Path) -> bool:
    """Whether a path is a folder of JSONL files, or a file that begins with a sample."""
    if path.is_dir():
        return any(path.glob("*.jsonl"))
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            first = loads(file.readline(MOST_LINE))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and {"id", "task"} <= first.keys()


def _put(values: dict[str, Any], dotted: str, value: Any, origin: dict[str, str], source: str) -> None:
    *parents, last = dotted.split(".")
    for depth, part in enumerate(parents):
        if parents[: depth + 1] == ["train", "stages"] and not values.get(part):
            raise RecipeError(
                f"{source}: the recipe has no stages; --set 'train.stages=[{{method: sft}}, {{method: grpo}}]' makes some"
            )
        inner = values.setdefault(part, {})
        if isinstance(inner, list) and parents[: depth + 1] == ["train", "stages"]:
            place, _, key = dotted.removeprefix("train.stages.").partition(".")
            if not key or not place.isdecimal() or int(place) >= len(inner) or not isinstance(inner[int(place)], dict):
                raise RecipeError(f"{source}: expected train.stages.N.KEY, with N from 0 to {len(inner) - 1}")
            _put(inner[int(place)], key, value, {}, source)
            origin[dotted] = source
            return
        if not isinstance(inner, dict):
            raise RecipeError(f"{source}: {dotted}: {part} is a value, not a section")
        values = inner
    values[last] = value
    origin[dotted] = source


def _faults(values: Mapping[str, Any], where: str, origin: Mapping[str, str]) -> list[str]:
    """Every fault, each with its origin and key.

    Checks of several keys wait until each key is valid. So faulty keys are removed and the rest is checked again; messages
    about removed keys would concern their defaults and are dropped.
    """
    found: list[str] = []
    taken_out: list[str] = []
    unknown_in: set[tuple[int | str, ...]] = set()
    rest = copy.deepcopy(dict(values))
    while True:
        try:
            Recipe.model_validate(rest)
        except ValidationError as error:
            faults = error.errors(include_url=False)
        else:
            return found
        within = [fault["loc"] for fault in faults]
        for fault in faults:
            # An entry that can't be used isn't counted, so its list is found too short as well; and a section with nothing
            # in it but an unknown key is found empty, once that is taken out.
            follows = fault["type"] == "too_short" and any(loc[:-1] == fault["loc"] for loc in within)
            emptied = fault["loc"] in unknown_in and "is empty" in fault["msg"]
            if follows or emptied:
                continue
            dotted = ".".join(str(part) for part in fault["loc"])
            message = _message(fault["type"], fault["msg"], fault["loc"], fault["input"])
            if not any(re.search(rf"\b{re.escape(key)}\b", f"{dotted} {message}") for key in taken_out):
                source = _source(dotted, message, origin) or where
                # A check of a whole section names its keys itself, and a flag is named by the key that it sets.
                named = dotted and not message.startswith(f"{dotted}.")
                found.append(
                    "".join([*([f"{source}: "] if source != FLAG else []), *([f"{dotted}: "] if named else []), message])
                )
        unknown_in |= {fault["loc"][:-1] for fault in faults if fault["type"] == "extra_forbidden"}
        # An entry that lacks a key can only go as a whole.
        locations = [fault["loc"][:-1] if fault["type"] == "missing" else fault["loc"] for fault in faults]
        if () in locations:  # the last check, of the whole
            return found
        taken_out += [".".join(str(part) for part in fault["loc"]) for fault in faults if fault["type"] != "extra_forbidden"]
        before = copy.deepcopy(rest)
        for location in locations:
            _take_out(rest, location)
        if rest == before:
            return found


def _source(dotted: str, message: str, origin: Mapping[str, str]) -> str | None:
    """The `--set` or flag behind a fault: it set the key itself, or a key inside the section that the message names."""
    for key, source in origin.items():
        inside = not dotted or key.startswith(f"{dotted}.")
        # All of a mapping that was set at once is of that flag.
        if (
            key == dotted
            or dotted.startswith(f"{key}.")
            or (inside and re.search(rf"\b{re.escape(key.rpartition('.')[2])}\b", message))
        ):
            return source
    return None


def _take_out(values: dict[str, Any], location: Sequence[int | str]) -> None:
    """Removes a key; for an entry of a list, the whole list."""
    *parents, last = location
    section: Any = values
    for part in parents:
        inner = section.get(part)
        if not isinstance(inner, dict):
            last = part
            break
        section = inner
    section.pop(last, None)


def _message(kind: str, text: str, location: Sequence[int | str], value: Any) -> str:
    if kind == "extra_forbidden":
        word, known = str(location[-1]), _keys(location[:-1])
        keys = meant(word)
        if word not in ELSEWHERE and not any(key.endswith(f".{word}") for key in keys):
            keys = [] if difflib.get_close_matches(word, known, n=1) else keys
        return f"unknown key; {_did_you_mean(keys) if keys else did_you_mean(word, known)}"
    return fault_message(kind, text, value)


def fault_message(kind: str, text: str, value: Any) -> str:
    """What is said of a value that pydantic finds at fault, by the kind and text of its error."""
    if kind == "tuple_type" and not isinstance(value, list):
        return f"expected a list: [{shown(value) if isinstance(value, dict) else value}]"
    if kind == "missing":
        return "missing, and has no default"
    if kind == "model_type":
        return f"expected a section of keys, got {shown(value)}"
    if kind in ("bool_type", "bool_parsing"):
        return f"write true or false, not {value}"
    if kind == "value_error":
        return text.removeprefix("Value error, ")
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", text)
        return f"{shown(value)} is unknown; {did_you_mean(str(value), choices)}"
    return f"{text} (got {shown(value)})"


def _did_you_mean(keys: Sequence[str]) -> str:
    return f"did you mean {' or '.join(keys[:MEANT])}?"


def _keys(location: Sequence[int | str]) -> list[str]:
    """The keys that a section knows; entries of lists and of named tables are sections too."""
    kind: Any = Recipe
    for part in location:
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):  # an entry of a list or of a table
            kind = _section_in(kind)
        else:
            kind = kind.model_fields[str(part)].annotation
            kind = _section_in(kind) if isinstance(kind, UnionType) else kind  # one that may be null
    return list(kind.model_fields)


def _section_in(kind: Any) -> type[BaseModel]:
    return next(inner for inner in get_args(kind) if isinstance(inner, type) and issubclass(inner, BaseModel))


def save_recipe(path: Path, recipe: Recipe) -> None:
    """Writes the resolved recipe as YAML, atomically; `load_recipe` reads it back equal."""
    write_text_atomic(path, dump_recipe(recipe))


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML."""
    return to_yaml(recipe.model_dump(mode="json"))


def differences(a: Recipe, b: Recipe, *, among: Callable[[str], bool] = lambda key: True) -> list[str]:
    """Dotted keys whose values differ, each as `key: left -> right`; only those that `among` takes."""
    left, right = dict(flat(a.model_dump(mode="json"))), dict(flat(b.model_dump(mode="json")))
    return [
        f"{key}: {_change(left.get(key), right.get(key))}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key) and among(key)
    ]


def _change(old: Any, new: Any) -> str:
    """`left -> right`; of texts of several lines, the first line that differs."""
    if not (isinstance(old, str) and isinstance(new, str) and "\n" in old + new):
        return f"{old!r} -> {new!r}"
    pairs = itertools.zip_longest(old.splitlines(), new.splitlines())
    for number, (left, right) in enumerate(pairs, 1):
        if left != right:
            return f"line {number}: {left!r} -> {right!r}"
    return "white space at its end"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values in sections by their dotted keys; a section without any stands for itself."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def schema_json() -> str:
    """JSON schema of a recipe, for editors."""
    return json.dumps(Recipe.model_json_schema(), indent=2) + "\n"
