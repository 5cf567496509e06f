"""The exception tree. Only `cli.py` turns one of these into an exit code.

TrltError                  1  something the user can act on, a full disk too (`system.disk_error`)
├── UsageError             2  flags or arguments that can't work together
├── RecipeError            2  a recipe with faults; all of them are listed
├── RewardError            1  a reward function of the user's gave what is no reward; names file, sample, value and remedy
├── DataError              3  annotation, samples, rows or predictions that can't be used
├── VideoError             4  a video that can't be read; names file, time and reason
│   ├── DecoderDiedError   4  its decoding process ended: by a damaged file, or with its machine
│   └── UnforeseenError    1  an exception of no foreseen kind, caused by one sample's own input; keeps its traceback
│       └── OwnCodeError   1  one that a function of the user's has raised
├── ModelError             5  a model that isn't found or available, or is of a family that trlt doesn't know
├── ParityError            6  engine, trainer and the library's own forward disagree about the same input
├── ResumeError            7  a run's folder belongs to another recipe or data set
└── ServerError            8  a model server that can't be used, or no server left

Anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TrltError(Exception):
    """Something went wrong that the user can act on; the message says how."""

    exit_code = 1


class UsageError(TrltError):
    """Flags or arguments that can't work together."""

    exit_code = 2


class RecipeError(TrltError):
    """A recipe with faults; the message lists every one with file and key."""

    exit_code = 2


class RewardError(TrltError):
    """A reward function of the user's gave what is no reward: the next sample may fare alike, so the run ends."""


class DataError(TrltError):
    """Annotation, samples, rows or predictions that can't be used."""

    exit_code = 3


class VideoError(TrltError):
    """A video that can't be read; the message names file, time and reason."""

    exit_code = 4


class DecoderDiedError(VideoError):
    """The process that decoded a video ended, or couldn't begin: by a damaged file, or with its machine."""


class UnforeseenError(VideoError):
    """An exception of no foreseen kind, raised while one sample's own input was handled; see `faults`.

    Args:
        text: Type, message and place in the code.
        kind: Type and place, by which it is reported once.
        trace: The traceback.
    """

    exit_code = 1
    remedy = (
        "This is a bug of trlt or of a library, or data of a kind that it doesn't know: report it with what follows. What was "
        "written is kept: the same command goes on behind it"
    )
    """What to do where most samples meet such errors."""

    def __init__(self, text: str, kind: str, trace: str) -> None:
        super().__init__(text)
        self.kind, self.trace = kind, trace


class OwnCodeError(UnforeseenError):
    """An exception that a function of the user's has raised for one sample; its text begins with `BEGINS`."""

    BEGINS = "reward part "
    """By which rows and lists tell it from other reasons."""
    remedy = (
        "If the function is at fault, mend it, which makes another run (another --out, or --fresh); `trlt reward try` tries it "
        "on a probe's rows without a model. If it is a server or a file that the function needs, the same command goes on "
        "behind what is written"
    )


class ModelError(TrltError):
    """A model that isn't found or available, or is of a family that trlt doesn't know."""

    exit_code = 5


class ParityError(TrltError):
    """Engine, trainer and the library's own forward disagree about the same input."""

    exit_code = 6


class ResumeError(TrltError):
    """A run's folder belongs to another recipe or data set."""

    exit_code = 7


class ServerError(TrltError):
    """A model server that can't be used, or no server left; names the server, its message and the remedy."""

    exit_code = 8


class Interrupted(KeyboardInterrupt):
    """A signal has ended the work; `kept` says what is saved, if known.

    Args:
        signal: Its number.
        kept: In words.
    """

    def __init__(self, signal: int = 2, kept: str = "") -> None:
        super().__init__(kept)
        self.signal, self.kept = signal, kept

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.signal


MOST_SHOWN = 100
"""Maximum number of characters of a value in a message."""


def shown(value: object) -> str:
    """A value for a message: its Python representation, shortened."""
    text = repr(value if not isinstance(value, str) else value[: 2 * MOST_SHOWN])
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 12]}…{text[-10:]}"


MOST_QUOTED = 300
"""Maximum number of characters of a library's message in a message of ours."""


def quoted(error: BaseException) -> str:
    """What a library says, in one line, cut if it is long."""
    text = " ".join(str(error).split())
    return text if len(text) <= MOST_QUOTED else f"{text[: MOST_QUOTED - 1]}…"


def counted(number: int, what: str, plural: str = "s") -> str:
    """A number with its noun."""
    return f"{number:,} {what}{'' if number == 1 else plural}"


def did_you_mean(value: str, choices: Iterable[str]) -> str:
    """Ends an error message: the nearest choice if one is near, else all of them."""
    known = sorted(choices)
    near = difflib.get_close_matches(value[:MOST_SHOWN], known, n=1)
    return f"did you mean {near[0]}?" if near else "choose one of: " + ", ".join(known)
