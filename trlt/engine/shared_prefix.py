"""One video and prompt, G completions -> a stretch of a sequence under a tree mask, and its log-probabilities.

A group is laid out as `prompt | completion 1 | ... | completion G`, and several groups follow one another in one row, without
padding. The prompt attends causally to itself; a completion attends to the whole prompt and causally to itself, never to its
siblings; each completion's positions continue after the prompt's. So the prompt and its video are computed once, and the
results equal those of G full sequences.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# For what it registers: a model that was pickled after `attach` finds its tower's attention in another process.
import trlt.engine.window_attention  # noqa: F401
from trlt.engine.families import family_of
from trlt.engine.inputs import ClipInputs, PromptInputs
from trlt.engine.sharding import most_calls
from trlt.engine.tree_mask import GroupSlice, Kind, index_of, places, tree_mask

CHUNK_BYTES = 10**9
"""Maximum bytes of logits held at once: never all of (tokens x vocabulary)."""
PER_LOGIT = 16
"""Bytes of a logit at most: as the head gives it, and three times in float32."""


@dataclass(frozen=True)
class Group:
    """A prompt with its completions, before padding."""

    clip: ClipInputs
    prompt: PromptInputs
    completions: tuple[tuple[int, ...], ...]
    """Token ids, the end mark included where there is one."""

    @property
    def tokens(self) -> int:
        """Of its stretch in a row: the prompt with its video, and all completions."""
        return len(self.prompt.prefix) + len(self.prompt.suffix) + sum(map(len, self.completions))


@dataclass(frozen=True)
class TreeBatch:
    """B groups of G completions, packed into one row of N tokens without padding."""

    ids: Tensor
    """(N,) token ids: of each group the prompt, then its completions."""
    positions: Tensor
    """(3, N) M-RoPE positions."""
    row: tuple[GroupSlice, ...]
    """Where each group stands."""
    targets: Tensor
    """(M,) where the completions' tokens stand in the row, completion after completion."""
    predictors: Tensor
    """(M,) where the tokens stand that predict them."""
    slots: Tensor
    """(M,) where they stand in the flattened `completions`."""
    completions: Tensor
    """(B, G, T) token ids, padded on the right."""
    pixels: Tensor | None
    """(patches, dim) of the B clips, one after another; None where `features` stand in for them."""
    grid: Tensor
    """(B, 3)"""
    features: Tensor | None = None
    """(video tokens, d) of the B clips, from a vision tower that isn't trained."""
    full: bool = False
    """Compute G full sequences instead: the reference, and the slow way."""
    attention: Kind = "blocks"

    def to(self, device: torch.device | str) -> TreeBatch:
        """The same batch on another device."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


class TreeOutput(NamedTuple):
    """Per completion token."""

    logps: Tensor
    """(B * G, T) float32 log-probabilities at the temperature; 0 on padding."""
    entropies: Tensor
    """(B * G, T) float32, without gradient; 0 on padding."""


def collate(groups: Sequence[Group], *, length: int | None = None, full: bool = False, attention: Kind = "blocks") -> TreeBatch:
    """Packs groups of equal G into one batch.

    Args:
        groups: At least one.
        length: T; None takes the longest completion.
        full: See `TreeBatch.full`.
        attention: How the tree mask is computed; see `tree_mask`.
    """
    row = places([(len(g.prompt.prefix) + len(g.prompt.suffix), [len(c) for c in g.completions]) for g in groups])
    length = length or max(size for place in row for size in place.completions)
    completions = torch.zeros(len(groups), len(groups[0].completions), length, dtype=torch.long)
    ids, positions, targets, predictors, slots = [], [], [], [], []
    for b, (group, place) in enumerate(zip(groups, row, strict=True)):
        index, there = index_of(place, length)
        tokens = torch.tensor([token for completion in group.completions for token in completion])
        completions[b][there] = tokens
        ids += [group.prompt.prefix, group.prompt.suffix, tokens]
        steps = torch.cat([torch.arange(size) for size in place.completions])
        positions += [group.prompt.positions, (group.prompt.next_position + steps).expand(3, -1)]
        targets.append(place.first + index[there])
        # A completion's first token is predicted by the last of its prompt.
        predictors.append(torch.where(steps == 0, place.first, targets[-1]) - 1)
        slots.append(b * there.numel() + there.flatten().nonzero()[:, 0])
    return TreeBatch(
        torch.cat(ids),
        torch.cat(positions, dim=1),
        row,
        torch.cat(targets),
        torch.cat(predictors),
        torch.cat(slots),
        completions,
        _join([g.clip.pixels for g in groups]),
        torch.cat([g.clip.grid for g in groups]),
        _join([g.clip.features for g in groups]),
        full,
        attention,
    )


def _join(parts: Sequence[Tensor | None]) -> Tensor | None:
    """All of them one after another, or None where none is."""
    there = [part for part in parts if part is not None]
    assert len(there) in (0, len(parts)), "clips of a batch have pixels, or all have features"
    return torch.cat(there) if there else None


def forward(model: Any, batch: TreeBatch, *, temperature: float = 1.0) -> TreeOutput:
    """Log-probabilities of every completion token of a batch.

    Args:
        model: Of a family that trlt knows, whose language model takes branches (`attach`).
        batch: On the model's device.
        temperature: Divides the logits, as sampling did.
    """
    # G sequences, each with its own prompt and video: what the shared prefix has to equal.
    if batch.full:
        hidden = _full_hidden(model, batch)
    else:
        mask = tree_mask(batch.attention, batch.row, batch.ids.device)
        states = family_of(model).states(model, batch.ids[None], batch.positions[:, None], _features(model, batch), mask)
        # Only what predicts a completion's token goes through the head: no logits of prompts or videos are computed.
        hidden = states[0, batch.predictors]
    scored = _score(model.lm_head, hidden, batch.ids[batch.targets], temperature)
    groups, size, length = batch.completions.shape
    # Back in rows of equal length, as TRL's loss takes them. Padding is 0, and its mask leaves it out.
    logps, entropies = (side.new_zeros(groups * size * length).index_copy(0, batch.slots, side) for side in scored)
    return TreeOutput(logps.view(-1, length), entropies.view(-1, length))


def _full_hidden(model: Any, batch: TreeBatch) -> Tensor:
    """Hidden states (M, d) that predict each target, from G plain causal sequences per group, each with its own video."""
    ids, positions, wanted = [], [], []
    for place in batch.row:
        prompt, first = slice(place.start, place.first), place.first
        for size in place.completions:
            completion = slice(first, first + size)
            ids.append(torch.cat([batch.ids[prompt], batch.ids[completion]]))
            positions.append(torch.cat([batch.positions[:, prompt], batch.positions[:, completion]], dim=1))
            wanted.append(torch.arange(place.prompt - 1, place.prompt - 1 + size, device=batch.ids.device))
            first += size
    width = max(map(len, ids))
    size = len(batch.row[0].completions)
    features = _features(model, batch, times=size)
    # Padded on the right, where no causal row sees it, so that no mask is needed.
    rows, places_ = ([torch.nn.functional.pad(t, (0, width - t.shape[-1])) for t in side] for side in (ids, positions))
    states = family_of(model).states(model, torch.stack(rows), torch.stack(places_, dim=1), features)
    return torch.cat([states[r, index] for r, index in enumerate(wanted)])


def _features(model: Any, batch: TreeBatch, *, times: int = 1) -> Tensor:
    """(video tokens, d) of the clips, one after another and each `times` times: from the tower, where they aren't there."""
    if batch.features is not None:
        sizes = (batch.grid.prod(-1) // model.config.vision_config.spatial_merge_size**2).tolist()
        return torch.cat([one.repeat(times, 1) for one in torch.split(batch.features, sizes)])
    assert batch.pixels is not None
    pixels = torch.cat([one.repeat(times, 1) for one in torch.split(batch.pixels, batch.grid.prod(-1).tolist())])
    grid = batch.grid.repeat_interleave(times, dim=0)
    return torch.cat(family_of(model).encode(model, pixels, grid))


def chunk_tokens(vocabulary: int) -> int:
    """Tokens whose logits are held at once."""
    return max(1, CHUNK_BYTES // (PER_LOGIT * vocabulary))


def _score(head: Any, hidden: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies (M,) of targets (M,) from hidden states (M, d), in chunks.

    Where the head is shared out and another process has more chunks, empty ones make up for the difference.
    """
    tokens = chunk_tokens(head.out_features)
    chunks = [*zip(torch.split(hidden, tokens), torch.split(targets, tokens), strict=True)]
    chunks += [(hidden[:0], targets[:0])] * (most_calls(head, len(chunks)) - len(chunks))
    # Computed again in the backward pass, so that the logits of one chunk at most are held in either direction.
    parts = [checkpoint(_chunk, head, h, t, temperature, use_reentrant=False) for h, t in chunks]
    logps, entropies = (torch.cat(list(side)) for side in zip(*parts, strict=True))
    return logps, entropies


def _chunk(head: Any, hidden: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    # In float32 from here on: a softmax in BF16 would round the log-probabilities themselves.
    logps = (head(hidden).float() / temperature).log_softmax(dim=-1)
    with torch.no_grad():
        # With a gradient, the graph would hold another tensor of (tokens, vocabulary).
        entropy = -(logps.exp() * logps).sum(dim=-1)
    return logps.gather(-1, targets[:, None])[:, 0], entropy


class _Forward:
    """A model's `forward` that takes trees besides what it took before.

    An object and no function, so that it is copied and pickled with its model, and then runs the copy. Its signature says all
    that it takes: the library's `generate` refuses anything else.
    """

    def __init__(self, model: Any, plain: Callable[..., Any]) -> None:
        self._model, self._plain = model, plain
        before, own = (inspect.signature(one).parameters.values() for one in (plain, _Forward.__call__))
        added = [parameter for parameter in own if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
        rest = [parameter for parameter in before if parameter.kind is inspect.Parameter.VAR_KEYWORD]
        self.__signature__ = inspect.Signature([*(one for one in before if one not in rest), *added, *rest])

    def __call__(self, *args: Any, tree: TreeBatch | None = None, temperature: float = 1.0, **kwargs: Any) -> Any:
        """What the model gave before, or for a tree a `TreeOutput`."""
        return self._plain(*args, **kwargs) if tree is None else forward(self._model, tree, temperature=temperature)


def attach(model: Any) -> None:
    """Lets `model(tree=TreeBatch, temperature=...)` run `forward`, so that wrappers (DDP, FSDP) see the call.

    A second call changes nothing. The model is saved as before.
    """
    family_of(model).attach(model)
    if not isinstance(model.forward, _Forward):
        model.forward = _Forward(model, model.forward)
