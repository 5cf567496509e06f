"""Rewards by other rules on the command line: `trlt reward try` by hand, and probe, select, train with a phase."""

from __future__ import annotations

import json

import pytest

from trlt.train.completion_log import read_completions

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

RECIPE = """
name: rules
model: {{path: {model}, dtype: float32, device: cpu}}
video: {{root: {videos}, max_tokens: 32, workers: 0}}
probe: {{n: 2, max_new_tokens: 6}}
reward:
  span: timestamp_iou
  phases: [{{after_steps: 1, length: {{low: 1, high: 8, weight: 0.5}}}}]
train: {{prompts_per_step: 2, group_size: 2, max_new_tokens: 8, max_steps: 2, save_steps: 1, gradient_checkpointing: false}}
"""


def test_the_recipes_rules_are_tried_without_a_model(trlt, tmp_path, write_jsonl):
    """On 5 to 15 s for 0 to 10 s of 50: an IoU of 1/3, 5 s off at either end; the second answer isn't as the template says."""
    asked = {"source": "s", "split": "train", "task": "grounding", "video": "v.mp4", "question": "when?", "spans": [[0, 10]]}
    write_jsonl(tmp_path / "s.jsonl", [{**asked, "id": "a"}])
    texts = ["<answer> 5.0 to 15.0 </answer>", "So: <answer> 0.0 to 10.0 </answer>"]
    write_jsonl(tmp_path / "rows.jsonl", [{"id": "a", "error": None, "texts": texts, "task": "grounding", "length_s": 50.0}])
    command = ["reward", "try", "--probe", "rows.jsonl", "--data", "s.jsonl", "--json", "--set", "probe.think=false"]
    command += ["--set", "reward.parts=[{name: giou, weight: 3}]"]
    for sets, before in (
        ({}, [1 + 1 / 3, 1]),
        ({"span": "timestamp_iou"}, [1.27, 1]),
        ({"span": "timestamp_iou", "format_as": "multiply"}, [0.27, 0]),
        ({"span": "diou"}, [1 + 11 / 18, 1]),
    ):
        found = trlt(*command, *(word for key, value in sets.items() for word in ("--set", f"reward.{key}={value}")))
        [group] = found["changed"]  # the part is heavy enough to turn them around
        assert group["before"] == pytest.approx(before)
        assert group["after"] == pytest.approx([before[0] + 3 * 2 / 3, before[1] + 3])
    write_jsonl(tmp_path / "rows.jsonl", [{"id": "a", "error": None, "texts": texts, "task": "grounding"}])
    assert "sample 'a': duration: is unknown, and timestamp_iou divides by it" in trlt(
        *command, "--set", "reward.span=timestamp_iou", code=4
    )


@pytest.mark.slow
def test_probe_select_and_train_with_a_phase(trlt, tmp_path, tiny_path, clips_and_samples):
    (tmp_path / "r.yaml").write_text(RECIPE.format(model=tiny_path, videos=clips_and_samples.videos))
    lines = clips_and_samples.samples.read_text().splitlines(keepends=True)
    (tmp_path / "s.jsonl").write_text("".join(lines[:6]))
    trlt("probe", "--data", "s.jsonl", "--recipe", "r.yaml", "--out", "p")
    rows = [json.loads(line) for line in (tmp_path / "p/rows/probe.jsonl").read_text().splitlines()]
    for row in rows:
        assert row["parts"] == {"span": [None if row["task"] == "multi_choice" else 0.0] * 2}, "a random model earns nothing"
    told = trlt("select", "--probe", "p", "--recipe", "r.yaml", "--by", "variance", "--set", "reward.span=giou", code=3)
    assert "rewarded otherwise than by this recipe" in told and "reward.span: 'timestamp_iou' -> 'giou'" in told
    assert "reward.phases" not in told

    trlt("train", "r.yaml", "--data", "s.jsonl", "--out", "t")
    first, second = (json.loads(line) for line in (tmp_path / "t/log.jsonl").read_text().splitlines())
    assert "reward/length_band" not in first and second["reward/length_band"] == 1
    table = read_completions(tmp_path / "t").to_pandas()
    assert table[table.step == 1]["reward/length_band"].isna().all()
    late = table[table.step == 2]
    assert (late["reward/length_band"] == 1).all()
    assert (late["reward"] - 0.5 == late["format"] + late["accuracy"].fillna(0) + late["reward/span"].fillna(0)).all()
