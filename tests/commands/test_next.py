"""What a command names as the next one is typed as it stands, and works."""

from __future__ import annotations

import ast
import shlex
import shutil

import pytest
from made_clips import write_clip
from paths import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
SETS = (
    "model.dtype=float32 model.device=cpu video.workers=0 video.max_tokens=32 probe.max_new_tokens=4 probe.n=2 select.easy=2 "
    "select.hard=0 select.by=random train.max_new_tokens=4 train.group_size=2 train.prompts_per_step=2 "
    "train.gradient_checkpointing=false train.max_steps=1"
).split()


@pytest.fixture
def sets(tiny_path):
    """Of a small run of the random model on the CPU."""
    return [word for one in (*SETS, f"model.path={tiny_path}") for word in ("--set", one)]


@pytest.fixture
def follow(trlt):
    """Types a command, then the one that it names, and so on: `follow(3, "probe", ...)` gives the words of up to 3 of them."""

    def go(most, *words):
        typed = []
        while words and len(typed) < most:
            typed.append([str(word) for word in words])
            _, _, line = trlt(*words).partition("Next: ")
            program, *words = shlex.split(line) or ["trlt"]
            assert program == "trlt"
        return typed

    return go


def event_files(folder):
    """The data set `charades` of four invented queries, in the official layout."""
    lines = [
        f"{name} {start}.0 {start + 1}.0##a {what} sits" for start in (0, 1) for name, what in (("AA", "cat"), ("BB", "dog"))
    ]
    (folder / "charades_sta_train.txt").write_text("\n".join(lines) + "\n")
    (folder / "Charades_v1_train.csv").write_text("id,length\nAA,2.0\nBB,2.0\n")
    for seed, name in enumerate(("AA", "BB")):
        write_clip(folder / f"my videos/{name}.mp4", 2, seed)


def test_each_command_from_annotation_to_a_second_training(follow, sets, tmp_path):
    event_files(tmp_path)
    words = ["charades", "--annotations", ".", "--videos", "my videos", "--out", "my samples.jsonl", *sets]
    for end in ("jsonl", "manifest.json"):
        (tmp_path / f"HELD_OUT.{end}").symlink_to(f"my samples.{end}")
    typed = follow(5, "prepare", *words)
    assert [words[0] for words in typed] == "prepare probe select train eval".split()
    assert typed[4][:3] == ["eval", "--data", "HELD_OUT.jsonl"], "questions of the training tell nothing"
    assert (tmp_path / "runs/trlt/train-grpo/eval/results.json").is_file()
    tuned = ["--model", "runs/trlt/train-grpo/model", "--recipe", "runs/trlt/train-grpo/recipe.yaml"]
    typed += follow(3, "probe", "--data", "my samples.jsonl", *tuned, "--out", "runs/trlt/train-grpo/probe")
    assert [words[0] for words in typed[5:]] == "probe select train".split()
    run = tmp_path / "runs/trlt"
    assert (run / "train-grpo/model").is_dir() and (run / "train-grpo-2/model").is_dir(), "the first training is left alone"
    tuned, base = (tmp_path / words[words.index("--recipe") + 1] for words in (typed[6], typed[2]))
    assert "train-grpo/model" in tuned.read_text() and "train-grpo/model" not in base.read_text()
    # Once more with another pool of the same name: the first probe is left alone, too.
    more = (tmp_path / "charades_sta_train.txt").read_text() + "AA 0.5 1.5##a cat runs\n"
    (tmp_path / "charades_sta_train.txt").write_text(more)
    assert follow(2, "prepare", *words)[1][-2:] == ["--out", "runs/trlt/probe-my samples-2"]


def test_a_recipes_pool(follow, sets, tmp_path):
    event_files(tmp_path)
    pool = "prepare: {sources: [{dataset: charades, annotations: ., videos: my videos}]}\nname: mine\n"
    (tmp_path / "the recipe.yaml").write_text(pool)
    assert [words[0] for words in follow(3, "prepare", "the recipe.yaml", *sets)] == ["prepare", "probe", "select"]
    assert (tmp_path / "runs/mine/probe-samples/rows/probe.jsonl").is_file()


def test_without_videos_nothing_is_named_that_would_find_none(trlt, tmp_path):
    event_files(tmp_path)
    said = trlt("prepare", "charades", "--annotations", ".", "--out", "s.jsonl")
    assert "Next: " not in said and "`trlt probe --videos DIR`" in said


def test_rows_alone(follow, sets, tmp_path, clips_and_samples):
    """Without the recipe of their run; one is then written beside the samples."""
    follow(1, "probe", "--data", clips_and_samples.samples, "--videos", clips_and_samples.videos, *sets, "--out", "run")
    shutil.copy(tmp_path / "run/rows/probe.jsonl", tmp_path / "rows.jsonl")
    words = ["--probe", "rows.jsonl", "--data", clips_and_samples.samples, "--out", "some.jsonl", *sets]
    typed = follow(2, "select", *words, "--set", f"video.root={clips_and_samples.videos}")
    assert typed[1][:2] == ["train", "some.recipe.yaml"]


def test_after_a_merge(follow, sets, tmp_path, tiny_path, clips_and_samples):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: adapted\ntrain: {lora: {rank: 2, alpha: 4}, method: sft}\n")
    given = ["--data", clips_and_samples.samples, *sets, "--set", f"video.root={clips_and_samples.videos}"]
    shutil.copy(clips_and_samples.samples, "HELD_OUT.jsonl")
    assert [words[0] for words in follow(2, "train", recipe, *given)] == ["train", "eval"]
    typed = follow(2, "train", "merge", "runs/adapted/train-sft/adapter", "--out", "my model")
    assert typed[1][0] == "eval" and typed[1][-2:] == ["--out", "my model-eval"]
    shutil.copytree(tmp_path / "runs/adapted/train-sft/adapter", tmp_path / "alone/adapter")
    assert len(follow(2, "train", "merge", "alone/adapter", "--out", "other")) == 1, "its benchmarks and data aren't known"


def test_a_recipes_benchmarks_come_first(follow, sets, bench, tmp_path, clips_and_samples):
    text = f"eval: {{max_new_tokens: 4, benchmarks: {{charades: {{annotations: {bench}, videos: {bench}}}}}}}\n"
    (tmp_path / "r.yaml").write_text(text)
    given = ["--data", clips_and_samples.samples, *sets, "--set", f"video.root={clips_and_samples.videos}"]
    typed = follow(2, "train", "r.yaml", *given, "--out", "the run")
    assert typed[1][:3] == ["eval", "--bench", "all"] and (tmp_path / "the run/eval/results.json").is_file()


def test_no_line_is_written_but_by_the_function_that_quotes_it():
    for path in sorted((ROOT / "trlt").rglob("*.py")):
        texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        there = any(isinstance(text, str) and "Next: " in text for text in texts)
        assert there == (path.name == "_setup.py"), path
