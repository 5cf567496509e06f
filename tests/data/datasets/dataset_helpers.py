"""What the tests of the data sets share."""

from __future__ import annotations

from pathlib import Path

from trlt.data.datasets import Example, Item
from trlt.task.answer import parse
from trlt.task.sample import Sample


def write_files(folder: Path, files: dict[str, str]) -> Path:
    """Lays files out in a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def lay_out(folder: Path, example: Example) -> Path:
    """Lays an example's files out in a folder."""
    return write_files(folder, dict(example.files))


def item(sample: Sample, text: str) -> Item:
    """What a letter model said, parsed as the no-think template."""
    answer = parse(text, task=sample.task, think=False, options=sample.options, answer_format="letter", several=sample.several)
    return Item(sample, text, answer)
