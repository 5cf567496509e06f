"""An interrupted training finishes the current step, saves it, and leaves; all processes after the same step."""

from __future__ import annotations

import torch
from accelerate import PartialState
from accelerate.utils import gather
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trlt.errors import Interrupted
from trlt.errors.interruption import Interruption


class Leave(TrainerCallback):
    """Saves a checkpoint and ends training after a step in which one of the processes was interrupted.

    Before the first step and behind the last one nothing would be gained by waiting: an interruption ends the process there.
    """

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._signal = 0

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """Marks that a step is in progress."""
        self._promise(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """Asks all processes, since a signal reaches them at different moments."""
        place = PartialState()
        # One number a step. If each process decided for itself, some would
        # stop a step earlier, and the rest wait in the next exchange.
        heard = torch.tensor([self._interruption.heard], device=place.device)
        # The largest, so that all processes leave with the same exit code.
        self._signal = int(gather(heard).max()) if place.num_processes > 1 else self._interruption.heard
        if self._signal:
            control.should_save = control.should_training_stop = True
        elif state.global_step < state.max_steps:  # who is interrupted from now on has the next one finished
            self._promise(state)

    def _promise(self, state: TrainerState) -> None:
        said = f"train: interrupted; step {state.global_step + 1} is finished and saved first"
        self._interruption.finishes = said if state.is_world_process_zero else ""

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """Marks that no step is in progress."""
        self._interruption.finishes = None

    def go(self) -> None:
        """Leaves, where training has ended early.

        Raises:
            Interrupted: it has.
        """
        if heard := self._signal or self._interruption.heard:
            raise Interrupted(heard)
