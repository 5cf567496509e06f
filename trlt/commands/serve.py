"""`trlt serve`: a page on this machine that asks a model about a video, and an OpenAI-compatible endpoint."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from trlt.commands._output import Output
from trlt.commands._setup import limit_threads, quiet, refuse_plain, resolve
from trlt.commands._shared_options import ModelName, Overrides, RecipeFile, Think
from trlt.engine.model import load, locate
from trlt.errors import UsageError
from trlt.recipe import Recipe
from trlt.task.sample import TASKS
from trlt.task.user_question import question_sample

HOST = "127.0.0.1"
PORT = 8765
PEEK_S = 20.0
"""Longest look at whether a file is a video at all."""


def serve(
    *,
    model: ModelName = None,
    recipe_path: RecipeFile = None,
    sets: Overrides = (),
    think: Think = None,
    host: Annotated[str, typer.Option(help="Address to listen on; anything beyond this machine has no password.")] = HOST,
    port: Annotated[int, typer.Option(help="0: a free one.", min=0, max=65535)] = PORT,
    max_mb: Annotated[float, typer.Option(help="Largest video, in megabytes.")] = 200.0,
    keep_minutes: Annotated[float, typer.Option(help="Minutes after which an unused video is deleted.")] = 60.0,
    output: Output,
) -> None:
    """Serves until it is interrupted; see `trlt serve --help`.

    Raises:
        UsageError: flags that can't be used, a port that is taken, or libraries that aren't installed.
        TrltError: a model that isn't found or available, or that differs from the library's own forward.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(f"trlt serve: {error.name} isn't installed; pip install 'trlt[serve]'") from None
    if not max_mb > 0 or not keep_minutes > 0:
        raise UsageError(f"--max-mb {max_mb:g}, --keep-minutes {keep_minutes:g}: both must be above 0")
    recipe = resolve(recipe_path, sets, {"model.path": model, "eval.think": think})
    locate(recipe.model.path)
    refuse_plain(recipe, "eval")
    asked = [question_sample("video", "?", task, ("yes", "no") if task != "grounding" else ()) for task in TASKS]
    for think in (False, True):  # as the page lets one choose
        replace(recipe.form("eval"), think=think).try_out(asked)
    with _bind(host, port) as bound:
        if not _is_loopback(host):
            output.note(
                f"warning: --host {host}: whoever reaches this machine can ask the model and send it videos, without a "
                "password or encryption"
            )
        _run(recipe, host, bound, int(max_mb * 1e6), keep_minutes * 60, output)


def _run(recipe: Recipe, host: str, bound: socket.socket, most_bytes: int, keep_s: float, output: Output) -> None:
    """Loads the model, and serves until it is interrupted."""
    quiet()
    import uvicorn

    from trlt.engine.families import family_of
    from trlt.engine.forest import Engine
    from trlt.serve.app import make_app
    from trlt.serve.connections import Patient
    from trlt.serve.site import Settings
    from trlt.serve.streaming import EngineAnswerer
    from trlt.video.peek import PEEK
    from trlt.video.workers import ClipLoader

    loaded = load(recipe.model)
    limit_threads(loaded.model)
    answerer = EngineAnswerer(Engine(loaded.model, loaded.processor, on_event=output.note, compare_first=True))
    answerer.prove()
    path = Path(recipe.model.path)
    name = path.resolve().name if path.exists() else recipe.model.path
    family = family_of(loaded.model)
    settings = Settings(name, recipe.eval, recipe.form("eval"), host, most_bytes, keep_s, recipe.video.max_tokens, family)
    # One process that can be killed, whatever the recipe says: anyone's file is read. No store: it would keep the frames.
    video = recipe.video.model_copy(update={"workers": 1, "store": None, "downloads": None})
    quick = video.model_copy(update={"timeout_s": PEEK_S})
    with ClipLoader(video, family.geometry) as loader, ClipLoader(quick, family.geometry, decoder=PEEK) as peeker:
        address = bound.getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        config = uvicorn.Config(
            make_app(answerer, loader.load, peeker.load, settings),
            http=Patient,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=2,
        )
        bound.listen()  # whoever reads the next line may connect at once
        output.show(f"Serving {name} at http://{shown}:{address[1]} (end with Ctrl-C)")
        try:
            uvicorn.Server(config).run(sockets=[bound])
        except KeyboardInterrupt:
            return  # the usual end


def _bind(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        UsageError: it can't.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, OverflowError, UnicodeError) as error:
        raise UsageError(f"--host {host}: no address of this machine ({getattr(error, 'strerror', error)})") from None
    bound = socket.socket(found[0], found[1])
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(found[4])
    except OSError as error:
        bound.close()
        raise UsageError(
            f"{host}:{port}: can't be listened on ({error.strerror}); give another --port, or 0 for a free one"
        ) from None
    return bound


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
