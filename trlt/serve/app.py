"""Puts the server together: routes, the model's thread, and the deletion of videos. Binds nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from trlt.serve.guard import Guard, Stalled, error_response
from trlt.serve.openai import OpenAI
from trlt.serve.page import PageRoutes
from trlt.serve.site import Settings, Site
from trlt.serve.streaming import Answerer
from trlt.serve.uploads import Uploads
from trlt.serve.worker import Worker
from trlt.video.clip import Clip

SWEEP_S = 20.0
"""Most seconds between looks for videos that are to be deleted."""


def make_app(answerer: Answerer, load: Callable[[Path], Clip], peek: Callable[[Path], object], settings: Settings) -> ASGIApp:
    """The application: the page under `/`, the endpoint under `/v1`.

    The thread of the model and the folder of the videos live from the start of the application to its end.

    Args:
        answerer: The model.
        load: Reads a video; must survive a hostile one.
        peek: Sees at once whether a file is a video, and raises VideoError where it isn't; as hardy.
        settings: Names and limits.
    """
    site = Site(settings, Worker(answerer, load), Uploads(settings.most_bytes, settings.keep_s), peek)

    @contextlib.asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        site.uploads.open()
        site.worker.start()
        sweeper = asyncio.create_task(_sweep(site.uploads))
        try:
            yield
        finally:
            sweeper.cancel()
            site.worker.close()
            site.uploads.close()

    routes = [*PageRoutes(site).routes(), *OpenAI(site).routes(), Route("/health", _health)]
    handlers: dict[Any, Any] = {HTTPException: _refuse, Stalled: _stalled, ClientDisconnect: _gone, Exception: _ours}
    return Guard(Starlette(routes=routes, lifespan=life, exception_handlers=handlers), settings.host)


async def _sweep(uploads: Uploads) -> None:
    while True:
        await asyncio.sleep(min(SWEEP_S, uploads.keep_s / 2))
        uploads.expire()


async def _refuse(request: Request, error: HTTPException) -> Response:
    """No such path, or not by this method."""
    path = request.url.path
    what = {404: "no such path", 405: f"{request.method} isn't taken here"}.get(error.status_code, error.detail)
    if error.status_code == 404:
        if path.startswith("/v1/"):
            what += "; only /v1/chat/completions and /v1/models are served"
        elif path.startswith(("/models", "/chat/")):
            what += "; the address for OpenAI's clients (base_url) ends in /v1"
    return error_response(error.status_code, f"{path}: {what}", error.headers)


async def _stalled(_: Request, error: Stalled) -> Response:
    return error_response(408, str(error), {"Connection": "close"})


async def _gone(_: Request, __: Exception) -> Response:
    """Whoever asked left before the end of the body; nobody is there to read this."""
    return Response(status_code=400)


async def _ours(_: Request, __: Exception) -> Response:
    return error_response(500, "something went wrong in the server; what, stands in its log")


async def _health(_: Request) -> Response:
    return Response()
