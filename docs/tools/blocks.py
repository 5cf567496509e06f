"""The fenced blocks of a page, for the tests that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]*)"')


class Block(NamedTuple):
    """One fenced block."""

    page: str
    """Path of the page from the repository's root."""
    line: int
    """Of its first line, from 1."""
    language: str
    title: str
    """The file that it is the text of; mostly empty."""
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """The README, and every page of the site."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path, language: str | None = None) -> Iterator[Block]:
    """The blocks of a page, of one language where it is given."""
    text = path.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        if language is None or match[1] == language:
            title = _TITLE.search(match[2])
            line = text.count("\n", 0, match.start(3)) + 1
            yield Block(str(path.relative_to(ROOT)), line, match[1], title[1] if title else "", match[3])


def commands(path: Path) -> list[str]:
    """The `trlt` commands of a page's shell blocks, without comments and with continued lines joined."""
    lines = [line for block in blocks(path, "sh") for line in block.text.replace("\\\n", " ").splitlines()]
    return [line.partition("  #")[0].strip() for line in lines if line.startswith("trlt ")]
