"""Where vLLM may place a prompt's tokens: where the trainer does, or by the same rule with one product in another precision.

The latter where positions count seconds, as those of Qwen2.5-VL do. There, a grid of a video stands at (its number) x (seconds
of a grid) x (tokens a second), rounded down. Transformers multiplies in float32, vLLM takes the same float32 seconds and
multiplies in float64. Where the product is whole, float32 may round up to it what float64 leaves just below: then vLLM's grid
is one position lower (docs/decisions/vllm-rollouts.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trlt.engine.inputs import ClipInputs, PromptInputs

AXES = ("temporal", "height", "width")


@dataclass(frozen=True, slots=True)
class Rounded:
    """Grids of a clip that vLLM places one position lower."""

    grids: int
    of: int


def in_float64(prompt: PromptInputs, clip: ClipInputs, tokens_per_second: float) -> Tensor:
    """The prompt's positions (3, T) with the grids' times multiplied in float64.

    Args:
        prompt: As the trainer places it, by the published rule.
        clip: Its clip.
        tokens_per_second: Of the model's `vision_config`.
    """
    grids = int(clip.grid[0, 0])
    stop = len(prompt.prefix) - 1
    video = slice(stop - clip.tokens, stop)
    # The processors of both sides hand the seconds over in float32.
    step = torch.tensor(clip.seconds_per_grid).double() * tokens_per_second
    steps = (torch.arange(grids, dtype=torch.float64) * step).long()
    positions = prompt.positions.clone()
    positions[0, video] = positions[0, video.start] + steps.repeat_interleave(clip.tokens // grids)
    # Text after a video goes on after its largest position.
    positions[:, stop:] += positions[:, video].max() - prompt.positions[:, video].max()
    return positions


def compare(
    theirs: Sequence[Sequence[int]], prompt: PromptInputs, clip: ClipInputs, tokens_per_second: float | None
) -> Rounded | str:
    """What vLLM's positions (3, T) are: the trainer's, those in float64, or what is wrong with them, in words.

    Args:
        theirs: vLLM's.
        prompt: As the trainer places it.
        clip: Its clip.
        tokens_per_second: Of the model's `vision_config`; None where positions don't count seconds.
    """
    found, ours = torch.tensor(theirs), prompt.positions
    if found.shape != ours.shape:
        return f"vLLM has {list(found.shape)} of them, the trainer {list(ours.shape)}"
    grids = int(clip.grid[0, 0])
    if torch.equal(found, ours):
        return Rounded(0, grids)
    rounded = ours if tokens_per_second is None else in_float64(prompt, clip, tokens_per_second)
    stop = len(prompt.prefix) - 1
    # The last token before the mark at the end is the video's, and so is the first that equals it.
    start = int((prompt.prefix == prompt.prefix[stop - 1]).nonzero()[0])
    if torch.equal(found, rounded):
        return Rounded(int((found != ours)[0, start : stop : clip.tokens // grids].sum()), grids)
    # From the nearer one, so that a grid that is only rounded isn't what is named.
    apart = min((found != known for known in (ours, rounded)), key=lambda one: int(one.sum()))
    place = int(apart.any(0).nonzero()[0])
    axis = int(apart[:, place].nonzero()[0])
    kind = "before the video" if place < start else "of the video" if place < stop else "after the video"
    here, wanted, other = (int(some[axis, place]) for some in (found, ours, rounded))
    return (
        f"on the {AXES[axis]} axis, for token {place} ({kind}), vLLM has {here}, the trainer {wanted}"
        f"{f' or {other} (times in float64)' if other != wanted else ''}; {int(apart.sum())} of {apart.numel()} differ"
    )
