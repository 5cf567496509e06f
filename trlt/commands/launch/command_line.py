"""The command line that repeats a command's call, so that no option is lost on the way to the processes that it starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

import typer

from trlt.commands.launch.ranks import python_command
from trlt.rollout import RunFiles


def repeated(name: str, function: Callable[..., Any], given: Mapping[str, Any], folder: RunFiles, **changed: Any) -> list[str]:
    """The command line by which a process takes part in a call of a command's function, with `--json`.

    All arguments are given again, except for what the caller has done itself: what is in the run's folder is the recipe as
    resolved, and nothing is discarded a second time.

    Args:
        name: Of the command.
        function: Its function, whose parameters carry their options (`typer.Option`).
        given: The call's arguments by name; those of the default value are left out.
        folder: Of the run.
        changed: Further arguments with another value.
    """
    words: list[str] = []
    changed |= {"recipe_path": folder.recipe, "out": folder.out, "fresh": False, "retry_errors": False, "processes": 0}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if get_origin(parameter.annotation) is not Annotated:  # no option: `output`
            continue
        value = changed.get(parameter.name, given[parameter.name])
        if not _same(value, parameter.default):
            words += _words(parameter, value)
    # Values of arguments come last, where none is taken for an option.
    flags = [word for word in words if not isinstance(word, _Argument)]
    arguments = [word for word in words if isinstance(word, _Argument)]
    return python_command(name, *flags, "--json", *(["--", *arguments] if arguments else []))


class _Argument(str):
    """A word that goes without a flag."""

    __slots__ = ()


def _same(value: Any, default: Any) -> bool:
    several = isinstance(default, Sequence) and not isinstance(default, str)
    return list(value) == list(default) if several else bool(value == default)


def _words(parameter: inspect.Parameter, value: Any) -> list[str]:
    """An option with its value: `--flag=value`, or `-fvalue`, so that a value may begin with a dash."""
    kind, info, *_ = get_args(parameter.annotation)
    if isinstance(info, typer.models.ArgumentInfo):
        return [_Argument(value)]
    on, off = _flags(parameter.name, info)
    if isinstance(value, bool):
        assert value or off, f"{on} has no name for no"
        return [on if value else off]
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [f"{on}={one}" if on.startswith("--") else f"{on}{one}" for one in values]


def _flags(name: str, info: typer.models.OptionInfo) -> tuple[str, str]:
    """An option's name, a long one where it has one, and the name that says no, if there is one."""
    # Typer takes the first name for a default until it reads the annotation.
    stated = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str) and word.startswith("-")]
    named = stated or [f"--{name.replace('_', '-')}"]
    on, _, off = max(named, key=lambda flag: flag.startswith("--")).partition("/")
    return on, off
