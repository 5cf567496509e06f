"""The fields of a request: which are taken, which at a value that changes nothing, and what is said of all others."""

from __future__ import annotations

import base64
import json

import pytest
from openai.types.chat import completion_create_params
from running import Scripted

from trlt.engine.sampling import Sampling
from trlt.serve import uploads
from trlt.serve._body import read_body
from trlt.serve._refusals import BadRequest

VIDEO = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}
TEXT = {"type": "text", "text": "what?"}


def body(**fields):
    return {"model": "made-model", "messages": [{"role": "user", "content": [VIDEO, TEXT]}], **fields}


def parts(*some):
    return body(messages=[{"role": "user", "content": list(some)}])


@pytest.fixture
def server(run, monkeypatch, tmp_path):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    return run(Scripted("one"))


def refused(server, sent):
    status, values = server.call("POST", "/v1/chat/completions", sent)
    assert status == 400 and values["error"]["type"] == "invalid_request_error", values
    assert not server.answerer.asked
    return values["error"]["message"], values["error"]["param"], values["error"]["code"]


DRAWN = "as tokens are drawn by temperature and top_p alone; leave it out or send"
TOOLS = "as the model calls no tools; leave it out"
TEXTS = "as the answer is a text; leave it out"


def test_values_that_change_the_answer_are_refused_with_a_remedy(server):
    """Field, value, reason, and what to send."""
    for name, value, said in (
        ("frequency_penalty", 0.5, f"0.5 isn't supported here, {DRAWN} 0"),
        ("presence_penalty", -1, f"-1 isn't supported here, {DRAWN} 0"),
        ("repetition_penalty", 1.05, f"1.05 isn't supported here, {DRAWN} 1"),
        ("top_k", 5, f"5 isn't supported here, {DRAWN} -1 or 0"),
        ("min_p", 0.1, f"0.1 isn't supported here, {DRAWN} 0"),
        ("logit_bias", {"7": 1}, f'{{"7": 1}} isn\'t supported here, {DRAWN} {{}}'),
        ("logprobs", True, "true isn't supported here, as answers come without log-probabilities; leave it out or send false"),
        ("logprobs", 0, "0 isn't supported here, as answers come without log-probabilities; leave it out or send false"),
        ("top_logprobs", 3, "3 isn't supported here, as answers come without log-probabilities; leave it out or send 0"),
        ("tools", ["a"], f'["a"] isn\'t supported here, {TOOLS} or send []'),
        ("tool_choice", "required", f'"required" isn\'t supported here, {TOOLS} or send "none" or "auto"'),
        ("web_search_options", {}, f"{{}} isn't supported here, {TOOLS}"),
        (
            "response_format",
            {"type": "json_object"},
            f'{{"type": "json_object"}} isn\'t supported here, {TEXTS} or send {{"type": "text"}}',
        ),
        ("modalities", ["audio"], f'["audio"] isn\'t supported here, {TEXTS} or send ["text"]'),
        ("audio", {"voice": "x" * 99}, f'{{"voice": "{"x" * 49}… isn\'t supported here, {TEXTS}'),
        ("store", True, "true isn't supported here, as answers aren't kept; leave it out or send false"),
        (
            "reasoning_effort",
            "low",
            '"low" isn\'t supported here, as the question says whether to reason; leave it out or send "none"',
        ),
        (
            "service_tier",
            "flex",
            '"flex" isn\'t supported here, as every question waits in one line; leave it out or send "auto" or "default"',
        ),
        (
            "skip_special_tokens",
            True,
            "true isn't supported here, as texts come with their special tokens; leave it out or send false",
        ),
    ):
        assert refused(server, body(**{name: value})) == (f"{name}: {said}", name, "unsupported_value")


def test_values_out_of_their_range_are_told_with_it(server):
    length = "can't be taken; give a whole number from 1 to 8192"
    heat = "can't be taken; give a number from 0 (the likeliest token) to 2"
    for name, value, said in (
        ("n", 0, "0 can't be taken; give a whole number from 1 to 16"),
        ("n", 17, "17 can't be taken; give a whole number from 1 to 16"),
        ("n", True, "true can't be taken; give a whole number from 1 to 16"),
        ("max_tokens", 0, f"0 {length}"),
        ("max_completion_tokens", 8193, f"8193 {length}"),
        ("temperature", 3, f"3 {heat}"),
        ("temperature", "hot", f'"hot" {heat}'),
        ("stream", "yes", '"yes" can\'t be taken; give true or false'),
        ("model", 5, "5 can't be taken; give the name of the model, as GET /v1/models tells it"),
        ("stop", "", '"" can\'t be taken; give a text, or a list of at most 4, each of 1 to 1000 characters'),
        ("stop", [""], '"" can\'t be taken; give a text, or a list of at most 4, each of 1 to 1000 characters'),
        (
            "stop",
            list("abcde"),
            '["a", "b", "c", "d", "e"] can\'t be taken; give a text, or a list of at most 4, each of 1 to 1000 ',
        ),
    ):
        message, param, code = refused(server, body(**{name: value}))
        assert message.startswith(f"{name}: {said}") or message.startswith(f"{name}[0]: {said}"), message
        assert param.partition("[")[0] == name and code == "invalid_value"
    assert refused(server, body(seed=-1))[0].startswith("seed: -1 can't be taken; give a whole number from 0 to 2^63 - 1, or ")
    assert refused(server, body(top_p=0))[0].startswith("top_p: 0 can't be taken; give a number above 0 and at most 1 ")
    said = refused(server, body(max_tokens=5, max_completion_tokens=6))[0]
    assert said == "max_tokens: 5 differs from max_completion_tokens (6), its newer name; send one of them"
    assert refused(server, body(bad_words=["cat"]))[0].startswith("bad_words: ['cat'] can't be kept out; only <|vision_start|>")


def test_unknown_fields_are_told_with_the_likeliest_that_is_meant(server):
    known = "no such field is known here, and ignoring it could give another answer than was asked for; "
    assert refused(server, body(color="red")) == (f"color: {known}leave it out", "color", "unknown_parameter")
    assert refused(server, body(temprature=1))[0] == f"temprature: {known}write temperature, or leave it out"
    assert refused(server, body(**{"half \ud800": 1}))[0] == f"half \\ud800: {known}leave it out"
    assert refused(server, {"model": "made-model"}) == (
        "messages: is missing; give a list of messages: at most one `system` message, and one `user` message",
        "messages",
        "missing_required_parameter",
    )


def test_faults_within_messages_are_told_with_their_place(server):
    instead = "aren't taken; the question is about one video: send it as a `video_url` part"
    kinds = "a part is a `text`, a `video_url` or a `file` with `file_data`"
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    for sent, said in (
        (body(messages=[]), "messages: [] can't be taken; give a list of messages: at most one `system` message, and one"),
        (body(messages=[{"role": "user"}]), "messages[0].content: is missing"),
        (body(messages=[{"role": "user", "content": None}]), "messages[0].content: give a text, or a list of parts"),
        (body(messages=[{"role": "user", "content": "a", "name": "b"}]), "messages[0].name: no such field is known here"),
        (parts(VIDEO, picture), f"messages[0].content[1]: pictures {instead}"),
        (parts({"type": "input_audio"}), f"messages[0].content[0]: sounds {instead}"),
        (parts({"type": "refusal"}), f"messages[0].content[0]: 'refusal' isn't taken; {kinds}"),
        (parts({"text": "a"}), f"messages[0].content[0]: `type` is missing; {kinds}"),
        (
            parts({"type": "video_url", "video_url": "data:"}),
            'messages[0].content[0].video_url: "data:" can\'t be taken; give an object',
        ),
        (parts({"type": "text"}), "messages[0].content[0].text: is missing"),
        (
            parts({"type": "video_url", "video_url": {"url": "data:", "detail": "low"}}),
            "messages[0].content[0].video_url.detail: no such field is known here; leave it out",
        ),
        (
            parts({"type": "file", "file": {"file_id": "file-1"}}),
            "messages[0].content[0].file.file_id: files aren't kept here; send the video itself as `file_data` (data:",
        ),
    ):
        assert refused(server, sent)[0].startswith(said)


def test_what_is_no_json_is_refused(server):
    for data, said in ((b"[", "the request isn't JSON (Expecting value"), (b"[]", "the request isn't a JSON object")):
        status, values = server.call("POST", "/v1/chat/completions", data, Content_Type="application/json")
        assert status == 400 and values["error"]["message"].startswith(said)
    for data in (b'{"n": NaN}', b'{"n": 1, "n": 2}', b"[" * 9999, b'"\xff"', b'{"n": 1e999}', b'{"n": ' + b"9" * 5000 + b"}"):
        status, values = server.call("POST", "/v1/chat/completions", data, Content_Type="application/json")
        assert status == 400 and values["error"]["message"].startswith("the request isn't JSON (")
    status, values = server.call("POST", "/v1/chat/completions", b"{}", Content_Type="text/plain")
    assert status == 415 and values["error"]["code"] == "unsupported_content_type"


NEUTRAL = {
    **{"frequency_penalty": 0.0, "presence_penalty": 0, "repetition_penalty": 1.0, "top_k": -1, "min_p": 0.0, "logit_bias": {}},
    **{"logprobs": False, "top_logprobs": 0, "tools": [], "tool_choice": "none", "functions": [], "function_call": "auto"},
    **{"response_format": {"type": "text"}, "modalities": ["text"], "verbosity": "medium", "reasoning_effort": "none"},
    **{"store": False, "service_tier": "auto", "skip_special_tokens": False, "metadata": {"a": "b"}, "user": "u"},
    **{"parallel_tool_calls": True, "prompt_cache_key": "k", "safety_identifier": "s", "prompt_cache_retention": "24h"},
    **{"n": 1, "stop": [], "stream": False, "stream_options": {"include_obfuscation": False}, "bad_words": []},
}


def test_values_that_change_nothing_are_taken():
    plain = read_body_of(body())
    assert read_body_of(body(**NEUTRAL)).model_dump(exclude={"n", "stop", "stream", "stream_options", "bad_words"}) == (
        plain.model_dump(exclude={"n", "stop", "stream", "stream_options", "bad_words"})
    )
    nothing = dict.fromkeys(
        [*NEUTRAL, "audio", "prediction", "web_search_options", "moderation", "seed", "max_tokens", "top_p"]
    )
    assert read_body_of(body(**nothing)) == plain


def read_body_of(values):
    return read_body(json.dumps(values).encode())


def test_fields_of_openais_client_are_known():
    """Each field that it can send is taken or refused by its own words, never as unknown."""
    names = completion_create_params.CompletionCreateParamsBase.__annotations__.keys()
    assert len(names) > 30
    for name in names - {"messages", "model"}:
        try:
            read_body_of(body(**{name: "something"}))
        except BadRequest as fault:
            assert fault.code != "unknown_parameter", name


def test_the_neutral_and_the_developers_text_reach_the_model(run, video, monkeypatch, tmp_path):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    server = run(Scripted("one"))
    address = "data:video/mp4;codecs=avc1;base64," + base64.b64encode(video.read_bytes()).decode()
    file = {"type": "file", "file": {"file_data": address, "filename": "some.mp4"}}
    turns = [{"role": "developer", "content": "Be short."}, {"role": "user", "content": [TEXT, file]}]
    sent = body(messages=turns, **NEUTRAL, temperature=0.5, seed=3, max_completion_tokens=7)
    status, values = server.call("POST", "/v1/chat/completions", sent)
    assert status == 200, values
    [(clip, request, sampling)] = server.answerer.asked
    assert (request.system, request.user, request.n, len(clip.frames)) == ("Be short.", "what?", 1, 8)
    assert sampling == Sampling(0.5, 1.0, 7, 3)
