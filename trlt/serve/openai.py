"""The OpenAI-compatible endpoint: chat completions about a video, whole or streamed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trlt.errors import VideoError
from trlt.serve import _replies
from trlt.serve._body import read_body
from trlt.serve._chat import Chat, read_chat
from trlt.serve._refusals import BadRequest
from trlt.serve.guard import BodyTooLarge, EventStream, bounded_body, error_response, error_values, sent_event
from trlt.serve.memory import Memory, MemoryFull
from trlt.serve.site import Site
from trlt.serve.uploads import Full, Unstorable
from trlt.serve.worker import Busy, Event, Events, Failed, Finished, Piece, VideoQuestion, VideoRead
from trlt.video.clip import Clip

T = TypeVar("T")
_MARGIN = 1 << 20
"""Bytes that a body may have beside its video."""
MOST_BODIES = 4
"""As many of the largest bodies may be in memory at once, or more that are smaller; frames that wait count, too."""


class OpenAI:
    """`/v1/models`, `/v1/models/{id}` and `/v1/chat/completions`.

    Args:
        site: What requests are answered with.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._since = int(time.time())
        self._most_body = site.settings.most_bytes * 4 // 3 + _MARGIN
        self._memory = Memory(MOST_BODIES * self._most_body)
        self._reading = asyncio.Lock()
        """Held while a body is taken apart, which needs its size several times over."""

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
        if not id:
            return await self._models(request)
        return JSONResponse(self._card()) if id == self._site.settings.model else self._other_model(id)

    def _card(self) -> dict[str, Any]:
        settings = self._site.settings
        # Which family it is, whoever sends ready-made frames must know: the model's config.json can't be seen from elsewhere.
        kind = settings.family.model_types[0]
        return {"id": settings.model, "object": "model", "created": self._since, "owned_by": "trlt", "model_type": kind}

    def _other_model(self, id: str) -> Response:
        message = f"the model {id!r} isn't served here, but {self._site.settings.model!r}"
        return error_response(404, message, param="model", code="model_not_found")

    async def _complete(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "application/json":
            said = f"a request comes as JSON, not as {kind[:60]!r}; send the header Content-Type: application/json"
            return error_response(415, said, code="unsupported_content_type")
        largest = f"{self._site.settings.most_bytes / 1e6:g} MB"
        with contextlib.ExitStack() as held:
            # Beyond `_asked`, nothing has the body any more: a question may wait for long.
            try:
                chat, events = await self._asked(request, held)
            except BodyTooLarge:
                return error_response(413, f"the video is larger than {largest}; start the server with a larger --max-mb")
            except MemoryFull:
                return error_response(503, "too many videos come at once; try again in a moment")
            except BadRequest as error:
                return error_response(400, str(error), param=error.param, code=error.code)
            except _OtherModel as error:
                return self._other_model(str(error))
            except Full as error:
                return error_response(503, str(error))
            except Unstorable as error:
                return error_response(507, str(error))
            except VideoError as error:
                return error_response(400, str(error), param="messages", code="invalid_value")
            except Busy as busy:
                return error_response(503, str(busy), wait_s=busy.wait_s)
            # A status can still be given for a fault of the video, also to whoever wants a stream.
            event = await _unless_gone(request, _first(events, VideoRead, Failed))
            if chat.stream and isinstance(event, VideoRead):
                return EventStream(_chunks(chat, events), held.pop_all())
            if not isinstance(event, Failed):
                event = await _unless_gone(request, _first(events, Finished, Failed))
        if isinstance(event, Failed):
            return error_response(500 if event.ours else 400, event.message)
        assert isinstance(event, Finished)
        return JSONResponse(_replies.whole(chat, event.reply))

    async def _asked(self, request: Request, held: contextlib.ExitStack) -> tuple[Chat, Events]:
        """What is asked, and what happens to it.

        Args:
            request: As it comes.
            held: Gets what is given back once there is an answer: memory, the video, the place in the line.

        Raises:
            BodyTooLarge: it is larger than allowed.
            MemoryFull: there is no room for it now.
            Full: there is no room for its video now.
            Unstorable: the disk doesn't take its video.
            Busy: too many questions wait.
            BadRequest: it can't be asked.
            VideoError: the video is none.
            _OtherModel: of another model.
        """
        site, share = self._site, held.enter_context(self._memory.share())
        data = await bounded_body(request, self._most_body, share.add)
        async with self._reading:
            chat, video = await asyncio.to_thread(self._read, data)
        del data
        if chat.model != site.settings.model:
            raise _OtherModel(chat.model)
        where: Path | Clip
        if isinstance(video, Clip):
            share.keep(video.frames.nbytes)
            where = video
        else:
            upload = await site.take(_one(video), "the video")
            share.keep(0)
            held.callback(site.forget, upload)
            where = upload.path
        events = site.worker.ask(VideoQuestion(where, "the video", chat.request, chat.sampling, chat.stops))
        held.callback(events.close)
        return chat, events

    def _read(self, data: bytes) -> tuple[Chat, bytes | Clip]:
        settings = self._site.settings
        return read_chat(
            read_body(data),
            settings.decoding,
            most_bytes=settings.most_bytes,
            most_tokens=settings.most_tokens,
            family=settings.family,
        )


class _OtherModel(Exception):
    """Another model is asked for; its message is the name."""


async def _chunks(chat: Chat, events: Events) -> AsyncIterator[str]:
    head = _replies.head("chat.completion.chunk", chat.model) | ({"usage": None} if chat.usage else {})
    for index in range(chat.request.n):
        yield sent_event(head | _replies.chunk(index, {"role": "assistant", "content": ""}))
    async for event in events:
        if isinstance(event, Piece):
            yield sent_event(head | _replies.chunk(event.number, {"content": event.text}))
        elif isinstance(event, Failed):
            yield sent_event(error_values(500 if event.ours else 400, event.message))
        elif isinstance(event, Finished):
            for index, completion in enumerate(event.reply.completions):
                yield sent_event(head | _replies.chunk(index, {}, completion))
            if chat.usage:
                yield sent_event(head | {"choices": [], "usage": _replies.usage(event.reply)})
    yield sent_event("[DONE]")


async def _first(events: Events, *kinds: type[Event]) -> Event:
    async for event in events:
        if isinstance(event, kinds):
            return event
    raise AssertionError("a question ends with `Finished` or `Failed`")


async def _unless_gone(request: Request, awaited: Awaitable[T]) -> T:
    """What is awaited.

    Raises:
        ClientDisconnect: whoever asked is gone; what was awaited is cancelled.
    """
    task, gone = asyncio.ensure_future(awaited), asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
