"""The update's rules beside the public code that they are from: OneThinker's running deviation and LUFFY's shaped gradient.

`python -m bench.official_updates ONETHINKER LUFFY` takes checkouts of tulerfeng/OneThinker and ElliottYan/LUFFY, and computes
by the functions there and by trlt's, on the same numbers. `--double` lets the former compute in float64 where it says float32.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import torch

from trlt.recipe import Train
from trlt.train.advantage_scale import AdvantageScale, GroupRewards
from trlt.train.given_answers import GivenWeights, shaped

ONETHINKER = "EasyR1/verl/trainer/core_algos.py"
LUFFY = "luffy/verl/verl/mix_src/mix_core_alg.py"


class Masked:
    """The one function that LUFFY's file needs of its own library."""

    @staticmethod
    def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Mean over what counts."""
        return (values * mask).sum() / (mask.sum() + 1e-8)


def taken(path: Path, names: set[str], *, double: bool = False) -> dict[str, Any]:
    """Definitions of a file by name, without the rest of it."""
    text = path.read_text(encoding="utf-8")
    kept: list[ast.stmt] = []
    for node in ast.parse(text.replace(".float()", ".double()") if double else text).body:
        name = getattr(node, "name", None) or (getattr(node.targets[0], "id", "") if isinstance(node, ast.Assign) else "")
        if name in names:
            if isinstance(node, ast.FunctionDef):
                node.decorator_list = []
            kept.append(node)
    found: dict[str, Any] = {"torch": torch, "verl_F": Masked}
    future = ast.parse("from __future__ import annotations").body
    exec(compile(ast.Module([*future, *kept], []), str(path), "exec"), found)
    return found


def running(checkout: Path, *, double: bool) -> float:
    """Largest difference of the advantages of 480 groups, some of which are beyond the guard."""
    names = {"_EmaStdTracker", "_EMA_STD_TRACKER", "compute_ema_grpo_outcome_advantage"}
    theirs = taken(checkout / ONETHINKER, names, double=double)["compute_ema_grpo_outcome_advantage"]
    rng, worst = Random(1), 0.0
    with tempfile.TemporaryDirectory() as folder:
        ours = AdvantageScale(Path(folder), Train(scale_rewards="task"), lambda rows: rows, writes=False)
        for step in range(1, 41):
            late, groups = step >= 30, []
            for _ in range(12):
                task = rng.choice(["multi_choice", "grounding", "grounded_qa"])
                if task == "multi_choice":
                    right = 0.5 if late else 0.03
                    rewards = [float(rng.random() < 0.97) + float(rng.random() < right) for _ in range(8)]
                else:
                    rewards = [1 + round(rng.random() * (1 if late else 0.05), 3) for _ in range(8)]
                groups.append(GroupRewards(task, tuple(rewards)))
            flat = torch.tensor([[r] for one in groups for r in one.rewards], dtype=torch.float64 if double else torch.float32)
            index = [place for place, one in enumerate(groups) for _ in one.rewards]
            with contextlib.redirect_stdout(io.StringIO()):
                found, _ = theirs(flat, torch.ones_like(flat), index, [groups[place].task for place in index])
            mine = torch.tensor(ours(step, groups), dtype=torch.float64)
            worst = max(worst, float((found.view(-1, 8).double() - mine).abs().max()))
    return worst


def shaping(checkout: Path) -> float:
    """Largest difference of the gradient of 24 tokens' log-probabilities, 6 of them of a given answer."""
    theirs = taken(checkout / LUFFY, {"compute_token_on_off_policy_loss"})["compute_token_on_off_policy_loss"]
    torch.manual_seed(0)
    logps = (-5 * torch.rand(4, 6, dtype=torch.float64)).requires_grad_()
    gains = torch.randn(4, 1, dtype=torch.float64).expand(4, 6)
    mask, given = torch.ones(4, 6, dtype=torch.float64), torch.zeros(4, 6, dtype=torch.bool)
    mask[1, 4:], given[3] = 0, True
    # As its script for training has it: no clipping, and a constant in place of the number of tokens.
    settings = {"off_policy_reshape": "p_div_p_0.1", "loss_remove_token_mean": True, "loss_remove_clip": True}
    theirs(logps.detach(), logps, gains, mask, 0.2, 0.0, given, 0.2, **settings)["pg_loss"].backward()
    unknown, own = torch.full((4, 6), torch.nan, dtype=torch.float64), torch.ones(4, 1, dtype=torch.float64)
    made = GivenWeights({"offline": shaped(0.1)}, lambda mine: mine)
    weights = made.weigh(logps.detach(), unknown, mask, ["", "", "", "offline"], own)
    assert logps.grad is not None
    return float((logps.grad + gains * weights * mask / 6).abs().max())


def main() -> None:
    """Prints the differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onethinker", type=Path)
    parser.add_argument("luffy", type=Path)
    parser.add_argument("--double", action="store_true")
    given = parser.parse_args()
    sys.stdout.write(f"EMA-GRPO's advantages: {running(given.onethinker, double=given.double):.1e} apart\n")
    sys.stdout.write(f"LUFFY's gradient: {shaping(given.luffy):.1e} apart\n")


if __name__ == "__main__":
    main()
