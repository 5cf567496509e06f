"""YAML of recipes and plans, by ruamel.yaml: 1.2 scalars, no duplicate keys, and generous size limits.

The only place that reads or writes YAML. For the rules beyond the library's, see docs/decisions/yaml.md.
"""

from __future__ import annotations

import re
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver

from trlt.errors import RecipeError, shown
from trlt.files.bounded_json import MOST_DIGITS

MOST_CHARACTERS = 1 << 20
"""Maximum file length; the longest recipe that ships has a few thousand."""
MOST_VALUES = 20_000
"""Maximum number of keys, values and list entries; those that an alias repeats count again."""
MOST_DEPTH = 32
"""Maximum nesting of mappings and lists."""
MOST_WORDS = 400
"""Maximum length of the library's message."""
_KIND = "tag:yaml.org,2002:"
_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(?:0|[1-9][0-9_]*)",
    "float": r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+|[-+]?\.(?:inf|nan)",
    "merge": r"<<",
}
"""What an unquoted scalar can be besides text: `007`, `0x10` and `2020-01-01`, on which readers differ, are text."""
_TAGS = {_KIND + name for name in (*_SCALARS, "str", "seq", "map")}
_PLAIN = re.compile(r"(?!(?i:true|false|yes|no|on|off|null)\Z)[A-Za-z/](?:[-\w./ ]*[\w/])?")
"""Words and paths that every common YAML 1.1 or 1.2 reader takes as text; the keys `n` aren't quoted either."""


class _Resolver(VersionedResolver):
    """Resolves unquoted scalars regardless of their first character and of a `%YAML` line."""

    versioned_resolver = {None: [(_KIND + name, re.compile(rf"(?:{pattern})\Z")) for name, pattern in _SCALARS.items()]}
    processing_version = (1, 2)


class _Representer(SafeRepresenter):
    def represent_str(self, data: str) -> ScalarNode:
        """In double quotes, which every reader understands alike, except for plain words."""
        return self.represent_scalar(_KIND + "str", data, style=None if _PLAIN.fullmatch(data) else '"')


_Representer.add_representer(str, _Representer.represent_str)


def read_yaml(path: Path, remedy: str) -> Any:
    """What a file holds.

    Args:
        path: A file of YAML in UTF-8.
        remedy: Ends the message if it can't be read.

    Raises:
        RecipeError: it can't be read, isn't UTF-8, or `from_yaml` refuses it.
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
        where: Its origin, for the error.

    Raises:
        RecipeError: it isn't YAML, or exceeds the limits of this module.
    """
    if len(text) > MOST_CHARACTERS:
        raise RecipeError(f"{where}: {len(text):,} characters; a recipe or plan has {MOST_CHARACTERS:,} at most")
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _Resolver
    yaml.max_depth = MOST_DEPTH
    yaml.composer.warn_double_anchors = False
    try:
        node = yaml.compose(text)
        if node is None:
            return None
        _bound(node, where, {})
        return yaml.constructor.construct_document(node)
    except MaxDepthExceededError as error:
        line = error.problem_mark.line + 1
        raise RecipeError(f"{where}: line {line}: mappings and lists more than {MOST_DEPTH} deep") from None
    except YAMLError as error:
        raise RecipeError(f"{where}: not YAML: {_said(error)[:MOST_WORDS]}") from None
    except (ValueError, OverflowError):  # of `chr`
        raise RecipeError(f"{where}: not YAML: an escape in double quotes (`\\U…`) that is no character") from None


def _said(error: YAMLError) -> str:
    """The library's message without its placeholder for a file name."""
    if not isinstance(error, MarkedYAMLError):
        return " ".join(str(error).replace('in "<unicode string>", ', "").split())
    parts = []
    for text, mark in ((error.context, error.context_mark), (error.problem, error.problem_mark)):
        if text:
            parts.append(f"{text} (line {mark.line + 1}, column {mark.column + 1})" if mark else text)
    return ", ".join(parts)


def _bound(node: Node, where: str, sizes: dict[int, int | None]) -> int:
    """Number of values of a node, aliases expanded.

    Raises:
        RecipeError: too many, or a value of an unsupported kind.
        MarkedYAMLError: a key that is no word, or a duplicate key.
    """
    there = f"{where}: line {node.start_mark.line + 1}"
    if id(node) in sizes:
        size = sizes[id(node)]
        if size is None:
            raise RecipeError(f"{there}: an alias stands inside of what it repeats; write the values out")
        return size
    sizes[id(node)] = None
    if fault := _fault(node):
        raise RecipeError(f"{there}: {fault}")
    if isinstance(node, MappingNode):
        _check_keys([key for key, _ in node.value])
        inner = [one for pair in node.value for one in pair]
    else:
        inner = [] if isinstance(node, ScalarNode) else node.value
    size = 1 + sum(_bound(one, where, sizes) for one in inner)
    if size > MOST_VALUES:
        raise RecipeError(f"{there}: stands for more than {MOST_VALUES:,} values; write out what aliases repeat")
    sizes[id(node)] = size
    return size


def _check_keys(keys: list[Node]) -> None:
    """Refuses keys that are no words, and duplicates. The library allows lists as keys, and duplicates beside `<<`."""
    seen: set[str] = set()
    for key in keys:
        if not isinstance(key, ScalarNode):
            raise MarkedYAMLError(problem="a key is a word, not a list or mapping", problem_mark=key.start_mark)
        if key.value in seen:
            raise MarkedYAMLError(problem=f"{shown(key.value)[1:-1]} stands twice", problem_mark=key.start_mark)
        seen.add(key.value)


def _fault(node: Node) -> str | None:
    """Why a node can't be the value that it is tagged as, or None."""
    kind = str(node.tag).removeprefix(_KIND)
    if node.tag not in _TAGS:
        return f"{shown(kind)} is no kind of value that recipes have; leave the `!` out, or quote the text"
    if not isinstance(node, ScalarNode):
        given = "map" if isinstance(node, MappingNode) else "seq"
        return None if kind == given else f"a {given} is no {kind}; leave the `!` out"
    if kind in _SCALARS and not re.fullmatch(_SCALARS[kind], node.value):
        return f"{shown(node.value)}: is no {kind}"
    if kind == "int" and len(node.value) > MOST_DIGITS:
        return f"{shown(node.value)}: a number of too many digits"
    if any("\ud800" <= one <= "\udfff" for one in node.value):
        return f"{shown(node.value)}: holds half a surrogate pair; write the character itself"
    return None


def to_yaml(values: dict[str, Any]) -> str:
    """Text that `from_yaml` and any YAML 1.1 or 1.2 reader read back equal; keys keep their order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver, yaml.Representer = _Resolver, _Representer
    yaml.version = (1, 1)  # whose numbers have a point
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.width = sys.maxsize  # where it breaks lines, the library doubles or drops spaces
    text = StringIO()
    yaml.dump(values, text)
    return text.getvalue().removeprefix("%YAML 1.1\n---\n")
