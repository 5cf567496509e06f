"""Prompts about noise, as the engine takes them, as the trainer does, and as the library does."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.gpu.models import Shape
from trlt.engine.forest import PromptRequest, Tree
from trlt.engine.inputs import ClipInputs, InputBuilder, PromptInputs
from trlt.engine.shared_prefix import Group

COMPLETIONS = 8
"""Of each prompt."""
PATCH_VALUES = 3 * 2 * 14 * 14


class Size(NamedTuple):
    """How long everything is."""

    grid: tuple[int, int, int]
    """Temporal patches, rows and columns of a clip; four patches are a token."""
    text: int
    """Tokens of a question."""
    new: int
    """Tokens of each completion."""


class Asked(NamedTuple):
    """A question about a clip of noise."""

    clip: ClipInputs
    words: str
    prompt: PromptInputs

    def tree(self) -> Tree:
        """For the engine."""
        return Tree(self.clip, (PromptRequest(self.words, "", self.words, COMPLETIONS),))


def ask(builder: InputBuilder, shape: Shape, size: Size, count: int, device: torch.device) -> list[Asked]:
    """As many questions, each about a clip of its own; the first ones are the same whatever their number."""
    made = []
    t, h, w = size.grid
    for seed in range(count):
        rng = Random(seed)
        noise = torch.Generator(device).manual_seed(seed)
        pixels = torch.randn(t * h * w, PATCH_VALUES, generator=noise, device=device)
        # On the CPU, as the processor makes it. One second a grid: releases before 5.18 round to whole ones.
        clip = ClipInputs(pixels, torch.tensor([size.grid]), 1.0, t * h * w // 4)
        words = " ".join(str(rng.randrange(shape.words)) for _ in range(size.text))
        made.append(Asked(clip, words, builder.prompt("", words, clip)))
    return made


def group(asked: Asked, shape: Shape, size: Size, seed: int) -> Group:
    """The question with random completions."""
    rng = Random(seed)
    rows = (tuple(rng.randrange(shape.words) for _ in range(size.new)) for _ in range(COMPLETIONS))
    return Group(asked.clip, asked.prompt, tuple(rows))


def for_library(asked: Sequence[Asked], video_token: int, device: torch.device) -> dict[str, Tensor]:
    """What the processor would return for questions of equal length."""
    ids = torch.stack([torch.cat([one.prompt.prefix, one.prompt.suffix]) for one in asked])
    clips = [one.clip for one in asked]
    made = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == video_token).int() * 2,
        "pixel_values_videos": torch.cat([clip.pixels for clip in clips if clip.pixels is not None]),
        "video_grid_thw": torch.cat([clip.grid for clip in clips]),
        "second_per_grid_ts": torch.tensor([clip.seconds_per_grid for clip in clips]),
    }
    return {name: value.to(device) for name, value in made.items()}


@torch.no_grad()
def library_logps(model: Any, asked: Asked, completions: Sequence[Sequence[int]]) -> Tensor:
    """(completions, T) log-probabilities by the library's own forward pass over each whole sequence; of equal length."""
    new = torch.tensor([list(tokens) for tokens in completions], device=model.device)
    inputs = for_library([asked] * len(completions), model.config.video_token_id, model.device)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], new], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    kinds = inputs["mm_token_type_ids"]
    inputs["mm_token_type_ids"] = torch.cat([kinds, kinds.new_zeros(new.shape)], dim=1)
    logits = model(**inputs, logits_to_keep=new.shape[1] + 1).logits[:, :-1]
    # Row by row: in float32 all of them would take gigabytes.
    rows = [row.float().log_softmax(-1).gather(-1, t[:, None])[:, 0] for row, t in zip(logits, new, strict=True)]
    return torch.stack(rows).cpu()
