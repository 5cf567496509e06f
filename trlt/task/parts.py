"""Parts of the reward beside the paper's: functions of the user's, called for one completion or for all of a call.

A value must depend on its completion alone, not on what else a call holds: how many completions that is differs from command
to command. Knows functions and completions; neither models nor how a recipe names the functions.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from trlt.errors import OwnCodeError, RecipeError, RewardError, TrltError, counted, quoted, shown
from trlt.errors.faults import is_of_the_machine
from trlt.files.own_code import OwnFile
from trlt.task.answer import Answer
from trlt.task.sample import Sample
from trlt.task.score import Scores

TAKES = "(sample, text, answer, scores)"
BATCH_TAKES = "(samples, texts, answers, scores)"
BATCH = "samples"
"""Name of the first parameter by which a function says that it takes lists."""
AT_ONCE = 64
"""Maximum number of completions that one `async def` works on at a time."""

JUDGE = "judge"
"""Name of the part that a judge model's verdicts are."""

Values = list[float | None]


class Read(NamedTuple):
    """A sample's completions, parsed and scored."""

    sample: Sample
    texts: Sequence[str]
    answers: Sequence[Answer]
    scores: Sequence[Scores]


@dataclass(frozen=True, slots=True)
class RewardPart:
    """A part of the reward: what it is called, what it weighs, and the function behind it."""

    name: str
    weight: float
    function: Callable[..., Any]
    file: OwnFile | None = None
    """The user's file; None for a function that comes with trlt."""
    instead: bool = False
    """Where it applies, its value stands in for the accuracy in the paper's reward, and is paid with the accuracy's weight."""

    @property
    def in_batches(self) -> bool:
        """Whether the function takes lists."""
        return next(iter(inspect.signature(self.function).parameters), "") == BATCH

    @property
    def is_async(self) -> bool:
        """Whether it is an `async def`."""
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(
            getattr(self.function, "__call__", None)  # noqa: B004  (its kind, not whether it is there)
        )

    @property
    def where(self) -> str:
        """Where the function stands, for messages."""
        return self.file.line(self.function) if self.file else "trlt"

    def values(self, read: Sequence[Read]) -> list[Values | OwnCodeError]:
        """What each sample's completions earn, or the exception that the function has raised for them.

        Where a call of lists raises, each sample's completions are given to the function once more, alone: one that it can't
        take must not cost the others.

        Raises:
            RewardError: the function gave what is no reward.
        """
        read = [one._replace(sample=replace(one.sample, meta=deepcopy(one.sample.meta))) for one in read]
        if not self.in_batches:
            return self._one_by_one(read)
        try:
            return [*self._together(read)]
        except _Raised as raised:
            if len(read) == 1:
                return [raised.fault]
        return [one for each in read for one in self.values([each])]

    def _one_by_one(self, read: Sequence[Read]) -> list[Values | OwnCodeError]:
        calls = [(one.sample, *each) for one in read for each in zip(one.texts, one.answers, one.scores, strict=True)]
        found = iter(_run(self._gathered(calls)) if self.is_async else map(self._called, calls))
        values: list[Values | OwnCodeError] = []
        for one in read:
            numbers, fault = Values(), None
            for text in one.texts:
                value = next(found)
                if isinstance(value, OwnCodeError):
                    fault = fault or value
                else:
                    numbers.append(self._number(value, one.sample, text))
            values.append(fault or numbers)
        return values

    def _called(self, arguments: Sequence[Any]) -> Any:
        try:
            return self.function(*arguments)
        except Exception as error:  # of the user's function, about this completion alone
            return self._fault(error)

    async def _gathered(self, calls: Sequence[Sequence[Any]]) -> list[Any]:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(arguments: Sequence[Any]) -> Any:
            async with room:
                try:
                    return await self.function(*arguments)
                except Exception as error:  # of the user's function, about this completion alone
                    return self._fault(error)

        return await asyncio.gather(*map(one, calls))

    def _together(self, read: Sequence[Read]) -> list[Values]:
        samples = [one.sample for one in read for _ in one.texts]
        texts = [text for one in read for text in one.texts]
        answers = [answer for one in read for answer in one.answers]
        scores = [each for one in read for each in one.scores]
        try:
            given = self.function(samples, texts, answers, scores)
            given = _run(given) if self.is_async else given
        except Exception as error:  # of the user's function, about these completions alone
            raise _Raised(self._fault(error)) from None
        given = given.tolist() if hasattr(given, "tolist") else given
        if not isinstance(given, (list, tuple)) or len(given) != len(texts):
            got = f"{counted(len(given), 'value')}" if isinstance(given, (list, tuple)) else shown(given)
            raise RewardError(
                f"{self.where}: {self.name} was given {counted(len(texts), 'completion')} ({shown(samples[0].id)} first) and "
                f"gave {got}; give a list of as many numbers, with None where the part doesn't apply"
            )
        each = zip(given, samples, texts, strict=True)
        numbers = iter([self._number(value, sample, text) for value, sample, text in each])
        return [[next(numbers) for _ in one.texts] for one in read]

    def _number(self, value: Any, sample: Sample, text: str) -> float | None:
        """A value as a float: a number of Python's, true or false, or an array's or tensor's single number.

        Raises:
            RewardError: it is none, or isn't finite.
        """
        if value is None:
            return None
        number = math.nan
        known = isinstance(value, (bool, int, float))
        if known or (hasattr(value, "__float__") and not getattr(value, "ndim", 0)):
            try:
                number = float(value)
            except (TypeError, ValueError, OverflowError):
                number = math.nan
        if math.isfinite(number) and math.isfinite(self.weight * number):
            return number
        remedy = "give a finite number, or None where the part doesn't apply"
        if inspect.iscoroutine(value):
            value.close()  # else Python warns of it besides
            remedy = "make the function an `async def` that awaits it"
        raise RewardError(
            f"{self.where}: {self.name} gave {shown(value)} for sample {shown(sample.id)}, completion {shown(text)}; {remedy}"
        )

    def _fault(self, error: Exception) -> OwnCodeError:
        """An exception of the function as a sample's error; the machine's are raised."""
        # An error of trlt's own part that the user can act on, such as a judge that is gone, ends the run.
        if is_of_the_machine(error) or (self.file is None and isinstance(error, TrltError)):
            raise error
        trace = error.__traceback__
        name = type(error).__name__
        place = self.where
        if self.file:
            inside = [one for one in traceback.extract_tb(trace) if one.filename == str(self.file.path)]
            place = f"{self.file.given}:{inside[-1].lineno}" if inside else place
            while trace and trace.tb_frame.f_code.co_filename != str(self.file.path):
                trace = trace.tb_next
        said = quoted(error)
        shown_trace = "".join(traceback.format_exception(type(error), error, trace or error.__traceback__))
        return OwnCodeError(
            f"{OwnCodeError.BEGINS}{self.name}: {name}{f': {said}' if said else ''} (at {place})",
            f"{name} at {place}",
            shown_trace.encode("utf-8", "backslashreplace").decode(),
        )


def with_parts(total: float, parts: Sequence[RewardPart], values: Mapping[str, float | None], scale: float = 1.0) -> float:
    """A completion's reward: the paper's, and what its parts gave, each by its weight; None adds nothing.

    Args:
        total: The paper's.
        parts: In the order in which they are added.
        values: What each gave, by name.
        scale: What all parts are multiplied by; `total` is already.
    """
    for part in parts:
        if (value := values[part.name]) is not None:
            total += scale * (part.weight * value)
    return total


class _Raised(Exception):
    """What a call of lists has raised."""

    def __init__(self, fault: OwnCodeError) -> None:
        super().__init__(str(fault))
        self.fault = fault


def parts_of(file: OwnFile) -> list[str]:
    """Names of the functions of a file that can be parts."""
    return [name for name, function in file.own_functions().items() if fits(function)]


def own_part(name: str, weight: float, file: OwnFile) -> RewardPart:
    """The part behind a function of a file.

    Raises:
        RecipeError: there is no such function, or it takes other arguments.
    """
    function = file.function(name)
    where = file.line(function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise RecipeError(f"{where}: {name}: what it takes can't be seen; write a function of {TAKES}") from None
    if not fits(function):
        raise RecipeError(f"{where}: {name} takes {signature}; a part of the reward takes {TAKES}, or lists as {BATCH_TAKES}")
    return RewardPart(name, weight, function, file)


def fits(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with the four arguments of a part."""
    try:
        inspect.signature(function).bind(*range(4))
    except (TypeError, ValueError):
        return False
    return True


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all `async def`s of this process.

    One, and in a thread of its own: clients that a file makes belong to the loop that they were first used in, and a notebook
    has one running in the main thread already.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="trlt-rewards", daemon=True).start()
    return loop


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()  # after Ctrl-C, requests mustn't go on
        raise
