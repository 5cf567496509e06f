"""`trlt recipe`, and recipes by their names in other commands: each shipped one loads, fits and leads from step to step."""

from __future__ import annotations

import re
import shlex
import shutil

import pytest
from made_clips import write_clip
from typer.testing import CliRunner

from trlt.cli import app
from trlt.recipe import Recipe, is_plan, load_recipe, read_yaml, shipped
from trlt.recipe.names import FOLDER
from trlt.train.ready import ready_recipes

RECIPES = [name for name in shipped() if not is_plan(name)]
TRAINED = [name for name in RECIPES if load_recipe(shipped()[name]).train.data]
ON_GPUS = [name for name in TRAINED if not name.startswith("miniature")]


def test_commands_take_names(trlt, tmp_path):
    found = trlt("train", "32k", "--dry-run", "--json")
    assert found["plan"]["model"] == "Qwen/Qwen2.5-VL-7B-Instruct" and found["recipe"]["name"] == "32k"
    assert "did you mean 32k?" in trlt("train", "32", "--dry-run", code=2)
    assert "did you mean full-490k?" in trlt("prepare", "full-490", code=2)
    assert "did you mean charades?" in trlt("prepare", "charade", code=2), "a data set stays a data set"
    assert "looked for data/activitynet" in trlt("prepare", "full-490k", code=2)
    shutil.copy(FOLDER / "32k.yaml", tmp_path / "mine.yaml")
    assert trlt("train", "mine.yaml", "--dry-run", "--json")["recipe"]["name"] == "32k"
    runs = trlt("reproduce", "--plan", "ablations/plans/follow-up", "--dry-run", "--json")["runs"]
    assert {run["seed"] for run in runs} == {5, 6, 7, 8, 9}


# -- list, show, copy -------------------------------------------------------------------------------------------------


def test_the_list_has_all_of_them_with_their_gpus(trlt):
    found = {one["name"]: one for one in trlt("recipe", "list", "--json")["recipes"]}
    assert found.keys() == shipped().keys()
    chosen = {name: (one["purpose"], one["processes"], one["gpu_gb"]) for name, one in found.items()}
    assert chosen["32k"] == ("GRPO, all weights", 8, 80)
    assert chosen["3b-lora-24gb"] == ("GRPO, LoRA", 1, 24) and chosen["3b-qlora-24gb"] == ("GRPO, QLoRA", 1, 24)
    assert chosen["sft"] == ("SFT, all weights", 8, 80) and chosen["full-490k"] == ("samples", 0, None)
    assert chosen["ablations/plans/evidence"] == ("trlt reproduce --plan", 0, None)
    shown = trlt("recipe", "list")
    assert all(name in shown for name in ("32k", "1 x 24 GB", "8 x 80 GB", "full-490k")) and "Table 4b" not in shown
    assert f"{sum('/' in name for name in found)} more: the paper's ablations" in shown
    assert all(f"│ {name} " in trlt("recipe", "list", "--all") for name in found), "whole names, which can be copied"
    first = FOLDER.joinpath("32k.yaml").read_text().splitlines()[0]
    assert found["32k"]["comment"] == first.removeprefix("# ")


def test_what_is_listed_is_what_a_dry_run_says(trlt):
    found = {one.name: one for one in ready_recipes()}
    for name in ("32k", "3b-qlora-24gb"):
        assert found[name].needed_gb == trlt("train", name, "--dry-run", "--json")["plan"]["memory"]["peak_gb"]


def test_show_prints_the_file_with_its_comments(trlt):
    text = FOLDER.joinpath("32k.yaml").read_text()
    assert trlt("recipe", "show", "32k") == text
    found = trlt("recipe", "show", "recipes/32k.yaml", "--json")
    assert found["text"] == text and found["path"] == str(FOLDER / "32k.yaml") and found["processes"] == 8
    assert "did you mean 32k?" in trlt("recipe", "show", "32kk", code=2)


def test_copy_never_overwrites_and_names_what_comes_next(trlt, tmp_path):
    shown = trlt("recipe", "copy", "32k")
    text = FOLDER.joinpath("32k.yaml").read_text()
    assert (tmp_path / "32k.yaml").read_text() == text
    assert "Its results go to runs/32k" in shown
    words = shlex.split(shown.partition("Next: trlt ")[2])
    assert words == ["train", "32k.yaml", "--dry-run"] and "It fits 80 GB" in trlt(*words)
    (tmp_path / "32k.yaml").write_text("mine")
    assert "32k.yaml: exists already" in trlt("recipe", "copy", "32k", code=2)
    assert (tmp_path / "32k.yaml").read_text() == "mine"
    assert trlt("recipe", "copy", "32k", "32k.yaml", "--force", "--json")["to"] == "32k.yaml"
    assert (tmp_path / "32k.yaml").read_text() == text
    (tmp_path / "folder").mkdir()
    assert "Next: trlt prepare folder/full-490k.yaml" in trlt("recipe", "copy", "full-490k", "folder")
    shown = trlt("recipe", "copy", "ablations/plans/follow-up", "my plan.yaml")
    assert "35 runs" in trlt(*shlex.split(shown.partition("Next: trlt ")[2]))
    assert "did you mean 32k?" in trlt("recipe", "copy", "32kk", code=2)


# -- each of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ON_GPUS)
def test_each_fits_the_gpus_that_it_names(trlt, name):
    """Whatever GPUs this machine has: a recipe names theirs."""
    memory = trlt("train", name, "--dry-run", "--json")["plan"]["memory"]
    launch = load_recipe(shipped()[name]).train.launch
    assert memory["fits"] is True and memory["gpu"] == "train.launch.gpu_gb" and memory["gpu_gb"] == launch.gpu_gb
    assert launch.processes


@pytest.mark.parametrize("name", [name for name in ON_GPUS if "/" not in name])
def test_what_a_smaller_gpu_is_told_can_be_pasted(trlt, name):
    """On GPUs too small for what only takes longer: lines behind the command, each of which is enough."""
    half = load_recipe(shipped()[name]).train.launch.gpu_gb / 2
    command = ["train", name, "--dry-run", "--set", f"train.launch.gpu_gb={half:g}"]
    result = CliRunner().invoke(app, command)
    lines = [line for line in result.stderr.splitlines() if line.startswith("  --set")]
    helpless = "no setting makes it fit" in result.stderr
    assert result.exit_code == (2 if lines or helpless else 0), result.stderr
    assert helpless is (name == "7b-qlora-24gb"), "7B in 4 bits are nearly all of 12 GB"
    for line in lines:
        assert "It fits" in trlt(*command, *shlex.split(line)), line
    assert lines or helpless or name in ("sft", "7b-lora-80gb", "t-grpo-7b-lora"), "what fits as it is, or takes longer"


@pytest.mark.parametrize("name", [name for name in RECIPES if "/" not in name])
def test_each_says_what_it_is_and_that_nothing_was_measured(name):
    first, *rest = FOLDER.joinpath(f"{name}.yaml").read_text().partition("\nname:")[0].splitlines()
    assert first.startswith("# ") and first.endswith("."), "the list shows the first line alone"
    if name in ON_GPUS:
        text = " ".join(line.removeprefix("# ") for line in rest)
        assert re.search("(?i)no result (was|is published for it, and none was) measured", text)
        assert "paper" in first + text


def typed(name: str) -> list[list[str]]:
    """The commands in the comment that a recipe begins with."""
    head = FOLDER.joinpath(f"{name}.yaml").read_text().partition("\nname:")[0]
    return [shlex.split(line)[1:] for line in re.findall(r"^#   (trlt .*)$", head, re.MULTILINE)]


def option(words: list[str], flag: str, default: str = "") -> str:
    return words[words.index(flag) + 1] if flag in words else default


@pytest.mark.parametrize("name", [name for name in ON_GPUS if "/" not in name])
def test_the_steps_that_a_recipe_names_lead_from_one_to_the_next(name):
    recipe, made = load_recipe(shipped()[name]), ""
    steps = typed(name)
    assert steps and all(option(words, "--recipe", name) == name for words in steps)
    for words in steps:
        match words[0]:
            case "prepare":
                assert load_recipe(shipped()[words[1]]).prepare.sources
                made = option(words, "--out", f"runs/{words[1]}/samples")
            case "probe":
                data = option(words, "--data")
                assert data == (made or "mine.jsonl")
                made = option(words, "--out")
            case "select":
                assert option(words, "--probe") == made
                made = option(words, "--out")
                assert made == recipe.train.data
            case "train":
                assert words[1:] == [name]
                made = f"runs/{name}/train-{recipe.train.method}/model"
            case "eval" | "infer":
                assert option(words, "--model") == made
                if words[0] == "eval":
                    asked = option(words, "--bench")
                    assert recipe.eval.benchmarks and (asked == "all" or asked in recipe.eval.benchmarks)
            case other:
                pytest.fail(other)


def folders(recipe: Recipe) -> dict[tuple[str, str], str]:
    """(data set, what) -> folder, of everything that a recipe reads."""
    places = {one.dataset: one for one in recipe.prepare.sources} | dict(recipe.eval.benchmarks)
    found = {(name, what): getattr(one, what) for name, one in places.items() for what in ("annotations", "videos")}
    return {key: folder for key, folder in found.items() if folder}


def test_data_lies_in_the_same_folders_whatever_the_recipe():
    found: dict[tuple[str, str], str] = {}
    for name in RECIPES:
        if name.startswith("miniature"):
            continue
        recipe = load_recipe(shipped()[name])
        for key, folder in folders(recipe).items():
            assert found.setdefault(key, folder) == folder, (name, key)
        assert recipe.video.store in (None, "runs/frames"), name
        made = (f"runs/{recipe.name}/train.jsonl", "runs/32k/train.jsonl", "runs/full-490k/samples")
        assert recipe.train.data in (None, *made), name
    assert found["charades", "annotations"] == "data/charades" and len(found) > 20


def test_plans_name_a_model():
    for name in shipped():
        assert not is_plan(name) or "path" in read_yaml(shipped()[name], "")["recipe"]["model"]


SETS = (
    "model.dtype=float32 model.device=cpu video.workers=0 video.max_tokens=32 video.store=null probe.max_new_tokens=4 "
    "probe.n=2 select.easy=2 select.hard=0 select.by=random"
).split()


def test_one_file_leads_from_annotation_to_training(trlt, tiny_path, tmp_path):
    """`charades-only` as it is, on four invented queries in the official layout, each command as the one before names it."""
    folder = tmp_path / "data/charades"
    folder.mkdir(parents=True)
    for split, videos in (("train", ("AA", "BB")), ("test", ("CC", "DD"))):
        lines = [f"{name} {start}.0 {start + 1}.0##a cat sits" for start in (0, 1) for name in videos]
        (folder / f"charades_sta_{split}.txt").write_text("\n".join(lines) + "\n")
        (folder / f"Charades_v1_{split}.csv").write_text("id,length\n" + "".join(f"{name},2.0\n" for name in videos))
        for seed, name in enumerate(videos):
            write_clip(folder / f"videos/{name}.mp4", 2, seed)
    sets = [word for one in (*SETS, f"model.path={tiny_path}") for word in ("--set", one)]
    words, ran = ["prepare", "charades-only", *sets], []
    while words[0] != "train":
        ran.append(words[0])
        _, _, line = trlt(*words).partition("Next: trlt ")
        words = shlex.split(line)
    assert ran == ["prepare", "probe", "select"]
    samples = load_recipe(FOLDER / "charades-only.yaml").train.data
    assert option(words, "--data") == samples == "runs/charades-only/train.jsonl"
    assert trlt("train", "charades-only", *sets, "--dry-run", "--json")["plan"]["samples"] == 4
