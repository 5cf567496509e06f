"""Whoever asks by halves, stalls or doesn't read is given up, keeps nobody else out, and is told in OpenAI's form."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import pytest
from running import Scripted, wait_for

from trlt.serve import connections, guard, uploads, worker


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def server(run):
    return run(Scripted("one ", "two"))


@pytest.fixture
def many():
    """Opens raw connections that say some bytes; they close with the test."""
    with contextlib.ExitStack() as stack:

        def start(server, count: int, said: bytes) -> list[socket.socket]:
            made = []
            for _ in range(count):
                made.append(stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20)))
                made[-1].sendall(said)
            return made

        yield start


def answer(connection: socket.socket) -> tuple[int, dict[str, str], dict]:
    """Status, headers and JSON of whatever comes until the connection closes; status 0 where nothing does."""
    data = b""
    while block := connection.recv(65536):
        data += block
    if not data:
        return 0, {}, {}
    head, _, content = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, json.loads(content)


def begun(server, size: int = 900, path: str = "/api/videos") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {size}\r\n\r\n".encode()


def test_half_requests_keep_nobody_out(server, many):
    many(server, 40, b"")
    many(server, 70, f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nX-Slow: ".encode())
    began = time.monotonic()
    assert server.call("GET", "/v1/models")[0] == 200 and time.monotonic() - began < 5 < connections.HEAD_S


def test_half_requests_are_given_up(server, many, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    [silent, half] = [*many(server, 1, b""), *many(server, 1, b"GET /v1/models HTTP/1.1\r\nHost: ")]
    began = time.monotonic()
    assert answer(silent)[0] == 0
    status, headers, values = answer(half)
    assert status == 408 and headers["connection"] == "close" and values["error"]["message"] == "no whole request in 0.3 s"
    assert values["error"]["type"] == "invalid_request_error" and time.monotonic() - began < 5
    # A second one on a connection that is kept, drop by drop: each byte doesn't begin the time anew.
    [kept] = many(server, 1, f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
    assert b"200 OK" in kept.recv(65536)
    began = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - began < 5:
            kept.sendall(b"G")
            time.sleep(0.05)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("path", ["/api/videos", "/v1/chat/completions", "/api/ask"])
def test_stalled_bodies_are_given_up(server, many, monkeypatch, folder, path):
    monkeypatch.setattr(guard, "SILENCE_S", 0.3)
    [stalled] = many(server, 1, begun(server, path=path) + b"abc")
    status, headers, values = answer(stalled)
    assert status == 408 and headers["connection"] == "close"
    assert values["error"]["message"] == "the rest of the request didn't come (3 bytes did)"
    wait_for(lambda: not [one for one in folder.rglob("*") if one.is_file()], "its end")


def test_bodies_that_trickle_are_given_up(server, many, monkeypatch):
    monkeypatch.setattr(guard, "BODY_S", 0.5)
    [slow] = many(server, 1, begun(server))
    began = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - began < 5:
            slow.sendall(b"x")
            time.sleep(0.05)
    assert 0.4 < time.monotonic() - began < 5


def test_a_refused_body_is_not_read_without_end(run, many, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    server = run(Scripted(), most_bytes=1000)
    [large] = many(server, 1, begun(server, 10**9) + b"x")
    assert b"413" in large.recv(65536)
    began = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - began < 5:
            large.sendall(b"x" * 1000)
            time.sleep(0.05)
    assert time.monotonic() - began < 5


def test_whoever_reads_nothing_is_given_up(run, many, video, monkeypatch):
    monkeypatch.setattr(connections, "READ_S", 0.3)
    server = run(Scripted(*["x" * 4_000_000] * 4))
    id = server.upload(video.read_bytes())
    sent = json.dumps({"video": id, "task": "free", "question": "what?"}).encode()
    [deaf] = many(server, 1, begun(server, len(sent), "/api/ask") + sent)
    wait_for(lambda: server.answerer.asked)
    wait_for(lambda: not server._server.server_state.connections, "the end of the connection")
    data = b""
    with contextlib.suppress(OSError):
        while block := deaf.recv(1 << 20):
            data += block
    assert data.startswith(b"HTTP/1.1 200") and b'"kind": "done"' not in data


def test_whoever_waits_for_an_answer_is_not_given_up(run, video, monkeypatch):
    for module, name in ((connections, "HEAD_S"), (connections, "READ_S"), (guard, "SILENCE_S"), (guard, "BODY_S")):
        monkeypatch.setattr(module, name, 0.2)
    server = run(Scripted("one ", "two", held=True))
    id = server.upload(video.read_bytes())
    sent = json.dumps({"video": id, "task": "free", "question": "what?"})
    connection, response = server.open("POST", "/api/ask", sent, Content_Type="application/json")
    wait_for(lambda: server.answerer.asked)
    time.sleep(0.5)
    server.answerer.go.set()
    assert b'"kind": "done"' in response.read()
    connection.close()


def test_too_many_requests_are_told_when_to_come_back(server, many, monkeypatch):
    monkeypatch.setattr(guard, "MOST_REQUESTS", 2)
    many(server, 2, begun(server) + b"abc")
    wait_for(lambda: server.call("GET", "/v1/models")[0] == 503, "the limit")
    connection, response = server.open("GET", "/v1/models")
    assert response.headers["Retry-After"] == "5" and json.loads(response.read())["error"]["type"] == "server_error"
    connection.close()


def test_a_full_line_says_when_to_come_back(run, video, monkeypatch):
    monkeypatch.setattr(worker, "MOST_WAITING", 0)
    server = run(Scripted("one"))
    body = json.dumps({"video": server.upload(video.read_bytes()), "task": "free", "question": "what?"})
    connection, response = server.open("POST", "/api/ask", body, Content_Type="application/json")
    assert (
        response.status == 503 and response.headers["Retry-After"] == "1" and "too many questions" in response.read().decode()
    )
    connection.close()


SERVED = "only /v1/chat/completions and /v1/models are served"


@pytest.mark.parametrize(
    "method, path, status, message, allow",
    [
        ("GET", "/nothing", 404, "/nothing: no such path", None),
        ("GET", "/v1/nothing", 404, f"/v1/nothing: no such path; {SERVED}", None),
        ("POST", "/v1/completions", 404, f"/v1/completions: no such path; {SERVED}", None),
        ("GET", "/v1/chat/completions", 405, "/v1/chat/completions: GET isn't taken here", "POST"),
        ("DELETE", "/v1/models", 405, "/v1/models: DELETE isn't taken here", "GET, HEAD"),
        ("PUT", "/api/videos", 405, "/api/videos: PUT isn't taken here", "POST"),
    ],
)
def test_unknown_paths_and_methods_are_told_in_openais_form(server, method, path, status, message, allow):
    connection, response = server.open(method, path)
    assert response.status == status and response.headers["Content-Type"] == "application/json"
    assert json.loads(response.read()) == {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    }
    got = response.headers["Allow"]
    assert (sorted(got.split(", ")) if got else None) == (allow.split(", ") if allow else None)
    connection.close()


def test_what_is_no_http_is_told_in_openais_form(server, many):
    [odd] = many(server, 1, b"\x16\x03\x01 hello\r\n\r\n")
    status, _, values = answer(odd)
    assert status == 400 and values["error"]["type"] == "invalid_request_error"
