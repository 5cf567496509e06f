"""How SGLang must be started, and what it is sent. Read and run: 0.5.23.

Of how a video is read, SGLang takes nothing from a request for a Qwen2.5-VL: all of it is settled by its command line.
"""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trlt.video.clip import Clip

VIDEO = {"fps": 1000, "max_frames": 100_000, "min_pixels": 28 * 28, "do_resize": False}
"""Settings with which SGLang takes all frames of a file in their size: sampled above any rate, resized by nobody."""
START = (
    f"PYTHONPATH={Path(__file__).with_name('for_sglang')} SGLANG_EXTERNAL_MM_PROCESSOR_PACKAGE=trlt_sglang "
    "SGLANG_EXTERNAL_MODEL_PACKAGE=trlt_sglang_model "
    f"sglang serve --model-path MODEL --mm-process-config '{json.dumps({'video': VIDEO})}'"
)
"""Command whose server also knows the frame rate of each file; see `for_sglang/`."""


def mp4(clip: Clip) -> bytes:
    """Lossless H.264 in RGB at the sampled rate."""
    import av

    buffer = io.BytesIO()
    # Players take the rate from a fraction of 32-bit numbers. With smaller ones, a place in time may fall below a whole second.
    rate = Fraction(clip.sample_fps).limit_denominator(100_000)
    with av.open(buffer, "w", format="mp4") as container:
        # In RGB: 8 bits of YUV can't hold every color, so even `qp` 0 would lose some.
        stream = container.add_stream("libx264rgb", rate=rate, options={"qp": "0", "preset": "veryfast", "bf": "0"})
        stream.height, stream.width = clip.frames.shape[2:]
        stream.pix_fmt = "rgb24"
        for frame in clip.frames:
            picture = av.VideoFrame.from_ndarray(frame.transpose(1, 2, 0).copy(), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return buffer.getvalue()


def fields(clip: Clip) -> dict[str, Any]:
    """What SGLang can be told with a request; how it reads frames is settled by `START`."""
    return {
        "return_token_ids": True,
        # It keeps computed prompts by their pixels alone: the same frames at another rate would get the first one's positions.
        "cache_salt": repr(clip.sample_fps),
    }
