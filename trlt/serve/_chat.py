"""What a body of `/v1/chat/completions` asks: its turns, how tokens are drawn, and its video. Knows no connections."""

from __future__ import annotations

from dataclasses import dataclass

from trlt.engine.families import Family
from trlt.engine.marks import VISION_TOKENS
from trlt.engine.request_queue import PromptRequest
from trlt.engine.sampling import Sampling
from trlt.recipe import Decoding
from trlt.serve._body import Body, TextPart, Turn
from trlt.serve._frames import decoded, read_frames
from trlt.serve._refusals import BadRequest
from trlt.video.clip import Clip

_HEAD = 200
"""Characters within which an address says what it holds."""
GREEDY = (0.01, 0.001)
"""Temperature and top-p that stand for a temperature of 0: the likeliest token, as `trlt eval` draws."""
_ONLY = "send the video as a data: address (data:video/mp4;base64,...)"


@dataclass(frozen=True, slots=True)
class Chat:
    """What a body asks, without its video: small enough to be kept while it waits."""

    model: str
    request: PromptRequest
    sampling: Sampling
    stops: tuple[str, ...]
    """Texts before which a completion ends."""
    stream: bool
    usage: bool
    """A streamed answer ends with its tokens' number."""
    token_ids: bool
    """A whole answer has the ids of its tokens."""


def read_chat(
    body: Body, settings: Decoding, *, most_bytes: int, most_tokens: int, family: Family
) -> tuple[Chat, bytes | Clip]:
    """What a body asks, and about which video: a file, or the frames themselves.

    Args:
        body: As sent.
        settings: Fill what it leaves out.
        most_bytes: Largest video.
        most_tokens: Most video tokens of frames that come ready made.
        family: Of the model, to which they must fit.

    Raises:
        BadRequest: no video or several, an address that isn't read, or frames that don't fit.
    """
    system, user, address = _turns(body.messages)
    # The vision tower's marks are never drawn here; other words can't be kept out.
    if unknown := sorted(set(body.bad_words or ()) - set(VISION_TOKENS)):
        raise BadRequest(
            f"bad_words: {unknown} can't be kept out; only {', '.join(VISION_TOKENS)} are", "bad_words", "unsupported_value"
        )
    if body.max_tokens and body.max_completion_tokens and body.max_tokens != body.max_completion_tokens:
        raise BadRequest(
            f"max_tokens: {body.max_tokens} differs from max_completion_tokens ({body.max_completion_tokens}), its newer name; "
            "send one of them",
            "max_tokens",
            "invalid_value",
        )
    temperature, top_p = settings.temperature, settings.top_p
    if body.temperature is not None:
        temperature, top_p = (body.temperature, 1.0) if body.temperature else GREEDY
    if body.top_p is not None and body.temperature != 0:
        top_p = body.top_p
    think = body.chat_template_kwargs.enable_thinking if body.chat_template_kwargs else None
    length = body.max_completion_tokens or body.max_tokens or settings.max_new_tokens
    chat = Chat(
        body.model,
        PromptRequest("", system, user, body.n or 1, think),
        Sampling(temperature, top_p, length, settings.seed if body.seed is None else body.seed),
        tuple(body.stop or ()),
        stream=bool(body.stream),
        usage=bool(body.stream_options and body.stream_options.include_usage),
        token_ids=bool(body.return_token_ids),
    )
    return chat, _video(address, body, most_bytes, most_tokens, family)


def _turns(turns: list[Turn]) -> tuple[str, str, str]:
    """System text, the user's text, and the video's address."""
    *before, last = turns
    if last.role != "user" or len(before) > 1 or any(turn.role == "user" for turn in before):
        roles = ", ".join(turn.role for turn in turns[:6]) + (", …" if len(turns) > 6 else "")
        raise BadRequest(
            f"messages: {len(turns)} came ({roles}): one question is answered, a `user` message, after a `system` message at "
            "most; earlier turns aren't taken",
            "messages",
            "unsupported_value",
        )
    if any(not isinstance(part, TextPart) for turn in before for part in turn.content):
        raise BadRequest("messages[0].content: a video belongs in the user message", "messages[0].content", "invalid_value")
    videos = [part.address for part in last.content if not isinstance(part, TextPart)]
    if len(videos) != 1:
        raise BadRequest(
            f"messages: {len(videos)} videos; the model is asked about exactly one: add one video_url part, and {_ONLY}",
            "messages",
            "invalid_value",
        )
    system, user = (
        "\n".join(part.text for turn in some for part in turn.content if isinstance(part, TextPart))
        for some in (before, [last])
    )
    return system, user, videos[0]


def _video(address: str, body: Body, most_bytes: int, most_tokens: int, family: Family) -> bytes | Clip:
    # Found by its place, not cut off: an address has hundreds of MB.
    comma = address.find(",", 0, _HEAD)
    head = address[: comma if comma >= 0 else _HEAD]
    if not head.lower().startswith("data:"):
        scheme = head.partition(":")[0][:20]
        raise BadRequest(f"video_url: addresses of {scheme!r} aren't opened, neither files nor http; {_ONLY}", "messages")
    media, *_, coding = head[len("data:") :].lower().split(";") if ";" in head else ("", "")
    if comma < 0 or not media.startswith("video/") or coding != "base64":
        raise BadRequest(f"video_url: {head[:60]!r} is no video in base64; {_ONLY}", "messages")
    if media == "video/jpeg":
        return read_frames(address[comma + 1 :], body, most_tokens, family)
    video = decoded(address[comma + 1 :])
    if len(video) > most_bytes:
        raise BadRequest(f"video_url: the video is larger than {most_bytes / 1e6:g} MB", "messages")
    return video
