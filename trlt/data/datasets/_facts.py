"""What a reader of a published figure must know: a benchmark's size, its rule, and why two figures of one model differ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """Of a benchmark's test split; texts are whole sentences in plain English."""

    questions: int
    """Questions that the official figure is over."""
    videos: int | None
    """Videos that they are about; None where it isn't known."""
    rule: str
    """How the official script reads an output and what it averages over."""
    published: str
    """What the figures that papers quote were measured with: frames, pixels, tokens, prompt."""
    disagreements: tuple[str, ...] = ()
    """Known differences between harnesses or sources, with the figures and where each is from."""
