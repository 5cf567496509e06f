"""`trlt eval --subtitles`: prompts with what is said, missing files, benchmarks without, and the protocol."""

from __future__ import annotations

import json

import pytest
from made_clips import write_clip

from trlt.recipe import Recipe
from trlt.report.caveats import notes_on
from trlt.task.sample import Sample

SAMPLES = ["eval", "--bench", "longvideobench", "--annotations", "lvb", "--samples", "--out", "q"]


@pytest.fixture
def lvb(tmp_path, write_jsonl):
    """Three questions about two videos in the official layout; one video has subtitles."""
    (tmp_path / "lvb" / "subtitles").mkdir(parents=True)
    rows = [
        {
            "id": f"{video}_{place}",
            "video_path": f"{video}.mp4",
            "question": "who speaks?",
            "candidates": ["he", "she", "it"],
            "correct_choice": 1,
            "subtitle_path": f"{video}_en.json",
            "starting_timestamp_for_subtitles": 60,
            "duration": 120,
            "duration_group": 600,
            "question_category": "S2A",
        }
        for video, place in (("aaaaaaaaaaa", 0), ("aaaaaaaaaaa", 1), ("bbbbbbbbbbb", 0))
    ]
    (tmp_path / "lvb" / "lvb_val.json").write_text(json.dumps(rows))
    said = [{"timestamp": [start, None], "text": f"word {start}"} for start in (30, 61, 135.5, 500)]
    (tmp_path / "lvb" / "subtitles" / "aaaaaaaaaaa_en.json").write_text(json.dumps(said))
    return tmp_path / "lvb"


def prompts(tmp_path):
    lines = (tmp_path / "q" / "longvideobench.jsonl").read_text().splitlines()
    return [json.loads(line)["user"] for line in lines]


def test_prompts_show_what_is_said(trlt, lvb, tmp_path):
    shown = trlt(*SAMPLES, "--subtitles")
    assert "--subtitles --predictions" in shown, "the command to repeat says so too"
    first, _, without = prompts(tmp_path)
    # Until the end of the video: the line that began before it is still there, that after its end isn't.
    assert first.startswith("Subtitles:\n0:00 word 30\n0:01 word 61\n1:15 word 135.5\nQuestion: who speaks?\nA. he\n")
    assert without.startswith("Question: who speaks?\n")
    listed = (tmp_path / "q" / "longvideobench.missing_subtitles.txt").read_text()
    assert listed.startswith("bbbbbbbbbbb_en.json\t") and len(listed.splitlines()) == 1
    trlt(*SAMPLES, "--subtitles", "--set", "eval.subtitle_chars=30")
    assert prompts(tmp_path)[0].startswith("Subtitles:\n0:00 word 30\n1:15 word 135.5\nQuestion")
    trlt(*SAMPLES)
    assert all(prompt.startswith("Question") for prompt in prompts(tmp_path))


def test_none_to_show_is_an_error(trlt, lvb, tmp_path):
    (lvb / "subtitles" / "aaaaaaaaaaa_en.json").unlink()
    message = trlt(*SAMPLES, "--subtitles", code=4)
    assert "none of its questions has subtitles (aaaaaaaaaaa_en.json: not in" in message and "leave --subtitles out" in message
    (tmp_path / "mmvu").mkdir()
    record = {"id": "v_1", "video": "videos/Art/1.mp4", "question_type": "multiple-choice", "metadata": {"subject": "Art"}}
    record |= {"question": "q", "choices": {"A": "x", "B": "y"}, "answer": "B"}
    (tmp_path / "mmvu" / "validation.json").write_text(json.dumps([record]))
    message = trlt("eval", "--bench", "mmvu", "--annotations", "mmvu", "--samples", "--subtitles", code=2)
    assert "mmvu has no subtitles" in message and "longvideobench, videomme, videomme_v2" in message


def test_the_protocol_says_whether_they_were_shown(trlt, lvb, write_jsonl, tmp_path):
    write_jsonl(tmp_path / "p.jsonl", [{"id": "aaaaaaaaaaa_0", "text": "<think> x </think> <answer> B </answer>"}])
    args = ["eval", "--bench", "longvideobench", "--annotations", lvb, "--predictions", "p.jsonl", "--json", "--no-page"]
    for flag, out in ((["--subtitles"], "with"), ([], "without")):
        entry = trlt(*args, *flag, "--out", out)["benchmarks"]["longvideobench"]
        assert entry["protocol"]["subtitles"] == bool(flag) and entry["paper"]["acc"] == pytest.approx(100 / 3)
    assert "subtitles: true in A, false in B" in trlt("compare", "with", "without")


@pytest.mark.slow
def test_a_model_is_asked_with_them(trlt, lvb, fast, tmp_path):
    for seed, name in enumerate(("aaaaaaaaaaa", "bbbbbbbbbbb")):
        write_clip(lvb / "videos" / f"{name}.mp4", 2, seed)
    args = ["eval", "--bench", "longvideobench", "--annotations", lvb, "--videos", lvb / "videos", *fast, "--no-think"]
    args += ["--set", "eval.max_new_tokens=4", "--no-page", "--json", "--subtitles", "--out"]
    entry = trlt(*args, "e")["benchmarks"]["longvideobench"]
    assert entry["n"] == 3 and entry["subtitles"] == {"questions_without": 1, "questions_shortened": 0}
    assert "asked with subtitles; 1 question without any" in notes_on("longvideobench", entry)
    assert entry["protocol"]["subtitles"] is True and entry["protocol"]["subtitle_chars"] == 40_000
    (lvb / "subtitles" / "aaaaaaaaaaa_en.json").write_text(json.dumps([{"timestamp": [61, 62], "text": "other"}]))
    assert "subtitles" in trlt(*args, "e", code=7), "edited subtitles make another run"


def test_an_own_template_has_to_show_them():
    options = dict(options=("he", "she"), answer="he", answer_index=0)
    sample = Sample(id="1", source="x", split="s", task="multi_choice", video="v", question="q", subtitles="0:01 hi", **options)
    template = "{{ question }} {{ lettered | join(' ') }} {{ format }}"
    for own, fine in ((template, False), ("{{ subtitles }} " + template, True)):
        form = Recipe.model_validate({"prompt": {"template": own}}).form("eval")
        if fine:
            form.try_out([sample])
            assert form.prompt(sample).user.startswith("0:01 hi q A. he")
        else:
            with pytest.raises(Exception, match="without its subtitles; write {{ subtitles }}"):
                form.try_out([sample])
