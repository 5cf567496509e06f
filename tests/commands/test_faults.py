"""An exception that nobody has foreseen, wherever one sample's own input is handled: its row says so, and the run goes on."""

from __future__ import annotations

import json

import pytest
from made_clips import write_clip
from typer.testing import CliRunner

from trlt.cli import app
from trlt.engine.forest import Engine
from trlt.engine.inputs import InputBuilder
from trlt.errors import faults
from trlt.rollout import read_rows
from trlt.task import grade, prompt_form
from trlt.task.sample import Sample, write_samples
from trlt.video import workers

COUNT, BAD = 5, "s3"
SHORT = ("--set", "video.max_tokens=64", "--set", "probe.max_new_tokens=4", "--set", "eval.max_new_tokens=4")


def make(folder, count=COUNT):
    """A file of samples, one a video; each question tells which it is."""
    asked = {"options": ("x", "y"), "answer": "x", "answer_index": 0}
    samples = [Sample(f"s{n}", "made", "", "multi_choice", f"{n}.mp4", f"word {n}?", **asked) for n in range(count)]
    folder.mkdir(exist_ok=True)
    write_samples(folder / "samples.jsonl", samples)
    write_samples(folder / "others.jsonl", [one for one in samples if one.id != BAD])
    write_clip(folder / "0.mp4", 1, 0)
    for n in range(1, count):
        (folder / f"{n}.mp4").hardlink_to(folder / "0.mp4")
    return folder / "samples.jsonl"


@pytest.fixture
def data(tmp_path):
    return make(tmp_path / "data")


def fails_on(target, name, is_bad, monkeypatch):
    """Lets a function raise what nobody would expect of it, where its arguments are the bad sample's."""
    real = getattr(target, name)

    def strange(*args, **kwargs):
        if is_bad(args):
            return [][1 // 0]
        return real(*args, **kwargs)

    monkeypatch.setattr(target, name, strange)


PLACES = {
    "load": (workers, "load_clip", lambda args: args[0].name == "3.mp4"),
    "prompt": (prompt_form, "build", lambda args: args[0].id == BAD),
    "encode": (InputBuilder, "prompt", lambda args: "word 3" in args[2]),
    "forward": (Engine, "_prefill_prompts", lambda args: any(len(one.suffix) in LONG for one in args[1])),
    "score": (grade, "score", lambda args: args[1].id == BAD),
}
LONG = set()
"""Lengths of prompts on which the forward pass fails."""


def rows_of(folder, command):
    return {one["id"]: one for one in read_rows(folder / "rows" / f"{command}.jsonl")}


def ask(command, data, out, *flags):
    place = ["--data", data] if command == "probe" else [data]
    return CliRunner().invoke(app, [str(one) for one in (command, *place, "--out", out, *SHORT, *flags)])


@pytest.mark.parametrize("place", PLACES)
def test_it_is_an_error_of_its_row(place, data, fast, tmp_path, monkeypatch, capsys):
    command = "infer" if place == "score" else "probe"
    target, name, is_bad = PLACES[place]
    if place == "forward":  # in place of a question that makes a shape fail
        text = data.read_text().replace("word 3?", "word 3 and some more words, so that its length is its own?")
        data.write_text(text)
        real = InputBuilder.prompt

        def note(self, system, user, clip, **asked):
            made = real(self, system, user, clip, **asked)
            if "word 3" in user:
                LONG.add(len(made.suffix))
            return made

        monkeypatch.setattr(InputBuilder, "prompt", note)
    assert ask(command, data.with_name("others.jsonl"), tmp_path / "others", *fast).exit_code == 0
    with monkeypatch.context() as patch:
        fails_on(target, name, is_bad, patch)
        result = ask(command, data, tmp_path / "all", *fast)
    assert result.exit_code == 0, result.output
    rows = rows_of(tmp_path / "all", command)
    assert rows[BAD]["error"].startswith("ZeroDivisionError: integer division or modulo by zero (at ")
    assert list(rows) == [f"s{n}" for n in range(COUNT)]
    assert {id: one for id, one in rows.items() if id != BAD} == rows_of(tmp_path / "others", command)
    assert result.stderr.count("Traceback") == 1 and "return [][1 // 0]" in result.stderr
    again = ask(command, data, tmp_path / "all", *fast, "--retry-errors")
    assert again.exit_code == 0 and all(one["error"] is None for one in rows_of(tmp_path / "all", command).values())


def test_the_first_of_all_may_fail_and_requests_may_go_in_parts(data, fast, tmp_path, monkeypatch):
    parts = ("--set", "probe.max_sequences=2", "-n", "5")  # three parts of each request
    assert ask("probe", data, tmp_path / "whole", *fast, *parts).exit_code == 0
    fails_on(InputBuilder, "prompt", lambda args: "word 0" in args[2] or "word 4" in args[2], monkeypatch)
    result = ask("probe", data, tmp_path / "run", *fast, *parts)
    assert result.exit_code == 0 and result.stderr.count("Traceback") == 1
    whole, rows = rows_of(tmp_path / "whole", "probe"), rows_of(tmp_path / "run", "probe")
    assert [id for id, one in rows.items() if one["error"]] == ["s0", "s4"]
    assert all(rows[id] == whole[id] for id in ("s1", "s2", "s3"))
    parity = json.loads((tmp_path / "run/manifest.json").read_text())["parity"]
    assert parity["largest"] < 1e-4, "the first that could be asked is held to the library's forward"


def test_eval_lists_it_and_scores_the_others(trlt, fast, bench, monkeypatch):
    sets = ("--annotations", bench, "--videos", bench, *fast, *SHORT, "--out", "run", "--json")
    with monkeypatch.context() as patch:
        fails_on(grade, "score", lambda args: "cat runs" in args[1].question, patch)
        entry = trlt("eval", "-b", "charades", *sets, "--allow-missing")["benchmarks"]["charades"]
    assert (entry["n"], entry["broken_videos"]) == (3, 1)
    entry = trlt("eval", "-b", "charades", *sets, "--retry-errors")["benchmarks"]["charades"]
    assert (entry["n"], entry["broken_videos"]) == (4, 0)


@pytest.mark.parametrize("place", ["load", "prompt", "encode", "score"])
def test_when_most_fail_the_run_ends_with_the_traceback(place, fast, tmp_path, monkeypatch):
    data = make(tmp_path / "data", count=40)
    target, name, _ = PLACES[place]
    with monkeypatch.context() as patch:
        fails_on(target, name, lambda args: True, patch)
        result = ask("probe", data, tmp_path / "run", *fast)
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
        _, _, message = result.stderr.partition("error: 16 samples met unforeseen errors at a step that 0 passed")
        assert "ZeroDivisionError" in message and "--retry-errors" in message and "return [][1 // 0]" in message
        rows = rows_of(tmp_path / "run", "probe")
        assert len(rows) == 16 and all("ZeroDivisionError" in one["error"] for one in rows.values())
        assert ask("probe", data, tmp_path / "run", *fast).exit_code == 1 and len(rows_of(tmp_path / "run", "probe")) == 32
    assert ask("probe", data, tmp_path / "run", *fast, "--retry-errors").exit_code == 0
    assert all(one["error"] is None for one in rows_of(tmp_path / "run", "probe").values())


def test_of_a_few_that_all_fail_the_traceback_is_told(data, fast, tmp_path, monkeypatch):
    fails_on(grade, "score", lambda args: True, monkeypatch)
    result = ask("probe", data, tmp_path / "run", *fast, "--json")
    assert result.exit_code == 4 and result.stderr.count("Traceback") == 1 and "ZeroDivisionError" in result.stderr


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_the_machine_has_caused_ends_the_run(error, data, fast, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise error

    monkeypatch.setattr(grade, "score", fails)
    result = ask("probe", data, tmp_path / "run", *fast)
    assert result.exit_code in (1, 130) and not rows_of(tmp_path / "run", "probe")


def test_marks_and_more_options_than_letters_are_faults_of_their_questions(data, fast, tmp_path):
    lines = [json.loads(line) for line in data.read_text().splitlines()]
    lines[1]["question"] = "what is <|video_pad|>?"
    lines[2]["options"] = ["x", "a<|im_end|>"]
    lines[3]["options"] = ["x", *map(str, range(30))]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ask("probe", data, tmp_path / "run", *fast, "--set", "probe.answer_format=letter").exit_code == 0
    errors = {id: one["error"] for id, one in rows_of(tmp_path / "run", "probe").items()}
    assert errors["s0"] is None is errors["s4"]
    assert "the mark '<|video_pad|>'" in errors["s1"] and "the mark '<|im_end|>'" in errors["s2"]
    assert "31 are more than the 26 letters" in errors["s3"]


def test_a_mark_in_a_question_about_one_video(data, fast):
    result = CliRunner().invoke(app, ["infer", str(data.with_name("0.mp4")), "see <|image_pad|>?", *map(str, fast)])
    assert result.exit_code == 2 and "the mark '<|image_pad|>'" in result.stderr


def test_errors_between_good_ones_end_nothing():
    surprises, strange = faults.Surprises(), faults.unforeseen(ZeroDivisionError("x"))
    for _ in range(100):
        surprises.passed("load")
        surprises.add("load", strange)
    surprises.add("score", strange)  # a step of its own
    with pytest.raises(Exception, match="101 samples met unforeseen errors at a step that 100 passed"):
        surprises.add("load", strange)
