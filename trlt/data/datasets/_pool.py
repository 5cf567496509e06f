"""Shared by training pools that other projects put together: gold answers in tags, and files of another form. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

from trlt.data.datasets._common import clean
from trlt.errors import DataError

LOOKED_AT = 20
"""Number of a file's first records of which one at least must have the expected fields."""

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_BOXED = re.compile(r"\\boxed\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_THINK = re.compile(r"<think>(.*)</think>", re.DOTALL)
_ANY_TAG = re.compile(r"</?(?:think|observe|answer)>")
_QUOTED = re.compile(r"(?:^|(?<=[\s:(]))(?:\"(.+)\"|“(.+)”|'(.+)')(?=[\s.,:;?!)]|$)", re.DOTALL)


def expect(records: Iterable[Any], name: str, forms: Iterable[frozenset[str]], where: str) -> None:
    """Refuses a file that looks different as a whole; single odd records are the reader's to count.

    Args:
        records: Of the file; only the first few are looked at.
        name: The file's name.
        forms: Sets of fields; a record with all fields of one of them is of the expected form.
        where: Where the form is documented.

    Raises:
        DataError: no record looked at has the fields of a form; names those that one has.
    """
    forms, first = list(forms), list(islice(records, LOOKED_AT))
    if not first or any(isinstance(record, dict) and form <= set(record) for record in first for form in forms):
        return
    found = ", ".join(map(str, first[0])) if isinstance(first[0], dict) else f"a {type(first[0]).__name__}"
    wanted = " or ".join(", ".join(sorted(form)) for form in forms)
    raise DataError(
        f"{name}: fields: none of its first {len(first)} records has {wanted}; the first has {found or 'none'}. This reader "
        f"knows the form of {where}; is it the official file? Questions in a form of your own are read by `trlt prepare FILE "
        "--map …`"
    )


def stated(text: str) -> str:
    """The gold answer in a text: inside the last `<answer>` tags or the last box of LaTeX, else all of it."""
    tagged = _ANSWER.findall(text)
    boxed = _BOXED.findall(tagged[-1] if tagged else text)
    return _TEXT.sub(r"\1", boxed[-1]).strip() if boxed else (tagged[-1] if tagged else text).strip()


def reasoning(text: Any) -> tuple[str, tuple[str, ...]]:
    """The content of `<think>` (all of a text without), and a flag if it holds other tags and can't be a target."""
    found = _THINK.search(text) if isinstance(text, str) else None
    inner = found[1].strip() if found else text.strip() if isinstance(text, str) else ""
    return ("", ("reasoning_with_tags",)) if _ANY_TAG.search(inner) else (inner, ())


def stated_spans(answer: str) -> list[Any] | None:
    """The value of `time` in an answer that is a JSON object, as a list of pairs; None without one.

    `{"time": [s, e]}` is one pair, `{"time": [[s, e], …]}` several.
    """
    try:
        value = json.loads(answer)
    except ValueError:
        return None
    time = value.get("time") if isinstance(value, dict) else None
    if not isinstance(time, list) or not time:
        return None
    return time if isinstance(time[0], list) else [time]


def quoted(prompt: str) -> str:
    """The query that a prompt quotes; empty if it quotes none."""
    found = _QUOTED.search(prompt)
    return clean(found[found.lastindex or 0]) if found else ""
