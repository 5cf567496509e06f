"""Replies of a server that were paid for once, kept on disk: one JSONL file per process, which all processes read.

Of two replies to one request, the first that a process has seen stays. Knows keys and texts; nothing of what they mean.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trlt.errors import DataError
from trlt.files.bounded_json import loads
from trlt.files.jsonl import append_jsonl


class Reply(NamedTuple):
    """What a server wrote."""

    text: str
    finished: bool
    """It wasn't cut off at the limit of tokens."""


def key_of(request: Mapping[str, Any]) -> str:
    """A hash of all that decides a reply."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class ReplyStore:
    """Replies by the key of their request.

    Args:
        folder: Where they are kept; None keeps them in memory. Made with the first reply.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._own: Path | None = None
        self._read: dict[Path, int] = {}
        """Bytes of each other process's file that are known."""
        self._replies: dict[str, Reply] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Reply | None:
        """The reply to a request, if there is one."""
        return self._replies.get(key)

    def refresh(self) -> None:
        """Reads what other processes have added; a line that one hasn't ended, or never will, isn't there.

        Raises:
            DataError: a file that can't be read.
        """
        if self._folder is None or not self._folder.is_dir():
            return
        with self._lock:
            for path in sorted(self._folder.glob("replies-*.jsonl")):
                if path != self._own:
                    self._follow(path)

    def put(self, key: str, reply: Reply, about: str) -> Reply:
        """Keeps a reply, and gives the one that counts: an earlier one where there is one.

        Args:
            key: Of the request.
            reply: As it came.
            about: What was asked, for whoever reads the file.
        """
        with self._lock:
            if (known := self._replies.get(key)) is not None:
                return known
            if self._folder is not None:
                self._own = self._own or _new_file(self._folder)
                append_jsonl(self._own, {"key": key, "reply": reply.text, "finished": reply.finished, "asked": about})
            self._replies[key] = reply
        return reply

    def _follow(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                one = loads(line)
                self._replies.setdefault(one["key"], Reply(str(one["reply"]), bool(one["finished"])))
            except (ValueError, KeyError, TypeError):
                raise DataError(
                    f"{path}: holds a line that is no reply: {line[:80].decode('utf-8', 'replace')!r}; remove the file, and "
                    "what it held is asked anew"
                ) from None
        self._read[path] = self._read.get(path, 0) + len(whole)


def _new_file(folder: Path) -> Path:
    """A file that no other process writes."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        path = folder / f"replies-{number:04}.jsonl"
        try:
            path.open("xb").close()
        except FileExistsError:
            number += 1
        else:
            return path
