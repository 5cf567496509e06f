"""Every option of every command reaches the function that does the work; commands and options are found, not listed."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from typer.testing import CliRunner

import trlt.commands
from trlt.cli import app
from trlt.commands._command import Stub
from trlt.commands._output import Output


class Called(NamedTuple):
    """A call of a command's function: every parameter with its value, and those that weren't given one."""

    name: str
    values: Mapping[str, Any]
    left_out: frozenset[str]


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something itself, with the words that lead to it."""
    command = command.load() if isinstance(command, Stub) else command
    inner = {name: command.get_command(None, name) for name in command.list_commands(None)} if is_group(command) else {}
    if not inner or command.invoke_without_command and words:
        yield words, command
    for name, one in inner.items():
        yield from commands(one, (*words, name))


def is_group(command: Any) -> bool:
    return hasattr(command, "list_commands")


COMMANDS = dict(commands(typer.main.get_command(app)))


def is_option(param: Any) -> bool:
    return param.param_type_name == "option" and param.name != "help"


BASES: dict[tuple[str, ...], list[Any]] = {}
OPTIONS = [
    pytest.param(words, param.name, id=f"{' '.join(words)} {param.name}")
    for words, command in COMMANDS.items()
    for param in command.params
    if param.name != "help"
]


@pytest.fixture
def calls(monkeypatch) -> list[Called]:
    """Calls of the functions in `trlt.commands`, which do nothing but note them."""
    made: list[Called] = []

    def stand_in(name: str, function: Any) -> Any:
        signature = inspect.signature(function)

        @functools.wraps(function)  # its parameters hold the options
        def note(*args: Any, **kwargs: Any) -> dict[str, Any]:
            given = signature.bind(*args, **kwargs)
            made.append(Called(name, dict(given.arguments), frozenset(signature.parameters) - given.arguments.keys()))
            return {}

        return note

    for found in pkgutil.iter_modules(trlt.commands.__path__):
        if not found.name.startswith("_"):
            module = importlib.import_module(f"trlt.commands.{found.name}")
            for name, function in inspect.getmembers(module, inspect.isfunction):
                if function.__module__ == module.__name__ and not name.startswith("_"):
                    monkeypatch.setattr(module, name, stand_in(f"{found.name}.{name}", function))
    return made


def value_of(param: Any) -> str:
    """A value that stands for this parameter alone; a number is a name as well."""
    return str(1000 + sum(place * byte for place, byte in enumerate(param.name.encode(), 1)))


def words_for(param: Any) -> list[str]:
    """What is typed to give a parameter its value."""
    if not is_option(param):
        return [value_of(param)]
    if param.is_flag:
        return [param.secondary_opts[0] if param.default else param.opts[0]]
    return [param.opts[0], value_of(param)]


def call(words: tuple[str, ...], typed: list[str], calls: list[Called]) -> Called | None:
    """The one call that a command line leads to; None where it is refused."""
    calls.clear()
    result = CliRunner().invoke(app, [*words, *typed])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code == 2:
        return None
    assert result.exit_code == 0 and len(calls) == 1, result.output
    return calls[0]


def told(values: Any) -> list[Any]:
    """All that a function was told, lists and `Output` opened."""
    if isinstance(values, Mapping):
        return [one for name, value in values.items() for one in told((name, value))]
    if isinstance(values, (list, tuple)):
        return [one for value in values for one in told(value)]
    return [values.json_mode] if isinstance(values, Output) else [values]


def base(words: tuple[str, ...], calls: list[Called]) -> list[Any]:
    """The fewest parameters that make a command go: its arguments, and what it can't do without."""
    if words in BASES:
        return BASES[words]
    params = COMMANDS[words].params
    always = [param for param in params if param.required or not is_option(param)]
    for more in ([], *([param] for param in params if is_option(param) and not param.required)):
        if call(words, [word for param in [*always, *more] for word in words_for(param)], calls):
            return BASES.setdefault(words, [*always, *more])
    raise AssertionError(f"{' '.join(words)}: refused, whatever one option is added")


def modes(words: tuple[str, ...]) -> list[Any]:
    """None, and each flag: an option may go with a flag only, and a flag may lead to another function."""
    return [None, *(param for param in COMMANDS[words].params if is_option(param) and param.is_flag)]


@pytest.mark.parametrize(("words", "name"), OPTIONS)
def test_a_parameter_arrives(words, name, calls):
    param = next(one for one in COMMANDS[words].params if one.name == name)
    needed = [word for one in base(words, calls) if one is not param for word in words_for(one)]
    for mode in modes(words):
        more = words_for(mode) if mode and mode is not param else []
        if found := call(words, [*needed, *more, *words_for(param)], calls):
            break
    else:
        pytest.fail(f"{param.opts[0]} is refused, alone and with each flag")
    if is_option(param) and param.is_flag:
        without = call(words, [*needed, *more], calls)
        assert without is None or (found.name, told(found.values)) != (without.name, told(without.values))
    else:
        given = value_of(param)
        assert any(one in told(found.values) for one in (given, Path(given), float(given)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_says_all_that_its_function_takes(words, calls):
    """Whatever a flag leads to: an option that is handed on without the flag and not with it is left at its default."""
    needed = [word for one in base(words, calls) for word in words_for(one)]
    for mode in modes(words):
        found = call(words, [*needed, *(words_for(mode) if mode else [])], calls)
        assert found is None or not found.left_out, f"{found.name}: {', '.join(sorted(found.left_out))} isn't handed on"
