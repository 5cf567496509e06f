"""A file of results as tables in Markdown, with the memory that `trlt` would have planned; needs all of trlt."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.gpu.inputs import COMPLETIONS
from bench.gpu.models import SHAPES
from trlt.recipe import load_recipe
from trlt.train.memory_plan import Architecture, estimate

GIB = 2**30
Found = dict[str, Any]


def tables(path: Path) -> str:
    """All of a file's tables."""
    found = json.loads(path.read_text(encoding="utf-8"))
    parts: dict[str, Found] = found["parts"]
    size = found["size"]
    t, h, w = size["grid"]
    video = t * h * w // 4
    where = f"{found['gpu']}, driver {found['driver']}, CUDA {found['cuda']}" if "gpu" in found else found["processor"]
    head = (
        f"{found['date']}, {where}, torch {found['torch']}, transformers {found['transformers']}. {video:,} video tokens, "
        f"questions of {size['text']}, {COMPLETIONS} completions of {size['new']}."
    )
    made = [
        ("Log-probabilities, mean (largest)", PARITY, list(_parity(parts))),
        ("One group against a reference", AGREEMENT, list(_agreement(parts))),
        ("GRPO, forward and backward", GRPO, list(_grpo(parts))),
        ("Rollouts", ROLLOUTS, list(_rollouts(parts))),
        ("Vision tower", VISION, list(_vision(parts))),
        ("Memory of tensors", MEMORY, list(_memory(parts, found, video))),
        ("Not measured", MISSING, list(_missing(parts))),
    ]
    return "\n\n".join([head, *(f"### {title}\n\n{_table(columns, rows)}" for title, columns, rows in made if rows)])


def planned(name: str, part: Found, found: Found, video: int) -> int:
    """Bytes of tensors by the formulas: weights, gradients and a pass on one GPU; or sampling from a sharded run's copy."""
    model, kind, *_ = name.split("/")
    shape = SHAPES[model]
    architecture = Architecture(
        *shape[:7],
        vision_hidden=shape.vision_hidden,
        vision_intermediate=shape.vision_mlp,
        vision_layers=shape.depth,
    )
    groups = part["groups"] if kind == "grpo" else part["rows"] // COMPLETIONS
    processes = 1 if kind == "grpo" else 2
    values = {
        "model.dtype": found["dtype"],
        "video.max_tokens": video,
        "train.prompts_per_step": processes * groups,
        "train.prompts_per_pass": groups if kind == "grpo" else 1,
        "train.group_size": COMPLETIONS,
        "train.max_new_tokens": part["new_tokens"],
        "train.max_sequences": part.get("rows", COMPLETIONS),
        "train.shared_prefix": str(part.get("side") != "full").lower(),
        "train.beta": 0.0,
        "train.launch.strategy": "fsdp2",
    }
    recipe = load_recipe(None, sets=[f"{key}={value}" for key, value in values.items()])
    memory = estimate(architecture, recipe, processes, found.get("gpu_bytes") or GIB)
    if kind == "rollouts":
        return memory.of("rollout")
    return memory.of("pass") + sum(line.size for line in memory.lines if line.name in ("weights", "gradients"))


# -- the tables -------------------------------------------------------------------------------------------------------------

PARITY = (
    *("Model", "Precision", "Engine, trainer", "Engine, library", "Trainer, library", "Full, shared"),
    *("Error of engine", "of trainer", "of full sequences", "of library"),
)
AGREEMENT = ("Model", "Reference", "Way", "Log-probabilities", "Gradients")
GRPO = ("Model", "Groups", "Blocks", "Flex", "Full sequences", "Full / blocks", "Peak, blocks", "Peak, flex", "Peak, full")
ROLLOUTS = (
    *("Model", "Rows", "Engine", "Library", "Engine / library", "Prefill, engine", "Prefill, library"),
    *("Peak, engine", "Peak, library", "Log-probabilities"),
)
VISION = ("Model", "Clips", "Windows at once", "Library", "Library / ours", "Peak", "Peak, library", "Difference")
MEMORY = ("Part", "Planned", "Measured", "Planned / measured", "Held by the allocator")
MISSING = ("Part", "Why")


def _parity(parts: dict[str, Found]) -> Iterator[list[str]]:
    for name, part in parts.items():
        model, kind, *rest = name.split("/")
        if kind == "parity" and "differences" in part:
            pairs = ("engine/blocks", "engine/library", "blocks/library", "full/blocks")
            errors = part.get("errors", {})
            yield [
                *(model, rest[0], *(_gap(part["differences"][pair]) for pair in pairs)),
                *(_gap(errors.get(side)) for side in ("engine", "blocks", "full", "library")),
            ]


def _agreement(parts: dict[str, Found]) -> Iterator[list[str]]:
    for name, part in parts.items():
        if "reference" in part:
            for way, gaps in part.items():
                if isinstance(gaps, dict):
                    yield [name.split("/")[0], part["reference"], way, _gap(gaps), f"{gaps['gradients']:.1e}"]


def _grpo(parts: dict[str, Found]) -> Iterator[list[str]]:
    rows: dict[tuple[str, str], dict[str, Found]] = {}
    for name, part in parts.items():
        model, kind, *rest = name.split("/")
        if kind == "grpo":
            rows.setdefault((model, rest[0]), {})[rest[1]] = part
    for (model, groups), sides in rows.items():
        blocks, flex, full = (sides.get(side, {}) for side in ("blocks", "flex", "full"))
        ratio = f"{full['seconds'] / blocks['seconds']:.2f}" if "seconds" in full and "seconds" in blocks else "–"
        yield [
            *(model, groups, _seconds(blocks), _seconds(flex), _seconds(full), ratio),
            *(_bytes(side) for side in (blocks, flex, full)),
        ]


def _rollouts(parts: dict[str, Found]) -> Iterator[list[str]]:
    for name, part in parts.items():
        model, kind, *_ = name.split("/")
        if kind == "rollouts" and "difference" in part:
            sides = [part["engine"], part["library"]]
            rates = [[one["tokens_per_s"] for one in side["rounds"] if "tokens_per_s" in one] for side in sides]
            middle = [statistics.median(some) if some else None for some in rates]
            ratio = f"{middle[0] / middle[1]:.2f}" if middle[0] and middle[1] else "–"
            yield [
                *(model, str(part["rows"]), *(f"{rate:,.0f} tokens/s" if rate else "out of memory" for rate in middle), ratio),
                *(_seconds(side["prefill"]) for side in sides),
                *(_bytes(side["rounds"][-1]) for side in sides),
                _gap(part["difference"]),
            ]


def _vision(parts: dict[str, Found]) -> Iterator[list[str]]:
    for name, part in parts.items():
        if "clips" in part and "difference" in part:
            ours, theirs = part["windows"], part["library"]
            ratio = f"{theirs['seconds'] / ours['seconds']:.2f}" if "seconds" in ours and "seconds" in theirs else "–"
            yield [
                *(name.split("/")[0], str(part["clips"]), _seconds(ours), _seconds(theirs), ratio),
                *(_bytes(ours), _bytes(theirs), f"{part['difference']:.1e}"),
            ]


def _memory(parts: dict[str, Found], found: Found, video: int) -> Iterator[list[str]]:
    for name, part in parts.items():
        if not {"groups", "rows"} & part.keys():
            continue
        measured = part["engine"]["rounds"][-1] if "rows" in part and "difference" in part else part
        if measured.get("peak_bytes"):
            plan = planned(name, part, found, video)
            yield [
                *(name, f"{plan / GIB:.1f} GiB", _bytes(measured), f"{plan / measured['peak_bytes']:.2f}"),
                f"{measured['reserved_bytes'] / GIB:.1f} GiB",
            ]


def _missing(parts: dict[str, Found]) -> Iterator[list[str]]:
    for name, part in parts.items():
        if "error" in part:
            yield [name, part["error"].strip().splitlines()[-1]]
        elif "out_of_memory" in part or "skipped" in part:
            yield [name, part.get("skipped", "out of memory")]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _gap(gaps: Found | None) -> str:
    return f"{gaps['mean']:.1e} ({gaps['largest']:.1e})" if gaps else "–"


def _seconds(part: Found) -> str:
    return f"{part['seconds']:.2f} s" if "seconds" in part else "out of memory" if "out_of_memory" in part else "–"


def _bytes(part: Found) -> str:
    return f"{part['peak_bytes'] / GIB:.1f} GiB" if part.get("peak_bytes") else "–"
