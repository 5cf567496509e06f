"""One answer over HTTP: bounded, whole, and also asked for where a loop runs already."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trlt.files.web import HttpReply, ReplyTooLarge, Unanswered, send


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/here")
        else:
            self.send_response(503 if self.path == "/busy" else 200)
            self.send_header("Content-Length", "9" if self.path == "/torn" else "5")
            self.send_header("Retry-After", "3")
        self.end_headers()
        if self.path == "/trickle":
            for letter in b"hello":
                time.sleep(0.1)
                self.wfile.write(bytes([letter]))
        elif self.path != "/away":
            self.wfile.write(b"hello")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()


def get(url: str, **given: object) -> HttpReply:
    return send("GET", url, **{"timeout_s": 5.0, "most_bytes": 100, **given})  # type: ignore[arg-type]


def test_an_answer(server: str) -> None:
    assert get(server + "/here").content == b"hello"
    busy = get(server + "/busy")
    assert (busy.status, busy.headers["retry-after"], busy.content) == (503, "3", b"hello")
    assert send("POST", server, timeout_s=5, most_bytes=100, body=b"abc").content == b"cba"


def test_only_outside_are_redirections_followed(server: str) -> None:
    assert get(server + "/away").status == 302
    assert get(server + "/away", outside=True).content == b"hello"


def test_into_a_file_goes_what_was_asked_for_and_no_error(server: str) -> None:
    out = io.BytesIO()
    reply = get(server + "/here", into=out)
    assert (reply.status, reply.content, reply.size, out.getvalue()) == (200, b"", 5, b"hello")
    assert get(server + "/busy", into=out).content == b"hello" and out.getvalue() == b"hello"


def test_bounds(server: str) -> None:
    with pytest.raises(ReplyTooLarge):
        get(server + "/here", most_bytes=4)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        get(server + "/trickle", timeout_s=0.25, silence_s=0.2)
    assert 0.25 <= time.monotonic() - began < 5
    with pytest.raises(Unanswered, match="nothing came for 0.05 s"):
        get(server + "/trickle", silence_s=0.05)


def test_what_is_no_whole_answer(server: str) -> None:
    with pytest.raises(Unanswered, match="received 5 bytes, expected 9"):
        get(server + "/torn")
    with pytest.raises(Unanswered, match="Connection refused"):
        get("http://127.0.0.1:9/")
    with pytest.raises(Unanswered):
        get("http://[")


def test_where_a_loop_runs_already(server: str) -> None:
    async def cell() -> bytes:
        return get(server + "/here").content

    assert asyncio.run(cell()) == b"hello"
