"""Questions and answers out of chats, as LLaVA (ShareGPT), ms-swift and TimeChat write them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from trlt.data.own.values import Unusable, literal
from trlt.errors import shown

ASKS = frozenset({"user", "human"})
ANSWERS = frozenset({"assistant", "gpt", "model", "bot", "chatgpt"})
SILENT = frozenset({"system", "tool", "function", "observation"})


class Turn(NamedTuple):
    """A question with its answer."""

    question: str
    answer: str | None
    """None where the chat ends with the question."""


class Chat(NamedTuple):
    """The turns of a chat, and the videos that are named within."""

    turns: list[Turn]
    videos: list[str]


def read_chat(value: Any) -> Chat:
    """The turns of a chat.

    Args:
        value: A list of `{"role": "user", "content": …}`, of `{"from": "human", "value": …}` or of `{"q": …, "a": …}`, or JSON
            of one; content may be a list of parts, of which one is the video.

    Raises:
        Unusable: anything else, or no question.
    """
    if isinstance(value, str):
        value = literal(value.strip())
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Unusable(f"{shown(value)} is no list of turns with role and content, or from and value")
    videos: list[str] = []
    turns: list[Turn] = []
    asked: str | None = None
    for speaker, said in _said(value, videos):
        if speaker in SILENT:
            continue
        if speaker in ASKS:
            if asked is not None:
                turns.append(Turn(asked, None))
            asked = said
        elif speaker not in ANSWERS:
            raise Unusable(f"{shown(speaker)} is neither user nor assistant")
        elif asked is None:
            raise Unusable(f"{shown(said)} answers no question")
        else:
            turns.append(Turn(asked, said))
            asked = None
    if asked is not None:
        turns.append(Turn(asked, None))
    if not turns:
        raise Unusable("holds no question")
    return Chat(turns, videos)


def _said(turns: list[dict[str, Any]], videos: list[str]) -> Iterator[tuple[str, str]]:
    """(speaker, text) of each message; the videos of its parts are added to `videos`."""
    for turn in turns:
        if "q" in turn and "a" in turn:
            yield "user", _words(turn["q"], videos)
            yield "assistant", _words(turn["a"], videos)
            continue
        speaker = turn.get("role", turn.get("from"))
        content = turn.get("content", turn.get("value"))
        if not isinstance(speaker, str) or content is None:
            raise Unusable(f"{shown(turn)} has no role and content, nor from and value")
        yield speaker.lower(), _words(content, videos)


def _words(content: Any, videos: list[str]) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, (dict, str)) for part in content):
        raise Unusable(f"{shown(content)} is neither a text nor a list of parts")
    words = []
    for part in content:
        if isinstance(part, str):
            words.append(part)
        elif isinstance(part.get("text"), str):
            words.append(part["text"])
        else:
            named = part.get("video", part.get("video_url"))
            named = named.get("url") if isinstance(named, dict) else named
            if isinstance(named, str):
                videos.append(named)
    return "\n".join(words)
