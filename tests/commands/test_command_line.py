"""What a command gives on to the processes that it starts: every option, as it was given."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest
import typer

from trlt.commands._table import COMMANDS
from trlt.commands.eval import evaluate
from trlt.commands.infer import infer
from trlt.commands.launch.command_line import repeated
from trlt.commands.probe import probe
from trlt.rollout import RunFiles

RUN = RunFiles(Path("runs/mine"))
HANDLED = {"recipe_path": RUN.recipe, "out": RUN.out, "fresh": False, "retry_errors": False, "processes": 0}
"""What the launcher has done itself, and says instead."""


def parsed(name: str, words: list[str]) -> dict[str, object]:
    """The arguments that the command line's own parser makes of words."""
    return dict(COMMANDS[name].load(name).make_context(name, words).params)


def some_value(parameter: inspect.Parameter) -> object:
    """A value that isn't the default, by the option's type; with characters that a shell or a parser would trip over."""
    kind = str(get_args(parameter.annotation)[0])
    if "Sequence" in kind:
        return ["-a b=c", "--d=e,f"]
    if "bool" in kind:
        return parameter.default is not True
    if "int" in kind:
        return 7
    return Path("-odd name=1") if "Path" in kind else "--odd text='2'"


@pytest.mark.parametrize(("name", "function"), [("probe", probe), ("eval", evaluate), ("infer", infer)])
def test_every_option_reaches_the_processes(name, function):
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    options = [one for one in parameters if get_origin(one.annotation) is Annotated]
    assert len(options) > 15
    given = {one.name: some_value(one) for one in options}
    python, *words = repeated(name, function, given, RUN)
    assert words[:3] == ["-m", "trlt", name]
    found = parsed(name, words[3:])
    assert found.pop("json") is True
    for one in options:
        wanted = HANDLED.get(one.name, given[one.name])
        assert found[one.name] == wanted, one.name
    # Off, where a flag has a name for it.
    off = {one.name: False for one in options if "/" in str(get_args(one.annotation)[1].default)}
    assert off or name == "probe"
    found = parsed(name, repeated(name, function, {**{one.name: one.default for one in options}, **off}, RUN)[4:])
    assert all(found[key] is False for key in off)
    assert isinstance(get_args(options[0].annotation)[1], typer.models.ParameterInfo)
