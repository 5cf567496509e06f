"""How a family of models cuts frames into tokens. Pure numbers; the families themselves are the engine's."""

from __future__ import annotations

from dataclasses import dataclass

CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of patches and tokens: `Geometry()` is Qwen2-VL's and Qwen2.5-VL's, `Geometry(16)` Qwen3-VL's and Qwen3.5's."""

    patch: int = 14
    """Pixels a side of a vision patch."""
    merge: int = 2
    """Patches a side of a token."""
    temporal: int = 2
    """Frames that become one temporal patch, the reason why frame counts are even."""

    @property
    def side(self) -> int:
        """Pixels a side of a token; frames are resized to multiples of it."""
        return self.patch * self.merge

    @property
    def values(self) -> int:
        """Numbers a patch, as the vision tower takes it: colors x frames x pixels."""
        return CHANNELS * self.temporal * self.patch**2
