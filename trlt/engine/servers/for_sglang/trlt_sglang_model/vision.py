"""Makes SGLang's vision tower of a Qwen2.5-VL look at each two frames of a video apart, as the published one does.

SGLang 0.5.23 lets the blocks with full attention look across all frames. Imported by SGLang, which finds the class by its place
and name: `SGLANG_EXTERNAL_MODEL_PACKAGE=trlt_sglang_model`. Knows SGLang; nothing else of trlt can be imported here.
"""

from __future__ import annotations

from typing import Any

from sglang.srt.models import qwen2_5_vl


def _apart(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A video's grid (t, h, w) as t grids (1, h, w): the same patches, windows and places, and bounds between them."""
    grid = kwargs["grid_thw"]
    grid = grid.repeat_interleave(grid[:, 0], dim=0)
    grid[:, 0] = 1
    return args, kwargs | {"grid_thw": grid}


class Qwen2_5_VLForConditionalGeneration(qwen2_5_vl.Qwen2_5_VLForConditionalGeneration):  # type: ignore[misc]
    """SGLang's model, with that."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.visual.register_forward_pre_hook(_apart, with_kwargs=True)


EntryClass = Qwen2_5_VLForConditionalGeneration
