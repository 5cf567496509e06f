"""The fields of a body of `/v1/chat/completions`, and what can be given for them. Knows JSON; no connections or videos."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from trlt.engine.marks import VISION_TOKENS
from trlt.files.bounded_json import loads, shown_fault
from trlt.serve._refusals import BadRequest, check_other, fault_of

MOST_TOKENS = 8192
MOST_COMPLETIONS = 16
MOST_STOPS = 4


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(_Strict):
    """A text of a turn."""

    type: Literal["text"]
    text: str


class VideoUrl(_Strict):
    """Where a video is."""

    url: str


class VideoPart(_Strict):
    """A video of a turn."""

    type: Literal["video_url"]
    video_url: VideoUrl

    @property
    def address(self) -> str:
        """Where it is."""
        return self.video_url.url


class FileData(_Strict):
    """A file as OpenAI's own form has it."""

    file_data: str
    filename: str | None = None


class FilePart(_Strict):
    """A video of a turn, as a file."""

    type: Literal["file"]
    file: FileData

    @property
    def address(self) -> str:
        """Where it is."""
        return self.file.file_data


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


Part = Annotated[TextPart | VideoPart | FilePart, Field(discriminator="type")]


class Turn(_Strict):
    """One message; `developer` is OpenAI's newer name of `system`."""

    role: Literal["system", "developer", "user"]
    content: Annotated[list[Part], BeforeValidator(_as_parts)]


class FrameSource(_Strict):
    """What a client says of frames that it sends ready made."""

    num_frames: Literal[-1]
    fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    do_sample_frames: Literal[False]
    total_num_frames: int
    frames_indices: list[int]
    duration: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _FrameIo(_Strict):
    video: FrameSource


class _Processor(_Strict):
    fps: float
    do_sample_frames: Literal[False]
    do_resize: Literal[False]


class _Template(_Strict):
    """Variables of the chat template."""

    enable_thinking: bool | None = None


class _StreamOptions(_Strict):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
Stop = Annotated[str, Field(min_length=1, max_length=1000)]


def _as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


class Body(_Strict):
    """The fields that shape an answer."""

    model: str
    messages: Annotated[list[Turn], Field(min_length=1)]
    n: Annotated[int, Field(ge=1, le=MOST_COMPLETIONS)] | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop: Annotated[list[Stop] | None, Field(max_length=MOST_STOPS), BeforeValidator(_as_list)] = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    return_token_ids: bool | None = None
    media_io_kwargs: _FrameIo | None = None
    mm_processor_kwargs: _Processor | None = None
    bad_words: Annotated[list[str], Field(max_length=len(VISION_TOKENS))] | None = None
    chat_template_kwargs: _Template | None = None


_EXPECTED = {
    "model": "the name of the model, as GET /v1/models tells it",
    "messages": "a list of messages: at most one `system` message, and one `user` message",
    "n": f"a whole number from 1 to {MOST_COMPLETIONS}",
    "seed": "a whole number from 0 to 2^63 - 1, or leave it out: a question without one gets the same answer each time",
    "max_tokens": f"a whole number from 1 to {MOST_TOKENS}",
    "max_completion_tokens": f"a whole number from 1 to {MOST_TOKENS}",
    "temperature": "a number from 0 (the likeliest token) to 2",
    "top_p": "a number above 0 and at most 1 (for the likeliest token alone: temperature 0)",
    "stop": f"a text, or a list of at most {MOST_STOPS}, each of 1 to 1000 characters",
    "stream": "true or false",
    "bad_words": f"a list of at most {len(VISION_TOKENS)} of {', '.join(VISION_TOKENS)}",
}
"""What can be given for a field, in words."""


def read_body(data: bytes) -> Body:
    """A body by its fields.

    Raises:
        BadRequest: it isn't JSON, or a field can't be taken.
    """
    try:
        values = loads(data)
    except ValueError as error:
        raise BadRequest(f"the request isn't JSON ({shown_fault(error)})") from None
    if not isinstance(values, dict):
        raise BadRequest("the request isn't a JSON object")
    for name in [name for name in values if name not in Body.model_fields]:
        check_other(name, values.pop(name), Body.model_fields)
    try:
        return Body.model_validate(values)
    except ValidationError as error:
        raise fault_of(error, _EXPECTED) from None
