"""YAML as recipes and plans are written: 1.2 scalars, no key twice, and bounds that no real one comes near.

The only place that reads YAML. Aliases may be used, but not so that a file of a few lines stands for millions.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from trlt.errors import RecipeError, shown
from trlt.reading import MOST_DIGITS

MOST_CHARACTERS = 1 << 20
"""Of a file; the longest recipe that ships has some thousand."""
MOST_VALUES = 20_000
"""Keys, values and entries of lists, those counted again that an alias repeats."""
MOST_DEPTH = 32
"""Mappings and lists inside each other."""
MOST_WORDS = 400
"""Characters of what PyYAML says."""
_TOO_DEEP = f"mappings and lists more than {MOST_DEPTH} deep"
_KIND = "tag:yaml.org,2002:"
_TAGS = {_KIND + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: `1e-6` is a number, `no` and `1:1:1` are text. A key that stands twice is a fault."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a word, not a list or mapping", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{shown(key.value)[1:-1]} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes texts that YAML 1.1 or `_Loader` would read as something else.

    Texts with a line break other than the plain one (NEL, the separators of lines and paragraphs) are escaped: PyYAML folds
    them on reading where they stand as they are.
    """

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """The text, in double quotes where it must be escaped."""
        style = '"' if re.search("[\r\x85\u2028\u2029]", data) else None
        return self.represent_scalar(_KIND + "str", data, style=style)

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        """As PyYAML, but with all that isn't plain text escaped."""
        allowed, self.allow_unicode = self.allow_unicode, False
        super().write_double_quoted(text, split)
        self.allow_unicode = allowed


_Dumper.add_representer(str, _Dumper.represent_str)

_TYPED = {_KIND + name for name in ("bool", "int", "float", "timestamp", "value")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag not in _TYPED]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PATTERNS = {
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(?:0|[1-9][0-9_]*)",
    "float": r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+|[-+]?\.(?:inf|nan)",
}
_FIRST = {"bool": "tTfF", "int": "-+0123456789", "float": "-+0123456789."}
for _name, _pattern in _PATTERNS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_KIND + _name, re.compile(rf"^(?:{_pattern})$"), list(_FIRST[_name]))


def read_yaml(path: Path, remedy: str) -> Any:
    """What a file holds.

    Args:
        path: A file of YAML in UTF-8.
        remedy: Ends the message where it can't be read.

    Raises:
        RecipeError: it can't be read, isn't UTF-8, or isn't what `from_yaml` takes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(4 * MOST_CHARACTERS + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise RecipeError(f"{path}: can't be read ({error.strerror}); {remedy}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: isn't UTF-8 text (byte {error.start}); save it as UTF-8, or {remedy}") from None
    return from_yaml(text, str(path))


def from_yaml(text: str, where: str) -> Any:
    """What a text holds.

    Args:
        text: YAML.
        where: Where it stands, for the error.

    Raises:
        RecipeError: it isn't YAML, or out of the bounds of this module.
    """
    if len(text) > MOST_CHARACTERS:
        raise RecipeError(f"{where}: {len(text):,} characters; a recipe or plan has {MOST_CHARACTERS:,} at most")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _bound(node, where, 0, {})
        return loader.construct_document(node)
    except RecursionError:
        raise RecipeError(f"{where}: {_TOO_DEEP}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: not YAML: {_said(error)[:MOST_WORDS]}") from None


def _said(error: yaml.YAMLError) -> str:
    """What PyYAML says, without the name that it has for any text."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).replace('in "<unicode string>", ', "").split())
    parts = []
    for text, mark in ((error.context, error.context_mark), (error.problem, error.problem_mark)):
        if text:
            parts.append(f"{text} (line {mark.line + 1}, column {mark.column + 1})" if mark else text)
    return ", ".join(parts)


def _bound(node: yaml.Node, where: str, depth: int, sizes: dict[int, int | None]) -> int:
    """How many values a node stands for, aliases written out.

    Raises:
        RecipeError: too many, or too deep; a value of a kind that recipes don't have; half a surrogate pair.
    """
    if depth > MOST_DEPTH:
        raise RecipeError(f"{where}: {_TOO_DEEP}")
    there = f"{where}: line {node.start_mark.line + 1}"
    if id(node) in sizes:
        size = sizes[id(node)]
        if size is None:
            raise RecipeError(f"{there}: an alias stands inside of what it repeats; write the values out")
        return size
    if node.tag not in _TAGS:
        what = shown(node.tag.removeprefix(_KIND))
        raise RecipeError(f"{there}: {what} is no kind of value that recipes have; leave the `!` out, or quote the text")
    sizes[id(node)] = None
    kind = node.tag.removeprefix(_KIND)
    if isinstance(node, yaml.ScalarNode):
        if fault := _scalar_fault(node, kind):
            raise RecipeError(f"{there}: {shown(node.value)}: {fault}")
        inner = []
    elif kind != (given := "map" if isinstance(node, yaml.MappingNode) else "seq"):
        raise RecipeError(f"{there}: a {given} is no {kind}; leave the `!` out")
    else:
        inner = [one for pair in node.value for one in (pair if isinstance(pair, tuple) else (pair,))]
    size = 1 + sum(_bound(one, where, depth + 1, sizes) for one in inner)
    if size > MOST_VALUES:
        raise RecipeError(f"{there}: stands for more than {MOST_VALUES:,} values; write out what aliases repeat")
    sizes[id(node)] = size
    return size


def _scalar_fault(node: yaml.ScalarNode, kind: str) -> str | None:
    """Why a text can't be the value that it is tagged as, or None."""
    if kind in _PATTERNS and not re.fullmatch(_PATTERNS[kind], node.value):
        return f"is no {kind}"
    if kind == "int" and len(node.value) > MOST_DIGITS:
        return "a number of too many digits"
    if any("\ud800" <= one <= "\udfff" for one in node.value):
        return "holds half a surrogate pair; write the character itself"
    return "is a text; quote it" if kind in ("seq", "map") else None


def to_yaml(values: dict[str, Any]) -> str:
    """The text that `from_yaml` reads back equal; keys stay in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
