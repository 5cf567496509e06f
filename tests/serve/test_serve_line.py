"""Many at once: a line in which clients' usual numbers find room, what is held meanwhile, and what those beyond are told."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from running import Scripted, wait_for

from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.sampling import Sampling
from trlt.engine.servers.client import Servers
from trlt.errors import ServerError
from trlt.serve import guard, worker
from trlt.serve import openai as endpoint
from trlt.serve.memory import Memory
from trlt.serve.streaming import EngineAnswerer

pytestmark = pytest.mark.usefixtures("folder")
AT_ONCE = 24


def waiting(server, number):
    wait_for(lambda: len(server.worker._waiting) == number, f"a line of {number}")


def test_threads_that_ask_at_once_are_all_answered(run, connect, asked):
    """Not by trying again: all of them are in line together."""
    server = run(Scripted("one", held=True))
    client = connect(server)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = [pool.submit(client.chat.completions.create, **asked) for _ in range(AT_ONCE)]
        try:
            waiting(server, AT_ONCE - 1)
        finally:
            server.answerer.go.set()
        assert [one.result().choices[0].message.content for one in answers] == ["one"] * AT_ONCE


def test_an_asynchronous_client_that_asks_at_once_is_answered(run, asked):
    server = run(Scripted("one ", "two", held=True))

    async def stream(client):
        return "".join(
            [chunk.choices[0].delta.content or "" async for chunk in await client.chat.completions.create(**asked, stream=True)]
        )

    async def whole(client):
        return (await client.chat.completions.create(**asked)).choices[0].message.content

    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
            tasks = [asyncio.create_task(way(client)) for way in (stream, whole) * (AT_ONCE // 2)]
            try:
                await asyncio.to_thread(waiting, server, AT_ONCE - 1)
            finally:
                server.answerer.go.set()
            return await asyncio.gather(*tasks)

    assert asyncio.run(ask()) == ["one two"] * AT_ONCE


def test_a_full_line_is_told_with_the_time_in_which_a_quarter_is_answered(run, connect, asked, monkeypatch):
    monkeypatch.setattr(worker, "MOST_WAITING", 2)
    server = run(Scripted("one", held=True))
    client = connect(server)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(client.chat.completions.create, **asked) for _ in range(3)]
        waiting(server, 2)
        with pytest.raises(openai.InternalServerError, match="503 - too many questions wait already") as fault:
            client.chat.completions.create(**asked)
        server.answerer.go.set()
        assert all(one.result() for one in answers)
    assert fault.value.type == "server_error"
    assert fault.value.response.headers["Retry-After"] == "3", "half a question of 5 s, rounded up"


def test_the_time_follows_what_answers_take(run, connect, asked, monkeypatch):
    server = run(Scripted("one"))
    client = connect(server)
    for _ in range(6):
        client.chat.completions.create(**asked)
    monkeypatch.setattr(worker, "MOST_WAITING", 2)
    server.answerer.go.clear()
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(client.chat.completions.create, **asked) for _ in range(3)]
        waiting(server, 2)
        with pytest.raises(openai.InternalServerError) as fault:
            client.chat.completions.create(**asked)
        server.answerer.go.set()
        assert all(one.result() for one in answers)
    assert fault.value.response.headers["Retry-After"] in ("1", "2"), "5 s before there was an answer"


def test_a_client_that_was_turned_away_comes_back(run, connect, asked, monkeypatch):
    monkeypatch.setattr(worker, "MOST_WAITING", 0)
    server = run(Scripted("one"))
    monkeypatch.setattr(guard, "RETRY_S", 1)

    def let_in(wait_s):
        worker.MOST_WAITING = 1
        slept.append(wait_s)

    slept = []
    monkeypatch.setattr("openai._base_client.time.sleep", let_in)
    assert connect(server, max_retries=2).chat.completions.create(**asked).choices[0].message.content == "one"
    assert slept == [1.0], "as the server said"


def test_questions_that_wait_hold_no_video_in_memory(run, connect, asked, video):
    server = run(Scripted("one", held=True), most_bytes=3_000_000)
    # A box that players skip.
    data = video.read_bytes() + (900_000).to_bytes(4, "big") + b"free" + bytes(899_992)
    asked["messages"][0]["content"][0]["video_url"]["url"] = "data:video/mp4;base64," + base64.b64encode(data).decode()
    body, ways = json.dumps(asked).encode(), []
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(6):
            ways.append(begin(server, body))
            waiting(server, number)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        server.answerer.go.set()
    assert held < 2_000_000, "6 videos of 900 kB"
    for way in ways:
        assert b'"content":"one"' in read(way)


def begin(server, body: bytes, sent: int | None = None) -> socket.socket:
    """A connection that has sent a question, or its beginning."""
    way = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    way.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:sent])
    return way


def read(way: socket.socket) -> bytes:
    data = b""
    while block := way.recv(65536):
        data += block
    way.close()
    return data


def test_bodies_beyond_the_memory_are_told_to_come_back(run, connect, asked, monkeypatch):
    made = []
    monkeypatch.setattr(endpoint, "MOST_BODIES", 1)
    monkeypatch.setattr(endpoint, "Memory", lambda most: made.append(Memory(most)) or made[-1])
    server = run(Scripted("one"), most_bytes=30_000)
    [memory] = made
    assert memory.most == (largest := 40_000 + (1 << 20))
    padded = json.dumps(asked | {"user": "x" * (largest - len(json.dumps(asked | {"user": ""})))}).encode()
    coming = begin(server, padded, -1000)
    wait_for(lambda: memory.used == largest - 1000, "its beginning")
    client = connect(server)
    with pytest.raises(openai.InternalServerError, match="503 - too many videos come at once") as fault:
        client.chat.completions.create(**asked)
    assert fault.value.response.headers["Retry-After"] == "5"
    coming.sendall(padded[-1000:])
    assert b'"content":"one"' in read(coming)
    assert client.chat.completions.create(**asked).choices[0].message.content == "one", "it is given back"
    wait_for(lambda: memory.used == 0, "all of it")


class _Gate(EngineAnswerer):
    """The engine, when it is let."""

    def __init__(self, engine) -> None:
        super().__init__(engine)
        self.go = threading.Event()
        self.go.set()

    def answer(self, *args):
        self.go.wait(20)
        return super().answer(*args)


def test_all_that_probe_asks_at_once_are_in_line(run, tiny, noise_clip):
    """As many as `trlt probe --server` has under way, at a server whose budget is below that of the clip it is tried with."""
    server = run(_Gate(Engine(tiny.model, tiny.processor)), most_tokens=16)
    told = []
    client = Servers([server.url], on_event=told.append)
    client.check()
    trees = [Tree(noise_clip(frames=2, seed=seed), (PromptRequest(str(seed), "Look.", "what"),)) for seed in range(32)]
    server.answerer.go.clear()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(client.generate, trees, Sampling(max_new_tokens=2))
        try:
            waiting(server, 31)
        finally:
            server.answerer.go.set()
        assert len(found.result()) == 32 and told == []


def test_frames_beyond_the_budget_and_the_least_are_refused(run, tiny, noise_clip):
    server = run(EngineAnswerer(Engine(tiny.model, tiny.processor)), most_tokens=16)
    client = Servers([server.url])
    client.check()
    # 2 frames of 476 x 476 have 289 tokens.
    tree = Tree(noise_clip(frames=2, side=476), (PromptRequest("k", "Look.", "what"),))
    with pytest.raises(ServerError, match=r"frames of 476 x 476: .* at most video.max_tokens tokens, 16 here; send smaller or"):
        client.generate([tree], Sampling(max_new_tokens=2))
