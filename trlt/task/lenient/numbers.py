"""The number that a cleaned output states, in digits or as a word. Pure."""

from __future__ import annotations

import re
from itertools import islice

_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_VALUES = {word: value for value, word in enumerate(_WORDS)}
_NUMBER = re.compile(
    rf"(?<![\w.])(?:(?P<digits>-?(?:\d{{1,3}}(?:,\d{{3}})+|\d{{1,18}})(?:\.\d{{1,18}})?)(?![\d:]|[.,]\d)|(?P<word>{'|'.join(_WORDS)})\b(?!-))",
    re.IGNORECASE,
)
_MANY = 100


def find_number(said: str) -> str | None:
    """The only number of a text, in digits: `about 3` -> `3`, `Three shapes` -> `3`, `1,200` -> `1200`; None of several.

    Args:
        said: What the answer says, or one line.
    """
    found = {
        float(match["digits"].replace(",", "")) if match["digits"] else float(_VALUES[match["word"].lower()])
        for match in islice(_NUMBER.finditer(said), _MANY)
    }
    if len(found) != 1:
        return None
    value = found.pop()
    return f"{value:.0f}" if value.is_integer() else repr(value)
