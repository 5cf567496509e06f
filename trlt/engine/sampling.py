"""Drawing tokens so that a completion depends on its own stream alone, never on the batch in which it is computed.

Batched products differ from single ones in the last bits, so a draw can fall on the other side of a boundary. Each
draw therefore reports whether it lies within the noise of a boundary; the engine settles those few from logits that it
computes for that completion alone, in one fixed shape. Knows logits and token ids only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

NOISE = 1e-5
"""Bound on the difference of two float32 evaluations of one logit; scaled by 1 / temperature, and by what a family adds."""

AT_ONCE = 2**24
"""Maximum size of (rows, vocabulary) drawn from at once: each of about eight float64 tensors takes 128 MiB then."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 64
    seed: int = 0


class Draw(NamedTuple):
    """One token per row."""

    tokens: Tensor
    """(R,) int64."""
    unsure: Tensor
    """(R,) True where the draw lies within the noise of a boundary."""
    logps: Tensor
    """(R,) float32 log-probability of each token at the temperature, over the whole vocabulary, as a trainer scores it."""


def uniforms(seed: int, key: str, branch: int, count: int) -> np.ndarray:
    """(count,) float64 numbers in [0, 1) that depend on these arguments alone; a longer draw starts with the shorter."""
    # `surrogatepass`: a text with half a surrogate pair still has to name a stream, and strict UTF-8 would raise.
    digest = hashlib.sha256(f"{seed}\0{key}\0{branch}".encode("utf-8", "surrogatepass")).digest()
    # A Philox key has 128 bits. No state is shared between branches, so it
    # doesn't matter which of them is drawn first, or in which process.
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little"))).random(count)


def draw(logits: Tensor, uniform: Tensor, sampling: Sampling, banned: Tensor, rounding: float = 1.0) -> Draw:
    """Inverse-CDF sampling from the nucleus, in the order of token ids.

    Args:
        logits: (R, V), any float type.
        uniform: (R,) float64 in [0, 1).
        sampling: Temperature and top-p; the nucleus is the shortest list of the likeliest tokens that reaches top-p.
        banned: (V,) True for tokens that are never drawn.
        rounding: Factor on the noise; see `Family.rounding`.
    """
    rows = max(1, AT_ONCE // logits.shape[-1])
    split = zip(torch.split(logits, rows), torch.split(uniform, rows), strict=True)
    parts = [_draw(*some, sampling, banned, rounding) for some in split]
    return Draw(*(torch.cat(side) for side in zip(*parts, strict=True)))


def _draw(logits: Tensor, uniform: Tensor, sampling: Sampling, banned: Tensor, rounding: float) -> Draw:
    noise = NOISE * rounding * max(1.0, 1.0 / sampling.temperature)
    # In float64: a running sum over 152k numbers in float32 may err by more than the noise that draws are guarded against.
    scaled = logits.double().masked_fill(banned, -torch.inf) / sampling.temperature
    p = scaled.softmax(dim=-1)
    # Without top-p no token lies near an edge of the nucleus. Banned tokens have probability 0.
    surely = maybe = kept = p > 0
    if sampling.top_p < 1:
        kept, surely, maybe = _nucleus(p, sampling.top_p, noise)
    cdf = (p * kept).cumsum(dim=-1)
    total = cdf[:, -1:]
    # The nucleus isn't renormalized: the target is scaled by its mass instead, which saves a pass over the vocabulary.
    target = uniform[:, None].to(cdf) * total
    # The first token whose sum lies above the target; one of probability 0 adds nothing and is never the first.
    tokens = torch.searchsorted(cdf, target, right=True).clamp(max=p.shape[-1] - 1)
    # Rounding at the very end of the CDF could name a token outside the nucleus: take the last one inside.
    last = p.shape[-1] - 1 - kept.flip(-1).int().argmax(dim=-1, keepdim=True)
    tokens = torch.minimum(tokens, last)
    upper = cdf.gather(-1, tokens)
    lower = upper - p.gather(-1, tokens)
    # Tokens that noise may move into the nucleus or out of it shift each boundary by no more than what they weigh.
    margin = (noise + (p * (maybe & ~surely)).sum(dim=-1, keepdim=True)) * total
    # The outer edges, 0 and the total, are no boundaries between tokens.
    inner_low, inner_high = lower > 1e-12, total - upper > 1e-12
    near = ((target - lower < margin) & inner_low) | ((upper - target < margin) & inner_high)
    unsure = near | ~surely.gather(-1, tokens)
    # Of the whole vocabulary, without ban or nucleus, and in float32: the loss computes the same, so a ratio
    # of the two is 1 where both sides agree. Over the nucleus alone every ratio would be too small.
    logps = (logits.float() / sampling.temperature).log_softmax(dim=-1).gather(-1, tokens)
    return Draw(tokens[:, 0], unsure[:, 0], logps[:, 0])


def _nucleus(p: Tensor, top_p: float, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """(R, V) which tokens are in the nucleus, which are whatever the noise, and which may be."""
    ordered = _likeliest(p, top_p + noise)
    before = ordered.cumsum(dim=-1) - ordered
    count = (before < top_p).sum(dim=-1, keepdim=True)
    last = ordered.gather(-1, count - 1)
    # Of equal probabilities, which logits in BF16 often have, the lowest ids come first.
    above, equal = p > last, p == last
    kept = above | (equal & (equal.cumsum(dim=-1) <= count - above.sum(dim=-1, keepdim=True)))
    lowest = ordered.masked_fill(before >= top_p + noise, torch.inf).amin(dim=-1, keepdim=True)
    # The likeliest token is always in, however small top-p is.
    inside = (before < top_p - noise) | (before == 0)
    highest = ordered.masked_fill(inside, 0.0).amax(dim=-1, keepdim=True)
    # Twice the noise: that of a token, and that of the one it is compared with.
    return kept, p > highest * (1 + 2 * noise), p >= lowest * (1 - 2 * noise)


def _likeliest(p: Tensor, mass: float) -> Tensor:
    """(R, K) the largest probabilities of each row, descending: enough for those before the last to reach `mass`, or all.

    Sorting a whole vocabulary of 152k took two thirds of a decoding step.
    """
    for count in (1024, 16_384):
        if count < p.shape[-1]:
            most = p.topk(count, dim=-1).values
            if bool((most[:, :-1].sum(dim=-1) >= mass).all()):
                return most
    return p.sort(dim=-1, descending=True).values
