"""Samples that can't be trained on: listed with their place in the file, left out, and no reason to end a training."""

from __future__ import annotations

import json

import pytest
from commands.test_faults import fails_on
from commands.test_train import RECIPE
from typer.testing import CliRunner

from trlt.cli import app
from trlt.engine.forest import Engine
from trlt.engine.inputs import InputBuilder
from trlt.task import grade
from trlt.video import workers

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
EPOCH = ("--set", "train.max_steps=5", "--set", "train.max_broken=0.6", "--set", "video.workers=0")
"""Five steps of two prompts ask all of ten samples."""


@pytest.fixture
def lines(clips_and_samples):
    return [json.loads(line) for line in clips_and_samples.samples.read_text().splitlines()][:10]


@pytest.fixture
def recipe(tmp_path, tiny_path, clips_and_samples, lines):
    def write(some=lines):
        data = tmp_path / "data.jsonl"
        data.write_text("".join(json.dumps(line) + "\n" for line in some))
        path = tmp_path / "small.yaml"
        path.write_text(RECIPE.format(model=tiny_path, videos=clips_and_samples.videos, data=data))
        return path

    return write


FAULTS = {
    "question": ("half \ud800", "half a surrogate pair"),
    "mark": ("see <|video_pad|>", "the mark '<|video_pad|>'"),
    "address": ("http://[", "no address"),
    "long": ("n" * 300 + ".mp4", "too long"),
    "gone": ("none.mp4", "not in"),
}


def damage(lines):
    """Each fault in a line of its own, and an id that is no text, which is none."""
    lines = [dict(line) for line in lines]
    for line, (name, (value, _)) in zip(lines, FAULTS.items(), strict=False):
        line["question" if name in ("question", "mark") else "video"] = value
        line["id"] = name
    lines[5]["id"] = "id \ud800"
    return lines


@pytest.mark.parametrize("method", ["grpo", "sft"])
def test_faults_that_are_seen_before_the_first_step(trlt, recipe, lines, tmp_path, method):
    path = recipe(damage(lines))
    found = trlt("train", path, "--out", "run", "--set", f"train.method={method}", *EPOCH, "--json")
    assert found["steps"] == 5 and set(found["broken"]) == set(FAULTS)
    for number, (name, (_, said)) in enumerate(FAULTS.items(), 1):
        assert found["broken"][name].startswith(f"{tmp_path}/data.jsonl:{number}: '{name}': ") and said in found["broken"][name]


def test_too_many_of_them_are_refused_before_the_first_step(trlt, recipe, lines, tmp_path):
    path = recipe(damage(lines))
    message = trlt("train", path, "--out", "run", code=3)
    assert "5 of 10 samples can't be used" in message and "above train.max_broken (0.1)" in message
    assert all(f"data.jsonl:{number}: " in message for number in range(1, 6)) and "video.root" in message
    assert len((tmp_path / "run" / "broken.jsonl").read_text().splitlines()) == 5
    # What was mended doesn't count when the same command goes on.
    assert trlt("train", recipe(), "--out", "run", "--set", "train.max_steps=1", "--json")["broken"] == {}


@pytest.mark.parametrize("place", ["load", "encode", "forward", "score", "target"])
def test_an_unforeseen_error_breaks_its_sample_alone(recipe, lines, tmp_path, monkeypatch, place):
    bad = lines[7]
    lines[7]["question"] += " and further words of its own, so that its length is its own"
    path, lengths = recipe(lines), set()
    if place == "load":
        fails_on(workers, "load_clip", lambda args: args[0].name == bad["video"].rpartition("/")[2], monkeypatch)
    elif place == "score":
        fails_on(grade, "score", lambda args: args[1].id == bad["id"], monkeypatch)
    elif place == "target":
        fails_on(InputBuilder, "encode", lambda args: args[1] == "gold", monkeypatch)
        monkeypatch.setattr("trlt.task.prompt_form.render_answer", lambda one, **_: "gold" if one.id == bad["id"] else "else")
    elif place == "encode":
        fails_on(InputBuilder, "prompt", lambda args: bad["question"] in args[2], monkeypatch)
    else:
        real = InputBuilder.prompt

        def note(self, system, user, clip, **asked):
            made = real(self, system, user, clip, **asked)
            if bad["question"] in user:
                lengths.add(len(made.suffix))
            return made

        monkeypatch.setattr(InputBuilder, "prompt", note)
        fails_on(Engine, "_prefill_prompts", lambda args: any(len(one.suffix) in lengths for one in args[1]), monkeypatch)
    method = "sft" if place == "target" else "grpo"
    sets = (*EPOCH, "--set", f"train.method={method}", "--set", "train.sft.batch=2", "--out", str(tmp_path / "run"), "--json")
    result = CliRunner().invoke(app, ["train", str(path), *sets])
    assert result.exit_code == 0, (result.output, result.exception)
    found = json.loads(result.stdout)
    same_video = {line["id"] for line in lines if line["video"] == bad["video"]} if place == "load" else {bad["id"]}
    assert found["steps"] == 5 and set(found["broken"]) == same_video
    assert found["broken"][bad["id"]].startswith("ZeroDivisionError: integer division or modulo by zero (at ")
    assert result.stderr.count("Traceback") == 1


def test_when_all_meet_it_the_training_ends_with_the_traceback(recipe, tmp_path, monkeypatch):
    fails_on(grade, "score", lambda args: True, monkeypatch)
    result = CliRunner().invoke(app, ["train", str(recipe()), "--out", str(tmp_path / "run")])
    assert result.exit_code == 3 and "above train.max_broken (0.1)" in result.stderr
    assert result.stderr.count("Traceback") == 1 and "ZeroDivisionError" in result.stderr
