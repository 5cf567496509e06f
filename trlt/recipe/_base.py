"""The building blocks of a recipe's sections. Knows neither files nor torch."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from trlt.task.answer import AnswerFormat

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Effect(Enum):
    """What changes with a key's value; every key declares it beside its type, and `effects` derives what follows."""

    OUTCOME = "outcome"
    """The outcome of a stage: another value makes another run."""
    ROUNDING = "rounding"
    """The order in which the same numbers are summed; with `train.loss: bnpo` more, since that averages over a pass."""
    RESULTS = "results"
    """What is computed from a run's rows at its end, each time anew."""
    INPUT = "input"
    """Where an input is: runs are identified by its content."""
    MEANS = "means"
    """Time, memory, disk or place; limits of a machine are no part of a run's identity."""


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
    """How completions are sampled."""

    temperature: Outcome[Annotated[float, Field(gt=0)]] = 1.0
    top_p: Outcome[Share] = 0.99
    max_new_tokens: Outcome[Positive] = 64
    think: Outcome[bool] = False
    """Ask for `<think> ... </think>` before the answer; chat templates that have a say in it are told (`enable_thinking`)."""
    answer_format: Outcome[AnswerFormat] = "letter"
    """`letter`, `text` (options shown, answered by their text) or `open` (options hidden)."""
    open_threshold: Outcome[Share] = 0.5
    """`open` answers are correct if the gold option is the unique best match by token F1, with at least this F1."""
    max_sequences: Means[Positive] = 256
    """Maximum number of completions decoded at once; limits memory, never changes what is sampled. Training lowers it to what
    fits by the plan of memory."""
    seed: Outcome[Annotated[int, Field(ge=0, lt=1 << 32)]] = 0
