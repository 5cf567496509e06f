"""Whether rollout, trainer and the library's own forward see and score the same input; a difference stops a run.

Each side is watched where its tensors enter the model, not where they were made: a preprocessing step that one side
alone takes shows up here, whatever its cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trlt.engine.forest import Engine, Request, Tree
from trlt.engine.inputs import ClipInputs, PromptInputs
from trlt.engine.sampling import Sampling
from trlt.errors import ParityError
from trlt.prompt import Prompt
from trlt.shared_prefix import Group, collate
from trlt.video.clip import Clip

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.5}
"""Most that two sides' log-probabilities of one token may differ; in BF16 a single token can be far off."""
MEAN_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05}

MakeInputs = Callable[[Clip, Prompt], tuple[ClipInputs, PromptInputs]]


@dataclass
class Seen:
    """What entered the model on one side."""

    pixels: list[Tensor] = field(default_factory=list)
    grids: list[Tensor] = field(default_factory=list)
    positions: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Parity:
    """Largest and mean difference of a token's log-probability between the sides, over what was checked."""

    samples: int
    tokens: int
    largest: float
    mean: float
    vllm: Parity | None = None
    """The same between vLLM and the trainer, where vLLM draws the completions."""


@contextmanager
def watch(model: Any) -> Iterator[Seen]:
    """Records what enters the vision tower and the language model."""
    seen = Seen()

    def vision(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.pixels.append(args[0].detach().float().cpu())
        seen.grids.append((kwargs["grid_thw"] if "grid_thw" in kwargs else args[1]).cpu())

    def language(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.positions.append(kwargs["position_ids"].detach().cpu())

    hooks = [
        model.model.visual.register_forward_pre_hook(vision, with_kwargs=True),
        model.model.language_model.register_forward_pre_hook(language, with_kwargs=True),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def check(
    engine: Engine, processor: Any, clips: Sequence[tuple[str, Clip, Prompt]], make_inputs: MakeInputs, sampling: Sampling
) -> Parity:
    """Samples two completions a clip and compares frames, grids, seconds per grid, positions and log-probabilities.

    Args:
        engine: The rollout side; its model has been given `shared_prefix.attach`.
        processor: The model's own, called as the library's documentation says.
        clips: (sample id, clip, prompt) of a few samples.
        make_inputs: How the trainer makes its inputs.
        sampling: As in training.

    Raises:
        ParityError: names the sample, what differs, and both sides.
    """
    differences: list[float] = []
    for name, clip, words in clips:
        request = Request(f"parity:{name}", words.system, words.user, 2)
        with watch(engine.model) as rollout:
            [[completions]] = engine.generate([Tree(clip, (request,))], sampling)
        clip_inputs, prompt_inputs = make_inputs(clip, words)
        group = Group(clip_inputs, prompt_inputs, tuple(c.tokens for c in completions))
        with watch(engine.model) as trainer:
            logps = engine.model(tree=collate([group]).to(engine.device), temperature=sampling.temperature).logps
        library, theirs = _by_the_library(engine, processor, clip, words, completions[0].tokens, sampling.temperature)
        prompt_length = len(prompt_inputs.prefix) + len(prompt_inputs.suffix)
        for other, seen in (("rollout", rollout), ("the library's forward", library)):
            _same(name, other, seen, trainer, prompt_length)
        differences += [
            abs(a - b)
            for row, completion in zip(logps.tolist(), completions, strict=True)
            for a, b in zip(row, completion.logps, strict=False)
        ]
        differences += [abs(a - b) for a, b in zip(logps[0].tolist(), theirs, strict=False)]
    parity = Parity(len(clips), len(differences), max(differences), sum(differences) / len(differences))
    precision = torch.float32 if engine.exact else torch.bfloat16
    if parity.largest > TOLERANCE[precision] or parity.mean > MEAN_TOLERANCE[precision]:
        raise ParityError(
            f"log-probabilities differ between rollout, trainer and library: up to {parity.largest:.2e}, "
            f"{parity.mean:.2e} in the mean, over {parity.tokens} tokens of {parity.samples} samples; the most that "
            f"{precision} explains is {TOLERANCE[precision]:g} and {MEAN_TOLERANCE[precision]:g}"
        )
    return parity


def _same(name: str, other: str, theirs: Seen, trainer: Seen, prompt_length: int) -> None:
    """Raises where two sides' inputs differ."""

    def fail(what: str, left: Any, right: Any) -> None:
        raise ParityError(f"sample {name!r}: {what} differ: {other} has {left}, the trainer {right}")

    if not torch.equal(theirs.grids[0], trainer.grids[0]):
        fail("grids", theirs.grids[0].tolist(), trainer.grids[0].tolist())
    gap = float((theirs.pixels[0] - trainer.pixels[0]).abs().max())
    if gap > 1e-5:
        fail("frames", "pixels", f"others, up to {gap:.3g} apart after normalisation")
    # A rollout passes the prompt in two parts, each a batch of one.
    parts = torch.cat([p[-3:, :1] for p in theirs.positions[:2]], dim=-1) if other == "rollout" else theirs.positions[0][-3:]
    left, right = parts[:, 0, :prompt_length], trainer.positions[0][-3:, 0, :prompt_length]
    if not torch.equal(left, right):
        times = [sorted(set(side[0].tolist())) for side in (left, right)]
        steps = [times_[-1] - times_[0] for times_ in times]
        fail("positions (seconds per grid, or the prompt's tokens)", f"a span of {steps[0]}", f"one of {steps[1]}")


def _by_the_library(
    engine: Engine, processor: Any, clip: Clip, words: Prompt, tokens: Sequence[int], temperature: float
) -> tuple[Seen, list[float]]:
    """The same completion, scored by the processor and the model as their documentation says: nothing shared."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": [{"type": "text", "text": words.system}]}]
    messages = messages if words.system else []
    messages.append({"role": "user", "content": [{"type": "video"}, {"type": "text", "text": words.user}]})
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = processor(
        text=[text],
        videos=[torch.from_numpy(clip.frames)],
        do_resize=False,
        do_sample_frames=False,
        cap_pixels_per_frame=False,
        return_tensors="pt",
    )
    inputs["second_per_grid_ts"] = torch.tensor([clip.seconds_per_grid])
    count = len(tokens)
    for key, fill in (("input_ids", torch.tensor([list(tokens)])), ("attention_mask", 1), ("mm_token_type_ids", 0)):
        tail = fill if isinstance(fill, Tensor) else torch.full((1, count), fill, dtype=inputs[key].dtype)
        inputs[key] = torch.cat([inputs[key], tail], dim=1)
    with watch(engine.model) as seen:
        logits = engine.model(**{k: v.to(engine.device) for k, v in inputs.items()}, logits_to_keep=count + 1).logits
    logps = (logits[0, :-1].float() / temperature).log_softmax(dim=-1)
    return seen, logps.gather(-1, torch.tensor(list(tokens), device=logps.device)[:, None])[:, 0].tolist()
