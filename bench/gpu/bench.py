"""What all parts share: the model in hand, its precision, questions, time and memory of the device."""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from bench import common
from bench.gpu.inputs import Asked, Size, ask
from bench.gpu.models import SHAPES, Words, build, cast
from trlt.engine.forest import Engine
from trlt.engine.inputs import InputBuilder
from trlt.engine.memory import fits

Out = dict[str, Any]
"""What a part found so far; kept when it fails midway."""


@dataclass
class Bench:
    """One model at a time."""

    device: torch.device
    half: bool
    """Whether BF16 is measured; else float32 alone."""
    deadline: float
    """By `time.monotonic`."""
    size: Size
    notes: Out = field(default_factory=dict)
    """Seconds that each model took to make."""
    _name: str = ""
    _model: Any = None

    @property
    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def model(self, name: str) -> Any:
        """The model of a name, its weights rounded to BF16 where BF16 is measured; another one is given up for it."""
        if name != self._name:
            self._name, self._model = "", None
            self.tidy()
            seconds, self._model = common.timed(lambda: build(SHAPES[name], self.device))
            if self.half:
                cast(self._model, torch.bfloat16)
            self._name, self.notes[name] = name, {"build_s": seconds, "parameters": common.parameters(self._model)}
        return self._model

    def engine(self, name: str) -> Engine:
        """Draws as in training; no completion ends early, so that all are equally long."""
        engine = Engine(self.model(name), Words(SHAPES[name]), exact=False)
        engine.banned[torch.tensor(engine.builder.end_tokens, device=self.device)] = True
        return engine

    def asked(self, name: str, count: int) -> list[Asked]:
        """Questions for a model."""
        return ask(InputBuilder(self.model(name), Words(SHAPES[name])), SHAPES[name], self.size, count, self.device)

    def enter(self, name: str, precision: str) -> AbstractContextManager[Any]:
        """Puts a model's weights into a precision; what is returned wraps its calls.

        Args:
            name: Of the model.
            precision: `bfloat16` weights, as in probing and sharded rollouts; float32 weights under `autocast`, as in training;
                or `float32`.
        """
        cast(self.model(name), torch.bfloat16 if precision == "bfloat16" else torch.float32)
        return torch.autocast(self.device.type, torch.bfloat16) if precision == "autocast" else contextlib.nullcontext()

    @contextlib.contextmanager
    def training(self, name: str) -> Iterator[Any]:
        """The model in training, with gradient checkpointing."""
        model = self.model(name)
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()
        try:
            yield model
        finally:
            model.zero_grad(set_to_none=True)
            model.gradient_checkpointing_disable()
            model.eval()

    def tidy(self) -> None:
        """Gives memory back."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def measure(self, work: Callable[[], Any], *, most: int, seconds: float) -> Out:
        """Times and peak memory of work, or that memory didn't suffice.

        Args:
            work: Is done at least once.
            most: At most so often.
            seconds: After so many in all it isn't done again.
        """
        self.tidy()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        times: list[float] = []
        while len(times) < most and (not times or sum(times) < seconds):
            done = fits(lambda: common.timed(work))
            if done is None:
                return {"out_of_memory": True}
            times.append(done[0])
        return {"seconds": statistics.median(times), "all_seconds": times} | self._peak()

    def _peak(self) -> Out:
        if self.device.type != "cuda":
            return {"peak_bytes": None}
        free, total = torch.cuda.mem_get_info(self.device)
        return {
            "peak_bytes": torch.cuda.max_memory_allocated(self.device),
            "reserved_bytes": torch.cuda.max_memory_reserved(self.device),
            # Of the context and the kernels' own work space.
            "outside_bytes": total - free - torch.cuda.memory_reserved(self.device),
        }
