"""What the real vLLM is asked about, and with which settings."""

from __future__ import annotations

CLIPS = (
    (6, 1.37, 56, 84),
    (2, 2.0, 56, 56),
    (40, 2.0, 56, 56),
    (16, 5.0, 84, 56),
    (34, 0.5, 28, 56),
    (44, 1.37, 84, 112),
    (8, 1.0, 112, 84),
)
"""Frames, rate, height and width. The first has several grids, and so a rate: rollouts are checked with it."""


def sets(*settings: str, section: str = "", **values: object) -> list[str]:
    """Each setting as `--set`, and each value as one of a section."""
    named = [f"{section}.{key}={value}" for key, value in values.items()]
    return [word for one in (*settings, *named) for word in ("--set", one)]


AT_THEIR_RATES = sets("video.fps=5", "video.min_frames=2", "video.max_tokens=512")
"""Each clip is seen at its own rate and in its own size."""
ENGINE = ["--model", "miniature", *sets("model.dtype=float32", "model.device=cpu", "video.workers=0")]
LIKELIEST = {"temperature": 0.01, "top_p": 0.001}
"""The likeliest token each time, from an engine and from a server."""
