"""The shipped recipes load, hold the paper's values, and keep apart what belongs to different runs."""

from pathlib import Path

import pytest
from paths import ROOT

from trlt.data.datasets import load, names
from trlt.lab.reproduce.claims_plan import SHIPPED, load_plan
from trlt.recipe import Recipe, Rewards, Select, differences, load_recipe
from trlt.task.reward import Weights
from trlt.task.reward_rules import Rules
from trlt.train.memory_plan import GB, PUBLISHED, estimate

FOLDER = ROOT / "recipes"
PLANS = sorted((FOLDER / "ablations" / "plans").glob("*.yaml"))
PATHS = sorted(set(FOLDER.rglob("*.yaml")) - set(PLANS))
ABLATIONS = sorted((FOLDER / "ablations").glob("*.yaml"))


def recipe(name: str) -> Recipe:
    return load_recipe(FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_recipe_loads_under_its_own_name(path: Path) -> None:
    loaded = load_recipe(path)
    assert loaded.name == path.stem
    assert {source.dataset for source in loaded.prepare.sources} <= set(names("train"))
    assert set(loaded.eval.benchmarks) <= set(names("bench"))
    train = loaded.train
    assert train.prompts_per_step % (train.prompts_per_pass * max(1, train.launch.processes)) == 0


def test_all_of_them_are_there() -> None:
    assert {"32k", "full-490k", "sft", "miniature", "miniature-warmup"} <= {path.stem for path in PATHS}
    assert {"qwen3-vl-8b", "qwen3-vl-4b-1gpu"} <= {path.stem for path in PATHS}
    assert len(ABLATIONS) == 5 + 4 + 4


def test_32k_is_the_papers() -> None:
    r = recipe("32k")
    assert (r.model.path, r.model.dtype) == ("Qwen/Qwen2.5-VL-7B-Instruct", "bfloat16")
    video = r.video
    assert (video.fps, video.min_frames, video.max_frames, video.min_tokens, video.max_tokens) == (2, 4, 768, 4, 2048)
    assert (r.probe.n, r.probe.temperature, r.probe.top_p, r.probe.think, r.probe.answer_format) == (8, 1, 0.99, False, "open")
    select = r.select
    assert (select.hard, select.easy, select.delta_iou, select.grounded_delta_iou) == (1, 7, 0.3, 0.1)
    assert select.sizes.model_dump() == {"multi_choice": 16_000, "grounding": 8_000, "grounded_qa": 8_000}
    assert select.ratio == "0:10:0"
    assert r.reward == Rewards()
    assert (r.reward.weights(), r.reward.rules()) == (Weights(1, 1, 1, 0.5, 0.5, None), Rules())
    assert (r.reward.rules().span, r.reward.rules().several, r.reward.rules().multiply) == ("tiou", "first", False)
    train = r.train
    assert (train.method, train.prompts_per_step, train.group_size) == ("grpo", 48, 8)
    assert (train.temperature, train.top_p, train.think) == (1, 0.99, True)
    assert (train.learning_rate, train.weight_decay, train.max_grad_norm) == (1e-6, 0.01, 1)
    assert (train.beta, train.epsilon, train.freeze_vision) == (0.01, 0.2, False)
    assert (r.eval.temperature, r.eval.top_p, r.eval.think) == (0.01, 0.001, True)
    assert train.launch.processes == 8


def test_the_baseline_sees_the_same_samples_in_the_same_way() -> None:
    sft, grpo = recipe("sft"), recipe("32k")
    assert sft.train.method == "sft"
    assert sft.train.data == grpo.train.data
    assert sft.train.sft.batch == grpo.train.prompts_per_step
    assert (sft.model, sft.video) == (grpo.model, grpo.video)


PAPERS = {"charades", "activitynet", "activitynet_rtl", "mvbench", "tempcompass", "videomme", "mmvu", "nextgqa"}
"""The paper's benchmarks (Tables 1 to 3)."""


def test_the_papers_benchmarks_are_evaluated_and_kept_out_of_the_pool() -> None:
    assert set(recipe("32k").eval.benchmarks) == set(recipe("sft").eval.benchmarks) == PAPERS
    pool = recipe("full-490k")
    assert set(pool.eval.benchmarks) == PAPERS and pool.prepare.against == ("benchmarks",)


def test_one_recipe_names_every_benchmark_where_its_steps_put_it() -> None:
    found = recipe("all-benchmarks").eval.benchmarks
    assert set(found) == set(names("bench"))
    for name, place in found.items():
        shared = name.removeprefix("timelens_") if name.startswith("timelens_") else name
        assert place.annotations == f"data/{name}"
        assert place.videos == f"data/{load(shared).FETCH.videos_at or f'{shared}/videos'}"


def test_the_pool_is_the_papers() -> None:
    sources = recipe("full-490k").prepare.sources
    assert {source.dataset for source in sources} == {name for name in names("train") if load(name).PAPER_COUNT}
    assert len(sources) == 9 and sum(load(source.dataset).PAPER_COUNT for source in sources) == 490_896
    assert all(source.videos and source.split is None for source in sources)


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_an_ablation_differs_in_its_selection_alone(path: Path) -> None:
    loaded = load_recipe(path)
    assert loaded.train.data == f"runs/{loaded.name}/train.jsonl"
    others = ("name", "select.", "train.data", "eval.benchmarks")
    changed = differences(recipe("32k"), loaded, among=lambda key: not key.startswith(others))
    assert changed == []


@pytest.mark.parametrize(
    ("name", "model", "processes", "gpu"),
    [("qwen3-vl-8b", "Qwen3-VL-8B", 8, 80), ("qwen3-vl-4b-1gpu", "Qwen3-VL-4B", 1, 24)],
)
def test_recipes_of_other_families_fit_the_gpus_they_name(name: str, model: str, processes: int, gpu: int) -> None:
    loaded = recipe(name)
    assert loaded.model.path == f"Qwen/{model}-Instruct" and loaded.train.launch.processes == processes
    memory = estimate(PUBLISHED[model], loaded, processes, gpu * GB)
    assert memory.fits, f"{memory.peak / GB:.1f} GB"
    assert f"{gpu} GB" in (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").partition("\nname:")[0]


def test_the_8b_recipe_is_32k_with_another_model_and_fewer_frames() -> None:
    changed = differences(recipe("32k"), recipe("qwen3-vl-8b"), among=lambda key: key not in ("name", "train.data"))
    assert sorted(line.partition(":")[0] for line in changed) == ["model.path", "video.max_frames"]


def test_what_comments_of_the_recipes_say_of_memory() -> None:
    for name, model, processes, gpu, *sets in (
        ("qwen3-vl-8b", "Qwen3-VL-8B", 8, 80, "video.max_frames=768"),
        ("qwen3-vl-4b-1gpu", "Qwen3-VL-4B", 1, 24, "train.lora.quantize=null", "train.max_sequences=16"),
    ):
        changed = load_recipe(FOLDER / f"{name}.yaml", sets=sets)
        assert estimate(PUBLISHED[model], changed, processes, gpu * GB).fits, sets


def selection(name: str) -> tuple[Select, tuple[int, int, int]]:
    found = recipe(f"ablations/{name}").select
    return found, (found.sizes.multi_choice, found.sizes.grounding, found.sizes.grounded_qa)


@pytest.mark.parametrize("ratio", ["4:4:2", "2:4:4", "2:6:2", "1:8:1", "0:10:0"])
def test_table_4a(ratio: str) -> None:
    select, sizes = selection(f"table4a-{ratio.replace(':', '-')}")
    assert (select.ratio, sizes) == (ratio, (16_000, 0, 0))


@pytest.mark.parametrize("delta", ["0", "0.1", "0.2", "0.3"])
def test_table_4b(delta: str) -> None:
    select, sizes = selection(f"table4b-{delta}")
    assert (select.delta_iou, sizes) == (float(delta), (0, 8_000, 0))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("grounding", (0, 8_000, 0)),
        ("multi-choice", (16_000, 0, 0)),
        ("multi-choice-grounding", (16_000, 8_000, 0)),
        ("all", (16_000, 8_000, 8_000)),
    ],
)
def test_table_2(name: str, sizes: tuple[int, int, int]) -> None:
    select, found = selection(f"table2-{name}")
    assert found == sizes
    assert select.model_copy(update={"sizes": Select().sizes}) == Select()


def test_the_shipped_plan_stands_among_the_ablations():
    plan = load_plan(FOLDER / "ablations" / "plans" / "evidence.yaml")
    assert plan == load_plan(SHIPPED) and len(plan.seeds) >= 5
    for name in ("1", "2", "3", "4a", "4b", "5", "fig4"):
        assert name in plan.tables and any(claim.table == name for claim in plan.claims)


def test_the_follow_up_differs_from_the_shipped_plan_in_seeds_and_arms_alone():
    assert [path.name for path in PLANS] == ["choosing.yaml", "evidence.yaml", "follow-up.yaml"]
    _, first, second = map(load_plan, PLANS)
    assert (first.world, first.recipe, first.evals["default"]) == (second.world, second.recipe, second.evals["default"])
    assert len(second.seeds) == len(first.seeds) and not set(first.seeds) & set(second.seeds)
    assert all(first.arms[arm].overlay == second.arms[arm].overlay for arm in ("tvg", "sft-tvg", "vqa"))
