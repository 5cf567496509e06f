"""Whether vLLM sees and scores what the trainer does; a difference stops a run.

It is looked at before the first step and once more after it. vLLM starts with random weights, so agreement also proves that
every weight arrives by the way it takes in each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from trlt.engine.agreement import TOLERANCES, Agreement
from trlt.engine.forest import Engine
from trlt.engine.inputs import PromptInputs
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, collate, forward
from trlt.engine.vllm.sampler import Explained, VllmSampler
from trlt.errors import ParityError
from trlt.recipe import advice
from trlt.task.prompt import Prompt
from trlt.train.parity import MakeInputs
from trlt.video.clip import Clip

SLOWER = 3
REMEDY = f"take another version of vLLM, or {advice('train.rollouts: engine')}"


@torch.no_grad()
def check(
    sampler: VllmSampler,
    engine: Engine,
    clips: Sequence[tuple[str, Clip, Prompt]],
    make_inputs: MakeInputs,
    sampling: Sampling,
) -> Agreement:
    """Compares prompts' tokens and positions exactly, and the log-probabilities of vLLM's completions within the precision.

    The first clip is looked at once more, told as a slower one: most clips have the rate that is assumed where none is told.

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
    # At 2 frames a second a grid covers one second, which vLLM assumes where
    # it isn't told: only another rate shows that the rate is used.
    for name, clip, words in [*clips, _slower(*clips[0])]:
        clip_inputs, prompt = make_inputs(clip, words)
        found = sampler.explain(clip, words, sampling)
        here: list[float] = []
        for one in found:
            _same_prompt(name, one, prompt)
            group = collate([Group(clip_inputs, prompt, (one.tokens,))]).to(engine.device)
            [logps] = forward(engine.model, group, temperature=one.temperature).logps.tolist()
            # Times the temperature, an error of the logits counts alike whatever was sampled at.
            here += [abs(a - b) * one.temperature for a, b in zip(logps, one.logps, strict=True)]
        worst = max(worst, (name, max(here)), key=lambda known: known[1])
        differences += here
    parity = Agreement(len(clips) + 1, len(differences), worst[1], sum(differences) / len(differences))
    allowed = TOLERANCES[engine.precision]
    if not allowed.allows(parity):
        raise ParityError(
            f"log-probabilities differ between vLLM and the trainer: up to {parity.largest:.2e}, for sample {worst[0]}, and "
            f"{parity.mean:.2e} on average, over {parity.tokens} tokens of {parity.samples} samples; "
            f"{allowed.words(parity.tokens, engine.precision)}; {REMEDY}"
        )
    return parity


def _slower(name: str, clip: Clip, words: Prompt) -> tuple[str, Clip, Prompt]:
    """The same frames, further apart."""
    slow = Clip.of(clip.frames, clip.times * SLOWER, sample_fps=clip.sample_fps / SLOWER, duration=clip.duration * SLOWER)
    return f"{name}, slowed {SLOWER} times", slow, words


def _same_prompt(name: str, theirs: Explained, ours: PromptInputs) -> None:
    """Raises where vLLM took other tokens, or placed them elsewhere."""

    def fail(what: str, left: Any, right: Any) -> None:
        raise ParityError(f"sample {name}: {what} differ: vLLM has {left}, the trainer {right}; {REMEDY}")

    tokens = [*ours.prefix.tolist(), *ours.suffix.tolist()]
    if list(theirs.prompt) != tokens:
        fail("a prompt's tokens (the video's, mostly)", len(theirs.prompt), len(tokens))
    if theirs.positions is None:
        raise ParityError(f"sample {name}: this version of vLLM doesn't tell how it places tokens; {REMEDY}")
    left, right = torch.tensor(theirs.positions), ours.positions
    if left.shape != right.shape or not torch.equal(left, right):
        fail("positions (seconds per grid, mostly)", f"a last one of {int(left.max())}", f"one of {int(right.max())}")
