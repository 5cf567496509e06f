"""Whether the model of a recipe can be asked as the recipe asks: its tokenizer, its chat template and its family's marks."""

from __future__ import annotations

from trlt.commands._setup import refuse_plain
from trlt.commands.doctor_checks._check import Check
from trlt.errors import ModelError
from trlt.recipe import Recipe

OTHER_FILES = "download the model's small files again (config.json, tokenizer, chat template, preprocessor)"


def model_checks(recipe: Recipe) -> list[Check]:
    """The processor in the model's folder, how completions begin, and which answers that rules out.

    Reads no weights. A hub id that isn't in the local cache has no files to look at.
    """
    from trlt.engine.families import chat
    from trlt.engine.model import config_at, family_at, load_processor
    from trlt.engine.opening import opening_of

    config = config_at(recipe.model.path)
    if config is None:
        return []
    family = family_at(recipe.model.path)
    processor = load_processor(str(config.parent))
    opening = opening_of(family.chat(processor, chat("", "?"), True))
    said = f"; its template begins reasoning with {opening.strip()}" if opening else ""
    return [Check("model", "ok", f"{family.name} in {config.parent}{said}"), *_reasoning(recipe)]


def _reasoning(recipe: Recipe) -> list[Check]:
    """A fault for each section that asks for answers without reasoning where there are none."""
    found = []
    for section in ("probe", "train", "eval"):
        try:
            refuse_plain(recipe, section, fetch=False)
        except ModelError as error:
            said, _, remedy = str(error).removeprefix("model.path: ").rpartition("; ")
            found.append(Check(f"{section} without reasoning", "warning", said, remedy))
    return found
