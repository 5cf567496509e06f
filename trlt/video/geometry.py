"""How a model family cuts frames into tokens. Pure numbers, without torch: decoding processes read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Geometry:
    """Patches of a vision tower, and how many of them make a token; that of Qwen2-VL and Qwen2.5-VL by default."""

    patch: int = 14
    """Side of a patch in pixels."""
    merge: int = 2
    """Patches a side of a token."""
    temporal: int = 2
    """Frames that are merged into one temporal patch, the reason why frame counts are even."""

    @property
    def side(self) -> int:
        """Pixels a side of a token; frames are resized to multiples of it."""
        return self.patch * self.merge

    @property
    def values(self) -> int:
        """Numbers of a patch: channels x frames x height x width."""
        return 3 * self.temporal * self.patch**2
