"""A body of `/v1/chat/completions`: which fields are taken, and what is asked by it. Knows JSON and frames; no connections.

A field that would change the answer and isn't known is refused: ignoring it would give another answer than was asked for.
"""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from trlt.engine.marks import VISION_TOKENS
from trlt.engine.request_queue import PromptRequest
from trlt.engine.sampling import Sampling
from trlt.recipe import Decoding
from trlt.video.clip import MERGE, PATCH, TEMPORAL_PATCH, Clip

GREEDY = (0.01, 0.001)
"""Temperature and top-p that stand for a temperature of 0: the likeliest token, as `trlt eval` draws."""
MOST_TOKENS = 8192
MOST_COMPLETIONS = 16
_ONLY = "send the video as a data: address (data:video/mp4;base64,...)"


class BadRequest(Exception):
    """What was sent can't be asked."""


class _ChatPart(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(_ChatPart):
    """A text of a turn."""

    type: Literal["text"]
    text: str


class VideoUrl(_ChatPart):
    """Where a video is."""

    url: str


class VideoPart(_ChatPart):
    """A video of a turn."""

    type: Literal["video_url"]
    video_url: VideoUrl


Parts = list[Annotated[TextPart | VideoPart, Field(discriminator="type")]]


class Turn(_ChatPart):
    """One message."""

    role: Literal["system", "user"]
    content: str | Parts


class _FrameSource(_ChatPart):
    """What a client says of frames that it sends ready made."""

    num_frames: Literal[-1]
    fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    do_sample_frames: Literal[False]
    total_num_frames: int
    frames_indices: list[int]
    duration: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _FrameIo(_ChatPart):
    video: _FrameSource


class _Processor(_ChatPart):
    fps: float
    do_sample_frames: Literal[False]
    do_resize: Literal[False]


class _StreamOptions(_ChatPart):
    include_usage: bool = False


class Body(_ChatPart):
    """A request; what stands here with one value only is taken so that clients may state it."""

    model: str
    messages: Annotated[list[Turn], Field(min_length=1, max_length=2)]
    n: Annotated[int, Field(ge=1, le=MOST_COMPLETIONS)] = 1
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    return_token_ids: bool = False
    media_io_kwargs: _FrameIo | None = None
    mm_processor_kwargs: _Processor | None = None
    user: str | None = None
    top_k: Literal[-1, 0] | None = None
    min_p: Annotated[float, Field(ge=0, le=0)] | None = None
    repetition_penalty: Annotated[float, Field(ge=1, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    skip_special_tokens: Literal[False] | None = None
    bad_words: Annotated[list[str], Field(max_length=len(VISION_TOKENS))] | None = None


@dataclass(frozen=True, slots=True)
class Chat:
    """What a body asks."""

    request: PromptRequest
    sampling: Sampling
    video: bytes | Clip
    """The file, or the frames themselves."""


def read_chat(body: Body, settings: Decoding, *, most_bytes: int, most_tokens: int) -> Chat:
    """What a body asks.

    Args:
        body: As sent.
        settings: Fill what it leaves out.
        most_bytes: Largest video.
        most_tokens: Most video tokens of frames that come ready made.

    Raises:
        BadRequest: no video or several, an address that isn't read, or frames that don't fit.
    """
    system, user, address = _turns(body)
    # The vision tower's marks are never drawn here; other words can't be kept out.
    if unknown := sorted(set(body.bad_words or ()) - set(VISION_TOKENS)):
        raise BadRequest(f"bad_words: {unknown} can't be kept out; only {', '.join(VISION_TOKENS)} are")
    temperature, top_p = settings.temperature, settings.top_p
    if body.temperature is not None:
        temperature, top_p = (body.temperature, 1.0) if body.temperature else GREEDY
    if body.top_p is not None and body.temperature != 0:
        top_p = body.top_p
    length = body.max_completion_tokens or body.max_tokens or settings.max_new_tokens
    sampling = Sampling(temperature, top_p, length, settings.seed if body.seed is None else body.seed)
    return Chat(PromptRequest("", system, user, body.n), sampling, _video(address, body, most_bytes, most_tokens))


def _turns(body: Body) -> tuple[str, str, str]:
    """System text, the user's text, and the video's address."""
    *before, last = body.messages
    if last.role != "user" or any(turn.role != "system" for turn in before):
        raise BadRequest("messages: a system message may come first, and then one user message, which is the last")
    videos, texts = [], []
    for part in [TextPart(type="text", text=last.content)] if isinstance(last.content, str) else last.content:
        if isinstance(part, TextPart):
            texts.append(part.text)
        else:
            videos.append(part.video_url.url)
    if len(videos) != 1:
        raise BadRequest(
            f"messages: {len(videos)} videos; the model is asked about exactly one: add a video_url part, and {_ONLY}"
        )
    system = [
        part.text if isinstance(part, TextPart) else ""
        for turn in before
        for part in ([TextPart(type="text", text=turn.content)] if isinstance(turn.content, str) else turn.content)
    ]
    return "\n".join(system), "\n".join(texts), videos[0]


def _video(address: str, body: Body, most_bytes: int, most_tokens: int) -> bytes | Clip:
    head, found, data = address.partition(",")
    if not head.lower().startswith("data:"):
        scheme = address.partition(":")[0][:20]
        raise BadRequest(f"video_url: addresses of {scheme!r} aren't opened, neither files nor http; {_ONLY}")
    media, _, coding = head[len("data:") :].lower().partition(";")
    if not found or not media.startswith("video/") or coding != "base64":
        raise BadRequest(f"video_url: {head[:60]!r} is no video in base64; {_ONLY}")
    if media == "video/jpeg":
        return _frames(data, body, most_tokens)
    video = _decoded(data)
    if len(video) > most_bytes:
        raise BadRequest(f"video_url: the video is larger than {most_bytes / 1e6:g} MB")
    return video


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("video_url: no base64") from None


def _frames(data: str, body: Body, most_tokens: int) -> Clip:
    """Frames as a loader made them, in the form in which vLLM takes them; they aren't sampled or resized again."""
    if body.media_io_kwargs is None or body.mm_processor_kwargs is None:
        raise BadRequest("media_io_kwargs, mm_processor_kwargs: frames need both; send a video file, or name rate and frames")
    source, parts = body.media_io_kwargs.video, data.split(",")
    count = len(parts)
    if source.total_num_frames != count or source.frames_indices != list(range(count)) or count % TEMPORAL_PATCH:
        raise BadRequest(f"media_io_kwargs: {count} frames came; an even number, all of them, in their order are needed")
    import numpy as np

    pictures: list[Any] = []
    for part in parts:
        pictures.append(_picture(_decoded(part), most_tokens * TEMPORAL_PATCH // count))
    if len({picture.shape for picture in pictures}) > 1:
        raise BadRequest("video_url: frames of several sizes")
    times = np.arange(count) / source.fps
    return Clip.of(np.stack(pictures), times, sample_fps=source.fps, duration=source.duration)


def _picture(data: bytes, most: int) -> Any:
    """(C, H, W); its size is looked at before its pixels."""
    import numpy as np
    from PIL import Image

    side = PATCH * MERGE
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            width, height = picture.size
            if width % side or height % side or width * height > most * side * side:
                raise BadRequest(
                    f"video_url: frames of {width} x {height}: sides must be multiples of {side}, and all frames together "
                    "have at most video.max_tokens tokens; start the server with more (--set video.max_tokens=...)"
                )
            return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise BadRequest("video_url: a frame is no PNG or JPEG that can be read") from None
