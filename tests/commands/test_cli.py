"""What the command line does besides its commands."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from trlt import __version__
from trlt.cli import app
from trlt.errors import DataError, ModelError, RecipeError, ResumeError, UsageError, VideoError


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        ((), {"torch", "transformers", "numpy", "av", "ruamel", "pydantic"}),
        (("eval",), {"torch", "transformers", "trl", "pandas", "matplotlib"}),
        (("train", "merge"), {"torch", "transformers", "trl", "peft"}),
    ],
)
def test_help_loads_nothing_heavy(words, unwanted):
    code = (
        "import sys; from typer.testing import CliRunner; from trlt.cli import app\n"
        f"assert CliRunner().invoke(app, [*{words}, '--help']).exit_code == 0\n"
        f"print(*sorted({unwanted} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout.strip() == ""


def test_version_and_every_command_has_help():
    runner = CliRunner()
    assert runner.invoke(app, ["--version"]).stdout == f"trlt {__version__}\n"
    commands = "prepare probe select train eval infer demo".split()
    shown = runner.invoke(app, ["--help"]).stdout
    for command in commands:
        assert command in shown
        assert runner.invoke(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize("kind", [UsageError, RecipeError, DataError, VideoError, ModelError, ResumeError])
def test_an_error_becomes_its_exit_code(kind, monkeypatch):
    def fails(*args, **kwargs):
        raise kind("[b]what[/b] and why")

    monkeypatch.setattr("trlt.commands.prepare.list_sources", fails)
    result = CliRunner().invoke(app, ["prepare", "--list"])
    assert (result.exit_code, result.stderr, result.stdout) == (kind.exit_code, "error: [b]what[/b] and why\n", "")


def test_advice_of_bitsandbytes_is_dropped_and_nothing_else_of_it():
    """PEFT imports it, in `trlt train` and `trlt doctor`; on processors with AVX512-BF16 it advised a package."""
    pytest.importorskip("bitsandbytes")
    code = (
        "import logging; from typer.testing import CliRunner; from trlt.cli import app\n"
        "assert CliRunner().invoke(app, ['doctor', '--help']).exit_code == 0\n"
        "import bitsandbytes.backends.cpu.ops as ops\n"
        "text = next(text for text in open(ops.__file__) if 'Failed to load CPU gemm_4bit_forward' in text)\n"
        "ops.logger.warning(text.strip().strip('\",'), 'no kernels'); ops.logger.warning('the library is broken')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stderr == "the library is broken\n"


def test_an_interrupt_says_how_to_go_on(monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("trlt.commands.prepare.list_sources", interrupted)
    result = CliRunner().invoke(app, ["prepare", "--list"])
    said = "interrupted: the same command goes on from whatever was saved, or starts anew\n"
    assert result.exit_code == 130 and result.stderr == said


@pytest.mark.parametrize("option", ["--resume", "--continue", "--resume-from-checkpoint=x"])
@pytest.mark.parametrize("command", [["train", "r.yaml"], ["probe", "--data", "s.jsonl"], ["eval"]])
def test_who_wants_to_resume_is_told_that_it_goes_by_itself(command, option):
    """The nearest option was --fresh, which forgets what is there."""
    result = CliRunner().invoke(app, [*command, option])
    said = " ".join(result.stderr.replace("│", " ").split())
    assert result.exit_code == 2
    assert f"No such option: {option.partition('=')[0]}; the same command goes on by itself" in said
    assert "--fresh" not in said and "Possible options" not in said and "Did you mean" not in said


def test_a_command_that_keeps_nothing_promises_nothing():
    assert "goes on" not in CliRunner().invoke(app, ["compare", "a", "b", "--resume"]).stderr


def test_a_bug_keeps_its_traceback(monkeypatch):
    def bug(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("trlt.commands.prepare.list_sources", bug)
    assert isinstance(CliRunner().invoke(app, ["prepare", "--list"]).exception, ZeroDivisionError)


def test_json_is_one_object_and_nothing_else():
    result = CliRunner().invoke(app, ["prepare", "--list", "--json"])
    assert set(json.loads(result.stdout)) == {"sources", "paper_total"}
    assert result.stdout.count("\n") == 1 and result.stderr == ""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_json_whatever_the_terminals_encoding(encoding, monkeypatch):
    from trlt.commands._output import Output

    value = {"half \ud800": "é🙂", "name": os.fsdecode(b"\xff.mp4")}
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    Output(json_mode=True).result(value)
    assert json.loads(written.getvalue().decode(encoding)) == value


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian", "r.yaml"], "No such command 'trian'. Did you mean 'train'?"),
        (["vidoe", "check"], "No such command 'vidoe'. Did you mean 'video'?"),
        (["video", "chekc"], "No such command 'chekc'. Did you mean 'check', 'cache'?"),
        (["probe", "shwo", "7"], "Got unexpected extra argument(s) (shwo 7). Did you mean 'show'?"),
        (["train", "megre", "runs/x"], "Got unexpected extra argument(s) (runs/x). Did you mean 'merge'?"),
        (["xyzzy"], "No such command 'xyzzy'."),
        (["train", "r.yaml", "more"], "Got unexpected extra argument(s) (more)"),
    ],
)
def test_a_mistyped_command_gets_a_suggestion(words, meant):
    result = CliRunner().invoke(app, words)
    said = " ".join(result.stderr.replace("│", " ").split())
    assert result.exit_code == 2 and f" {meant} ╰" in said
