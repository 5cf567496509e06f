"""The server in a thread of the tests, a scripted model, and a plain client."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time

import pytest
import uvicorn

from trlt.engine.families import FAMILIES
from trlt.engine.forest import Completion
from trlt.recipe import Eval, Recipe, Video
from trlt.serve.app import make_app
from trlt.serve.connections import Patient
from trlt.serve.site import Settings
from trlt.serve.streaming import Cancelled, PromptReply
from trlt.serve.worker import Worker
from trlt.video.peek import PEEK
from trlt.video.workers import ClipLoader

PATIENCE_S = 20


def wait_for(holds, what: str = "it") -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, f"{what} never came true"
        time.sleep(0.01)


class Scripted:
    """Says the given pieces; with `held`, goes on after the first piece only when `go` is set."""

    def __init__(self, *pieces: str, held: bool = False) -> None:
        self.pieces, self.go = pieces, threading.Event()
        self.asked, self.cancelled = [], 0
        if not held:
            self.go.set()

    def answer(self, clip, request, sampling, write, is_cancelled, stops=()):
        self.asked.append((clip, request, sampling))
        for place, piece in enumerate(self.pieces):
            for number in range(request.n):
                write(number, piece)
            while not place and not self.go.wait(0.01):
                if is_cancelled():
                    self.cancelled += 1
                    raise Cancelled
        text = "".join(self.pieces)
        return PromptReply([Completion(text, (1, 2, 3), True)] * request.n, 40)


class Running:
    """A server on a port of its own."""

    def __init__(
        self,
        answerer,
        *,
        most_bytes=2_000_000,
        keep_s=600.0,
        model="made-model",
        most_tokens=2048,
        peek=None,
        family=FAMILIES[0],
        prompt=None,
        **given,
    ) -> None:
        self.answerer = answerer
        recipe = Recipe.model_validate({"eval": Eval(**given), "prompt": prompt or {}})
        settings = Settings(model, recipe.eval, recipe.form("eval"), "127.0.0.1", most_bytes, keep_s, most_tokens, family)
        self._loader = ClipLoader(Video(max_tokens=64, workers=1), family.geometry)
        self._peeker = ClipLoader(Video(workers=1), family.geometry, decoder=PEEK)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("trlt.serve.app.Worker", self._keep)
            app = make_app(answerer, self._loader.load, peek or self._peeker.load, settings)
        bound = socket.create_server(("127.0.0.1", 0))
        self.port = bound.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            app, http=Patient, log_level="warning", access_log=False, lifespan="on", ws="none", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [bound]}, daemon=True)
        self._thread.start()
        wait_for(lambda: self._server.started, "the start")

    def _keep(self, *args):
        self.worker = Worker(*args)
        return self.worker

    def end(self, release: bool = True) -> None:
        if release and isinstance(self.answerer, Scripted):
            self.answerer.go.set()
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._loader.close()
        self._peeker.close()

    def open(self, method, path, body=None, **headers):
        """(connection, response), with the body unread."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, given)
        return connection, connection.getresponse()

    def call(self, method, path, body=None, **headers):
        """(status, body); JSON is read, and what isn't bytes goes out as JSON."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers = {"Content_Type": "application/json", **headers}
        connection, response = self.open(method, path, body, **headers)
        data = response.read()
        connection.close()
        is_json = "json" in (response.headers.get("Content-Type") or "")
        return response.status, json.loads(data) if is_json else data

    def upload(self, data: bytes) -> str:
        status, values = self.call("POST", "/api/videos?name=some.mp4", data)
        assert status == 200, values
        return values["id"]

    def ask(self, **body):
        """The events of an answer."""
        status, data = self.call("POST", "/api/ask", {"task": "grounding", "question": "a circle is shown", **body})
        return events(data) if status == 200 else (status, data["error"]["message"])


def events(data: bytes):
    lines = [line.removeprefix("data: ") for line in data.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]
