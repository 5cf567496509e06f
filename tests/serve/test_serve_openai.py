"""The OpenAI-compatible endpoint: whole and streamed answers, refusals, and our own client."""

from __future__ import annotations

import base64
import http.client
import json
from dataclasses import replace

import numpy as np
import pytest
from running import Running, Scripted, events, wait_for

from trlt.engine.families import FAMILIES, family_named
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.model import load
from trlt.engine.sampling import Sampling
from trlt.engine.servers.client import Servers
from trlt.engine.servers.messages import encode, first_seed, question
from trlt.lab.miniature.tiny import CHAT_TEMPLATE
from trlt.recipe import Model
from trlt.serve import uploads
from trlt.serve.streaming import EngineAnswerer
from trlt.video.clip import Clip


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def server(run):
    return run(Scripted("one ", "two ", "three"))


@pytest.fixture
def address(video):
    return "data:video/mp4;base64," + base64.b64encode(video.read_bytes()).decode()


def body(url: str, text: str = "what moves?", **fields):
    content = [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": text}]
    return {"model": "made-model", "messages": [{"role": "user", "content": content}], **fields}


def refused(server: Running, sent, status: int = 400) -> str:
    got, values = server.call("POST", "/v1/chat/completions", sent)
    assert got == status and values["error"]["type"] == "invalid_request_error", values
    return values["error"]["message"]


@pytest.mark.parametrize("think", [True, False, None])
def test_templates_are_told_whether_to_reason(server, address, think):
    server.call("POST", "/v1/chat/completions", body(address, chat_template_kwargs={"enable_thinking": think}))
    server.call("POST", "/v1/chat/completions", body(address))
    assert [request.think for _, request, _ in server.answerer.asked] == [think, None]
    said = refused(server, body(address, chat_template_kwargs={"tools_in_user_message": True}))
    assert said == "chat_template_kwargs.tools_in_user_message: no such field is known here; leave it out"
    said = refused(server, body(address, chat_template_kwargs={"enable_thinking": "no"}))
    assert said.startswith('chat_template_kwargs.enable_thinking: "no" can\'t be taken')


def test_a_template_that_always_begins_reasoning_does_so_or_refuses(run, address, tiny):
    """Also what this project's own client makes of it: the text as the engine has it, once."""
    tiny.processor.chat_template = CHAT_TEMPLATE.replace("assistant\n' }}", "assistant\n<think>\n' }}")
    server = run(EngineAnswerer(Engine(tiny.model, tiny.processor)))
    for fields in ({}, {"chat_template_kwargs": {"enable_thinking": True}}):
        _, answer = server.call("POST", "/v1/chat/completions", body(address, max_tokens=4, **fields))
        assert answer["choices"][0]["message"]["content"].startswith("<think>\n")
        assert answer["usage"]["completion_tokens"] <= 4
    sent = body(address, max_tokens=4, chat_template_kwargs={"enable_thinking": False})
    assert refused(server, sent) == (
        "prompt: the model's chat template begins every answer with <think>; ask it with reasoning"
    )


def test_a_whole_answer(server, address, folder):
    sent = body(address, n=2, temperature=0.5, top_p=0.9, max_tokens=7, seed=3)
    sent["messages"].insert(0, {"role": "system", "content": "Be short."})
    status, answer = server.call("POST", "/v1/chat/completions", sent)
    assert status == 200 and answer["object"] == "chat.completion" and answer["model"] == "made-model"
    assert [one["message"]["content"] for one in answer["choices"]] == ["one two three"] * 2
    assert [one["finish_reason"] for one in answer["choices"]] == ["stop"] * 2 and "token_ids" not in answer["choices"][0]
    assert answer["usage"] == {"prompt_tokens": 40, "completion_tokens": 6, "total_tokens": 46}
    [(clip, request, sampling)] = server.answerer.asked
    assert (request.system, request.user, request.n, len(clip.frames)) == ("Be short.", "what moves?", 2, 8)
    assert sampling == Sampling(0.5, 0.9, 7, 3)
    assert not [path for path in folder.rglob("*") if path.is_file()], "the video is gone"


def test_a_streamed_answer(server, address):
    sent = body(address, stream=True, stream_options={"include_usage": True}, temperature=0)
    connection, response = server.open("POST", "/v1/chat/completions", json.dumps(sent), Content_Type="application/json")
    data = response.read()
    connection.close()
    assert response.headers["Content-Type"].startswith("text/event-stream") and data.endswith(b"data: [DONE]\n\n")
    first, *pieces, last, usage = events(data)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [one["choices"][0]["delta"]["content"] for one in pieces] == ["one ", "two ", "three"]
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert usage["usage"]["total_tokens"] == 43 and not usage["choices"]
    assert server.answerer.asked[0][2].temperature == 0.01, "0 is the likeliest token"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/"])
def test_models(server, path):
    status, answer = server.call("GET", path)
    assert status == 200 and [(one["id"], one["owned_by"]) for one in answer["data"]] == [("made-model", "trlt")]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/health", "https://example.org/a.mp4", "file:///etc/passwd", "/etc/passwd", "DATA"]
)
def test_no_address_is_opened(server, url):
    message = refused(server, body(url.format(port=server.port)))
    assert "aren't opened, neither files nor http; send the video as a data: address" in message
    assert not server.answerer.asked


def test_what_is_no_video_is_refused(server, address, video):
    assert "is no video in base64" in refused(server, body("data:image/png;base64,AAAA"))
    assert "is no video in base64" in refused(server, body("data:video/mp4,AAAA"))
    assert "no base64" in refused(server, body("data:video/mp4;base64,A?A="))
    assert refused(server, body("data:video/mp4;base64,AAAA")).startswith("the video: not a video")
    large = base64.b64encode(b"x" * 2_000_001).decode()
    assert "larger than 2 MB" in refused(server, body("data:video/mp4;base64," + large))
    assert "larger than 2 MB" in refused(server, body("data:video/mp4;base64," + large + large), status=413)


def test_turns_other_than_one_question_are_refused(server, address):
    assert "0 videos" in refused(server, {"model": "made-model", "messages": [{"role": "user", "content": "hello"}]})
    two = body(address)
    two["messages"][0]["content"].insert(0, two["messages"][0]["content"][0])
    assert "2 videos" in refused(server, two)
    turns = [{"role": role, "content": "hello"} for role in ("system", "user", "assistant", "tool")]
    for turn in turns[2:]:
        said = refused(server, {"model": "made-model", "messages": [turns[0], turn]})
        assert said == (
            f'messages[1].role: "{turn["role"]}": one question is answered, with a `system` message before it at most; '
            "earlier turns and tools aren't taken"
        )
    for some in ([1, 1], [1, 0], [0, 0, 1], [0]):
        said = refused(server, {"model": "made-model", "messages": [turns[place] for place in some]})
        assert said.endswith(
            ": one question is answered, a `user` message, after a `system` message at most; earlier turns aren't taken"
        )
    video = body(address)["messages"][0]["content"][:1]
    said = refused(server, {"model": "made-model", "messages": [{"role": "system", "content": video}, turns[1]]})
    assert said == "messages[0].content: a video belongs in the user message"
    assert not server.answerer.asked


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_stops_the_model(run, address, stream, folder):
    server = run(Scripted("one", "two", held=True))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(
        "POST", "/v1/chat/completions", json.dumps(body(address, stream=stream)), {"Content-Type": "application/json"}
    )
    wait_for(lambda: server.answerer.asked)
    connection.close()
    wait_for(lambda: server.answerer.cancelled == 1, "the stop")
    wait_for(lambda: not [path for path in folder.rglob("*") if path.is_file()], "the deletion")


@pytest.mark.parametrize("family", [family_named("qwen2_5_vl"), family_named("qwen3_vl")], ids=lambda family: family.name)
def test_our_own_client_gets_what_the_engine_says(run, family, family_path):
    tiny = load(Model(path=str(family_path(family)), dtype="float32", device="cpu"))
    answerer = EngineAnswerer(Engine(tiny.model, tiny.processor, compare_first=True))
    answerer.prove()
    server = run(answerer, temperature=1.0, family=family)
    side, stamps = family.geometry.side, np.arange(6) * 15 / 29.97
    pixels = np.random.default_rng(1).integers(0, 256, (6, 3, 2 * side, 2 * side), dtype=np.uint8)
    clip = Clip.of(pixels, stamps, sample_fps=2.0, duration=3.0, stamps=stamps, geometry=family.geometry)
    trees = [Tree(clip, (PromptRequest("a", "Look.", "what moves left", 2), PromptRequest("b", "Look.", "what", 1)))]
    sampling = Sampling(temperature=1.0, top_p=0.99, max_new_tokens=6, seed=2)
    client = Servers([server.url], model="made-model")
    client.check()
    found = client.generate(trees, sampling)
    for request, completions in zip(trees[0].requests, found[0], strict=True):
        alone = Tree(trees[0].clip, (PromptRequest("", request.system, request.user, request.n),))
        seed = Sampling(1.0, 0.99, 6, first_seed(2, request))
        assert completions == Engine(tiny.model, tiny.processor).generate([alone], seed)[0][0]


@pytest.fixture
def qwen3():
    return family_named("qwen3_vl")


def ready_made(clip, family, **changes):
    """A question about frames that come ready made; `changes` of what is said of their times."""
    request = PromptRequest("k", "", "what")
    sent = question("vllm", "made-model", request, clip, encode(clip, "vllm"), Sampling(), family=family, n=1, seed=1)
    sent["media_io_kwargs"]["video"].update(changes)
    return sent


def test_frames_at_any_times_where_prompts_state_them(run, qwen3):
    """As the client tells them: tenths of a second, of both frames of a pair the pair's own."""
    server = run(Scripted("one"), family=qwen3)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 64), dtype=np.uint8)
    stamps = np.array([0.0, 0.5, 7.0, 7.4])
    clip = Clip.of(pixels, stamps, sample_fps=0.5, duration=8.0, stamps=stamps, geometry=qwen3.geometry)
    assert server.call("POST", "/v1/chat/completions", ready_made(clip, qwen3))[0] == 200
    [(came, _, _)] = server.answerer.asked
    assert (came.frames == pixels).all() and came.geometry == qwen3.geometry and came.grid == (2, 2, 4) and came.tokens == 4
    assert came.stamps.tolist() == [0.2, 0.2, 7.2, 7.2] and (came.duration, came.sample_fps) == (8.0, 0.5)
    assert qwen3.text(came) == qwen3.text(clip) and "<7.2 seconds>" in qwen3.text(clip)
    for changes in ({"frames_indices": [5, 4, 6, 7]}, {"frames_indices": [-1, 0, 1, 2]}, {"fps": 1e-5}):
        assert "the seconds of each frame, in their order" in refused(server, ready_made(clip, qwen3, **changes))
    odd = replace(clip, frames=np.zeros((4, 3, 28, 56), np.uint8))
    assert "sides must be multiples of 32" in refused(server, ready_made(odd, qwen3))


def test_one_rate_where_prompts_hold_one(server, noise_clip):
    sent = ready_made(noise_clip(frames=4), FAMILIES[0], frames_indices=[0, 15, 30, 45], fps=30.0)
    assert "prompts of Qwen2.5-VL hold one rate for all frames" in refused(server, sent)


def test_frames_that_do_not_fit_are_refused(server, noise_clip):
    def ask(change=lambda sent: None, clip=None, data=None):
        clip = clip or noise_clip(frames=4)
        request = PromptRequest("k", "", "what")
        coded = data or encode(clip, "vllm")
        sent = question("vllm", "made-model", request, clip, coded, Sampling(), family=FAMILIES[0], n=1, seed=1)
        change(sent)
        return sent

    assert server.call("POST", "/v1/chat/completions", ask())[0] == 200
    assert "need both" in refused(server, ask(lambda sent: sent.pop("media_io_kwargs")))
    assert "4 frames came" in refused(
        server, ask(lambda sent: sent["media_io_kwargs"]["video"].update(total_num_frames=6, frames_indices=list(range(6))))
    )
    assert "fps" in refused(server, ask(lambda sent: sent["media_io_kwargs"]["video"].update(fps=0.0)))
    assert "video.max_tokens" in refused(server, ask(clip=replace(noise_clip(), frames=np.zeros((64, 3, 280, 280), np.uint8))))
    assert "no PNG or JPEG" in refused(server, ask(data="data:video/jpeg;base64,AAAA,AAAA,AAAA,AAAA"))
    assert len(server.answerer.asked) == 1
