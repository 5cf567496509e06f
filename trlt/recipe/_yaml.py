"""YAML as recipes are written: 1.2 scalars, and no key twice."""

from __future__ import annotations

import re
from typing import Any

import yaml

from trlt.errors import RecipeError


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: `1e-6` is a number, `no` and `1:1:1` are text. A key that stands twice is a fault."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes texts that YAML 1.1 or `_Loader` would read as something else.

    Texts with a line break other than the plain one (NEL, the separators of lines and paragraphs) are escaped: PyYAML folds
    them on reading where they stand as they are.
    """

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """The text, in double quotes where it must be escaped."""
        style = '"' if re.search("[\r\x85\u2028\u2029]", data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        """As PyYAML, but with all that isn't plain text escaped."""
        allowed, self.allow_unicode = self.allow_unicode, False
        super().write_double_quoted(text, split)
        self.allow_unicode = allowed


_Dumper.add_representer(str, _Dumper.represent_str)

_TYPED = {"tag:yaml.org,2002:" + name for name in ("bool", "int", "float", "timestamp")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag not in _TYPED]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+|[-+]?\.(?:inf|nan)", "-+0123456789."),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def from_yaml(text: str, where: str) -> Any:
    """What a text holds.

    Args:
        text: YAML.
        where: Where it stands, for the error.

    Raises:
        RecipeError: it isn't YAML.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def to_yaml(values: dict[str, Any]) -> str:
    """The text that `from_yaml` reads back equal; keys stay in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
