"""Whether vLLM sees and scores what the trainer does; a difference stops a run.

It is looked at before the first step and once more after it. vLLM starts with random weights, so agreement also proves that
every weight arrives by the way it takes in each step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from trlt.engine.agreement import TOLERANCES, Agreement
from trlt.engine.families import family_of
from trlt.engine.forest import Engine
from trlt.engine.inputs import ClipInputs, PromptInputs
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, collate, forward
from trlt.engine.vllm import positions
from trlt.engine.vllm.sampler import Explained, VllmSampler
from trlt.errors import ParityError, counted
from trlt.recipe import advice
from trlt.task.prompt import Prompt
from trlt.train.parity import MakeInputs
from trlt.video.clip import Clip

SLOWER = 3
"""Least factor that a clip is slowed by."""
CORNER = 2
"""Tokens a side of what is taken of a clip that is too short, and shown several times."""
REMEDY = f"take another version of vLLM, or {advice('train.rollouts: engine')}"


@dataclass(frozen=True, slots=True)
class VllmAgreement(Agreement):
    """Of vLLM and the trainer, at vLLM's positions."""

    clips_rounded: int = 0
    """Clips with a grid that vLLM places one position lower: it multiplies the grids' times in float64."""
    grids_rounded: int = 0
    """Such grids,"""
    grids: int = 0
    """of all in these clips."""
    shift: float = 0.0
    """The most that this changes a token's log-probability at temperature 1."""

    @property
    def words(self) -> str:
        """For the run's notes."""
        said = (
            f"vLLM and the trainer agree within {self.largest:.1e}, {self.mean:.1e} on average, over {self.tokens} tokens of "
            f"{counted(self.samples, 'clip')}"
        )
        if not self.clips_rounded:
            return said
        return (
            f"{said}; {self.clips_rounded} of {counted(self.samples, 'clip')}: vLLM multiplies times in float64, and so is one "
            f"position lower at {self.grids_rounded} of {counted(self.grids, 'grid')}, by which log-probabilities change by up "
            f"to {self.shift:.1e}"
        )


@torch.no_grad()
def check(
    sampler: VllmSampler,
    engine: Engine,
    clips: Sequence[tuple[str, Clip, Prompt]],
    make_inputs: MakeInputs,
    sampling: Sampling,
) -> VllmAgreement:
    """Compares prompts' tokens and positions exactly, and the log-probabilities of vLLM's completions within the precision.

    Where vLLM rounds a grid's time differently (`engine.vllm.positions`), its log-probabilities are compared at its positions:
    that shows whether it computes the same, and what the positions change is measured by itself.

    The longest clip is looked at once more, told as a slower one: most clips have the rate that is assumed where none is told.
    And in it the text's place depends on the rule that it follows the largest position on any axis.

    Args:
        sampler: Awake, with the weights of the engine's model.
        engine: Its model takes branches (`shared_prefix.attach`), and scores as the trainer does.
        clips: (what an error calls it, clip, prompt) of a few samples.
        make_inputs: How the trainer makes its inputs.
        sampling: Its temperature, limit and seed.

    Raises:
        ParityError: names the sample, what differs and by how much, and the remedy.
        ModelError: vLLM failed.
    """
    worst, differences = ("", 0.0), []
    tokens_per_second = None
    if family_of(engine.model).time_in == "positions":
        tokens_per_second = float(engine.model.config.vision_config.tokens_per_second)
    rounded: list[positions.Rounded] = []
    shifts = [0.0]
    # At 2 frames a second a grid covers one second, which vLLM assumes where
    # it isn't told: only another rate shows that the rate is used.
    for name, clip, words in [*clips, _slower(*max(clips, key=lambda one: len(one[1].frames)), tokens_per_second)]:
        clip_inputs, prompt = make_inputs(clip, words)
        found = sampler.explain(clip, words, sampling)
        here: list[float] = []
        for one in found:
            places = _same_prompt(name, one, prompt, clip_inputs, tokens_per_second)
            logps = _score(engine, clip_inputs, replace(prompt, positions=torch.tensor(one.positions)), one)
            # Times the temperature, an error of the logits counts alike whatever was sampled at.
            here += [abs(a - b) * one.temperature for a, b in zip(logps, one.logps, strict=True)]
            if places.grids:
                ours = _score(engine, clip_inputs, prompt, one)
                shifts += [abs(a - b) * one.temperature for a, b in zip(logps, ours, strict=True)]
        if places.grids:
            rounded.append(places)
        worst = max(worst, (name, max(here)), key=lambda known: known[1])
        differences += here
    parity = VllmAgreement(
        len(clips) + 1,
        len(differences),
        worst[1],
        sum(differences) / len(differences),
        len(rounded),
        sum(one.grids for one in rounded),
        sum(one.of for one in rounded),
        max(shifts),
    )
    allowed = TOLERANCES[engine.precision]
    if not allowed.allows(parity):
        raise ParityError(
            f"log-probabilities differ between vLLM and the trainer: up to {parity.largest:.2e}, for sample {worst[0]}, and "
            f"{parity.mean:.2e} on average, over {parity.tokens} tokens of {parity.samples} samples; "
            f"{allowed.words(parity.tokens, engine.precision)}; {REMEDY}"
        )
    return parity


def _slower(name: str, clip: Clip, words: Prompt, tokens_per_second: float | None) -> tuple[str, Clip, Prompt]:
    """The same frames, so far apart that the last ones stand beyond the frames' height and width.

    Only then the place of the text depends on the rate, and on the rule that it follows the largest position on any axis. Where
    positions don't count seconds, a small corner of them does for the rule.
    """
    frames, geometry, timed = clip.frames, clip.geometry, tokens_per_second is not None
    # Whose only grid stands at 0 whatever the rate; or whose grids are no more than the corner has rows.
    short = clip.grid[0] <= (1 if timed else CORNER)
    if short or not timed:
        corner = CORNER * geometry.side
        frames = np.concatenate([frames[:, :, :corner, :corner]] * (4 if short else 1))
    slower = SLOWER
    if tokens_per_second is not None:
        last = (len(frames) // geometry.temporal - 1) * geometry.temporal / clip.sample_fps * tokens_per_second
        side = max(frames.shape[2:]) // geometry.side
        slower = max(SLOWER, math.ceil((side + 1) / last))
    fps = clip.sample_fps / slower
    slow = Clip.of(frames, np.arange(len(frames)) / fps, sample_fps=fps, duration=len(frames) / fps, geometry=geometry)
    return f"{name}, slowed {slower} times", slow, words


def _score(engine: Engine, clip: ClipInputs, prompt: PromptInputs, found: Explained) -> list[float]:
    """Log-probabilities of vLLM's completion as the trainer computes them."""
    group = collate([Group(clip, prompt, (found.tokens,))]).to(engine.device)
    [logps] = forward(engine.model, group, temperature=found.temperature).logps.tolist()
    return list(logps)


def _same_prompt(
    name: str, theirs: Explained, ours: PromptInputs, clip: ClipInputs, tokens_per_second: float | None
) -> positions.Rounded:
    """Raises where vLLM took other tokens, or placed them elsewhere."""
    tokens = [*ours.prefix.tolist(), *ours.suffix.tolist()]
    if list(theirs.prompt) != tokens:
        raise ParityError(
            f"sample {name}: a prompt's tokens (the video's, mostly) differ: vLLM has {len(theirs.prompt)}, the trainer "
            f"{len(tokens)}; {REMEDY}"
        )
    if theirs.positions is None:
        raise ParityError(f"sample {name}: this version of vLLM doesn't tell how it places tokens; {REMEDY}")
    found = positions.compare(theirs.positions, ours, clip, tokens_per_second)
    if isinstance(found, str):
        raise ParityError(f"sample {name}: positions (seconds per grid, mostly) differ: {found}; {REMEDY}")
    return found
