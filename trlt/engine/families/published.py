"""The shapes of released models, from their configurations; used only where a config.json isn't at hand.

Counts of parameters equal those of the library's modules (a test). The configurations are from copies that others have
published; of these, uncertain are Qwen2-VL's and Qwen3-VL-32B's, the towers, value heads and ties of Qwen3.5-2B and 4B, and the
tower and value heads of Qwen3.5-27B.
"""

from __future__ import annotations

from collections.abc import Mapping

from trlt.engine.families.shape import TIME_TOKENS, Architecture, Experts, LinearAttention

Text = tuple[int, int, int, int, int, int]
"""d, f, layers, heads, KV heads, V."""
Tower = tuple[int, int, int]
"""Width, MLP, blocks."""


def _qwen2(text: Text, *, tied: bool) -> Architecture:
    return Architecture(*text, tied, vision_intermediate=5120, vision_gated=False)


def _qwen3(
    text: Text,
    *,
    tied: bool = False,
    head_dim: int = 128,
    tower: Tower = (1152, 4304, 27),
    deepstack: int = 3,
    experts: Experts | None = None,
    value_heads: int = 0,
) -> Architecture:
    """Qwen3-VL, and Qwen3.5 where there are `value_heads` of linear layers: three in four are of these."""
    layers = text[2]
    linear = LinearAttention(layers - layers // 4, key_heads=16, value_heads=value_heads) if value_heads else None
    return Architecture(
        *text,
        tied,
        *tower,
        patch_values=3 * 2 * 16 * 16,
        head_dim=head_dim,
        biases=False,
        head_norms=True,
        gated=linear is not None,
        experts=experts,
        linear=linear,
        vision_gated=False,
        patch_bias=True,
        vision_positions=48 * 48,
        deepstack=deepstack,
        time_tokens=TIME_TOKENS,
        float_norms=linear is not None,
    )


def _qwen35(text: Text, *, value_heads: int, tied: bool = False, tower: Tower = (1152, 4304, 27)) -> Architecture:
    return _qwen3(text, tied=tied, head_dim=256, tower=tower, deepstack=0, value_heads=value_heads)


SMALL, SMALLEST = (1024, 4096, 24), (768, 3072, 12)
Q2, Q2_WIDE, Q3, Q35 = 151_936, 152_064, 151_936, 248_320
"""Rows of the embedding."""

PUBLISHED: Mapping[str, Architecture] = {
    "Qwen2.5-VL-3B": Architecture(2048, 11008, 36, 16, 2, Q2, True),
    "Qwen2.5-VL-7B": Architecture(3584, 18944, 28, 28, 4, Q2_WIDE, False),
    "Qwen2.5-VL-32B": Architecture(5120, 27648, 64, 40, 8, Q2_WIDE, False, vision_intermediate=3456),
    "Qwen2.5-VL-72B": Architecture(8192, 29568, 80, 64, 8, Q2_WIDE, False, vision_intermediate=3456),
    "Qwen2-VL-2B": _qwen2((1536, 8960, 28, 12, 2, Q2), tied=True),
    "Qwen2-VL-7B": _qwen2((3584, 18944, 28, 28, 4, Q2_WIDE), tied=False),
    "Qwen2-VL-72B": _qwen2((8192, 29568, 80, 64, 8, Q2_WIDE), tied=False),
    "Qwen3-VL-2B": _qwen3((2048, 6144, 28, 16, 8, Q3), tied=True, tower=SMALL),
    "Qwen3-VL-4B": _qwen3((2560, 9728, 36, 32, 8, Q3), tied=True, tower=SMALL),
    "Qwen3-VL-8B": _qwen3((4096, 12288, 36, 32, 8, Q3)),
    "Qwen3-VL-32B": _qwen3((5120, 25600, 64, 64, 8, Q3)),
    "Qwen3-VL-30B-A3B": _qwen3((2048, 6144, 48, 32, 4, Q3), experts=Experts(48, 128, 8, 768)),
    "Qwen3-VL-235B-A22B": _qwen3((4096, 12288, 94, 64, 4, Q3), experts=Experts(94, 128, 8, 1536)),
    "Qwen3.5-0.8B": _qwen35((1024, 3584, 24, 8, 2, Q35), value_heads=16, tied=True, tower=SMALLEST),
    "Qwen3.5-2B": _qwen35((2048, 6144, 24, 8, 2, Q35), value_heads=16, tied=True, tower=SMALL),
    "Qwen3.5-4B": _qwen35((2560, 9216, 32, 16, 4, Q35), value_heads=32, tied=True, tower=SMALL),
    "Qwen3.5-9B": _qwen35((4096, 12288, 32, 16, 4, Q35), value_heads=32),
    "Qwen3.5-27B": _qwen35((5120, 17408, 64, 24, 4, Q35), value_heads=48),
}
"""Name without its maker and what follows the size, as `-Instruct` or `-Thinking`."""


def published(name: str) -> tuple[str, Architecture] | None:
    """(size's name, shape) of a model by its own name, with or without its maker; None if it is none of these."""
    last = name.rpartition("/")[2].lower()
    return next(((size, shape) for size, shape in PUBLISHED.items() if size.lower() in last), None)
