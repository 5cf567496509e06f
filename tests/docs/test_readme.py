"""Every command that the README and the pages of `docs/` show is one that `trlt` takes; every file that they name is there."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
import typer.core
from paths import ROOT

from trlt.cli import app

sys.path.insert(0, str(ROOT))
from docs.tools.blocks import commands, pages  # noqa: E402

README = ROOT / "README.md"
LINES = sorted({(line, path.name) for path in pages() for line in commands(path)})


def test_there_are_commands_of_every_kind() -> None:
    shown = {line.split()[1] for line in commands(README)}
    assert {"prepare", "probe", "select", "train", "eval", "infer"} <= shown
    assert len({page for _, page in LINES}) >= 6


def is_called(command: typer.core.TyperGroup, arguments: list[str]) -> bool:
    """Whether a group is itself the command: an option follows, or one of its own arguments."""
    own = any(param.param_type_name == "argument" for param in command.params)
    given = bool(arguments) and (arguments[0][0] == "-" or own)
    return command.invoke_without_command and given and arguments[0] not in command.commands


@pytest.mark.parametrize(("line", "page"), LINES)
def test_commands_parse(line: str, page: str) -> None:
    command = typer.main.get_command(app)
    name, *arguments = shlex.split(line)
    context = command.make_context(name, list(arguments))
    while hasattr(command, "get_command") and not is_called(command, arguments):
        name, *arguments = arguments
        command = command.get_command(context, name)
        assert command is not None, f"{page}: {line}: no such command as {name}"
        context = command.make_context(name, list(arguments), parent=context)


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_files_that_it_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/.-])(?:recipes/[\w./-]+\.yaml|docs/[\w./-]+\.(?:md|py|sh|yaml)|trlt/[\w/]+\.py)", text)
    assert named or page != README
    for path in named:
        assert (ROOT / path).exists(), f"{page.name}: {path}"
