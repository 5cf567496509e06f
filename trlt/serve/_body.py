"""The fields of a body of `/v1/chat/completions`: which are taken, which at a value that changes nothing, which not at all.

What would change the answer and isn't done here is refused: ignoring it would give another answer than was asked for. Knows
JSON; no connections, videos or frames.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from trlt.engine.marks import VISION_TOKENS
from trlt.files.bounded_json import loads, shown_fault

MOST_TOKENS = 8192
MOST_COMPLETIONS = 16
MOST_STOPS = 4
_SHOWN = 60
"""Characters of a value that an error repeats."""

_SAMPLED = "tokens are drawn by temperature and top_p alone"
_TOOLS = "the model calls no tools"
_TEXT = "the answer is a text"
_NEUTRAL: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "frequency_penalty": ((0,), _SAMPLED),
    "presence_penalty": ((0,), _SAMPLED),
    "repetition_penalty": ((1,), _SAMPLED),
    "top_k": ((-1, 0), _SAMPLED),
    "min_p": ((0,), _SAMPLED),
    "logit_bias": (({},), _SAMPLED),
    "logprobs": ((False,), "answers come without log-probabilities"),
    "top_logprobs": ((0,), "answers come without log-probabilities"),
    "tools": (([],), _TOOLS),
    "tool_choice": (("none", "auto"), _TOOLS),
    "functions": (([],), _TOOLS),
    "function_call": (("none", "auto"), _TOOLS),
    "web_search_options": ((), _TOOLS),
    "response_format": (({"type": "text"},), _TEXT),
    "modalities": ((["text"],), _TEXT),
    "audio": ((), _TEXT),
    "verbosity": (("medium",), "the question says how long the answer is to be"),
    "reasoning_effort": (("none",), "the question says whether to reason"),
    "prediction": ((), "an expected answer isn't looked at"),
    "moderation": ((), "answers aren't judged"),
    "store": ((False,), "answers aren't kept"),
    "service_tier": (("auto", "default"), "every question waits in one line"),
    "skip_special_tokens": ((False,), "texts come with their special tokens"),
}
"""By field: the values at which it changes nothing, and why others aren't supported."""
_UNREAD = {"metadata", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"} | {
    "safety_identifier",
    "user",
}
"""Fields that change no answer whatever their value: of whoever asks, of bills and caches, and of tools that aren't there."""


class BadRequest(Exception):
    """What was sent can't be asked.

    Args:
        message: For a person; names the field.
        param: The field.
        code: Kind of the fault, as OpenAI names it.
    """

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        # Half a surrogate pair, which JSON can hold, can't be sent back as UTF-8.
        super().__init__(_sendable(message))
        self.param, self.code = param and _sendable(param), code


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


class _FrameSource(_Strict):
    """What a client says of frames that it sends ready made."""

    num_frames: Literal[-1]
    fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    do_sample_frames: Literal[False]
    total_num_frames: int
    frames_indices: list[int]
    duration: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _FrameIo(_Strict):
    video: _FrameSource


class _Processor(_Strict):
    fps: float
    do_sample_frames: Literal[False]
    do_resize: Literal[False]


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
_PARTS = {
    "image_url": "pictures aren't taken; the question is about one video: send it as a `video_url` part",
    "input_audio": "sounds aren't taken; the question is about one video: send it as a `video_url` part",
}
_OTHER_PART = "a part is a `text`, a `video_url` or a `file` with `file_data`"
_OTHER_ROLE = "one question is answered, with a `system` message before it at most; earlier turns and tools aren't taken"


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
    for name, value in values.items():
        _check(name, value)
    try:
        return Body.model_validate({name: value for name, value in values.items() if name in Body.model_fields})
    except ValidationError as error:
        raise _fault(error) from None


def _check(name: str, value: Any) -> None:
    """Refuses a field that isn't known, or that asks for what isn't done here."""
    if name in Body.model_fields or name in _UNREAD:
        return
    if name not in _NEUTRAL:
        near = get_close_matches(name, [*Body.model_fields, *_NEUTRAL], 1)
        raise BadRequest(
            f"{name[:_SHOWN]}: no such field is known here, and ignoring it could give another answer than was asked for; "
            + (f"write {near[0]}, or leave it out" if near else "leave it out"),
            name[:_SHOWN],
            "unknown_parameter",
        )
    neutral, reason = _NEUTRAL[name]
    # By type too: true is 1 for Python.
    if value is None or any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in neutral):
        return
    remedy = " or send " + " or ".join(map(json.dumps, neutral)) if neutral else ""
    raise BadRequest(
        f"{name}: {_shown(value)} isn't supported here, as {reason}; leave it out{remedy}", name, "unsupported_value"
    )


def _fault(error: ValidationError) -> BadRequest:
    """What is wrong with a field, in words."""
    faults = error.errors(include_url=False)
    # A field too many says more than the one that it stands in place of.
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    place, kind = _place(fault["loc"]), fault["type"]
    names = [part for part in place if isinstance(part, str)]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    if names[-1] == "file_id":
        said = "files aren't kept here; send the video itself as `file_data` (data:video/mp4;base64,...)"
    elif kind == "missing":
        said = "is missing" + (f"; give {_EXPECTED[names[0]]}" if names == place and names[0] in _EXPECTED else "")
    elif kind == "extra_forbidden":
        said = "no such field is known here; leave it out"
    elif kind == "union_tag_invalid":
        tag = str(fault["ctx"]["tag"])
        said = _PARTS.get(tag, f"{tag[:_SHOWN]!r} isn't taken; {_OTHER_PART}")
    elif kind == "union_tag_not_found":
        said = f"`type` is missing; {_OTHER_PART}"
    elif names[-1] == "role":
        said = f"{_shown(fault['input'])}: {_OTHER_ROLE}"
    elif names[-1] == "content":
        said = "give a text, or a list of parts"
    elif names[0] in _EXPECTED and len(names) == 1:
        said = f"{_shown(fault['input'])} can't be taken; give {_EXPECTED[names[0]]}"
    else:
        said = f"{_shown(fault['input'])} can't be taken ({fault['msg']})"
    return BadRequest(f"{where}: {said}", where, "missing_required_parameter" if kind == "missing" else "invalid_value")


def _place(loc: tuple[int | str, ...]) -> list[int | str]:
    """Where a fault is, without the kind of a part, which pydantic names, too: `content, 0, text` is `content, 0`."""
    place = list(loc)
    if place[:1] == ["messages"] and place[2:3] == ["content"] and len(place) > 4:
        del place[4]
    return place


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
