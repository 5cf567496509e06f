"""What a plan must be, and that a fault is told with its key and its remedy."""

from __future__ import annotations

import pytest
from reproduce_plans import small, write

from trlt.errors import RecipeError, UsageError
from trlt.lab.reproduce.claims_plan import SHIPPED, asked_arms, asked_claims, asked_tables, load_plan
from trlt.lab.reproduce.stages import runs


def test_a_plan_is_read_as_it_stands(tmp_path):
    plan = small(tmp_path)
    assert plan.seeds == (0, 1, 2) and plan.arms["mixed"].evals == ("default",)
    assert [claim.kind for claim in plan.claims] == ["difference", "difference", "gap", "trend", "equal"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"world__scal": 2}, "world.scal: unknown key; did you mean scale?"),
        ({"arms__tvg__overlays": {}}, "arms.tvg.overlays: unknown key; did you mean overlay?"),
        ({"claims__0__metri": "x"}, "claims.0.difference.metri: unknown key; did you mean metric?"),
        ({"claims__0__kind": "diference"}, "claims.0: kind: 'diference' is unknown; did you mean difference?"),
        ({"name": ...}, "name: missing, and has no default"),
        ({"seeds": [0]}, "seeds: "),
        ({"seeds": [0, 0]}, "seeds: [0, 0] holds a seed twice"),
        ({"world__scale": 0}, "world.scale: Input should be greater than 0 (got 0)"),
        ({"probes__blind__tasks": ["grounding"]}, "probes.blind: swap: true shows another video, which has no gold span"),
        ({"probes__after__of": "bace"}, "probes.after.of: 'bace' is unknown; did you mean base?"),
        ({"claims__1__than": ...}, "claims.1.difference: a and b are both 'tvg', whose difference is 0"),
        ({"claims__3__x": [0, 1]}, "claims.3.trend: x has 2 numbers for 3 arms; give one each"),
        ({"claims__3__x": [1, 1, 1]}, "claims.3.trend: x is 1.0 everywhere"),
        ({"claims__4__margin": 0}, "claims.4.equal.margin: Input should be greater than 0"),
        ({"arms__tvg__evals": ["defalt"]}, "arms.tvg.evals: 'defalt' isn't in the plan; did you mean default?"),
        ({"arms__sft__data": "tvgs"}, "arms.sft.data: 'tvgs' isn't in the plan; did you mean tvg?"),
        ({"arms__mixed__data": "sft"}, "arms.mixed.data: 'sft' doesn't select by its own recipe"),
        ({"arms__sft__start": "tvgs"}, "arms.sft.start: 'tvgs' isn't in the plan; did you mean tvg?"),
        ({"arms__sft__start": "base"}, "arms.sft.start: 'base' isn't an arm that is trained from the recipe's model"),
        ({"arms__sft__start": "mixed", "arms__mixed__start": "tvg"}, "arms.sft.start: 'mixed' isn't an arm that is trained"),
        ({"tables__5__arms": ["bas"]}, "tables.5.arms: 'bas' isn't in the plan; did you mean base?"),
        ({"claims__0__table": "6"}, "claims.better.table: '6' isn't in the plan"),
        ({"claims__0__a": "tgv"}, "claims.better.a: 'tgv' isn't in the plan; did you mean tvg?"),
        ({"claims__0__id": "gap"}, "claims: 'gap' stands twice"),
        ({"claims__0__metric": "bth"}, "claims.better.metric: 'bth' is no metric; did you mean both?"),
        (
            {"claims__0__metric": "evl.charades.mIoU"},
            "'evl.charades.mIoU' is no metric of a run; they begin with eval., train.",
        ),
        ({"claims__0__metric": "eval.mmvu.acc"}, "evals.default asks charades, mvbench; name one of them"),
        ({"claims__0__metric": "eval.more.charades.mIoU"}, "arms.sft.evals is [default]; add more there"),
        ({"claims__1__than": "probe.blind.grounded.right"}, "is followed by a task and a metric; did you mean grounded_qa?"),
        ({"claims__1__than": "probe.other.grounding.n"}, "arms.tvg.probes is [after, again, blind]; add other there"),
        ({"claims__3__metric": "train.reward_last"}, "claims.rise.metric: 'train.reward_last': arm 'base' isn't trained"),
        ({"metrics__both": ["eval.charades.mIoU", "other"]}, "metrics.both: 'other' is no metric of a run"),
        ({"metrics__both": ["eval.charades.mIoU", "eval.mmvu.acc"]}, "metrics.both: 'eval.mmvu.acc': evals.default asks"),
        ({"evals__charades": {"benchmarks": ["charades"]}}, "evals.charades: is a benchmark's name as well"),
        ({"tables": {5: {"title": "x"}}}, "tables.5.[key]: a name is text; write it in quotes ('5')"),
    ],
)
def test_faults_name_key_and_remedy(tmp_path, changes, said):
    path = write(tmp_path, **changes)
    with pytest.raises(RecipeError) as error:
        load_plan(path)
    assert said in str(error.value)
    assert all(line.startswith(f"{path}: ") for line in str(error.value).splitlines())


def test_all_faults_at_once(tmp_path):
    with pytest.raises(RecipeError) as error:
        small(tmp_path, claims__0__a="tgv", claims__3__arms=["bas", "sft", "tvg"], arms__sft__data="x")
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [("- a", "a plan is a mapping of sections, got list"), ("a: [", "not YAML"), ("a: 1\na: 2", "a stands twice")],
)
def test_what_is_no_plan(tmp_path, text, said):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=said):
        load_plan(path)
    with pytest.raises(RecipeError, match="no such file"):
        load_plan(tmp_path / "none.yaml")


def test_an_overlay_is_checked_as_a_recipe(tmp_path):
    plan = small(tmp_path, arms__tvg__overlay={"train": {"bta": 0}}, evals__more__overlay={"eval": {"think": 3}})
    with pytest.raises(RecipeError, match=r"^here: arms.tvg: train.bta: unknown key; did you mean beta\?$"):
        runs(plan, "here", ["tvg"], [0])
    plan = small(tmp_path, evals__more__overlay={"eval": {"think": 3}})
    with pytest.raises(RecipeError, match=r"^here: arms.tvg with evals.more: eval.think: "):
        runs(plan, "here", ["tvg"], [0])


def test_tables_bring_the_arms_of_their_claims(tmp_path):
    plan = small(tmp_path)
    assert asked_tables(plan, []) == asked_tables(plan, ["all"]) == ["5", "fig4"]
    assert asked_arms(plan, ["5", "fig4"]) == ["base", "sft", "tvg", "mixed"], "in the tables' order, then the others"
    assert asked_arms(plan, ["fig4"]) == ["tvg"], "no arm of its own, but one of its claim"
    assert [claim.id for claim in asked_claims(plan, ["fig4"])] == ["shift"]
    assert [claim.id for claim in asked_claims(plan, ["5", "fig4"])] == ["better", "shift", "gap", "rise", "same"]
    with pytest.raises(UsageError, match="--table fig5: the plan has no such table; did you mean fig4"):
        asked_tables(plan, ["fig5"])


@pytest.mark.skipif(not SHIPPED.is_file(), reason="no plan ships yet")
def test_the_shipped_plan_is_sound():
    plan = load_plan(SHIPPED)
    made = runs(plan, str(SHIPPED), asked_arms(plan, list(plan.tables)), plan.seeds)
    assert len(plan.seeds) >= 5 and len({run.id for run in made}) >= len(made) - len(plan.seeds)
