"""A user's own table of questions, given to every command as it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from made_clips import write_clip

from trlt.commands._data import open_data
from trlt.commands._output import Output
from trlt.errors import ResumeError
from trlt.files import file_digest
from trlt.recipe import load_recipe
from trlt.rollout import RunFiles
from trlt.task.sample import read_samples

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

SHORT = ["--set", "video.max_tokens=16", "--set", "probe.max_new_tokens=4", "--set", "eval.max_new_tokens=4", "-n", 2]


@pytest.fixture
def videos(tmp_path):
    """Two clips of 3 s with awkward names, and a file that isn't looked into."""
    folder = tmp_path / "my videos"
    write_clip(folder / "Büro" / "a b.mp4", seed=1)
    write_clip(folder / "dog.mp4", seed=2)
    (folder / "plain.mp4").write_bytes(b"")
    return folder


@pytest.fixture
def table(tmp_path, videos):
    """A table as a spreadsheet writes it, of all tasks; returns its path."""
    rows = [
        {"Video": "Büro\\a b.mp4", "Prompt": "<video>\nwhat?", "A": "red", "B": "blue", "Correct": "b"},
        {"Video": str(videos / "dog.mp4"), "Prompt": "it runs", "Start": "0:01", "End": "2.5s"},
        {"Video": "dog.mp4", "Prompt": "which?", "A": "a dog", "B": "a cow", "Correct": "A. a dog", "Start": 1, "End": 2},
        {"Video": "dog.mp4", "Prompt": "Who is it?", "Correct": "a small dog"},
    ]
    path = tmp_path / "mine.csv"
    pd.DataFrame(rows).to_csv(path, sep=";", encoding="utf-8-sig")
    return path


WANTED = [  # the first question goes over two lines of the file
    ("mine:2", "multi_choice", "Büro/a b.mp4", ("red", "blue"), "blue", None),
    ("mine:4", "grounding", "dog.mp4", None, None, ((1.0, 2.5),)),
    ("mine:5", "grounded_qa", "dog.mp4", ("a dog", "a cow"), "a dog", ((1.0, 2.0),)),
    ("mine:6", "multi_choice", "dog.mp4", None, "a small dog", None),
]


def read(path):
    return read_samples(Path(path))


def core(path):
    return [(s.id, s.task, s.video, s.options, s.answer, s.spans) for s in read(path)]


def test_prepare_turns_a_table_into_samples_and_shows_how_it_was_read(trlt, table, videos):
    shown = trlt("prepare", table, "--videos", videos, "--out", "samples.jsonl")
    for line in ("mine.csv: 4 rows", "video     Video ", "options   A … B", "answer    Correct"):
        assert line in shown, line
    assert "tasks: multi_choice 1, grounding 1, grounded_qa 1, multi_choice (open) 1" in shown
    assert "id mine:2, multi_choice, video Büro/a b.mp4" in shown and "* B. blue" in shown and "not used" not in shown
    assert core("samples.jsonl") == WANTED and {s.duration for s in read("samples.jsonl")} == {3.0}
    assert "Next: trlt probe --data samples.jsonl" in shown
    again = trlt("prepare", "samples.jsonl", "--videos", videos, "--out", "again.jsonl", "--json")
    assert again["count"] == 4 and core("again.jsonl") == WANTED


def test_prepare_leaves_out_duplicates_and_footage_of_benchmarks(trlt, tmp_path, bench, write_jsonl):
    rows = [{"video": video, "query": query, "start": 0, "end": 1} for video, query in (("AAAAA", "p"), ("x", "q"), ("x", "q"))]
    path = write_jsonl(tmp_path / "mine.jsonl", rows)
    found = trlt("prepare", path, "--against", f"charades={bench}", "--out", "s.jsonl", "--json")
    assert found["sources"][0]["dropped"] == {"in_charades": 1, "duplicate": 1} and found["count"] == 1


def test_prepare_refuses_flags_that_go_with_other_data(trlt, table, tmp_path, write_jsonl):
    assert "--annotations and --split go with a data set's name" in trlt("prepare", table, "--split", "x", code=2)
    assert "--map, --skip-bad and --skip-missing go with your own table" in trlt("prepare", "charades", "--skip-bad", code=2)
    own = write_jsonl(tmp_path / "samples.jsonl", [{"video": "a", "question": "q", "answer": "x"}])
    assert "would overwrite its own input" in trlt("prepare", own, code=2)


def test_probe_takes_a_table_goes_on_and_refuses_an_edited_one(trlt, fast, table, videos):
    command = ["probe", "--data", table, "--videos", videos, *fast, *SHORT, "--out", "run"]
    first = trlt(*command, "--json")
    assert first["summary"]["rows"] == 4 and first["summary"]["errors"] == 0 and core("run/samples.jsonl") == WANTED
    noted = json.loads((table.parent / "run/manifest.json").read_text())["inputs"]["data"]
    assert noted["path"] == str(table.parent / "run/samples.jsonl") and list(noted["files"]) == [str(table)]
    assert noted["videos"] == str(videos)
    again = trlt(*command, "--json")
    assert (
        again["summary"]["resumed"] == 4
        and json.loads((table.parent / "run/manifest.json").read_text())["inputs"]["data"] == noted
    )
    # What follows works on the run's own samples.
    assert "what?" in trlt("probe", "show", "mine:2", "--probe", "run")
    kept = (table.parent / "run/samples.jsonl").read_bytes()
    table.write_text(table.read_text(encoding="utf-8-sig").replace("Who is it?", "Who?"), encoding="utf-8")
    assert "the samples in mine.csv changed" in trlt(*command, code=7)
    assert (table.parent / "run/samples.jsonl").read_bytes() == kept


def test_probe_estimates_and_infer_asks_a_table(trlt, fast, table, videos):
    common = ["--videos", videos, *fast, *SHORT[:-2]]
    assert trlt("probe", "--data", table, *common, "-n", 2, "--estimate", "--json")["samples"] == 4
    assert not Path("runs").exists()
    found = trlt("infer", table, *common, "--out", "answers", "--json")
    assert found["summary"]["rows"] == 4 and core("answers/samples.jsonl") == WANTED


def test_train_takes_a_table_from_flag_or_recipe(trlt, fast, table, videos, tmp_path):
    recipe = tmp_path / "my.yaml"
    recipe.write_text(
        f"video: {{root: {json.dumps(str(videos))}}}\ntrain: {{data: mine.csv, prompts_per_step: 2, epochs: 1}}\n"
    )
    assert trlt("train", recipe, *fast, "--dry-run", "--json")["plan"]["samples"] == 4
    assert not (tmp_path / "runs").exists()
    recipe.write_text("train: {prompts_per_step: 2, epochs: 1}\n")
    given = ["train", recipe, *fast, "--data", table, "--dry-run"]
    assert trlt(*given, "--videos", videos, "--json")["plan"]["steps"] == 2
    # Without --videos, paths are relative to the table's folder, in which the videos are found by their names.
    assert trlt(*given, "--json")["plan"]["steps"] == 2
    (tmp_path / "other").mkdir()
    assert "mine.csv:4: video (column 'Video'): " in trlt(*given, "--videos", tmp_path / "other", code=3)
    table.write_text("video,question,answer\nnone.mp4,q,x\n")
    assert "mine.csv: 1 video of 1 question is missing in" in trlt(*given, code=4)


def test_videos_are_checked_and_tables_exported_as_they_are(trlt, table, videos):
    found = trlt("video", "check", table, "--videos", videos, "--out", "rows.jsonl", "--json", "--set", "video.workers=0")
    assert found["clips"] == 2 and found["spans"] == {"compared": 2, "outside": 0, "examples": []}
    made = trlt("export", table, "--format", "ms-swift", "--videos", videos, "--out", "swift.jsonl", "--json")
    assert made["written"] == 4
    made = trlt("export", table, "--format", "video-r1", "--out", "r1.json", "--json")
    assert made["left_out"] == {"no_grounding": 1, "no_grounded_qa": 1, "no_options": 1} and made["written"] == 1


BAD = "video,question,A,B,answer\nplain.mp4,q,x,y,A\nplain.mp4,q,x,y,D\n../plain.mp4,q,x,y,A\nnone.mp4,q,x,y,B\n"


def test_all_faults_are_told_at_once_and_skipped_when_asked(trlt, tmp_path, videos):
    path = tmp_path / "bad.csv"
    path.write_text(BAD)
    command = ["probe", "--data", path, "--videos", videos, "--model", "no-such-model", "--out", "run"]
    message = trlt(*command, code=3)
    for part in (
        "bad.csv: 2 of 4 rows can't be used",
        "bad.csv:3: answer: 'D' is no letter of 2 options",
        "bad.csv:4: video: '../plain.mp4' must be a path inside the video root",
        "Besides, 1 video is missing",
        "none.mp4: not in",
        "--skip-bad and --skip-missing",
    ):
        assert part in message, part
    # The model, which isn't there, wasn't looked for.
    message = trlt(*command, "--skip-bad", code=4)
    assert "1 video of 1 question is missing" in message and "--skip-missing" in message
    assert (tmp_path / "run/missing_videos.txt").read_text().startswith("none.mp4\t")
    assert len((tmp_path / "run/bad_rows.txt").read_text().splitlines()) == 2
    assert "no-such-model" in trlt(*command, "--skip-bad", "--skip-missing", code=5)
    made = trlt("prepare", path, "--videos", videos, "--skip-bad", "--skip-missing", "--out", "s.jsonl", code=3)
    assert "no sample is left of 4 records" in made and "2 bad_row" in made and "1 video_missing" in made


def test_many_faults_are_listed_in_a_file(trlt, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("video,question,answer\na,q,fine\n" + "a,q,\n" * 30)
    message = trlt("probe", "--data", path, "--out", "run", code=3)
    assert message.count("answer, spans: both are missing") == 20 and "… and 10 more: run/bad_rows.txt" in message
    assert len((tmp_path / "run/bad_rows.txt").read_text().splitlines()) == 30


def test_samples_of_trlt_stay_as_they_are(trlt, fast, tmp_path, videos, write_jsonl):
    rows = [
        {"id": str(n), "source": "s", "split": "t", "task": "grounding", "video": video, "question": "q", "spans": [[0, 1]]}
        for n, video in enumerate(("dog.mp4", "none.mp4"))
    ]
    path = write_jsonl(tmp_path / "samples.jsonl", rows)
    common = ["--data", path, "--videos", videos, *fast, *SHORT, "--json"]
    found = trlt("probe", *common, "--out", "run")  # a missing video is an error of its row, as ever
    assert found["summary"]["errors"] == 1 and not (tmp_path / "run/samples.jsonl").exists()
    assert json.loads((tmp_path / "run/manifest.json").read_text())["inputs"]["data"]["path"] == str(path)
    found = trlt("probe", *common, "--skip-missing", "--out", "other")
    assert found["summary"] | {"rows": 1, "errors": 0} == found["summary"]
    assert [s.id for s in read("other/samples.jsonl")] == ["0"]


def test_converted_samples_never_replace_those_of_another_run(tmp_path, videos):
    (tmp_path / "mine.csv").write_text("video,question,answer\nplain.mp4,q,x\n")
    recipe = load_recipe(None, flags={"video.root": videos})
    run = tmp_path / "run"
    opened = open_data(tmp_path / "mine.csv", recipe, run, Output(json_mode=True))
    assert not run.exists()  # nothing is written before the run is known
    RunFiles(run).write_manifest({"kind": "train", "inputs": {"data": {"sha256": "another"}}})
    with pytest.raises(ResumeError, match="the samples of .*mine.csv changed"):
        opened.write()
    assert not (run / "samples.jsonl").exists()
    opened.write(anew=True)
    assert [s.question for s in read(run / "samples.jsonl")] == ["q"] and file_digest(run / "samples.jsonl") == opened.identity[
        "sha256"
    ]
    # Another process, or the next command, is told where the videos are, and of what they were made.
    again = open_data(run / "samples.jsonl", load_recipe(None), tmp_path / "other", Output(json_mode=True))
    assert again.root == videos and again.identity == dict(opened.identity)


def test_map_and_what_is_wrong_with_it(trlt, tmp_path, videos):
    path = tmp_path / "mine.csv"
    path.write_text("clipname,ask,pick\nplain.mp4,q,1\nplain.mp4,r,2\n")
    command = ["prepare", path, "--no-check-videos", "--out", "s.jsonl"]
    assert "video, question, answer: no column has a name that trlt knows" in trlt(*command, code=3)
    assert "expected FIELD=COLUMN,FIELD=COLUMN" in trlt(*command, "--map", "video", code=2)
    assert "vidio: unknown field; did you mean video" in trlt(*command, "--map", "vidio=clipname", code=2)
    assert "no column 'clip'; did you mean clipname" in trlt(*command, "--map", "video=clip", code=3)
    trlt(*command, "--map", "video=clipname,question=ask,answer=pick")
    assert [(s.question, s.answer) for s in read("s.jsonl")] == [("q", "1"), ("r", "2")]
    trlt(*command, "--set", "data.map={video: clipname, question: ask, answer: pick}")


def test_data_sets_of_a_hub(trlt, tmp_path, videos, monkeypatch):
    import datasets

    asked = []

    class Stream:
        def decode(self, enable):
            assert not enable
            return iter([{"video": {"path": "dog.mp4", "bytes": None}, "question": "who?", "answer": "a dog"}])

    def load(name, config, *, split, streaming):
        asked.append((name, config, split, streaming))
        if name == "org/gated":
            raise datasets.exceptions.DatasetNotFoundError("Dataset 'org/gated' is a gated dataset on the Hub.")
        if name == "org/none":
            raise datasets.exceptions.DatasetNotFoundError("Dataset 'org/none' doesn't exist on the Hub or cannot be accessed.")
        if name == "org/away":
            raise ConnectionError("Couldn't reach 'org/away' on the Hub (LocalEntryNotFoundError)")
        if split == "odd":
            raise ValueError("Bad split: odd. Available splits: ['train']")
        return Stream()

    monkeypatch.setattr(datasets, "load_dataset", load)
    command = ["--videos", videos, "--no-check-videos", "--out", "s.jsonl"]
    trlt("prepare", "hf://org/name/small:val", *command)
    trlt("prepare", "hf://org/name", *command)
    assert asked == [("org/name", "small", "val", True), ("org/name", None, "train", True)]
    assert [(s.id, s.source, s.video, s.answer) for s in read("s.jsonl")] == [("name:1", "name", "dog.mp4", "a dog")]
    for address, said in (
        ("hf://org/gated", "gated dataset on the Hub; ask for access on its page, then `hf auth login`"),
        ("hf://org/none", "doesn't exist on the Hub or cannot be accessed; look at the name"),
        ("hf://org/away", "Couldn't reach 'org/away' .*; give a file that is on this machine"),
        (
            "hf://org/name:odd",
            r"Bad split: odd. Available splits: \['train'\]; name split and configuration as hf://org/name/CONFIG",
        ),
        ("hf://name", "expected hf://org/name, hf://org/name:split"),
    ):
        message = trlt("prepare", address, *command, code=3)
        assert re.search(said, message), message


def test_a_folder_of_files_is_a_data_set_too(trlt, tmp_path, monkeypatch, write_jsonl):
    (tmp_path / "org/name").mkdir(parents=True)
    write_jsonl(tmp_path / "org/name/train.jsonl", [{"video": "a", "query": "he runs", "start": 1.0, "end": 2.0}])
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    trlt("prepare", "hf://org/name", "--out", "s.jsonl")
    assert [(s.id, s.task, s.spans) for s in read("s.jsonl")] == [("name:1", "grounding", ((1.0, 2.0),))]
