"""What is said of a request that can't be asked: of fields that aren't done here, and of values that don't fit.

What would change the answer and isn't done here is refused: ignoring it would give another answer than was asked for. Knows
names and values of fields; no videos or connections.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

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


_PARTS = {
    "image_url": "pictures aren't taken; the question is about one video: send it as a `video_url` part",
    "input_audio": "sounds aren't taken; the question is about one video: send it as a `video_url` part",
}
_OTHER_PART = "a part is a `text`, a `video_url` or a `file` with `file_data`"
_OTHER_ROLE = "one question is answered, with a `system` message before it at most; earlier turns and tools aren't taken"


def check_other(name: str, value: Any, fields: Collection[str]) -> None:
    """Takes a field that changes no answer, by its name or its value.

    Args:
        name: Of the field.
        value: What it asks for.
        fields: The fields that do shape an answer, which may be meant.

    Raises:
        BadRequest: it isn't known, or asks for what isn't done here.
    """
    if name in _UNREAD:
        return
    if name not in _NEUTRAL:
        near = get_close_matches(name, [*fields, *_NEUTRAL], 1)
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


def fault_of(error: ValidationError, expected: Mapping[str, str]) -> BadRequest:
    """What is wrong with a field, in words.

    Args:
        error: Of the whole body.
        expected: By field, what can be given for it.
    """
    faults = error.errors(include_url=False)
    # A field too many says more than the one that it stands in place of.
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    place, kind = _place(fault["loc"]), fault["type"]
    names = [part for part in place if isinstance(part, str)]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    if names[-1] == "file_id":
        said = "files aren't kept here; send the video itself as `file_data` (data:video/mp4;base64,...)"
    elif kind == "missing":
        said = "is missing" + (f"; give {expected[names[0]]}" if names == place and names[0] in expected else "")
    elif kind == "extra_forbidden":
        said = "no such field is known here; leave it out"
    elif kind == "union_tag_invalid":
        tag = str(fault["ctx"]["tag"])
        said = _PARTS.get(tag, f"{tag[:_SHOWN]!r} isn't taken; {_OTHER_PART}")
    elif kind == "union_tag_not_found":
        said = f"`type` is missing; {_OTHER_PART}"
    elif kind == "model_type":
        said = f"{_shown(fault['input'])} can't be taken; give an object"
    elif names[-1] == "role":
        said = f"{_shown(fault['input'])}: {_OTHER_ROLE}"
    elif names[-1] == "content":
        said = "give a text, or a list of parts"
    elif names[0] in expected and len(names) == 1:
        said = f"{_shown(fault['input'])} can't be taken; give {expected[names[0]]}"
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
