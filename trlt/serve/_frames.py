"""Frames that a client sends ready made, in the form in which vLLM takes them. They aren't sampled or resized again."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trlt.engine.families import Family
from trlt.serve._body import Body, FrameSource
from trlt.serve._refusals import BadRequest
from trlt.video.clip import Clip

LEAST_TOKENS = 256
"""Frames of so many tokens (1.2 MB of pixels) are taken whatever the budget for videos. `trlt probe --server` first tries a
server with an invented clip of a fixed size (80 tokens), since it knows no server's budget; below that, it couldn't be used at
all."""
MOST_S = 99_999
"""Most seconds that a prompt can state; about 27 hours."""


def read_frames(data: str, body: Body, most_tokens: int, family: Family) -> Clip:
    """The clip of frames in base64, with commas between.

    Args:
        data: The frames.
        body: Says their rate and number.
        most_tokens: The budget for videos.
        family: Of the model.

    Raises:
        BadRequest: they don't fit, or are no pictures.
    """
    if body.media_io_kwargs is None or body.mm_processor_kwargs is None:
        raise BadRequest("media_io_kwargs, mm_processor_kwargs: frames need both; send a video file, or name rate and frames")
    source, parts = body.media_io_kwargs.video, data.split(",")
    count, geometry = len(parts), family.geometry
    if source.total_num_frames != count or len(source.frames_indices) != count or count % geometry.temporal:
        raise BadRequest(f"media_io_kwargs: {count} frames came; an even number, all of them, in their order are needed")
    stamps, rate = _times(source, family)
    most = max(most_tokens, LEAST_TOKENS)
    pictures = [_picture(decoded(part), most * geometry.temporal // count, most_tokens, geometry.side) for part in parts]
    if len({picture.shape for picture in pictures}) > 1:
        raise BadRequest("video_url: frames of several sizes")
    return Clip.of(np.stack(pictures), stamps, sample_fps=rate, duration=source.duration, stamps=stamps, geometry=geometry)


def _times(source: FrameSource, family: Family) -> tuple[NDArray[np.float64], float]:
    """Seconds of each frame, and frames a second, as `Family.told` has them.

    Where prompts state times, those are number / rate, whatever the numbers; elsewhere only one rate can be told of all frames.

    Raises:
        BadRequest: they aren't in order, or not at one rate.
    """
    numbers = source.frames_indices
    if family.time_in == "text":
        if numbers != sorted(numbers) or numbers[0] < 0 or numbers[-1] > MOST_S * source.fps:
            raise BadRequest(
                f"media_io_kwargs: frames_indices over fps are the seconds of each frame, in their order, from 0 to {MOST_S}"
            )
        return np.array(numbers) / source.fps, len(numbers) / source.duration
    if numbers != list(range(len(numbers))):
        raise BadRequest(
            f"media_io_kwargs: prompts of {family.name} hold one rate for all frames: send fps of these frames, and "
            "frames_indices from 0 on, each once"
        )
    return np.array(numbers) / source.fps, source.fps


def decoded(data: str) -> bytes:
    """Bytes of base64.

    Raises:
        BadRequest: it is none.
    """
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("video_url: no base64") from None


def _picture(data: bytes, most: int, budget: int, side: int) -> Any:
    """(C, H, W); its size is looked at before its pixels."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            width, height = picture.size
            if width % side or height % side or width * height > most * side * side:
                raise BadRequest(
                    f"video_url: frames of {width} x {height}: sides must be multiples of {side}, and all frames together have "
                    f"at most video.max_tokens tokens, {budget} here; send smaller or fewer frames, or start the server with "
                    "more (--set video.max_tokens=...)"
                )
            return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise BadRequest("video_url: a frame is no PNG or JPEG that can be read") from None
