"""What sections of a recipe are made of. Knows neither files nor torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from trlt.answer import AnswerFormat

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of a recipe; unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True, frozen=True, allow_inf_nan=False)


class Decoding(Section):
    """How completions are drawn."""

    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Share = 0.99
    max_new_tokens: Positive = 64
    think: bool = False
    """Ask for `<think> ... </think>` before the answer."""
    answer_format: AnswerFormat = "letter"
    """`letter`, `text` (options shown, answered by their text) or `open` (options hidden)."""
    open_threshold: Share = 0.5
    """`open` answers count when the gold option is the unique best match by token F1, at least this high."""
    max_sequences: Positive = 256
    """Most completions decoded side by side; bounds memory, never changes what is sampled."""
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
