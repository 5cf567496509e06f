"""Own templates of prompts: Jinja in a sandbox, with limits on time and size (pure).

A template is one text: no includes, no macros, and only filters that can't make a text much longer. So what runs is bounded by
the lines that it executes and by the size of its texts, which both are watched. This guards against mistakes; who writes a
template on purpose to fill the memory can.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from functools import lru_cache
from types import FrameType
from typing import TYPE_CHECKING, Any

from trlt.errors import DataError

if TYPE_CHECKING:
    from jinja2 import Environment, Template

MOST_TEMPLATE = 20_000
"""Maximum number of characters of a template."""
MOST = 100_000
"""Maximum number of characters of a prompt, and of any text on the way to it."""
MOST_LINES = 100_000
"""Maximum number of lines that a template executes for one sample."""
MOST_RANGE = 1000
FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "first", "int", "items", "join", "last", "length", "list", "lower", "map"),
    *("reject", "rejectattr", "replace", "reverse", "select", "selectattr", "sort", "string", "title", "trim", "truncate"),
    *("unique", "upper"),
)
_WIDENING = {"center", "expandtabs", "format", "format_map", "ljust", "rjust", "to_bytes", "zfill"}
"""Methods that make as much of them as a number says."""
_FILE = "<template>"


def template_fault(text: str, fields: tuple[str, ...]) -> str | None:
    """Why a text is no template, with its line; None if it is one.

    Args:
        text: The template.
        fields: What it may show.
    """
    from jinja2 import TemplateSyntaxError, nodes
    from jinja2.meta import find_undeclared_variables

    if len(text) > MOST_TEMPLATE:
        return f"{len(text):,} characters; a template has {MOST_TEMPLATE:,} at most"
    environment = _environment()
    try:
        tree = environment.parse(text)
        environment.compile(tree)
    except TemplateSyntaxError as error:
        return f"line {error.lineno}: {error.message}"
    kinds = (nodes.Macro, nodes.CallBlock, nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)
    for node in tree.find_all((*kinds, nodes.For)):
        if isinstance(node, kinds) or (isinstance(node, nodes.For) and node.recursive):
            word = "a recursive loop" if isinstance(node, nodes.For) else f"{type(node).__name__.lower()}"
            return f"line {node.lineno}: {word}: a template is one text of fields, `if`, `for` and `set`"
    unknown = find_undeclared_variables(tree) - {*fields, *environment.globals}
    for name in tree.find_all(nodes.Name):
        if name.name in unknown:
            near = difflib.get_close_matches(name.name, fields, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            return f"line {name.lineno}: {name.name!r} is no field; {meant}There are {', '.join(fields)}"
    if not any(name.name == "question" for name in tree.find_all(nodes.Name)):
        return "never shows the question; write {{ question }}, or for a file its path"
    return None


def rendered(text: str, fields: Mapping[str, Any], *, trim: bool = True) -> str:
    """What a template makes of one sample.

    Args:
        text: A template without a fault.
        fields: What it may show.
        trim: Take off white space around it.

    Raises:
        DataError: it takes too long, makes too much, or fails; names the line.
    """
    from jinja2 import TemplateError

    template = _compiled(text)
    try:
        said = _watched(template, fields)
    except _TooMuch as error:
        raise DataError(str(error)) from None
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        # What expressions raise; Jinja gives frames of a template the lines of its text.
        lines, trace = [], error.__traceback__
        while trace is not None:
            lines += [trace.tb_lineno] if trace.tb_frame.f_code.co_filename == _FILE else []
            trace = trace.tb_next
        raise DataError(f"line {lines[-1] if lines else '?'}: {error}") from None
    return said.strip() if trim else said


class _TooMuch(Exception):
    """A template exceeds a limit."""


def _watched(template: Template, fields: Mapping[str, Any]) -> str:
    """Renders with an eye on each line that the template executes.

    No limit on single loops bounds loops in loops, and signals work in the main thread alone.
    """
    executed = 0

    def watch(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal executed
        if frame.f_code.co_filename != _FILE:
            return None
        executed += 1
        if executed > MOST_LINES:
            raise _TooMuch(f"executes more than {MOST_LINES:,} lines for one sample; take out loops")
        if any(isinstance(value, (str, list, tuple, dict)) and len(value) > MOST for value in frame.f_locals.values()):
            raise _TooMuch(_LONG)
        return watch

    before, parts, length = sys.gettrace(), [], 0
    sys.settrace(watch)
    try:
        for part in template.generate(**fields):
            length += len(part)
            if length > MOST:
                raise _TooMuch(_LONG)
            parts.append(part)
    finally:
        sys.settrace(before)
    return "".join(parts)


_LONG = f"makes more than {MOST:,} characters for one sample; show less"


@lru_cache(maxsize=16)
def _compiled(text: str) -> Template:
    return _environment().from_string(text)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            numbers = (int, float)
            if operator == "**" or not (isinstance(left, numbers) and isinstance(right, numbers)):
                raise SecurityError(f"{operator} is for numbers, and powers are left out")
            return super().call_binop(context, operator, left, right)

        def getattr(self, obj: Any, attribute: str) -> Any:
            widens = isinstance(obj, (str, bytes, int)) and attribute in _WIDENING
            return self.unsafe_undefined(obj, attribute) if widens else super().getattr(obj, attribute)

        def getitem(self, obj: Any, argument: Any) -> Any:
            widens = isinstance(obj, (str, bytes, int)) and argument in _WIDENING
            return self.unsafe_undefined(obj, argument) if widens else super().getitem(obj, argument)

    def few(*bounds: int) -> range:
        found = range(*bounds)
        if len(found) > MOST_RANGE:
            raise SecurityError(f"a range of {len(found):,}; at most {MOST_RANGE:,}")
        return found

    environment = Sandbox(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.globals = {"range": few}
    return environment
