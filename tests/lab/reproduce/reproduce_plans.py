"""A small plan as values, and as a file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from trlt.lab.reproduce.claims_plan import load_plan
from trlt.lab.reproduce.plan_sections import Plan
from trlt.recipe import to_yaml

SMALL: dict[str, Any] = {
    "name": "small",
    "world": {"scale": 0.02, "bench_scale": 0.02, "seed": 0},
    "seeds": [0, 1, 2],
    "recipe": {
        "model": {"path": "miniature", "dtype": "float32", "device": "cpu"},
        "video": {"max_tokens": 32, "store": "{out}/frames", "store_gb": 1, "workers": 1},
        "prepare": {"against": ["benchmarks"]},
        "probe": {"max_new_tokens": 40, "max_sequences": 512},
        "select": {"delta_iou": 0.2, "sizes": {"multi_choice": 6, "grounding": 6, "grounded_qa": 4}},
        "train": {
            **{"think": False, "answer_format": "open", "prompts_per_step": 2, "group_size": 4, "max_new_tokens": 32},
            **{"max_steps": 1, "gradient_checkpointing": False},
        },
        "eval": {"think": False, "answer_format": "open", "max_new_tokens": 40, "bootstrap": 100},
    },
    "evals": {
        "default": {"benchmarks": ["charades", "mvbench"]},
        "more": {"benchmarks": ["charades"], "overlay": {"eval": {"max_tokens_video": 64}}},
    },
    "probes": {
        "after": {"data": "selected"},
        "again": {"data": "selected", "of": "base"},
        "blind": {"data": "pool", "tasks": ["multi_choice"], "limit": 5, "swap": True},
    },
    "arms": {
        "base": {"probes": ["blind"]},
        "tvg": {
            "overlay": {"select": {"sizes": {"multi_choice": 0, "grounded_qa": 0}}},
            "evals": ["default", "more"],
            "probes": ["after", "again", "blind"],
        },
        "sft": {"overlay": {"train": {"method": "sft"}}, "data": "tvg"},
        "mixed": {},
    },
    "metrics": {"both": ["eval.charades.mIoU", "eval.mvbench.acc"]},
    "tables": {
        "5": {"title": "SFT and RLT", "arms": ["base", "sft", "tvg"], "columns": ["eval.charades.mIoU", "both"]},
        "fig4": {"title": "Shift"},
    },
    "claims": [
        {"id": "better", "table": "5", "kind": "difference", "a": "tvg", "b": "sft", "metric": "eval.charades.mIoU"},
        {
            **{"id": "shift", "table": "fig4", "kind": "difference", "a": "tvg", "b": "tvg", "less": True},
            **{"metric": "probe.after.grounding.varied", "than": "probe.again.grounding.varied"},
        },
        {"id": "gap", "kind": "gap", "a": "tvg", "b": "sft", "metric": "eval.mvbench.acc", "than": "eval.charades.mIoU"},
        {"id": "rise", "kind": "trend", "arms": ["base", "sft", "tvg"], "x": [0, 1, 2], "metric": "both"},
        {"id": "same", "kind": "equal", "a": "tvg", "b": "sft", "metric": "eval.charades.mIoU", "margin": 2},
    ],
}


def values(**changes: Any) -> dict[str, Any]:
    """The small plan, with the values of dotted keys (`arms__tvg__data`) changed; `...` removes a key."""
    plan = copy.deepcopy(SMALL)
    for key, value in changes.items():
        *parents, last = key.split("__")
        section: Any = plan
        for part in parents:
            section = section[int(part)] if isinstance(section, list) else section[part]
        if value is ...:
            del section[last]
        else:
            section[last] = value
    return plan


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "plan.yaml"
    path.write_text(to_yaml(values(**changes)), encoding="utf-8")
    return path


def small(folder: Path, **changes: Any) -> Plan:
    return load_plan(write(folder, **changes))
