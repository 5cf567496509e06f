"""Answers in OpenAI's form, whole and by chunks. Knows completions; no connections."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from trlt.engine.forest import Completion
from trlt.serve._chat import Chat
from trlt.serve.streaming import PromptReply


def head(kind: str, model: str) -> dict[str, Any]:
    """What a whole answer, or each of its chunks, begins with."""
    return {"id": f"chatcmpl-{secrets.token_hex(12)}", "object": kind, "created": int(time.time()), "model": model}


def whole(chat: Chat, reply: PromptReply) -> dict[str, Any]:
    """A whole answer."""
    choices = [_choice(index, one, ids=chat.token_ids) for index, one in enumerate(reply.completions)]
    return head("chat.completion", chat.model) | {"choices": choices, "usage": usage(reply)}


def chunk(index: int, delta: Mapping[str, Any], ended: Completion | None = None) -> dict[str, Any]:
    """What a chunk has of one completion; with `ended`, its last."""
    return {"choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": ended and _reason(ended)}]}


def usage(reply: PromptReply) -> dict[str, int]:
    """How many tokens there were."""
    drawn = sum(len(completion.tokens) for completion in reply.completions)
    return {"prompt_tokens": reply.prompt_tokens, "completion_tokens": drawn, "total_tokens": reply.prompt_tokens + drawn}


def _choice(index: int, completion: Completion, *, ids: bool) -> dict[str, Any]:
    message = {"role": "assistant", "content": completion.text}
    choice = {"index": index, "message": message, "logprobs": None, "finish_reason": _reason(completion)}
    return choice | ({"token_ids": list(completion.tokens)} if ids else {})


def _reason(completion: Completion) -> str:
    return "stop" if completion.finished else "length"
