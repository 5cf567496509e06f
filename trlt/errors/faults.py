"""Decides about an exception caused by one sample: the sample's own error, or the end of the run.

Knows exceptions and counts; nothing of samples. See docs/decisions/faults-of-one-sample.md.
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from pathlib import Path

import trlt
from trlt.errors import DataError, TrltError, UnforeseenError, VideoError, quoted
from trlt.errors.system import SYSTEMIC

MOST = 16
"""Number of unforeseen errors at which a run ends if they outnumber the successes."""
_PACKAGE = Path(trlt.__file__).parent
_OF_THE_DEVICE = ("CUDA error", "CUDA driver error", "CUBLAS_STATUS", "CUDNN_STATUS", "NCCL", "can't allocate memory")
"""Parts of messages of torch's RuntimeErrors that concern the machine."""


def fault_of(error: Exception) -> VideoError:
    """The error of a sample whose own input was being processed.

    Args:
        error: The exception; an unforeseen one keeps its kind, its place in the code and its traceback.

    Raises:
        Exception: `error` itself, if no sample is to blame but the machine, the model or a server.
    """
    if isinstance(error, VideoError):
        return error
    if isinstance(error, DataError):
        return VideoError(str(error))
    if isinstance(error, TrltError) or is_of_the_machine(error):
        raise error
    return unforeseen(error)


def unforeseen(error: Exception) -> UnforeseenError:
    """An exception of an unforeseen kind, as a sample's error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)] or frames
    place = f"{_short(own[-1].filename)}:{own[-1].lineno}" if own else "an unknown place"
    said = quoted(error)
    name = type(error).__name__
    return UnforeseenError(f"{name}{f': {said}' if said else ''} (at {place})", f"{name} at {place}", _trace(error))


def is_of_the_machine(error: BaseException) -> bool:
    """Whether an exception concerns the machine, so that the next sample would fail alike."""
    if isinstance(error, OSError):
        return error.errno in SYSTEMIC
    if isinstance(error, MemoryError) or type(error).__name__ in ("OutOfMemoryError", "AcceleratorError"):
        return True
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in _OF_THE_DEVICE)


class Surprises:
    """The unforeseen errors of a run: the first of each kind is shown with its traceback, and too many end the run.

    A sample goes through steps (its clip is loaded, its prompt is made, its answer is read), and each is counted separately:
    clips are loaded ahead, so that many may fail before the first answer is there.

    Args:
        again: How samples with an error are tried again, after "the same command goes on behind what is written".
    """

    def __init__(self, again: str = ", and with --retry-errors it asks again where there was an error") -> None:
        self._again = again
        self.traces: dict[str, str] = {}
        """Traceback of the first of each kind."""
        self._well = Counter[str]()
        self._ill = Counter[str]()

    def passed(self, step: str, count: int = 1) -> None:
        """Counts successes of a step."""
        self._well[step] += count

    def add(self, step: str, error: VideoError) -> None:
        """Notes a sample's error; foreseen ones don't count.

        Raises:
            TrltError: there are `MOST` unforeseen errors by now, more than successes; with the traceback.
        """
        if not isinstance(error, UnforeseenError):
            return
        if error.kind not in self.traces:
            self.traces[error.kind] = error.trace
            tell(f"an unforeseen error, which is one sample's for now: {error}\n{error.trace}")
        self._ill[step] += 1
        if self._ill[step] >= MOST and self._ill[step] > self._well[step]:
            raise TrltError(
                f"{self._ill[step]} samples met unforeseen errors at a step that {self._well[step]} passed, so the run ends; "
                f"the last: {error}\n{error.remedy}{self._again}.\n{error.trace.rstrip()}"
            )


def tell(text: str) -> None:
    """Shows a traceback on stderr at once, even in quiet mode."""
    sys.stderr.write(text)
    sys.stderr.flush()


def _short(filename: str) -> str:
    """A source file's path from its package on."""
    path = Path(filename)
    return path.relative_to(_PACKAGE.parent).as_posix() if path.is_relative_to(_PACKAGE) else "/".join(path.parts[-2:])


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace").decode()
