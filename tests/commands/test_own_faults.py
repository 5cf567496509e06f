"""Faults of a user's own table: all at once, with what to do, and paths of another machine."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from trlt.cli import app
from trlt.task.sample import read_samples

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    for name in ("yoga.mp4", "one/dog run.mp4", "two/dog run.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    (tmp_path / "outside.mp4").write_bytes(b"")
    return folder


def test_a_fault_of_the_path_hides_no_other(trlt, tmp_path, videos):
    path = tmp_path / "bad.csv"
    path.write_text(
        "video,question,A,B,answer\n../up.mp4,q,x,y,D\n../up.mp4,q,x,y,A\nnone.mp4,q,x,y,D\nyoga.mp4,q,x,y,A\n",
        encoding="utf-8",
    )
    message = trlt("prepare", path, "--videos", videos, "--out", "s.jsonl", code=3)
    for part in (
        "3 of 4 rows can't be used",
        "bad.csv:2: video: '../up.mp4' must be a path inside",
        "bad.csv:2: answer: 'D' is no letter of 2 options",
        "bad.csv:3: video: ",
        "bad.csv:4: answer: 'D' is no letter of 2 options",
        "Besides, 1 video is missing in",
        "none.mp4: not in",
    ):
        assert part in message, part
    assert message.count("bad.csv:3: ") == 1


def test_paths_of_windows_are_found_by_their_names(trlt, tmp_path, videos):
    path = tmp_path / "mine.csv"
    rows = (r"D:\clips\yoga.mp4", r"\\server\share\yoga.mp4", r"C:\my\two\dog run.mp4")
    path.write_text("video,question,answer\n" + "".join(f"{row},q{n},x\n" for n, row in enumerate(rows)), encoding="utf-8")
    trlt("prepare", path, "--videos", videos, "--no-check-videos", "--out", "s.jsonl")
    assert [s.video for s in read_samples(tmp_path / "s.jsonl")] == ["yoga.mp4", "yoga.mp4", "two/dog run.mp4"]


@pytest.mark.parametrize(
    ("video", "why"),
    [
        (r"C:\my\dog run.mp4", "ambiguous in"),
        (r"C:\my\outside.mp4", "not in"),
        (r"C:\my\..\..\outside.mp4", "not in"),
    ],
)
def test_paths_of_windows_that_name_no_single_video(trlt, tmp_path, videos, video, why):
    path = tmp_path / "mine.csv"
    path.write_text(f"video,question,answer\n{video},q,x\n", encoding="utf-8")
    message = trlt("prepare", path, "--videos", videos, "--no-check-videos", "--out", "s.jsonl", code=3)
    assert "is a path of Windows, and its name stands for no single video" in message and why in message
    assert "--videos FOLDER" not in message


def test_answers_of_which_some_are_spans_are_told(trlt, tmp_path, write_jsonl):
    def chat(question, answer):
        said = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return {"videos": ["yoga.mp4"], "messages": said}

    timed = chat("When does she bow?", "From 2.0 to 5.5 seconds.")
    path = write_jsonl(tmp_path / "mine.jsonl", [timed])
    trlt("prepare", path, "--out", "s.jsonl")
    assert [(s.task, s.spans) for s in read_samples(tmp_path / "s.jsonl")] == [("grounding", ((2.0, 5.5),))]
    path = write_jsonl(tmp_path / "mine.jsonl", [timed, chat("Who is it?", "a woman")])
    result = CliRunner().invoke(app, ["prepare", str(path), "--out", "s.jsonl"])
    assert result.exit_code == 0
    assert "1 of 2 answers without options are spans, such as 'From 2.0 to 5.5 seconds.'" in result.stderr
