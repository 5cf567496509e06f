"""The server over HTTP: who may ask, limits, answers as they come, and videos that are hostile."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from running import Running, Scripted, events, wait_for

from trlt.errors import VideoError
from trlt.serve import uploads, worker

SAID = ("<think> it starts ", "late </think> ", "<answer> 1.0 to 3.0 </answer>")


@pytest.fixture
def server(run):
    return run(Scripted(*SAID))


def stored(server: Running) -> list:
    # os.walk passes over folders that go meanwhile.
    return [Path(folder) / name for folder, _, names in os.walk(server.folder) for name in names]


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path):
    """Where servers put videos."""
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    Running.folder = property(lambda self: next(tmp_path.glob("trlt-serve-*")))
    return tmp_path


# -- who may ask --------------------------------------------------------------------------------------------------------


def test_the_page_and_its_files_come_with_a_strict_policy(server):
    for path, kind in (("/", "html"), ("/page.js", "javascript"), ("/page.css", "css"), ("/base.css", "css")):
        connection, response = server.open("GET", path)
        assert response.status == 200 and kind in response.headers["Content-Type"] and response.read()
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'") and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and response.headers["X-Content-Type-Options"] == "nosniff"
        connection.close()
    assert server.call("GET", "/../trlt/errors.py")[0] == server.call("GET", "/docs")[0] == 404
    about = server.call("GET", "/api/about")[1]
    assert about.pop("marks")["multi_choice"][1]["answer"] == ["<answer>", "</answer>"]
    assert about == {"model": "made-model", "max_bytes": 2_000_000, "keep_minutes": 10.0, "think": True}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1"]
)
def test_a_name_that_was_pointed_here_is_refused(server, host):
    status, body = server.call("GET", "/", Host=host)
    assert status == 403 and "no name of this server" in body["error"]["message"]


def test_addresses_and_localhost_are_its_names(server):
    for host in (f"127.0.0.1:{server.port}", f"localhost:{server.port}", f"[::1]:{server.port}"):
        assert server.call("GET", "/health", Host=host)[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_pages_of_other_servers_change_nothing(server, headers):
    headers = {name: value.format(port=server.port) for name, value in headers.items()}
    for method, path in (
        ("POST", "/api/videos"),
        ("POST", "/api/ask"),
        ("DELETE", "/api/videos/a"),
        ("POST", "/v1/chat/completions"),
    ):
        status, body = server.call(method, path, b"{}", **headers)
        assert status == 403 and "other servers" in body["error"]["message"]
    assert not stored(server)


def test_its_own_page_may(server, video):
    origin = f"http://127.0.0.1:{server.port}"
    assert server.call("POST", "/api/videos", video.read_bytes(), Origin=origin, Sec_Fetch_Site="same-origin")[0] == 200


# -- videos -------------------------------------------------------------------------------------------------------------


def test_a_video_that_is_too_large_is_refused_while_it_comes(run):
    server = run(Scripted(), most_bytes=1000)
    status, body = server.call("POST", "/api/videos", b"x" * 1001)
    assert status == 413 and "larger than 0.001 MB" in body["error"]["message"]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:  # says no size, and never ends
        raw.sendall(
            f"POST /api/videos HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        raw.sendall(b"200\r\n" + b"x" * 512 + b"\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413")
    wait_for(lambda: not stored(server), "nothing stored")


def test_a_video_is_deleted_by_its_page_by_time_and_at_the_end(run, video):
    server = run(Scripted(*SAID), keep_s=0.3)
    id = server.upload(video.read_bytes())
    assert len(stored(server)) == 1
    assert server.call("DELETE", f"/api/videos/{id}")[0] == 204 and not stored(server)
    server.upload(video.read_bytes())
    wait_for(lambda: not stored(server), "the end of its time")
    server.upload(video.read_bytes())
    folder = server.folder
    server.end()
    assert not folder.exists()


def test_a_broken_off_upload_leaves_nothing(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(f"POST /api/videos HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 900\r\n\r\nabc".encode())
        wait_for(lambda: stored(server), "its beginning")
    wait_for(lambda: not stored(server), "its end")


@pytest.mark.parametrize(
    "data",
    [
        b"no video at all",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:4,\nfile://{video}\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '{video}'\n",
        b"ffconcat version 1.0\nfile '../{other}'\n",
        b"ffconcat version 1.0\nfile '{other}'\n",
    ],
)
def test_what_is_no_video_is_refused_at_once_and_opens_no_other_file(server, video, data):
    other = server.upload(video.read_bytes())
    assert other
    lies = stored(server)[0].relative_to(server.folder)
    sent = data.replace(b"{video}", str(video).encode()).replace(b"{other}", str(lies).encode())
    status, values = server.call("POST", "/api/videos?name=some.mp4", sent)
    assert status == 400 and values["error"]["message"].startswith("some.mp4: not a video")
    assert str(server.folder) not in values["error"]["message"] and len(stored(server)) == 1 and not server.answerer.asked
    assert server.ask(video=server.upload(video.read_bytes()))[-1]["kind"] == "done", "the next is answered"


# -- questions ----------------------------------------------------------------------------------------------------------


def test_an_answer_comes_in_pieces_and_is_read_at_the_end(server, video):
    seen, *pieces, done = server.ask(video=server.upload(video.read_bytes()))
    assert seen == {"kind": "seen", "duration": 4.0, "frames": 8, "tokens": 16}
    assert [one["text"] for one in pieces] == list(SAID)
    assert done == {
        **{"kind": "done", "duration": 4.0, "reasoning": "it starts late", "answer": "1.0 to 3.0", "option": None},
        **{"span": [1.0, 3.0], "well_formed": True, "finished": True, "text": "".join(SAID)},
    }
    [(clip, request, sampling)] = server.answerer.asked
    assert len(clip.frames) == 8 and request.user.startswith("Event: a circle is shown\n") and sampling.temperature == 0.01


def test_each_task_is_asked_in_its_way(run, video):
    server = run(Scripted("<observe> 1.0 to 2.0 </observe> <answer> B </answer>"))
    id = server.upload(video.read_bytes())
    done = server.ask(video=id, task="grounded_qa", options=["red", "blue"], think=False)[-1]
    assert (done["option"], done["span"]) == (1, [1.0, 2.0])
    assert server.ask(video=id, task="multi_choice", options=["red", "blue"])[-1]["option"] == 1
    free = server.ask(video=id, task="free", question="What <b>is</b> this?")[-1]
    assert free["answer"] == free["text"] and free["span"] is None
    users = [request.user for _, request, _ in server.answerer.asked]
    assert "A. red\nB. blue" in users[0] and "<think>" not in users[0] and "<think>" in users[1]
    assert users[2] == "What <b>is</b> this?"


def test_questions_are_asked_and_read_in_own_words(run, video):
    words = {"template": "{{ task }}: {{ question }} {{ lettered }} {{ format }}", "system": "Look."}
    words["format"] = "[WHY]{reasoning}[/WHY] [TIME]{span}[/TIME] {answer}"
    server = run(Scripted("[WHY]so[/WHY] [TIME]1 to 2[/TIME] B"), prompt=words)
    id = server.upload(video.read_bytes())
    done = server.ask(video=id, task="grounded_qa", options=["red", "blue"])[-1]
    assert (done["option"], done["span"], done["reasoning"], done["well_formed"]) == (1, [1.0, 2.0], "so", True)
    server.ask(video=id, task="free", question="What?")
    asked = [(request.system, request.user) for _, request, _ in server.answerer.asked]
    assert asked[0][1].endswith(" ['A. red', 'B. blue'] [WHY]reasoning[/WHY] [TIME]start to end[/TIME] letter")
    assert asked[0][0] == "Look." and asked[1] == ("Look.", "What?")
    marks = server.call("GET", "/api/about")[1]["marks"]
    assert marks["grounded_qa"][1] == {
        "reasoning": ["[WHY]", "[/WHY]"],
        "span": ["[TIME]", "[/TIME]"],
        "answer": ["[/TIME]", ""],
    }
    assert marks["multi_choice"][0] == {"answer": ["", ""]} and marks["grounding"][0] == {"span": ["[TIME]", "[/TIME]"]}


@pytest.mark.parametrize(
    ("said", "reasoning", "answer"),
    [
        ("<think>\nIt is red.\n</think>\n\nA <b>dog</b>.", "It is red.", "A <b>dog</b>."),
        ("<think>\nIt is", "It is", None),
        ("A dog, <think> I </think> think.", None, "A dog, <think> I </think> think."),
    ],
    ids=["whole", "cut off", "no opening"],
)
def test_reasoning_that_begins_a_free_answer_is_told_apart(run, video, said, reasoning, answer):
    server = run(Scripted(said))
    done = server.ask(video=server.upload(video.read_bytes()), task="free", question="What is this?")[-1]
    assert (done["reasoning"], done["answer"], done["text"]) == (reasoning, answer, said)


def test_what_cannot_be_asked_is_named(server, video):
    id = server.upload(video.read_bytes())
    assert server.ask(video="absent") == (404, "the video is no longer here; choose it again")
    assert server.ask(video=id, question="")[0] == 400
    assert server.ask(video=id, question="  ")[1].startswith("question: is empty")
    assert server.ask(video=id, task="multi_choice") == (400, "task multi_choice: needs at least two option")
    assert "takes no option" in server.ask(video=id, options=["a", "b"])[1]
    assert "two different" in server.ask(video=id, task="multi_choice", options=["a", "a"])[1]
    assert server.ask(video=id, task="other")[1].startswith("task: Input should be")
    assert "extra" in server.ask(video=id, colour="red")[1].lower()
    assert server.call("POST", "/api/ask", b"{}", Content_Type="text/plain")[0] == 415
    assert server.call("POST", "/api/ask", b"{", Content_Type="application/json")[0] == 400
    assert server.call("POST", "/api/ask", b" " * 70_000, Content_Type="application/json")[0] == 413


def test_leaving_stops_the_model_and_others_wait_in_line(run, video):
    server = run(Scripted(*SAID, held=True))
    id = server.upload(video.read_bytes())
    body = b'{"video": "%s", "task": "grounding", "question": "first"}' % id.encode()
    connection, response = server.open("POST", "/api/ask", body, Content_Type="application/json")
    first = response.readline()
    assert b"seen" in first
    answers = []
    second = threading.Thread(target=lambda: answers.extend(server.ask(video=id, question="second")))
    second.start()
    wait_for(lambda: len(server.answerer.asked) == 1)
    response.close()
    connection.close()
    wait_for(lambda: server.answerer.cancelled == 1, "the stop")
    server.answerer.go.set()
    second.join()
    assert answers[0] == {"kind": "waiting", "ahead": 1} and answers[-1]["kind"] == "done"
    assert [request.user.splitlines()[0] for _, request, _ in server.answerer.asked] == ["Event: first", "Event: second"]


def test_one_who_leaves_the_line_is_not_asked_and_a_full_line_is_closed(run, video, monkeypatch):
    monkeypatch.setattr(worker, "MOST_WAITING", 1)
    server = run(Scripted(*SAID, held=True))
    id = server.upload(video.read_bytes())
    body = b'{"video": "%s", "task": "grounding", "question": "one"}' % id.encode()
    ways = []
    for _ in range(2):
        ways.append(server.open("POST", "/api/ask", body, Content_Type="application/json"))
        ways[-1][1].readline()
    assert server.ask(video=id) == (503, "too many questions wait already; try again in a moment")
    ways[1][1].close()
    ways[1][0].close()
    wait_for(lambda: not server.worker._waiting, "the place in line")
    server.answerer.go.set()
    assert server.ask(video=id)[-1]["kind"] == "done" and len(server.answerer.asked) == 2
    assert events(ways[0][1].read())[-1]["kind"] == "done"
    ways[0][0].close()


def test_a_fault_of_ours_is_not_told_and_does_not_end_the_server(run, video, caplog):
    class Faulty(Scripted):
        def answer(self, clip, request, *rest):
            if "bad" in request.user:
                raise ZeroDivisionError("a secret")
            if "lost" in request.user:
                raise VideoError("lost")
            return super().answer(clip, request, *rest)

    server = run(Faulty(*SAID))
    id = server.upload(video.read_bytes())
    last = server.ask(video=id, question="bad")[-1]
    assert last["kind"] == "failed" and "secret" not in last["message"] and "a secret" in caplog.text
    assert server.ask(video=id, question="lost")[-1] == {"kind": "failed", "message": "lost"}
    assert server.ask(video=id)[-1]["kind"] == "done"


def test_stopping_ends_answers_that_are_under_way(run, video, folders):
    server = run(Scripted(*SAID, held=True))
    id = server.upload(video.read_bytes())
    body = b'{"video": "%s", "task": "grounding", "question": "one"}' % id.encode()
    connection, response = server.open("POST", "/api/ask", body, Content_Type="application/json")
    response.readline()
    server.end(release=False)
    connection.close()
    assert server.answerer.cancelled == 1 and not list(folders.glob("trlt-serve-*"))
