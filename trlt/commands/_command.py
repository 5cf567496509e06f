"""Turns a function whose parameters carry their options into a command, loaded on demand."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import GenericAlias
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from trlt.commands._default import DefaultGroup
from trlt.commands._optional import OptionalCommand

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, to stdout.")]


class Lazy(NamedTuple):
    """A command that isn't loaded yet."""

    place: str
    """Module in `trlt.commands` and function, `probe:probe`; empty for a group that does nothing itself."""
    help: str
    inner: Mapping[str, Lazy] = {}
    """Its subcommands."""

    def load(self, name: str) -> Any:
        """The command with its options; imports its module."""
        made = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        if not self.inner:
            made.command(name, cls=OptionalCommand, help=self.help)(_callback(self.place))
            return typer.main.get_command(made)
        if self.place:
            made = typer.Typer(name=name, cls=DefaultGroup, help=self.help, invoke_without_command=True, add_completion=False)
            made.callback()(_callback(self.place))
        else:
            made = typer.Typer(name=name, help=self.help, no_args_is_help=True, add_completion=False)
            made.callback()(lambda: None)
        group = typer.main.get_group(made)
        group.commands = {word: Stub(word, one) for word, one in self.inner.items()}
        return group


class Stub(TyperCommand):
    """Stands for a command in lists: name and help. Any other use loads the command."""

    def __init__(self, name: str, lazy: Lazy) -> None:
        super().__init__(name, help=lazy.help)
        self._lazy = lazy

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The loaded command's."""
        return self.load().make_context(info_name, args, parent=parent, **extra)

    def load(self) -> Any:
        """The command with its options."""
        return self._lazy.load(self.name or "")


class LazyGroup(TyperGroup):
    """A group of commands, each loaded on demand, in the order of its table."""

    table: Mapping[str, Lazy] = {}

    def __init__(self, **extra: Any) -> None:
        super().__init__(**extra)
        self.commands = {name: Stub(name, one) for name, one in self.table.items()}


def _callback(place: str) -> Callable[..., None]:
    """A function of `trlt.commands` with `--json` in place of `output`, and its result printed."""
    module, _, name = place.partition(":")
    function = getattr(import_module(f"trlt.commands.{module}"), name)
    signature = inspect.signature(function, eval_str=True)
    speaks_json = signature.return_annotation not in (None, type(None))
    params = [param.replace(annotation=_listed(param.annotation)) for param in signature.parameters.values()]
    params = [param for param in params if param.name != "output"]
    if speaks_json:
        params.append(inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json))

    def run(**given: Any) -> None:
        from trlt.commands._output import Output

        output = Output(given.pop("json", False), quiet=False)
        result = function(**given, output=output)
        if speaks_json:
            output.result(result)

    functools.update_wrapper(run, function, assigned=("__name__", "__module__"))
    del run.__wrapped__  # type: ignore[attr-defined]  # its signature is another
    run.__signature__ = signature.replace(parameters=params, return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {param.name: param.annotation for param in params}
    return run


def _listed(annotation: Any) -> Any:
    """Typer reads lists where our functions take any sequence."""
    if get_origin(annotation) is Annotated:
        kind, *rest = get_args(annotation)
        return Annotated[(_listed(kind), *rest)]
    return GenericAlias(list, get_args(annotation)) if get_origin(annotation) is Sequence else annotation
