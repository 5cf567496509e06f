"""JSON as trlt reads it from any source: bounded in depth and numbers, without duplicate keys.

The only place that parses JSON from files and servers. Knows texts and files; nothing of what a value means.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from trlt.errors import DataError, TrltError, shown

MOST_DEPTH = 64
"""Maximum nesting of lists and objects; real files have 10 at most, and Python's own limit would end in a traceback later."""
MOST_DIGITS = 20
"""Maximum number of digits of an integer, as of 64 bits."""
NO_LIMIT = str(int(1e30))
"""The one longer integer that is taken: how transformers writes that a tokenizer takes texts of any length."""
MOST_LINE = 16 << 20
"""Maximum bytes per line of JSONL; trlt's longest rows take a few hundred thousand."""
BLOCK = 1 << 20
"""Bytes read of a large file at a time."""
MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def loads(text: str | bytes, *, finite: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        text: JSON, in UTF-8 if it is bytes; a byte order mark of UTF-8 is skipped. Half a surrogate pair is accepted.
        finite: Refuse `NaN`, `Infinity` and what is too large for a float (`1e999`).

    Raises:
        ValueError: it isn't JSON, has a duplicate key, or exceeds the bounds of this module.
    """
    if isinstance(text, bytes):
        text = decoded(text)
    try:
        value = (_FINITE if finite else _ANY).decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    return _shallow(value)


def iter_list(handle: BinaryIO) -> Iterator[Any]:
    """The values of a JSON list, one at a time: a file of hundreds of MB is never in memory as a whole.

    Numbers may be `NaN` and infinite, and of duplicate keys the last counts.

    Args:
        handle: Open at the list, in UTF-8.

    Raises:
        Truncated: the file ends before the list.
        ValueError: it is no list, isn't JSON, or a value exceeds the bounds of this module.
    """
    text = _JsonFile(handle)
    if text.sign() != "[":
        raise ValueError("no list")
    text.at += 1
    if text.sign() != "]":
        while True:
            text.sign()
            yield _shallow(text.value())
            if (sign := text.sign()) == "]":
                break
            if sign != ",":
                raise ValueError(f"a comma or the list's end is expected, not {shown(sign)}")
            text.at += 1
    text.at += 1
    if text.sign(may_end=True):
        raise ValueError("something stands behind the list")


class Truncated(ValueError):
    """A JSON text ends too soon."""


class _JsonFile:
    """The text of a file, partly in memory; `at` is the position in it."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle, self._decoder = handle, codecs.getincrementaldecoder("utf-8")("surrogatepass")
        self._text, self._ended, self._block = "", False, BLOCK
        self.at = 0

    def sign(self, *, may_end: bool = False) -> str:
        """The next character that isn't white space; empty at the file's end.

        Raises:
            Truncated: it is at the file's end, and `may_end` isn't set.
        """
        while True:
            self.at = _SPACE.match(self._text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self._text):
                return self._text[self.at]
            if not self._more():
                if may_end:
                    return ""
                raise Truncated("it ends too soon")

    def value(self) -> Any:
        """The value that begins here.

        Raises:
            Truncated: the file ends within it.
            ValueError: it is none, or too large.
        """
        while True:
            try:
                value, end = _RECORD.raw_decode(self._text, self.at)
                # A number may go on behind the end of what is in memory.
                if end + _NUMBER < len(self._text) or self._ended:
                    self.at, self._block = end, BLOCK
                    return value
                self._more()
            except RecursionError:
                raise ValueError(_TOO_DEEP) from None
            except json.JSONDecodeError as error:
                endless = error.msg.startswith("Unterminated string")
                rest = self._text[error.pos :].rstrip()
                if not endless and len(rest) > _NUMBER:
                    raise ValueError(error.msg) from None
                if len(self._text) - self.at > MOST_LINE:
                    raise ValueError(f"a value of more than {MOST_LINE >> 20} MB") from None
                if not self._more():
                    cut = endless or len(rest) <= 1 or any(word.startswith(rest) for word in ("true", "false", "null"))
                    raise (Truncated if cut else ValueError)(error.msg) from None

    def _more(self) -> bool:
        """Reads more; False at the file's end."""
        if self._ended:
            return False
        data = self._handle.read(self._block)
        self._block *= 2  # a large value is begun again with each
        self._ended = not data
        try:
            text = self._decoder.decode(data, self._ended)
        except UnicodeDecodeError as error:
            raise (Truncated if self._ended else ValueError)(f"not UTF-8: {error.reason}") from None
        self._text, self.at = self._text[self.at :] + text, 0
        return not self._ended


def _shallow(value: Any) -> Any:
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)


def decoded(data: bytes) -> str:
    """The text of bytes in UTF-8, which may contain half a surrogate pair.

    Raises:
        ValueError: another encoding; names the byte and the remedy.
    """
    if kind := next((name for mark, name in MARKS.items() if data.startswith(mark)), None):
        raise ValueError(f"{kind}, not UTF-8; save it as UTF-8")
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        found = f"byte {error.start} is 0x{data[error.start]:02x}"
        raise ValueError(f"not UTF-8 ({found}, as in Latin-1 or in a binary file); save it as UTF-8") from None


def parse_json(
    text: str | bytes, where: str, *, expected: str = "", error: type[TrltError] = DataError, finite: bool = True
) -> Any:
    """The value of a JSON text.

    Args:
        text: As `loads` takes it.
        where: Starts the message: file, and line if it has several.
        expected: Ends the message: what is expected there, or the remedy.
        error: The class to raise.
        finite: As `loads` takes it.

    Raises:
        TrltError: `error`, for whatever `loads` refuses.
    """
    try:
        return loads(text, finite=finite)
    except ValueError as fault:
        raise error(f"{where}: not JSON ({shown_fault(fault)})" + (f"; {expected}" if expected else "")) from None


def shown_fault(fault: ValueError) -> str:
    """The message of `loads`, without the line number, which it doesn't know."""
    return f"{fault.msg}, character {fault.pos + 1}" if isinstance(fault, json.JSONDecodeError) else str(fault)


def read_json(path: Path, *, remedy: str, error: type[TrltError] = DataError, finite: bool = True) -> Any:
    """The value of a JSON file.

    Raises:
        TrltError: `error`, if it can't be read or isn't JSON; `remedy` ends the message.
    """
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise error(f"{path}: can't be read ({fault.strerror}); {remedy}") from None
    return parse_json(data, str(path), expected=remedy, error=error, finite=finite)


def read_object(path: Path, *, remedy: str, error: type[TrltError] = DataError, finite: bool = True) -> dict[str, Any]:
    """The object of a JSON file; raises as `read_json`, and for any other value."""
    value = read_json(path, remedy=remedy, error=error, finite=finite)
    if not isinstance(value, dict):
        raise error(f"{path}: expected a JSON object, got {type(value).__name__}; {remedy}")
    return value


_TOO_DEEP = f"lists and objects more than {MOST_DEPTH} deep"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"{shown(twice)} stands twice in an object")
    return value


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > MOST_DIGITS and text != NO_LIMIT:
        raise ValueError(f"a number of {len(text.lstrip('-')):,} digits")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{shown(text)} is too large for a number")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number; write null")


_FINITE = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole, parse_float=_real, parse_constant=_constant)
_ANY = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole)
_RECORD = json.JSONDecoder(parse_int=_whole)
_NUMBER = 32
"""Approximate maximum length of a number or a word."""
_SPACE = re.compile(r"[ \t\n\r]*")
