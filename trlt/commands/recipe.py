"""`trlt recipe`: the recipes that ship with trlt, listed, shown, and copied to be changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from trlt.commands._output import Output
from trlt.commands._setup import next_command
from trlt.errors import UsageError
from trlt.files import write_text_atomic
from trlt.recipe import is_plan, load_recipe, shipped, shipped_name
from trlt.train.ready import ready, ready_recipes

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name of `trlt recipe list`, e.g. 32k.")]


def list_(
    every: Annotated[bool, typer.Option("--all", help="The paper's ablations and the plans, too.")] = False, *, output: Output
) -> dict[str, Any]:
    """Lists recipes, ablations and plans; see `trlt recipe list --help`."""
    found = ready_recipes()
    table = Table(title="Recipes that ship with trlt", title_justify="left", show_lines=False)
    for column in ("name", "for", "model", "GPUs (GB by plan)", "what it is"):
        table.add_column(column, overflow="fold", no_wrap=column == "name")  # names are copied
    shown = [one for one in found if every or "/" not in one.name]
    for place, one in enumerate(shown):
        last = place + 1 == len(shown) or shown[place + 1].kind != one.kind
        cells = (one.name, one.purpose, one.model.rpartition("/")[2] or "-", one.gpus.replace(" by plan", ""), one.comment)
        table.add_row(*map(Text, cells), end_section=last)
    output.show(table, "GB by plan: computed for the recipe as it is, not measured. `trlt recipe show NAME` has all of one.")
    if left := len(found) - len(shown):
        output.show(f"{left} more: the paper's ablations, and plans of experiments; `trlt recipe list --all` shows them.")
    return {"recipes": [one.to_json() for one in found]}


def show(name: Name, *, output: Output) -> dict[str, Any]:
    """Prints a recipe's file, comments included; see `trlt recipe show --help`.

    Raises:
        RecipeError: no such recipe.
    """
    known = ready(shipped_name(name))
    text = Path(known.path).read_text(encoding="utf-8")
    output.note(known.path)
    output.show(text.removesuffix("\n"))
    return {**known.to_json(), "text": text}


def copy(
    name: Name,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Where to; default: here, by its own name.")] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
    output: Output,
) -> dict[str, Any]:
    """Copies a recipe, to be changed; see `trlt recipe copy --help`.

    Raises:
        RecipeError: no such recipe.
        UsageError: the file exists.
    """
    known = shipped_name(name)
    source = shipped()[known]
    place = file or Path(source.name)
    if place.is_dir():
        place /= source.name
    if place.exists() and not force:
        raise UsageError(f"{place}: exists already; give another name, or --force to overwrite it")
    write_text_atomic(place, source.read_text(encoding="utf-8"))
    output.show(f"{known}: copied to {place}")
    if is_plan(known):
        output.show(next_command("reproduce", "--plan", place, "--dry-run"))
        return {"from": str(source), "to": str(place)}
    recipe = load_recipe(place)
    output.show(f"Its results go to runs/{recipe.name}, after its key `name`; another name keeps them apart.")
    output.show(next_command(*(("train", place, "--dry-run") if recipe.train.data else ("prepare", place))))
    return {"from": str(source), "to": str(place)}
