"""Options whose value may be left out, `--vllm` or `--vllm 4`: Typer has none, so the value is filled in before it reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

LEFT_OUT = "0"
"""Stands for the value."""
_NUMBER = re.compile(r"[+-]?\d+")


def fill_in(args: Sequence[str], params: Sequence[Any]) -> list[str]:
    """The words of a command line with each value that was left out.

    Args:
        args: The words.
        params: Of the command. An option takes a number or none if its metavar says so, as help texts do: `[N]`.
    """
    optional = {word for one in params if (one.metavar or "").startswith("[") for word in one.opts if word.startswith("-")}
    # What can be nothing but the value is one, even if it's wrong: then the option refuses it by its name.
    alone = not any(one.param_type_name == "argument" for one in params)
    filled: list[str] = []
    for place, word in enumerate(args):
        if word == "--":
            return [*filled, *args[place:]]
        filled.append(word)
        following = args[place + 1] if place + 1 < len(args) else "-"
        given = _NUMBER.fullmatch(following) or (alone and not following.startswith("-"))
        if word in optional and not given:
            filled[-1] = f"{word}={LEFT_OUT}"
    return filled


class OptionalCommand(TyperCommand):
    """A command that may have such options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer's, with the values that were left out."""
        return super().parse_args(ctx, fill_in(args, self.params))
