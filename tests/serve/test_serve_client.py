"""OpenAI's own client: models, whole and streamed answers, every class of error, leaving."""

from __future__ import annotations

import base64

import openai
import pytest
from running import Scripted, wait_for

from trlt.engine.forest import Engine
from trlt.serve.streaming import EngineAnswerer

pytestmark = pytest.mark.usefixtures("folder")


def texts(answer):
    return [choice.message.content for choice in answer.choices]


# -- models -------------------------------------------------------------------------------------------------------------


def test_the_model_is_listed_and_told_by_its_name(run, connect):
    for name in ("made-model", "an-owner/a model"):
        client = connect(run(Scripted(), model=name))
        [card] = client.models.list()
        assert card.id == name and card.owned_by == "trlt" and client.models.retrieve(name) == card


@pytest.mark.parametrize("name", ["other", "an-owner/other", "made-model/more"])
def test_another_model_is_not_found(run, connect, asked, name):
    client = connect(run(Scripted()))
    for ask in (lambda: client.models.retrieve(name), lambda: client.chat.completions.create(**asked | {"model": name})):
        with pytest.raises(openai.NotFoundError) as fault:
            ask()
        assert (fault.value.param, fault.value.code, fault.value.type) == ("model", "model_not_found", "invalid_request_error")
        assert fault.value.message.endswith(f"the model {name!r} isn't served here, but 'made-model'")


# -- answers ------------------------------------------------------------------------------------------------------------


def test_whole_and_streamed_answers_of_a_model_are_equal(run, connect, asked, tiny):
    create = connect(run(EngineAnswerer(Engine(tiny.model, tiny.processor)))).chat.completions.create
    asked |= {"n": 3, "temperature": 1.0, "max_tokens": 8, "seed": 1}
    whole = create(**asked)
    assert len(set(texts(whole))) > 1 and whole.usage.completion_tokens == 24
    assert [choice.finish_reason for choice in whole.choices] == ["length"] * 3
    assert texts(create(**asked)) == texts(whole) != texts(create(**asked | {"seed": 2}))

    streamed, reasons, usage = ["", "", ""], {}, None
    for chunk in create(**asked, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            assert chunk.usage is None
            streamed[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
        usage = chunk.usage
    assert streamed == texts(whole) and reasons == {0: "length", 1: "length", 2: "length"} and usage == whole.usage

    # Before a text from the middle of the first completion, which ends there; the others go on.
    stop = texts(whole)[0][4:7]
    cut = [text.partition(stop)[0] for text in texts(whole)]
    stopped = create(**asked, stop=[stop, "never said"])
    assert texts(stopped) == cut and stopped.choices[0].finish_reason == "stop"
    assert stopped.usage.completion_tokens < whole.usage.completion_tokens
    streamed = ["", "", ""]
    for chunk in create(**asked, stop=stop, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == cut


def test_the_helper_for_streams(run, connect, asked):
    client = connect(run(Scripted("one ", "two")))
    with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta" and event.delta]
        final = stream.get_final_completion()
    assert pieces == ["one ", "two"] and texts(final) == ["one two"] and final.usage.total_tokens == 43


# -- errors -------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_asked_is_a_bad_request(run, connect, asked):
    client = connect(run(Scripted("one")))
    for fields, said in (
        ({"frequency_penalty": 0.5}, "frequency_penalty: 0.5 isn't supported here"),
        ({"extra_body": {"color": "red"}}, "color: no such field is known here"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "messages: 0 videos"),
    ):
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError, match=f"400 - {said}") as fault:
                client.chat.completions.create(**asked | fields, stream=stream)
            assert fault.value.param == said.partition(":")[0] and fault.value.type == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
def test_a_video_that_breaks_later_is_a_bad_request_in_a_stream_too(run, connect, asked, video, stream):
    """Its head is sound, so that it is taken."""
    data = video.read_bytes()
    at = data.index(b"mdat")
    torn = data[: at + 4] + bytes(len(data) - at - 4) if data.index(b"moov") < at else None
    if torn is None:
        end = at - 4 + int.from_bytes(data[at - 4 : at], "big")
        torn = data[: at + 4] + bytes(end - at - 4) + data[end:]
    part = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + base64.b64encode(torn).decode()}}
    asked["messages"][0]["content"][0] = part
    server = run(Scripted("one"), peek=lambda path: None)
    with pytest.raises(openai.BadRequestError, match="400 - the video: "):
        connect(server).chat.completions.create(**asked, stream=stream)


def test_whoever_has_no_business_here_is_denied(run, connect, asked):
    server = run(Scripted("one"))
    for header, ask in (
        ({"Host": "evil.example"}, lambda client: client.models.list()),
        ({"Origin": "http://evil.example"}, lambda client: client.chat.completions.create(**asked)),
    ):
        with pytest.raises(openai.PermissionDeniedError, match="403 - "):
            ask(connect(server, default_headers=header))
    assert connect(server, api_key="sk-any", organization="o", project="p").models.list().data


def test_other_refusals_come_with_their_status_and_words(run, connect, asked):
    server = run(Scripted("one"), most_bytes=20_000)
    client = connect(server)
    with pytest.raises(openai.NotFoundError, match="404 - /v1/responses: no such path; only /v1/chat/completions and "):
        client.responses.create(model="made-model", input="a")
    with pytest.raises(openai.NotFoundError, match=r"404 - /models: no such path; the address .* ends in /v1"):
        connect(server, base_url=server.url).models.list()
    large = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + "A" * 8_000_000}}
    for ask, status, said in (
        (lambda: client.models.delete("made-model"), 405, "/v1/models/made-model: DELETE isn't taken here"),
        (
            lambda: client.chat.completions.create(model="made-model", messages=[{"role": "user", "content": [large]}]),
            *(413, "the video is larger than 0.02 MB; start the server with a larger --max-mb"),
        ),
        (
            lambda: connect(server, default_headers={"Content-Type": "text/plain"}).chat.completions.create(**asked),
            *(415, "a request comes as JSON, not as 'text/plain'; send the header Content-Type: application/json"),
        ),
    ):
        with pytest.raises(openai.APIStatusError) as fault:
            ask()
        assert fault.value.status_code == status and fault.value.message == f"Error code: {status} - {said}"
        assert fault.value.type == "invalid_request_error"


class _Faulty(Scripted):
    def answer(self, clip, request, sampling, write, is_cancelled, stops=()):
        write(0, "one")
        raise ZeroDivisionError("a secret")


def test_faults_of_ours_are_server_errors(run, connect, asked, caplog):
    def broken(path):
        raise ZeroDivisionError("a secret")

    for server in (run(_Faulty()), run(Scripted("one"), peek=broken)):
        with pytest.raises(openai.InternalServerError, match="500 - something went wrong in the server") as fault:
            connect(server).chat.completions.create(**asked)
        assert fault.value.type == "server_error" and "secret" not in str(fault.value.body)
    assert "a secret" in caplog.text


def test_a_fault_in_the_middle_of_a_stream_is_raised_by_the_client(run, connect, asked):
    stream = connect(run(_Faulty())).chat.completions.create(**asked, stream=True)
    said = []
    with pytest.raises(openai.APIError, match="something went wrong in the server"):
        for chunk in stream:
            said.append(chunk.choices[0].delta.content)
    assert said == ["", "one"]


# -- leaving ------------------------------------------------------------------------------------------------------------


def test_a_client_that_waits_no_longer_stops_the_model(run, connect, asked, folder):
    server = run(Scripted("one", "two", held=True))
    with pytest.raises(openai.APITimeoutError):
        connect(server, timeout=0.5).chat.completions.create(**asked)
    wait_for(lambda: server.worker._current is None and not server.worker._waiting, "the end of the question")
    with connect(server).chat.completions.create(**asked, stream=True) as stream:
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        before = server.answerer.cancelled
    wait_for(lambda: server.answerer.cancelled == before + 1, "the stop")
    wait_for(lambda: not [path for path in folder.rglob("*") if path.is_file()], "the deletion")
