"""OpenAI's own client: models, whole and streamed answers, every class of error, many at once, leaving."""

from __future__ import annotations

import openai
import pytest
from running import Scripted

from trlt.serve import uploads


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def connect():
    """Clients, which close with the test."""
    made = []

    def client(server, **given):
        made.append(openai.OpenAI(**{"base_url": f"{server.url}/v1", "api_key": "x", "max_retries": 0, **given}))
        return made[-1]

    yield client
    for one in made:
        one.close()


def test_the_model_is_listed_and_told_by_its_name(run, connect):
    for name in ("made-model", "an-owner/a model"):
        client = connect(run(Scripted(), model=name))
        [card] = client.models.list()
        assert card.id == name and card.owned_by == "trlt" and client.models.retrieve(name) == card


@pytest.mark.parametrize("name", ["other", "an-owner/other", "made-model/more"])
def test_another_model_is_not_found(run, connect, name):
    with pytest.raises(openai.NotFoundError) as fault:
        connect(run(Scripted())).models.retrieve(name)
    assert (fault.value.param, fault.value.code, fault.value.type) == ("model", "model_not_found", "invalid_request_error")
    assert fault.value.message.endswith(f"the model {name!r} isn't served here, but 'made-model'")


def test_an_address_without_v1_is_told(run, connect):
    server = run(Scripted())
    with pytest.raises(openai.NotFoundError, match=r"/models: no such path; the address .* ends in /v1"):
        connect(server, base_url=server.url).models.list()
