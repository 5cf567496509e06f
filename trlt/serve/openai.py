"""The OpenAI-compatible endpoint: chat completions about a video, whole or streamed."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trlt.errors import VideoError
from trlt.serve._chat import BadRequest, Body, Chat, read_chat
from trlt.serve.guard import BodyTooLarge, EventStream, bounded_body, error_response, sent_event
from trlt.serve.page import fault_of
from trlt.serve.site import Site
from trlt.serve.streaming import PromptReply
from trlt.serve.uploads import Full, Upload
from trlt.serve.worker import Busy, Event, Failed, Finished, Piece, VideoQuestion
from trlt.video.clip import Clip

_MARGIN = 1 << 20
"""Bytes that a body may have beside its video."""


class OpenAI:
    """`/v1/models`, `/v1/models/{id}` and `/v1/chat/completions`.

    Args:
        site: What requests are answered with.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._since = int(time.time())

    def routes(self) -> list[Route]:
        """Path by path."""
        return [
            Route("/v1/models", self._models),
            Route("/v1/models/{id:path}", self._model),  # names of a hub have a slash
            Route("/v1/chat/completions", self._complete, methods=["POST"]),
        ]

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._card()]})

    async def _model(self, request: Request) -> Response:
        id = request.path_params["id"]
        return JSONResponse(self._card()) if id == self._site.settings.model else self._other_model(id)

    def _card(self) -> dict[str, Any]:
        return {"id": self._site.settings.model, "object": "model", "created": self._since, "owned_by": "trlt"}

    def _other_model(self, id: str) -> Response:
        message = f"the model {id!r} isn't served here, but {self._site.settings.model!r}"
        return error_response(404, message, param="model", code="model_not_found")

    async def _complete(self, request: Request) -> Response:
        settings = self._site.settings
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return error_response(415, "a request comes as application/json")
        try:
            data = await bounded_body(request, settings.most_bytes * 4 // 3 + _MARGIN)
            body, chat = await asyncio.to_thread(self._read, data)
            del data
        except BodyTooLarge:
            return error_response(413, f"the video is larger than {settings.most_bytes / 1e6:g} MB")
        except ValidationError as error:
            return error_response(400, fault_of(error))
        except BadRequest as error:
            return error_response(400, str(error))
        if body.model != settings.model:
            return self._other_model(body.model)
        try:
            upload = None if isinstance(chat.video, Clip) else await self._site.take(_one(chat.video), "the video")
        except Full as error:
            return error_response(503, str(error))
        except VideoError as error:
            return error_response(400, str(error))
        try:
            events = self._events(chat, upload)
        except Busy:
            self._forget(upload)
            return error_response(503, "too many questions wait already; try again in a moment")
        if body.stream:
            return EventStream(self._chunks(body, events))
        return await self._whole(request, body, events)

    def _read(self, data: bytes) -> tuple[Body, Chat]:
        settings = self._site.settings
        body = Body.model_validate_json(data)
        return body, read_chat(body, settings.decoding, most_bytes=settings.most_bytes, most_tokens=settings.most_tokens)

    def _events(self, chat: Chat, upload: Upload | None) -> AsyncGenerator[Event]:
        """What happens to a question; afterwards its video is deleted.

        Raises:
            Busy: too many questions wait.
        """
        video = upload.path if upload else chat.video
        assert not isinstance(video, bytes)
        events = self._site.worker.ask(VideoQuestion(video, "the video", chat.request, chat.sampling))

        async def follow() -> AsyncGenerator[Event]:
            with self._site.uploads.held(upload) if upload else contextlib.nullcontext():
                try:
                    async with contextlib.aclosing(events):
                        async for event in events:
                            yield event
                finally:
                    self._forget(upload)

        return follow()

    def _forget(self, upload: Upload | None) -> None:
        if upload is not None:
            self._site.uploads.delete(upload.id)

    async def _whole(self, request: Request, body: Body, events: AsyncGenerator[Event]) -> Response:
        task = asyncio.create_task(_last(events))
        gone = asyncio.create_task(_disconnected(request))
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return Response(status_code=400)  # nobody is there to read it
        last = task.result()
        if isinstance(last, Failed):
            return error_response(500 if last.ours else 400, last.message)
        head = self._head("chat.completion")
        return JSONResponse(head | {"choices": _choices(body, last.reply), "usage": _usage(last.reply)})

    async def _chunks(self, body: Body, events: AsyncGenerator[Event]) -> AsyncIterator[str]:
        head = self._head("chat.completion.chunk")

        def chunk(index: int, delta: Mapping[str, Any], reason: str | None = None) -> str:
            return sent_event(head | {"choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}]})

        for index in range(body.n):
            yield chunk(index, {"role": "assistant", "content": ""})
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, Piece):
                    yield chunk(event.number, {"content": event.text})
                elif isinstance(event, Failed):
                    yield sent_event({"error": {"message": event.message, "type": "server_error", "param": None, "code": None}})
                elif isinstance(event, Finished):
                    for index, completion in enumerate(event.reply.completions):
                        yield chunk(index, {}, "stop" if completion.finished else "length")
                    if body.stream_options and body.stream_options.include_usage:
                        yield sent_event(head | {"choices": [], "usage": _usage(event.reply)})
        yield sent_event("[DONE]")

    def _head(self, kind: str) -> dict[str, Any]:
        id = f"chatcmpl-{secrets.token_hex(12)}"
        return {"id": id, "object": kind, "created": int(time.time()), "model": self._site.settings.model}


def _choices(body: Body, reply: PromptReply) -> list[dict[str, Any]]:
    choices: list[dict[str, Any]] = []
    for index, completion in enumerate(reply.completions):
        choice: dict[str, Any] = {
            "index": index,
            "message": {"role": "assistant", "content": completion.text},
            "logprobs": None,
            "finish_reason": "stop" if completion.finished else "length",
        }
        choices.append(choice | ({"token_ids": list(completion.tokens)} if body.return_token_ids else {}))
    return choices


def _usage(reply: PromptReply) -> dict[str, int]:
    drawn = sum(len(completion.tokens) for completion in reply.completions)
    return {"prompt_tokens": reply.prompt_tokens, "completion_tokens": drawn, "total_tokens": reply.prompt_tokens + drawn}


async def _last(events: AsyncGenerator[Event]) -> Finished | Failed:
    async with contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, (Finished, Failed)):
                return event
    raise AssertionError("a question ends with one of these")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
