"""A command with subcommands: `trlt train RECIPE` runs the command, `trlt train merge ...` a subcommand."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from typer._click.exceptions import UsageError
from typer.core import TyperCommand, TyperGroup

from trlt.commands._optional import fill_in


class DefaultGroup(TyperGroup):
    """A group whose own callback is a command with arguments.

    A first word that names a subcommand selects it; anything else is parsed as the command's own arguments. For a file named
    like a subcommand, write `./merge`. Made with `invoke_without_command=True`.
    """

    allow_extra_args = False
    allow_interspersed_args = True

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context for the given words: with a subcommand, that of a plain group without arguments of its own."""
        if args and args[0] in self.commands:
            plain = TyperGroup(name=self.name, commands=dict(self.commands), help=self.help)
            return plain.make_context(info_name, args, parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As a group's, with the values that were left out; names the subcommand that a first word nearly is."""
        try:
            return super().parse_args(ctx, fill_in(args, self.params))
        except UsageError as error:
            if args and (near := get_close_matches(args[0], list(self.commands))):
                error.message += f". Did you mean {', '.join(map(repr, near))}?"
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The command's own usage; the subcommands follow its options."""
        return TyperCommand.collect_usage_pieces(self, ctx)
