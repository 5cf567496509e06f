"""Servers in place of the engine: what is sent, how faults are met, and that one which doesn't see the video is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_clips import pool
from served import Fake

from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.sampling import Sampling
from trlt.engine.servers import asking
from trlt.engine.servers.client import Limits, ServerError, Servers
from trlt.engine.servers.messages import UNKNOWN
from trlt.engine.servers.sglang import START
from trlt.errors import ModelError, UsageError
from trlt.files import server_call as _transport
from trlt.files.server_call import ServerAddress
from trlt.recipe import Probe, Recipe, Video
from trlt.rollout import read_rows, run
from trlt.video.resolve import VideoIndex
from trlt.video.workers import ClipLoader

HASTY = Limits(timeout_s=2.5, backoff_s=0.01, health_s=0.1, patience_s=2.0)
SAMPLING = Sampling(temperature=1.0, top_p=0.99, max_new_tokens=8, seed=5)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("TRLT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def trees(noise_clip):
    """Three clips with questions about each; the last one longer than the 32 frames that vLLM takes unasked."""
    clips = [noise_clip(frames=8), noise_clip(frames=4, side=84, seed=1, fps=3.7), noise_clip(frames=40, seed=2, fps=0.27)]
    asked = [
        Tree(c, tuple(PromptRequest(f"s{i}{k}", "system", f"question {i}{k}", 3) for k in range(2)))
        for i, c in enumerate(clips)
    ]
    return asked


def checked(*fakes: Fake, limits: Limits = HASTY, **changes) -> Servers:
    servers = Servers([one.url for one in fakes], limits=limits, **changes)
    servers.check()
    return servers


def digest(clip) -> str:
    return hashlib.sha256(np.ascontiguousarray(clip.frames).tobytes()).hexdigest()


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_frames_arrive_as_they_were_sent_with_their_rate(fake, trees, kind):
    server = fake("--kind", kind)
    servers = checked(server)
    done = servers.generate(trees, SAMPLING)
    assert [[len(r) for r in tree] for tree in done] == [[3, 3]] * 3
    rates = {digest(tree.clip): tree.clip.sample_fps for tree in trees}
    assert {entry["frames"] for entry in server.log} == set(rates)
    for entry in server.log:
        assert entry["fps"] == pytest.approx(rates[entry["frames"]], rel=3e-7 if kind == "vllm" else 1e-4)
    assert len(server.log) == (6 if kind == "vllm" else 18), "several completions by one request where that is sound"
    assert servers.identity() == {"served": "tuned"}
    assert servers.describe() == [{"url": server.url, "kind": kind}]
    ids = {token for tree in done for r in tree for one in r for token in one.tokens}
    assert ids and UNKNOWN not in ids
    assert {one.finished for tree in done for r in tree for one in r} == {True, False}


def test_answers_depend_on_the_request_alone(fake, trees):
    one, two = fake(), fake()
    alone = checked(one).generate(trees, SAMPLING)
    assert checked(one, two).generate(trees[::-1], SAMPLING, max_sequences=1) == alone[::-1]
    other = checked(two).generate(trees, Sampling(max_new_tokens=8, seed=6))
    assert [[[c.text for c in r] for r in t] for t in other] != [[[c.text for c in r] for r in t] for t in alone]


def test_one_by_one_draws_the_same_seeds(fake, trees):
    together, single, countless = fake(), fake(), fake()
    single.control(traits=["one"])
    countless.control(traits=["countless"])
    texts = [
        [[[c.text for c in r] for r in tree] for tree in checked(server).generate(trees, SAMPLING)]
        for server in (together, single, countless)
    ]
    assert texts[0] == texts[1] == texts[2]
    assert {entry["n"] for entry in together.log} == {3}
    assert {entry["n"] for entry in single.log} == {entry["n"] for entry in countless.log} == {1}


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_ids_that_a_server_does_not_tell_are_counted(fake, trees, kind):
    server = fake("--kind", kind)
    server.control(traits=["countless"])
    done = checked(server).generate(trees[:1], SAMPLING)
    assert {one.tokens for r in done[0] for one in r} == {(UNKNOWN,) * 5}


def test_a_server_that_stops_taking_n_is_asked_one_by_one(fake, trees):
    server = fake()
    servers = checked(server)
    before = servers.generate(trees, SAMPLING)
    server.control(traits=["one"])
    after = servers.generate(trees, SAMPLING)
    assert [[[c.text for c in r] for r in t] for t in after] == [[[c.text for c in r] for r in t] for t in before]


def test_many_at_once_within_the_limit(fake, trees):
    server = fake()
    server.control(traits=["slow"])
    ended = []
    list(checked(server, limits=Limits(concurrency=4)).stream(trees, SAMPLING, ended=ended.append))
    assert sum(ended) == sum(one.n for tree in trees for one in tree.requests)
    assert 2 <= server.seen()["most"] <= 4


@pytest.mark.parametrize("fault", ["500", "cut", "json", "html", "shape", "abort", "hang", "trickle", "reset"])
def test_what_passes_is_tried_again(fake, trees, fault):
    server = fake()
    servers = checked(server)
    server.control(queue=[fault, fault])
    assert [len(r) for tree in servers.generate(trees, SAMPLING) for r in tree] == [3] * 6


def test_a_busy_server_is_given_the_time_that_it_asks_for(fake, trees):
    server = fake()
    notes: list[str] = []
    servers = checked(server, on_event=notes.append)
    server.control(queue=["429 0.3"] * 8)
    began = time.monotonic()
    servers.generate(trees[:1], SAMPLING)
    assert time.monotonic() - began > 0.9 and not notes, "a busy server isn't a failing one"


def test_patience_with_busy_servers_ends(fake, trees):
    server = fake()
    servers = checked(server, limits=Limits(patience_s=0.5, health_s=0.1))
    server.control(queue=["429 0.1"], traits=["429 0.1"])
    with pytest.raises(ServerError, match=r"(?s)no server could be used for 0.5 s.*429 Too Many Requests: queue is full"):
        servers.generate(trees, SAMPLING)


NEVER_ENDING = ["continue", "slow status", "slow headers", "slow chunks", "slow trailers", "slow body"]


@pytest.mark.parametrize("fault", NEVER_ENDING)
def test_answers_that_trickle_end_in_time(fake, trees, fault):
    server = fake()
    servers = checked(server, limits=replace(HASTY, timeout_s=1.5))
    server.control(queue=[f"raw {fault}"])
    began = time.monotonic()
    assert len(servers.generate(trees[:1], SAMPLING)[0]) == 2
    assert 1.5 <= time.monotonic() - began < 5


@pytest.mark.parametrize("fault", ["endless", "endless chunks"])
def test_answers_without_end_are_not_kept(fake, trees, fault, monkeypatch):
    monkeypatch.setattr(_transport, "MOST_BYTES", 4_000_000)
    server = fake()
    servers = checked(server, limits=replace(HASTY, timeout_s=20.0, attempts=2))
    server.control(queue=[f"raw {fault}"], traits=[f"raw {fault}"])
    with pytest.raises(
        ServerError, match=r"failed 2 times, the last time with: an answer of more than 4 MB, not read to its end"
    ):
        servers.generate(trees[:1], SAMPLING)


def test_an_answer_without_end_takes_no_memory(fake):
    server = fake()
    server.control(queue=["raw endless"])
    tracemalloc.start()
    with pytest.raises(_transport.TransientFault, match="more than 67 MB"):
        _transport.call(ServerAddress.parse(server.url), "/v1/chat/completions", key=None, timeout_s=60.0, body={})
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


CHOICES = (
    '{"index": 0, "message": "hi", "finish_reason": "stop"}',
    '{"index": 0, "message": null, "finish_reason": "stop"}',
    '{"index": 1e999, "message": {"content": "a"}, "finish_reason": "stop"}',
)
ODD = [
    *("[" * 100_000, "[]", "null", '{"choices": 3, "usage": 4}', '{"usage": {"prompt_tokens": 1e999, "completion_tokens": 1}}'),
    *('{"usage": {"prompt_tokens": 9, "completion_tokens": 1}, "choices": [' + choice + "]}" for choice in CHOICES),
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_json_that_is_no_answer_is_a_fault_that_passes(fake, trees, odd):
    server = fake()
    servers = checked(server)
    server.control(queue=[f"say {odd}"])
    assert len(servers.generate(trees[:1], SAMPLING)[0]) == 2


@pytest.mark.parametrize(
    "later",
    [*("-5", "0", "-1e9", "1e-9", "1e12", "inf", "nan", "soon", "9" * 400), "Thu, 01 Jan 1970 00:00:00 GMT"]
    + ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 -0000", "Sat, 99 Zzz 99999 25:61:61 +9999"],
)
def test_patience_holds_whatever_a_busy_server_asks_for(fake, trees, later):
    server = fake()
    servers = checked(server, limits=Limits(patience_s=0.4, backoff_s=0.05, health_s=0.1))
    server.control(queue=[f"429 {later}"], traits=[f"429 {later}"])
    began = time.monotonic()
    with pytest.raises(ServerError, match=r"(?s)no server could be used for 0.4 s.*429 Too Many Requests: queue is full"):
        servers.generate(trees[:1], SAMPLING)
    assert 0.4 <= time.monotonic() - began < 3


def test_a_busy_server_is_not_asked_over_and_over(fake, trees, monkeypatch):
    server = fake()
    servers = checked(server, limits=Limits(patience_s=0.5, backoff_s=0.1, health_s=0.1, concurrency=1))
    server.control(queue=["429 -5"], traits=["429 -5"])
    asked = []
    call = asking.call

    def counted(address, path, **more):
        if path != "/health":
            asked.append(path)
        return call(address, path, **more)

    monkeypatch.setattr(asking, "call", counted)
    with pytest.raises(ServerError):
        servers.generate(trees[:1], SAMPLING)
    assert 2 <= len(asked) <= 12


def test_a_server_that_is_gone_leaves_what_it_last_said(fake, trees):
    server = fake()
    # One at a time: of two at once, the one that ends the server may come before the other's answer has been read.
    servers = checked(server, limits=Limits(backoff_s=0.01, health_s=0.1, patience_s=0.4, strikes=5, concurrency=1))
    server.control(queue=["500", "die"], traits=[])
    with pytest.raises(ServerError) as ended:
        servers.generate(trees[:1], SAMPLING)
    last = str(ended.value).splitlines()[-1]
    assert "Connection refused" in last and "; the last that it said was: 500 Internal Server Error: CUDA out of memory" in last


def test_a_failing_server_is_set_aside_and_all_rows_are_answered(fake, trees):
    good, bad = fake(), fake()
    notes: list[str] = []
    servers = checked(good, bad, on_event=notes.append)
    whole = checked(good).generate(trees, SAMPLING)
    bad.control(queue=["500"], traits=["500", "ill"])
    assert servers.generate(trees, SAMPLING) == whole
    assert notes == [f"{bad.url}: set aside (500 Internal Server Error: CUDA out of memory)"]
    assert servers.generate(trees, SAMPLING) == whole
    bad.control()
    time.sleep(0.5)
    servers.generate(trees, SAMPLING)
    assert notes[1:] == [f"{bad.url}: back"]


def test_a_server_that_dies_midway_loses_nothing(fake, trees):
    good, dying = fake(), fake()
    servers = checked(good, dying)
    whole = checked(good).generate(trees, SAMPLING)
    dying.control(queue=["", "die"])
    assert servers.generate(trees, SAMPLING) == whole
    dying.process.wait(timeout=5)


def test_a_dead_server_that_comes_back_goes_on(fake, trees):
    server = fake()
    servers = checked(server, limits=Limits(backoff_s=0.02, health_s=0.1, patience_s=20))
    server.end()
    back: list[Fake] = []
    starter = threading.Timer(0.5, lambda: back.append(fake("--port", str(server.port))))
    starter.start()
    assert len(servers.generate(trees, SAMPLING)) == 3
    starter.join()
    assert len(back[0].log) == 6


def test_when_no_server_is_left_the_run_ends_with_what_to_do(fake, trees):
    server = fake()
    servers = checked(server, limits=Limits(backoff_s=0.01, health_s=0.1, patience_s=0.3))
    server.end()
    with pytest.raises(ServerError, match=r"(?s)no server could be used for 0.3 s; start one, then .*Connection refused"):
        servers.generate(trees, SAMPLING)


def test_where_nobody_listens_any_more_the_run_ends_soon(fake, trees):
    server, other = fake(), fake()
    servers = checked(server, other, limits=Limits(backoff_s=0.01, health_s=0.05, patience_s=60, gone_s=0.4))
    server.control(queue=["500"])
    servers.generate(trees[:1], SAMPLING)
    server.end()
    other.end()
    began = time.monotonic()
    with pytest.raises(ServerError, match=r"(?s)no server could be used for 0.4 s.*the last that it said was: 500 .*CUDA out"):
        servers.generate(trees, SAMPLING)
    assert time.monotonic() - began < 10


def test_a_program_that_is_known_to_have_ended_is_not_waited_for(fake, trees):
    server = fake()
    ends: dict[str, str] = {}
    servers = checked(server, limits=Limits(backoff_s=0.01), gone=ends.get)
    server.end()
    ends[server.url] = "ended with status 1; the end of its log: no room for the cache"
    with pytest.raises(ServerError, match=r"(?s)no server is left.*\n  http:.*: ended with status 1; .*no room for the cache"):
        servers.generate(trees, SAMPLING)


def test_a_request_that_always_fails_is_named(fake, trees):
    server = fake()
    servers = checked(server, limits=Limits(backoff_s=0.01, health_s=0.05, attempts=4))
    server.control(traits=["poisoned"])
    with pytest.raises(ServerError, match=r"sample 's\d\d' failed 4 times, the last time with: 500 .*CUDA out of memory"):
        servers.generate(trees, SAMPLING)


def test_a_refusal_is_not_tried_again(fake, trees):
    server = fake()
    servers = checked(server)
    servers.model = "other"
    with pytest.raises(ServerError, match=rf"{server.url}: refused a request with 404: .*`other` does not.*name of the model"):
        servers.generate(trees[:1], SAMPLING)
    assert not server.log
    servers.model = "tuned"
    server.control(traits=["small"])
    with pytest.raises(ServerError, match="refused a request with 413: Request Entity Too Large; .*video.max_tokens"):
        servers.generate(trees[:1], SAMPLING)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("trait", "words"),
    [
        ("blind", "had 22 tokens there: 80 of its video and 2 to 259 of text were due; it ignores the video"),
        ("cut", "38 more frames added 60 tokens to a prompt, not 76"),
        ("large", "had 342 tokens there: 80 of its video and 2 to 259 of text were due"),
    ],
)
def test_a_server_that_does_not_see_the_frames_is_refused_at_the_start(fake, kind, trait, words):
    server = fake("--kind", kind)
    server.control(traits=[trait])
    with pytest.raises(ServerError, match=words) as error:
        checked(server)
    assert ("--mm-process-config" if kind == "sglang" else "--media-io-kwargs") in str(error.value)


def test_vllm_that_trusts_no_request_is_refused_with_the_flag(fake):
    server = fake()
    server.control(traits=["untrusting"])
    with pytest.raises(ServerError, match=r"400: Per-request mm_processor_kwargs are .*start vLLM with --trust-request-mm-k"):
        checked(server)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_a_server_that_drops_the_rate_is_refused_before_any_work(fake, kind):
    server = fake("--kind", kind)
    server.control(traits=["rateless"])
    with pytest.raises(ServerError, match=r"at 2 and at 0.25 .* differ by 0.0e\+00 at most, .*it drops the rate ") as error:
        checked(server)
    assert ("vLLM 0.31" if kind == "vllm" else START) in str(error.value)
    server.control()
    checked(server)


@pytest.mark.parametrize(
    ("trait", "words"),
    [("few", "greater than max allowed: 0\nWithout log-prob.*--max-logprobs 20"), ("figureless", "gave no log-probabilities")],
)
def test_a_rate_that_cannot_be_proved_is_refused(fake, trait, words):
    server = fake()
    server.control(traits=[trait])
    with pytest.raises(ServerError, match=f"(?s){words}"):
        checked(server)


def test_what_comes_back_is_proved_again(fake, trees):
    server = fake()
    servers = checked(server, limits=Limits(backoff_s=0.01, health_s=0.05, patience_s=1.0))
    # As many as there are requests: an answer that overtakes the third failure would end the row of them.
    server.control(queue=["500"] * sum(len(tree.requests) for tree in trees), traits=["rateless"])
    with pytest.raises(ServerError, match=r"(?s)no server could be used for 1 s.*it drops the rate"):
        servers.generate(trees, SAMPLING)


def test_ids_that_no_text_has_are_kept_out(fake, trees):
    server = fake()
    checked(server).generate(trees, SAMPLING)
    # Of the stand-in's 512 ids the last 12 have no text.
    assert {tuple(entry["biased"]) for entry in server.log} == {tuple(range(500, 512))}
    other = fake("--kind", "sglang")
    checked(other).generate(trees, SAMPLING)
    assert {tuple(entry["biased"]) for entry in other.log} == {()}


@pytest.mark.parametrize("system", ["", "a system text"])
def test_requests_with_and_without_a_system_text(fake, noise_clip, system):
    """Without one, the template leaves its turn out: eight tokens fewer at this server."""
    servers = checked(server := fake())
    [[[completion]]] = servers.generate([Tree(noise_clip(), (PromptRequest("k", system, "?"),))], SAMPLING)
    assert completion.text
    server.control(traits=["cut"])
    with pytest.raises(ServerError, match=f"of its video and {24 if system else 13} to"):
        servers.generate([Tree(noise_clip(frames=40), (PromptRequest("k", system, "?"),))], SAMPLING)


def test_weights_of_another_rule_are_refused_where_they_can_be_seen(fake, tmp_path):
    (tmp_path / "config.json").write_text('{"text_after_video": "library"}')
    server = fake("--root", str(tmp_path))
    with pytest.raises(ServerError, match=rf"its model {tmp_path} says text_after_video: library .*`trlt serve`"):
        checked(server)
    (tmp_path / "config.json").write_text("{}")
    checked(server)
    checked(fake("--root", "/a/folder/of/another/machine"))


@pytest.mark.parametrize(
    "video", [{}, {"min_pixels": 784, "do_resize": False}, {"fps": 1000}, {"fps": 1000, "min_pixels": 784}]
)
def test_sglang_that_samples_or_resizes_is_refused(fake, video):
    server = fake("--kind", "sglang", "--mm-process-config", json.dumps({"video": video}))
    with pytest.raises(ServerError, match="tokens there|tokens to a prompt") as error:
        checked(server)
    assert START in str(error.value)


def test_sglang_started_as_told_sees_every_frame_in_its_size(fake, noise_clip):
    told = re.search(r"PYTHONPATH=(\S+) .*=trlt_sglang .* --mm-process-config '(.+)'", START)
    assert told and (Path(told[1]) / "trlt_sglang" / "rate.py").is_file()
    server = fake("--kind", "sglang", "--mm-process-config", told[2])
    # The smallest frames, the slowest and the fastest, more than 768 of them, and the largest.
    asked = ((34, 28, 0.027), (900, 28, 30.0), (2, 28, 2.0), (2, 756, 2.0))
    clips = [noise_clip(frames=frames, side=side, fps=fps, seed=k) for k, (frames, side, fps) in enumerate(asked)]
    trees = [Tree(clip, (PromptRequest("a", "system", "question", 1),)) for clip in clips]
    checked(server, limits=replace(HASTY, timeout_s=60.0)).generate(trees, SAMPLING)
    assert {entry["frames"] for entry in server.log} == {digest(clip) for clip in clips}


def test_sglang_does_not_take_one_rate_for_another(fake, noise_clip):
    """It keeps prompts by their pixels: the same frames, asked about again, would be seen at their first rate."""
    server = fake("--kind", "sglang")
    slow, fast = noise_clip(frames=8, fps=0.5), noise_clip(frames=8, fps=2.0)
    assert digest(slow) == digest(fast)
    for clip in (slow, fast):
        checked(server).generate([Tree(clip, (PromptRequest("a", "system", "question", 1),))], SAMPLING)
    assert list(dict.fromkeys(entry["fps"] for entry in server.log)) == [0.5, 2.0]


@pytest.mark.parametrize("trait", ["blind", "cut"])
def test_and_later_on_by_each_answer(fake, trees, trait):
    server = fake()
    servers = checked(server)
    server.control(traits=[trait])
    with pytest.raises(ServerError, match=rf"{server.url}: the prompt of sample 's.* tokens there: \d+ of its video and 23 to"):
        servers.generate(trees, SAMPLING)


def test_reasoning_must_stay_in_the_text_and_end_marks_go(fake, trees):
    server = fake()
    servers = checked(server)
    server.control(traits=["marked"])
    finished = [c for tree in servers.generate(trees, SAMPLING) for r in tree for c in r if c.finished]
    assert finished and all(c.text.endswith("</answer>") for c in finished)
    server.control(traits=["reasons"])
    with pytest.raises(ServerError, match=f"{server.url}: the server takes reasoning .* without --reasoning-parser"):
        servers.generate(trees, SAMPLING)


def test_models_at_the_servers(fake):
    one, other = fake(), fake("--name", "base")
    with pytest.raises(ServerError, match=f"{other.url}: doesn't serve 'tuned', but base; all servers must serve one model"):
        checked(one, other)
    with pytest.raises(ServerError, match="doesn't serve 'huge', but tuned"):
        checked(one, model="huge")
    other.end()
    notes: list[str] = []
    checked(one, other, on_event=notes.append)
    assert notes[0].startswith(f"{other.url}: set aside (Connection refused")
    with pytest.raises(ServerError, match=rf"(?s)no server can be used; start one, or correct --server:\n  {other.url}: Conn"):
        checked(other)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://box:8000/v1/", "http://box:8000"),
        ("https://box/proxy/v1", "https://box:443/proxy"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_addresses(url, shown):
    assert str(ServerAddress.parse(url)) == shown


@pytest.mark.parametrize("url", ["box:8000", "ftp://box", "http://me:secret@box", "http://box/?key=secret", "http://box:99999"])
def test_addresses_that_are_refused(url):
    with pytest.raises(UsageError, match="--server ") as error:
        Servers([url])
    assert "secret" not in str(error.value)


def test_addresses_of_something_else_are_told(fake):
    with pytest.raises(UsageError, match="--server box:8000: give an http or https address"):
        Servers(["box:8000"])
    server = fake()
    with pytest.raises(ServerError, match=r"/foo: no OpenAI-compatible server, for it has no /v1/models"):
        Servers([f"{server.url}/foo"], limits=HASTY).check()
    with pytest.raises(ServerError, match=r"it doesn't speak TLS; is it http:// \?"):
        Servers([server.url.replace("http:", "https:")], limits=HASTY).check()


def test_the_key_is_sent_and_never_said(fake, trees, monkeypatch):
    server = fake(env={"FAKE_KEY": "s3cret"})
    with pytest.raises(ServerError, match="401: Unauthorized:; set the key in TRLT_API_KEY"):
        checked(server)
    monkeypatch.setenv("OPENAI_API_KEY", "wr0ng")
    with pytest.raises(ServerError, match=r"401: Unauthorized: Bearer \*\*\*"):
        checked(server)
    monkeypatch.setenv("TRLT_API_KEY", "s3cret")
    servers = checked(server)
    assert len(servers.generate(trees, SAMPLING)) == 3
    assert "s3cret" not in repr(servers.describe()) + repr(servers.identity())


def test_a_question_with_a_vision_mark_is_refused(fake, noise_clip):
    servers = checked(fake())
    with pytest.raises(ModelError, match="'k': holds a mark of the vision tower"):
        servers.generate([Tree(noise_clip(), (PromptRequest("k", "", "what is <|video_pad|>"),))], SAMPLING)
    assert servers.generate([], SAMPLING) == []


def test_a_run_through_servers_gives_all_rows_and_goes_on(fake, tmp_path, monkeypatch):
    samples = pool(tmp_path / "videos")
    settings = Probe(max_new_tokens=8, n=2, answer_format="letter", max_sequences=4)

    def go(name: str, servers: Servers) -> object:
        with ClipLoader(Video(workers=0)) as loader:
            return run(
                samples,
                engine=servers,
                loader=loader,
                videos=VideoIndex(tmp_path / "videos"),
                settings=settings,
                n=2,
                grader=Recipe(probe=settings).grader("probe"),
                out=tmp_path / name,
            )

    good, bad = fake(), fake()
    servers = checked(good, bad)
    bad.control(queue=["500"], traits=["500", "ill"])
    summary = go("whole.jsonl", servers)
    assert (summary.rows, summary.errors, summary.resumed) == (9, 2, 0) and summary.tokens > 0
    rows = list(read_rows(tmp_path / "whole.jsonl"))
    assert [row["id"] for row in rows] == [sample.id for sample in samples]
    assert all(len(row["texts"]) == len(row["tokens"]) == 2 for row in rows[:7])

    alone = checked(good, limits=Limits(backoff_s=0.01, patience_s=0.2, health_s=0.1))
    good.control(queue=["", "", "", "500"], traits=["500", "ill"])
    with pytest.raises(ServerError, match="no server could be used"):
        go("cut.jsonl", alone)
    there = (tmp_path / "cut.jsonl").read_bytes().count(b"\n")
    assert 0 < there < 9
    good.control()
    assert go("cut.jsonl", checked(good)).resumed == there
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_real_model_behind_a_server_writes_what_the_engine_writes(fake, tiny, tiny_path, trees, noise_clip):
    """The server makes its inputs from the frames and their metadata by transformers alone, and decodes by its own loop."""
    servers = checked(fake("--model", str(tiny_path), env={"PYTHONWARNINGS": "ignore"}), limits=Limits(timeout_s=60))
    # A short clip: after one that lasts longer than the text, transformers' `generate` counts positions in a way of its own.
    trees[2] = Tree(noise_clip(frames=40, seed=2, fps=8.0), trees[2].requests)
    greedy = Sampling(temperature=0.01, top_p=0.001, max_new_tokens=8)
    ours = Engine(tiny.model, tiny.processor).generate(trees, greedy)
    assert servers.generate(trees, greedy) == ours
    slower = [Tree(replace(tree.clip, sample_fps=0.5), tree.requests) for tree in trees]
    assert servers.generate(slower, greedy) != ours, "the rate that is sent reaches the model"


SERVE = ("fastapi", "uvicorn", "openai")


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, SERVE)), reason="transformers serve needs fastapi, uvicorn and openai"
)
def test_transformers_serve_takes_no_video_of_this_model_and_is_refused(tiny_path, tmp_path):
    """It knows none of the fields that keep frames as they are; and asked in its own form it looks for sound in the video of
    a Qwen2.5-VL, and fails (transformers 5.23)."""
    (tmp_path / "hub").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, model = f"http://127.0.0.1:{port}", str(tiny_path)
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    program = [str(Path(sys.executable).parent / "transformers"), "serve", model, *options]
    env = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub")}
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env) as process:
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.25)
            with pytest.raises(ServerError, match=f"{url}: refused a request with 422: Unexpected fields"):
                Servers([url], model=model, limits=Limits(timeout_s=60)).check()
        finally:
            process.kill()
