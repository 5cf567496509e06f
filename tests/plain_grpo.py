"""GRPO's gradient from the papers' formulas, one plain sequence a completion, in float64: nothing of TRL, and no tree.

DeepSeekMath for `grpo`, Dr. GRPO, DAPO, GSPO and MiniMax-M1 (CISPO); k3 as in docs/method.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trlt.engine.model import load
from trlt.recipe import Model, Train
from trlt.task import prompt as prompts
from trlt.train.trainer import TrainingData


@dataclass
class One:
    """A completion, and what counts of it."""

    advantage: float
    logps: Tensor
    """(T,) of the policy, with gradient."""
    reference: Tensor
    """(T,) of the reference model."""
    old: Tensor
    """(T,) of the policy that is taken to have drawn it."""
    sampler: Tensor
    """(T,) as whatever drew it tells them."""
    counts: bool
    """False for one that is left out."""
    given: bool = False
    """True for one that the policy didn't draw."""


def advantages(rewards: Sequence[float], train: Train, step: Sequence[float], running: float) -> list[float]:
    """Eq. 3 of the paper, or what a recipe says in its place.

    Args:
        rewards: Of the group.
        train: The recipe's section.
        step: All rewards of the step.
        running: The running deviation of the group's task.
    """
    values = torch.tensor(rewards, dtype=torch.float64)
    centred = values - values.mean()
    if train.baseline == "leave_one_out":  # RLOO: minus the mean of the others
        centred = values - (values.sum() - values) / (len(values) - 1)
    if train.scale_rewards == "task":  # OneThinker's public code
        found = centred / (running + 1e-6)
        return (found if found.abs().max() <= 5 else centred / (values.std(correction=0) + 1e-6)).tolist()
    batch = torch.tensor(step, dtype=torch.float64).std() + 1e-4
    divisor = {"group": values.std() + 1e-4, "none": torch.ones(()), "batch": batch}[train.scale_rewards]
    return (centred / divisor).tolist()


def running(found: Sequence[dict[str, Any]], tasks: Sequence[str], train: Train) -> dict[str, float]:
    """The running deviation of each task at the second step, from the rewards of both."""
    moments: dict[str, tuple[float, float]] = {}
    steps = [[one for process in found for one in process["earlier"]], used(found)]
    for groups in steps:
        for task in {tasks[one["index"]] for one in groups}:
            rewards = torch.tensor([r for one in groups if tasks[one["index"]] == task for r in one["rewards"]]).double()
            new = (float(rewards.mean()), float(rewards.square().mean()))
            old = moments.get(task, new)
            stays = train.task_decay
            moments[task] = (stays * old[0] + (1 - stays) * new[0], stays * old[1] + (1 - stays) * new[1])
    return {task: max(square - mean**2, 1e-6) ** 0.5 for task, (mean, square) in moments.items()}


def used(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups of a step that it was learned from."""
    return [process["groups"][i] for process in found for some in process["passes"] for i in some]


def scorer(loaded: Any, training_data: TrainingData, train: Train) -> Callable[[int, Sequence[int]], Tensor]:
    """(sample's index, tokens) -> log-probabilities (T,), as the library's documentation has it."""
    clips: dict[int, Any] = {}

    def score(index: int, tokens: Sequence[int]) -> Tensor:
        if index not in clips:
            clips[index] = training_data.clip(index)
        clip, words = (
            clips[index],
            prompts.build(training_data.samples[index], think=train.think, answer_format=train.answer_format),
        )
        messages = [
            {"role": "system", "content": [{"type": "text", "text": words.system}]},
            {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": words.user}]},
        ]
        inputs = loaded.processor(
            text=[loaded.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)],
            videos=[torch.from_numpy(clip.frames)],
            do_resize=False,
            do_sample_frames=False,
            cap_pixels_per_frame=False,
            return_tensors="pt",
        )
        inputs["second_per_grid_ts"] = torch.tensor([clip.seconds_per_grid])
        inputs["pixel_values_videos"] = inputs["pixel_values_videos"].double()
        for key, fill in (("input_ids", None), ("attention_mask", 1), ("mm_token_type_ids", 0)):
            tail = torch.tensor([list(tokens)]) if fill is None else torch.full((1, len(tokens)), fill)
            inputs[key] = torch.cat([inputs[key], tail.to(inputs[key])], dim=1)
        logits = loaded.model(**inputs, logits_to_keep=len(tokens) + 1).logits[0, :-1]
        logps = (logits / train.temperature).log_softmax(-1)
        return logps.gather(-1, torch.tensor(list(tokens))[:, None])[:, 0]

    return score


def double(path: Any, weights: dict[str, Tensor] | None = None) -> Any:
    """A model in float64, with other weights if they are given."""
    loaded = load(Model(path=str(path), dtype="float32", device="cpu"))
    if weights:
        loaded.model.load_state_dict(weights, strict=False)
    loaded.model.double()
    return loaded


def weight(one: One, train: Train) -> Tensor:
    """(T,) or (): truncated or masked importance sampling, by token or by the product over a completion."""
    if train.corrects == "none":
        return torch.ones(())
    level, kind = train.corrects.split("_")
    apart = one.logps.detach() - one.sampler
    ratio = (apart if level == "token" else apart.sum()).exp()
    return torch.where(ratio <= train.correction_cap, ratio, train.correction_cap if kind == "truncate" else 0.0)


def token_losses(one: One, train: Train) -> Tensor:
    """(T,) what each token adds, before any mean."""
    ratio = (one.logps - one.old).exp()
    if train.ratio_level == "sequence":  # GSPO: the geometric mean of the tokens' ratios
        ratio = (one.logps - one.old).mean().exp().expand_as(one.logps)
    if one.given:  # LUFFY, or truncated importance sampling; no KL term, and no clipping
        assert train.offline
        ratio = (one.logps - one.sampler.nan_to_num()).exp()
        if train.offline.weights == "shaped":
            return -one.advantage * ratio / (ratio + train.offline.gamma)
        return -one.advantage * ratio.clamp(max=train.correction_cap).detach() * one.logps
    low, high = 1 - train.epsilon, 1 + (train.epsilon if train.epsilon_high is None else train.epsilon_high)
    if train.loss == "cispo":
        assert train.epsilon_high is not None
        gain = ratio.clamp(max=train.epsilon_high).detach() * one.advantage * one.logps
    else:
        gain = torch.minimum(ratio * one.advantage, ratio.clamp(low, high) * one.advantage)
    gain = gain * weight(one, train)
    apart = one.reference - one.logps
    k3 = apart.exp() - apart - 1
    return -(gain - train.beta * (k3 * ratio if train.kl == "k3_corrected" else k3))


def loss(passes: Sequence[Sequence[One]], train: Train) -> Tensor:
    """The step's loss over all processes; `passes` matter to `bnpo` alone."""
    every = [one for some in passes for one in some]
    sums = {id(one): token_losses(one, train).sum() * one.counts for one in every}
    lengths = {id(one): len(one.logps) * one.counts for one in every}
    if train.loss == "grpo":
        return torch.stack([sums[id(one)] / len(one.logps) for one in every]).mean()
    if train.loss == "dr_grpo":
        return torch.stack(list(sums.values())).sum() / (len(every) * train.max_new_tokens)
    if train.loss in ("dapo", "cispo"):
        return torch.stack(list(sums.values())).sum() / sum(lengths.values())
    parts = []
    for some in passes:
        tokens = sum(lengths[id(one)] for one in some)
        parts.append(torch.stack([sums[id(one)] for one in some]).sum() / max(1, tokens) * len(some) / len(every))
    return torch.stack(parts).sum()


def gradient(
    found: Sequence[dict[str, Any]], path: Any, training_data: TrainingData, train: Train, *, old: bool = False
) -> dict[str, Tensor]:
    """Of the step that `second_step` has recorded, from all its processes."""
    policy, start = double(path, found[0]["weights"]), double(path)
    of_policy, of_start = scorer(policy, training_data, train), scorer(start, training_data, train)
    passes = []
    tasks = [sample.task for sample in training_data.samples]
    deviations = running(found, tasks, train)
    rewards = [reward for group in used(found) for reward in group["rewards"]]
    for process in found:
        groups = []
        for group in process["groups"]:
            gains = advantages(group["rewards"], train, rewards, deviations.get(tasks[group["index"]], 1.0))
            members = []
            each = zip(gains, group["completions"], group["given"], strict=True)
            for gain, (tokens, sampler, finished), given in each:
                logps = of_policy(group["index"], tokens)
                with torch.no_grad():
                    reference = of_start(group["index"], tokens)
                drawn = torch.tensor(sampler or [torch.nan] * len(tokens), dtype=torch.float64)
                before = drawn if old else logps.detach()
                members.append(One(gain, logps, reference, before, drawn, finished or not train.mask_truncated, given))
            groups.append(members)
        passes += [[one for i in some for one in groups[i]] for some in process["passes"]]
    loss(passes, train).backward()
    return {name: weight.grad for name, weight in policy.model.named_parameters() if weight.grad is not None}


def apart(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """|found - wanted| / |wanted| over all weights together."""
    assert found.keys() == wanted.keys()
    gap = sum(float((found[name].double() - wanted[name]).square().sum()) for name in wanted)
    return (gap / sum(float(value.square().sum()) for value in wanted.values())) ** 0.5
