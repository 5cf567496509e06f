"""The command line: loads the command that was asked for, and is the only place where an error becomes an exit code.

Imports nothing heavy: the module of a command, which holds its options, is loaded on use.
"""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import typer
from typer._click.exceptions import NoSuchOption

from trlt import __version__
from trlt.commands._command import LazyGroup
from trlt.commands._quiet import drop_advice
from trlt.commands._table import COMMANDS
from trlt.errors import Interrupted, TrltError, UnforeseenError
from trlt.errors.interruption import deaf_at_exit
from trlt.errors.system import disk_error

INTERRUPTED = 130
MOST_TOLD = 4000
"""Maximum number of characters per line of a message."""
MOST_MEANT = 2
"""Maximum number of recipe keys suggested for an unknown option."""
RESUMES = ("resume", "continue")
"""Beginnings of the options by which other tools resume."""
GOES_ON = "the same command goes on from whatever was saved, or starts anew"


class _Root(LazyGroup):
    """Turns errors that a user can act on into a message and an exit code; anything else keeps its traceback."""

    table = COMMANDS

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NoSuchOption as error:
            if error.option_name.lstrip("-").startswith(RESUMES) and error.ctx and _goes_on(error.ctx):
                error.message += "; the same command goes on by itself"
                error.possibilities = None
            elif error.option_name == "--recipe" and error.ctx and _takes_recipe(error.ctx):
                error.message += f"; the recipe is this command's argument: {error.ctx.command_path} RECIPE"
                error.possibilities = None
            elif keys := _meant(error.option_name):
                error.message += f"; a recipe's key is set by {' or '.join(f'--set {key}=…' for key in keys[:MOST_MEANT])}"
            raise
        except TrltError as error:
            _tell(error)
        except BrokenPipeError:  # whoever read the output has seen enough
            raise
        except OSError as error:
            told = disk_error(error)
            if told is None:
                raise
            _tell(told)
        except Interrupted as error:
            deaf_at_exit()
            typer.echo(f"interrupted: {error.kept or GOES_ON}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            deaf_at_exit()
            typer.echo(f"interrupted: {GOES_ON}", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except (ImportError, SystemError) as error:  # what a compiled module makes of Ctrl-C while it is imported
            if not _interrupted(error):
                raise
            typer.echo(f"interrupted: {GOES_ON}", err=True)
            raise typer.Exit(INTERRUPTED) from None


def _interrupted(error: BaseException) -> bool:
    """Whether an error comes of Ctrl-C or SIGTERM: there is one among what it was raised from, or while."""
    at: BaseException | None = error
    while at is not None and not isinstance(at, KeyboardInterrupt):
        at = at.__cause__ or at.__context__
    return at is not None


def _tell(error: TrltError) -> NoReturn:
    """Ends with an error's message and exit code; a line that quotes megabytes of someone's file is cut."""
    for place, line in enumerate(str(error).split("\n")):
        text = line if len(line) <= MOST_TOLD else f"{line[: MOST_TOLD // 2]} … {line[-MOST_TOLD // 2 :]}"
        typer.echo(text if place else f"error: {text}", err=True)
    if isinstance(error, UnforeseenError):
        typer.echo(error.trace, err=True, nl=False)
    raise typer.Exit(error.exit_code) from None


def _goes_on(context: Any) -> bool:
    """Whether a command goes on from what is there: it has a flag that says not to."""
    return any(one.name == "fresh" for one in context.command.params)


def _takes_recipe(context: Any) -> bool:
    """Whether a command's argument is a recipe."""
    return any(one.param_type_name == "argument" and one.name == "recipe_path" for one in context.command.params)


def _meant(option: str) -> list[str]:
    from trlt.recipe import meant

    return meant(option.lstrip("-"))


app = typer.Typer(
    name="trlt",
    cls=_Root,
    help="Reinforcement learning tuning for video language models: prepare, probe, select, train, eval, infer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trlt {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    drop_advice()


def main() -> None:
    """The `trlt` program."""
    app()
