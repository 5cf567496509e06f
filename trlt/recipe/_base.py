"""What sections of a recipe are made of. Knows neither files nor torch."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from trlt.task.answer import AnswerFormat

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Effect(Enum):
    """What another value of a key changes; every key says so beside its type. `effects` says what follows from it."""

    OUTCOME = "outcome"
    """What comes of a stage: with another value it is another run."""
    ROUNDING = "rounding"
    """The order in which the same numbers are summed; with `train.loss: bnpo` more, since that averages over a pass."""
    RESULTS = "results"
    """What is made of a run's rows at its end, each time anew."""
    INPUT = "input"
    """Where an input lies: runs are told apart by what is in it."""
    MEANS = "means"
    """Time, memory, disk or place; what a machine can't read or hold is no part of what a run is."""


T = TypeVar("T")
Outcome = Annotated[T, Effect.OUTCOME]
Rounding = Annotated[T, Effect.ROUNDING]
Results = Annotated[T, Effect.RESULTS]
Input = Annotated[T, Effect.INPUT]
Means = Annotated[T, Effect.MEANS]


class Section(BaseModel):
    """A part of a recipe; unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True, frozen=True, allow_inf_nan=False)


class Decoding(Section):
    """How completions are drawn."""

    temperature: Outcome[Annotated[float, Field(gt=0)]] = 1.0
    top_p: Outcome[Share] = 0.99
    max_new_tokens: Outcome[Positive] = 64
    think: Outcome[bool] = False
    """Ask for `<think> ... </think>` before the answer."""
    answer_format: Outcome[AnswerFormat] = "letter"
    """`letter`, `text` (options shown, answered by their text) or `open` (options hidden)."""
    open_threshold: Outcome[Share] = 0.5
    """`open` answers count when the gold option is the unique best match by token F1, at least this high."""
    max_sequences: Means[Positive] = 256
    """Most completions decoded side by side; bounds memory, never changes what is sampled."""
    seed: Outcome[Annotated[int, Field(ge=0, lt=1 << 32)]] = 0
