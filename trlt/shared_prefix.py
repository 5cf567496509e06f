"""One video and prompt, G completions -> one sequence under a tree mask, and its log-probabilities.

A group is laid out as `prompt | completion 1 | ... | completion G`. The prompt attends causally to itself; a completion
attends to the whole prompt and causally to itself, never to its siblings; each completion's positions go on where the
prompt's end. So the prompt and its video are computed once, and the results equal those of G full sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from trlt.engine.attention import Level, branch_attention, causal_attention, use_branches
from trlt.engine.cohort import make_level
from trlt.engine.inputs import ClipInputs, PromptInputs

CHUNK = 2048
"""Tokens whose logits are held at once: (tokens x vocabulary) never is."""


@dataclass(frozen=True)
class Group:
    """A prompt with its completions, before padding."""

    clip: ClipInputs
    prompt: PromptInputs
    completions: tuple[tuple[int, ...], ...]
    """Token ids, the end mark included where there is one."""


@dataclass(frozen=True)
class TreeBatch:
    """B groups of G completions, padded to prompts of P and completions of T tokens."""

    prompts: Tensor
    """(B, P) token ids, padded on the right."""
    prompt_lengths: Tensor
    """(B,)"""
    completions: Tensor
    """(B, G, T) token ids, padded on the right."""
    positions: Tensor
    """(3, B, P + G * T) M-RoPE positions."""
    pixels: Tensor
    """(patches, dim) of the B clips, one after another."""
    grid: Tensor
    """(B, 3)"""
    full: bool = False
    """Compute G full sequences instead: the reference, and the slow way."""

    def to(self, device: torch.device | str) -> TreeBatch:
        """The same batch on another device."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


class TreeOutput(NamedTuple):
    """Per completion token."""

    logps: Tensor
    """(B * G, T) float32 log-probabilities at the temperature; 0 has no meaning on padding: mask it."""
    entropies: Tensor
    """(B * G, T) float32, without gradient."""


def collate(groups: Sequence[Group], *, length: int | None = None, full: bool = False) -> TreeBatch:
    """Pads groups of equal G into one batch.

    Args:
        groups: At least one.
        length: T; None takes the longest completion.
        full: See `TreeBatch.full`.
    """
    size = len(groups[0].completions)
    longest = max(len(c) for g in groups for c in g.completions)
    width, length = max(len(g.prompt.prefix) + len(g.prompt.suffix) for g in groups), length or longest
    prompts = torch.zeros(len(groups), width, dtype=torch.long)
    completions = torch.zeros(len(groups), size, length, dtype=torch.long)
    positions = torch.zeros(3, len(groups), width + size * length, dtype=torch.long)
    lengths = []
    for b, group in enumerate(groups):
        ids = torch.cat([group.prompt.prefix, group.prompt.suffix])
        lengths.append(len(ids))
        prompts[b, : len(ids)] = ids
        positions[:, b, : len(ids)] = group.prompt.positions
        positions[:, b, width:] = (group.prompt.next_position + torch.arange(length)).repeat(size)
        for g, tokens in enumerate(group.completions):
            completions[b, g, : len(tokens)] = torch.tensor(tokens)
    pixels = torch.cat([g.clip.pixels for g in groups])
    grid = torch.cat([g.clip.grid for g in groups])
    return TreeBatch(prompts, torch.tensor(lengths), completions, positions, pixels, grid, full)


class _TreeMask:
    """The tree mask, block by block; holds no state, so that a layer can be computed again for checkpointing."""

    def __init__(self, batch: TreeBatch) -> None:
        (self._groups, self._size, self._length), self._width = batch.completions.shape, batch.prompts.shape[1]
        nodes = [b for b in range(self._groups) for _ in range(self._size)]
        blank = [batch.prompts.new_zeros(self._groups, 1, self._width, 1)]
        self._level = make_level(blank, blank, batch.prompt_lengths.tolist(), nodes)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `trlt.engine.attention.Branches`."""
        del layer
        p = self._width
        prompt = causal_attention(query[:, :, :p], key[:, :, :p], value[:, :, :p], scale)
        level: Level = replace(self._level, keys=[key[:, :, :p]], values=[value[:, :, :p]])
        q, k, v = (self._rows(t[:, :, p:]) for t in (query, key, value))
        branches = branch_attention(q, k, v, [level], 0, scale)
        heads, dim = query.shape[1], query.shape[3]
        branches = branches.view(self._groups, self._size, heads, self._length, dim).transpose(1, 2)
        return torch.cat([prompt, branches.reshape(self._groups, heads, -1, dim)], dim=2)

    def _rows(self, states: Tensor) -> Tensor:
        """(B, H, G * T, D) -> (B * G, H, T, D)."""
        heads, dim = states.shape[1], states.shape[3]
        split = states.reshape(self._groups, heads, self._size, self._length, dim)
        return split.transpose(1, 2).reshape(-1, heads, self._length, dim)


def forward(model: Any, batch: TreeBatch, *, temperature: float = 1.0) -> TreeOutput:
    """Log-probabilities of every completion token of a batch.

    Args:
        model: A `Qwen2_5_VLForConditionalGeneration` whose language model takes branches (`attach`).
        batch: On the model's device.
        temperature: Divides the logits, as sampling did.
    """
    groups, size, length = batch.completions.shape
    if batch.full:
        hidden = _full_hidden(model, batch)
    else:
        ids = torch.cat([batch.prompts, batch.completions.flatten(1)], dim=1)
        states = _language_model(model, ids, batch.positions, batch.pixels, batch.grid, branches=_TreeMask(batch))
        last = states[torch.arange(groups, device=ids.device), batch.prompt_lengths - 1]
        branches = states[:, batch.prompts.shape[1] :].view(groups, size, length, -1)
        hidden = torch.cat([last[:, None, None].expand(-1, size, -1, -1), branches[:, :, :-1]], dim=2)
        hidden = hidden.reshape(groups * size, length, -1)
    return _score(model.lm_head, hidden, batch.completions.flatten(0, 1), temperature)


def _full_hidden(model: Any, batch: TreeBatch) -> Tensor:
    """Predicting hidden states (B * G, T, d) from G plain causal sequences a group, each with its own video."""
    groups, size, length = batch.completions.shape
    width = batch.prompts.shape[1]
    rows, positions = [], []
    for b in range(groups):
        n = int(batch.prompt_lengths[b])
        for g in range(size):
            pad = width - n
            row = torch.cat([batch.prompts[b, :n], batch.completions[b, g]])
            place = torch.cat([batch.positions[:, b, :n], batch.positions[:, b, width : width + length]], dim=1)
            rows.append(torch.nn.functional.pad(row, (0, pad)))
            positions.append(torch.nn.functional.pad(place, (0, pad)))
    per_clip = batch.grid.prod(-1).tolist()
    pixels = torch.cat([p.repeat(size, 1) for p in torch.split(batch.pixels, per_clip)])
    grid = batch.grid.repeat_interleave(size, dim=0)
    states = _language_model(model, torch.stack(rows), torch.stack(positions, dim=1), pixels, grid)
    starts = batch.prompt_lengths.repeat_interleave(size) - 1
    index = starts[:, None] + torch.arange(length, device=starts.device)
    return states.gather(1, index[..., None].expand(-1, -1, states.shape[-1]))


def _language_model(model: Any, ids: Tensor, positions: Tensor, pixels: Tensor, grid: Tensor, **attention: Any) -> Tensor:
    """Hidden states (rows, length, d) with the clips' features in place of their tokens."""
    features = torch.cat(list(model.model.get_video_features(pixels, grid).pooler_output))
    embeds = model.get_input_embeddings()(ids)
    video = (ids == model.config.video_token_id)[..., None]
    embeds = embeds.masked_scatter(video, features.to(embeds.dtype))
    out = model.model.language_model(
        inputs_embeds=embeds,
        position_ids=positions,
        attention_mask={"full_attention": None},
        use_cache=False,
        **attention,
    )
    return out.last_hidden_state  # type: ignore[no-any-return]


def _score(head: Any, hidden: Tensor, targets: Tensor, temperature: float) -> TreeOutput:
    """Log-probabilities and entropies of targets (rows, T) from hidden states (rows, T, d), in chunks."""
    flat, wanted = hidden.flatten(0, 1), targets.flatten()
    parts = [
        checkpoint(_chunk, head, h, t, temperature, use_reentrant=False)
        for h, t in zip(torch.split(flat, CHUNK), torch.split(wanted, CHUNK), strict=True)
    ]
    logps, entropies = (torch.cat(list(side)).view(targets.shape) for side in zip(*parts, strict=True))
    return TreeOutput(logps, entropies)


def _chunk(head: Any, hidden: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    logps = (head(hidden).float() / temperature).log_softmax(dim=-1)
    with torch.no_grad():
        entropy = -(logps.exp() * logps).sum(dim=-1)
    return logps.gather(-1, targets[:, None])[:, 0], entropy


def attach(model: Any) -> None:
    """Lets `model(tree=TreeBatch, temperature=...)` run `forward`, so that wrappers (DDP, FSDP) see the call."""
    use_branches(model)
    plain = model.forward

    def patched(self: Any, *args: Any, tree: TreeBatch | None = None, temperature: float = 1.0, **kwargs: Any) -> Any:
        return plain(*args, **kwargs) if tree is None else forward(self, tree, temperature=temperature)

    model.forward = MethodType(patched, model)
