"""One question about one video, and samples with questions of their own."""

from __future__ import annotations

import json
import re

import av
import pytest
from made_clips import choice, event, write_clip

from trlt.commands._output import Output
from trlt.commands.infer import infer
from trlt.engine.forest import Answered, Completion, Engine
from trlt.errors import DataError, ResumeError, UsageError, VideoError
from trlt.rollout import read_rows
from trlt.task.sample import write_samples

SHORT = ["--no-think", "--set", "eval.max_new_tokens=4"]


@pytest.fixture
def video(tmp_path):
    return write_clip(tmp_path / "clip.mp4", 4)


@pytest.fixture
def saying(monkeypatch):
    """Makes the model say a text; keeps what it was asked."""
    asked = []

    def say(text):
        def generate(self, trees, sampling, **_):
            asked.append(trees[0].requests[0].user)
            return [[[Completion(text, (1, 2), True)]]]

        monkeypatch.setattr(Engine, "generate", generate)
        return asked

    return say


def test_a_model_is_asked(trlt, fast, video):
    result = trlt("infer", video, "a red circle is shown", *fast, *SHORT, "--json")
    assert result["task"] == "grounding" and result["duration"] == pytest.approx(4) and isinstance(result["text"], str)


def test_a_span_is_drawn(trlt, fast, video, saying):
    asked = saying("<think> It [bold]starts[/] late. </think> <answer> 1.0 to 3.0 </answer>")
    shown = trlt("infer", video, "a red circle is shown", *fast)
    assert "Event: a red circle is shown" in asked[0] and "<think>" in asked[0]
    assert "It [bold]starts[/] late." in shown and "1.0 to 3.0 s" in shown
    line = next(line for line in shown.splitlines() if "█" in line)
    assert line.count("█") == 30 and line.count("─") == 30


def test_an_option_is_named(trlt, fast, video, saying):
    asked = saying("<answer> B </answer>")
    options = ["--option", "red", "--option", "blue"]
    assert "B. blue" in trlt("infer", video, "which colour", *options, *fast, *SHORT)
    assert "A. red\nB. blue" in asked[0]
    result = trlt("infer", video, "which colour", "--task", "grounded_qa", *options, *fast, *SHORT, "--json")
    assert result["option"] == 1 and result["well_formed"] is False and result["span"] is None


def test_a_free_question_and_an_unreadable_answer(trlt, fast, video, saying):
    saying("<observe> 1.0 to 2.0 </observe> <answer> a circle </answer>")
    result = trlt("infer", video, "what is shown", "--task", "grounded_qa", *fast, *SHORT, "--json")
    assert result["answer"] == "a circle" and result["span"] == [1.0, 2.0]
    saying("who knows")
    shown = trlt("infer", video, "what is shown", *fast, *SHORT)
    assert "No answer in the form that was asked for" in shown and "who knows" in shown


def test_flags_that_do_not_fit_are_named(trlt, video):
    assert "no such file" in trlt("infer", "absent.mp4", "what", code=4)
    assert "did you mean grounding" in trlt("infer", video, "what", "--task", "groundin", code=2)
    assert "takes no --option" in trlt("infer", video, "what", "--task", "grounding", "-o", "a", "-o", "b", code=2)
    assert "at least two" in trlt("infer", video, "what", "--task", "multi_choice", code=2)
    assert "two different" in trlt("infer", video, "what", "-o", "a", "-o", "a", code=2)


def test_a_broken_video_is_told_before_the_model_loads(trlt, fast, tmp_path, monkeypatch):
    monkeypatch.setattr("trlt.commands.infer.make_engine", pytest.fail)
    (tmp_path / "torn.mp4").write_bytes(b"nothing")
    assert "torn.mp4" in trlt("infer", "torn.mp4", "what", *fast, code=4)


def test_an_address_is_refused_unless_downloads_are_allowed(trlt, fast):
    message = trlt("infer", "https://example.org/a.mp4", "the cat runs", *fast, code=4)
    assert "https://example.org/a.mp4" in message and "set video.downloads" in message


# -- a page and a clip of one answer ------------------------------------------------------------------------------------


@pytest.fixture
def ask(tiny_path, tmp_path, monkeypatch):
    """`infer` on the random model, in an empty folder; prints as for a person."""
    monkeypatch.chdir(tmp_path)
    sets = ["model.dtype=float32", "model.device=cpu", "video.workers=0", "eval.think=false", "eval.max_new_tokens=4"]

    def go(*args, **options):
        return infer(*args, model=str(tiny_path), sets=sets, output=Output(), **options)

    return go


HOSTILE = "a <script>window.ran = 1</script> <img src=x onerror=alert(1)> circle"


def test_a_page_of_one_answer_stands_alone_and_runs_nothing(ask, video, saying, tmp_path, capsys):
    saying("<think> <svg onload=alert(2)> it starts late </think> <answer> 1.0 to 3.0 </answer>")
    result = ask(video, HOSTILE, html=tmp_path / "a.html")
    assert result["page"] == str(tmp_path / "a.html") and "Page: " in capsys.readouterr().out
    text = (tmp_path / "a.html").read_text()
    assert "&lt;script&gt;window.ran" in text and "&lt;svg onload=alert(2)&gt; it starts late" in text
    assert not re.search(r"<(script|svg onload|img src=x)", text) and "default-src &#x27;none&#x27;" in text
    assert not re.search(r'<\w+[^>]* (src|href)="(?!data:)', text), "nothing is loaded from elsewhere"
    shown = re.findall(r'alt="frame at ([\d.]+) s"><figcaption>[\d.]+ s(, in the span)?', text)
    assert len(shown) == 8 and [float(at) for at, inside in shown if inside] == [1.1, 1.6, 2.2, 2.8]
    assert "1.0 to 3.0 s of 4.0 s" in text


def test_the_predicted_span_is_cut(ask, video, saying, tmp_path, capsys):
    saying("<answer> 1.0 to 3.0 </answer>")
    result = ask(video, "a red circle is shown", clip_out=tmp_path / "cut.mp4")
    assert result["clip"] == {"path": str(tmp_path / "cut.mp4"), "start": 1.0, "end": 3.0, "frames": 16, "sound": False} | {
        "warnings": []
    }
    assert "16 frames, 1.00 to 3.00 s, without sound" in capsys.readouterr().out
    with av.open(str(tmp_path / "cut.mp4")) as container:
        assert len(list(container.decode(video=0))) == 16


def test_of_several_spans_one_has_to_be_chosen(ask, video, saying, tmp_path):
    saying("<answer> 0.5 to 1.0, 2.0 to 3.5 and 3.6 to 3.8 </answer>")
    with pytest.raises(
        DataError, match=r"several spans \(1: 0.5 to 1.0, 2: 2.0 to 3.5, 3: 3.6 to 3.8\); choose one with --span"
    ):
        ask(video, "a circle", clip_out=tmp_path / "cut.mp4")
    assert ask(video, "a circle", clip_out=tmp_path / "cut.mp4", which=2)["clip"]["frames"] == 12
    with pytest.raises(UsageError, match="--span 4: the answer states 3"):
        ask(video, "a circle", clip_out=tmp_path / "cut.mp4", which=4)


def test_no_span_is_no_clip(ask, video, saying, tmp_path):
    saying("<answer> never </answer>")
    with pytest.raises(DataError, match="states no span to cut: 'never'"):
        ask(video, "a circle", clip_out=tmp_path / "cut.mp4")
    saying("<answer> 7.0 to 9.0 </answer>")
    with pytest.raises(VideoError, match="no frame is presented from 7 to 9 s"):
        ask(video, "a circle", clip_out=tmp_path / "cut.mp4")
    assert not (tmp_path / "cut.mp4").exists()


def test_options_that_do_not_fit_are_told_before_the_model_loads(ask, video, tmp_path, monkeypatch):
    monkeypatch.setattr("trlt.commands.infer.make_engine", pytest.fail)
    samples = tmp_path / "some.jsonl"
    for message, args, options in (
        (r"a\.txt: a name that ends in \.html", (video, "q"), {"html": tmp_path / "a.txt"}),
        ("asks for no span", (video, "q"), {"options": ["a", "b"], "clip_out": tmp_path / "a.mp4"}),
        (r"ends in \.mp4", (video, "q"), {"clip_out": tmp_path / "a.gif"}),
        ("is the video itself", (video, "q"), {"clip_out": video}),
        ("--span: says which span --clip cuts", (video, "q"), {"which": 1}),
        ("--out, --fresh: goes with samples", (video, "q"), {"out": tmp_path, "fresh": True}),
        ("what is asked", (video,), {}),
        ("and --data: give one of them", (None,), {}),
        ("and --data: one of them names what is asked", (video,), {"data": str(samples)}),
        ("is empty", (video, " "), {}),
        ("a question, --clip: goes with one video", (samples, "q"), {"clip_out": tmp_path / "a.mp4"}),
    ):
        with pytest.raises(UsageError, match=message):
            ask(*args, **options)


# -- samples ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Four samples of which one's video is missing, and a model that answers them; gives (samples, ids that were asked)."""
    write_clip(tmp_path / "videos/v.mp4", 3)
    made = [event("e", "v.mp4"), choice("c", "v.mp4", question=HOSTILE), choice("w", "v.mp4"), choice("m", "absent.mp4")]
    write_samples(tmp_path / "some.jsonl", made)
    says = {"e": "<answer> 1.0 to 2.5 </answer>", "c": "<answer> B </answer>", "w": "<answer> A </answer>"}
    ids = []

    def stream(self, trees, sampling, **_):
        for t, tree in enumerate(trees):
            for r, one in enumerate(tree.requests):
                ids.append(one.key)
                yield Answered(t, r, [Completion(says[one.key], (1, 2), True)])

    monkeypatch.setattr(Engine, "stream", stream)
    return tmp_path / "some.jsonl", ids


def test_samples_become_rows_a_table_and_a_page(ask, asked, tmp_path, capsys):
    samples, ids = asked
    result = ask(samples, videos=tmp_path / "videos", out=tmp_path / "run", html=tmp_path / "a.html")
    rows = list(read_rows(tmp_path / "run/rows/infer.jsonl"))
    assert [row["id"] for row in rows] == ["e", "c", "w", "m"] and rows[0]["ious"] == [pytest.approx(2 / 3)]
    assert result["means"] == {"accuracy": 0.5, "tiou": pytest.approx(2 / 3), "format": 1.0}
    assert json.loads((tmp_path / "run/manifest.json").read_text())["kind"] == "infer"
    shown = capsys.readouterr().out
    for part in ("1.0 to 2.5", "B. blue square", "A. red circle", "0.67", "accuracy: 0.500", "absent.mp4"):
        assert part in shown
    page = (tmp_path / "a.html").read_text()
    assert "frames-0" in page and "\\u003cscript>window.ran" in page and "<script>window.ran" not in page
    assert ids == ["e", "c", "w"]
    assert ask(samples, videos=tmp_path / "videos", out=tmp_path / "run")["summary"]["resumed"] == 4 and len(ids) == 3
    assert ask(None, data=str(samples), videos=tmp_path / "videos", out=tmp_path / "run")["summary"]["resumed"] == 4
    write_clip(tmp_path / "other/v.mp4", 3)
    with pytest.raises(ResumeError, match="belongs to another run"):
        write_samples(samples, [event("e", "v.mp4")])
        ask(samples, videos=tmp_path / "videos", out=tmp_path / "run")


def test_samples_of_which_no_video_is_there(ask, asked, tmp_path):
    samples, _ = asked
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="not one sample could be asked"):
        ask(samples, videos=tmp_path / "empty", out=tmp_path / "run")
