"""Every command that the README shows is one that `trlt` takes, and every file that it names is there."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from trlt.cli import app

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("trlt ")
]


def test_there_are_commands_of_every_kind() -> None:
    shown = {line.split()[1] for line in LINES}
    assert {"prepare", "probe", "select", "train", "eval", "infer"} <= shown


@pytest.mark.parametrize("line", LINES)
def test_commands_parse(line: str) -> None:
    command = typer.main.get_command(app)
    name, *arguments = shlex.split(line)
    context = command.make_context(name, list(arguments))
    # A group: the next word is one of its commands, save where the group is a command itself and an option follows.
    while hasattr(command, "get_command") and not (command.invoke_without_command and arguments[:1] and arguments[0][0] == "-"):
        name, *arguments = arguments
        command = command.get_command(context, name)
        assert command is not None, f"{line}: no such command as {name}"
        context = command.make_context(name, list(arguments), parent=context)


def test_files_that_it_names_are_there() -> None:
    named = re.findall(r"recipes/[\w./-]+\.yaml|docs/[\w./-]+\w", TEXT)
    assert named
    for path in named:
        assert (ROOT / path).exists(), path
