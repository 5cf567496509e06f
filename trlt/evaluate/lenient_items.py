"""A benchmark's items once more, with their answers read leniently: any benchmark's own `values` and `metrics` score them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trlt.data.datasets import Item
from trlt.task.lenient import read_leniently


def lenient_items(items: Sequence[Item], *, letters: bool = True) -> list[Item]:
    """The same questions and outputs, with what each output states in whatever spelling.

    Args:
        items: As the prompt's form reads them; answers that it read are kept.
        letters: Whether the prompts showed letters of options.
    """
    return [replace(item, answer=read_leniently(item.sample, item.text, item.answer, letters=letters)) for item in items]
