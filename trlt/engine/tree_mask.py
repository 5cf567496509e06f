"""Attention under the tree mask of packed groups: `prompt | completion 1 | ... | completion G`, group after group, in one row.

A prompt attends causally to itself; a completion attends to its whole prompt and causally to itself, never to its siblings or
to another group. In linear layers, each completion starts from the state at the end of its prompt. Knows where what stands in
the row, and tensors of a layer. Nothing is kept between layers or calls: a layer can be computed again for checkpointing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from trlt.engine.attention import branch_attention, causal_attention
from trlt.engine.linear_attention import LinearLayer, Projected
from trlt.engine.nodes import make_level

Kind = Literal["blocks", "flex"]


@dataclass(frozen=True)
class GroupSlice:
    """Where a group stands in the row."""

    start: int
    prompt: int
    """Tokens of the prompt, its video included."""
    completions: tuple[int, ...]
    """Tokens of each completion, at least one."""

    @property
    def first(self) -> int:
        """Where the completions begin."""
        return self.start + self.prompt

    @property
    def end(self) -> int:
        """Where the group ends."""
        return self.first + sum(self.completions)


def places(sizes: Sequence[tuple[int, Sequence[int]]]) -> tuple[GroupSlice, ...]:
    """Groups of (prompt tokens, tokens of each completion), one after another."""
    made: list[GroupSlice] = []
    for prompt, completions in sizes:
        made.append(GroupSlice(made[-1].end if made else 0, prompt, tuple(completions)))
    return tuple(made)


def index_of(place: GroupSlice, width: int | None = None) -> tuple[Tensor, Tensor]:
    """(G, T) where each completion's tokens stand among the group's completions, and (G, T) which of them are there.

    Args:
        place: Of the group.
        width: T; None takes the longest completion.
    """
    lengths = torch.tensor(place.completions)
    steps = torch.arange(width or int(lengths.max()))
    there = steps < lengths[:, None]
    # Padding points to place 0, which always exists: nothing is gathered from behind the end of the row.
    return ((lengths.cumsum(0) - lengths)[:, None] + steps) * there, there


Ragged = tuple[Tensor, Tensor] | None
"""(G * T,) which token of the group's completions each place of their padded rows takes, and (tokens,) which places are true;
None where completions have one length, and become rows by a view."""


class _Mixed:
    """Linear layers: each prompt once, then its completions as rows that start from its state."""

    def __init__(self, row: Sequence[GroupSlice], device: torch.device) -> None:
        self._row: list[tuple[GroupSlice, Ragged]] = []
        for place in row:
            index, there = (t.to(device) for t in index_of(place))
            even = len(set(place.completions)) == 1
            self._row.append((place, None if even else (index.flatten(), there.flatten().nonzero()[:, 0])))

    def mix(self, layer: LinearLayer, given: Projected) -> Tensor:
        """See `trlt.engine.linear_attention.MixingBranches`; one row."""
        out: list[Tensor] = []
        for place, ragged in self._row:
            size = len(place.completions)
            prompt = Projected(*(t[:, place.start : place.first] for t in given))
            rows = Projected(*(_rows(t[:, None, place.first : place.end], size, ragged)[:, 0] for t in given))
            read, carried = layer.advance(prompt)
            # Gradients of all completions add up in the prompt's state. Padding comes after what is read, and needs no mask.
            branches, _ = layer.advance(rows, carried.spread(size))
            flat = branches.flatten(0, 1)[None]
            out += [read, flat if ragged is None else flat.index_select(1, ragged[1])]
        return torch.cat(out, dim=1)


class Blocks(_Mixed):
    """The mask by blocks, with plain SDPA: each prompt causally, then its completions as rows that read its keys as a level."""

    def __init__(self, row: Sequence[GroupSlice], device: torch.device) -> None:
        super().__init__(row, device)
        self._groups = []
        for place, ragged in self._row:
            # Who reads whom is the same in all layers, so the level is made once, over
            # blank keys of the prompt's length; each layer then puts its own keys in.
            blank = {0: torch.zeros(1, 1, place.prompt, 1, device=device)}
            level = make_level(blank, blank, [place.prompt], [0] * len(place.completions))
            self._groups.append((place, level, ragged))

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `trlt.engine.attention.Branches`; one row."""
        out: list[Tensor] = []
        for place, level, ragged in self._groups:
            q, k, v = (t[:, :, place.start : place.first] for t in (query, key, value))
            # In two parts: one dense mask would be a square of all tokens, most
            # of it False, and would rule out the fused causal kernels.
            out.append(causal_attention(q, k, v, scale))
            # Not kept anywhere: checkpointing computes the layer again in
            # the backward pass, and must get the keys of that pass.
            above = replace(level, keys={0: k}, values={0: v})
            size = len(place.completions)
            q, k, v = (_rows(t[:, :, place.first : place.end], size, ragged) for t in (query, key, value))
            branches = branch_attention(q, k, v, [above], 0, scale)
            flat = branches.transpose(0, 1).flatten(1, 2)[None]
            out.append(flat if ragged is None else flat.index_select(2, ragged[1]))
        return torch.cat(out, dim=2)


def _rows(states: Tensor, size: int, ragged: Ragged) -> Tensor:
    """(1, H, tokens of all completions, D) -> (G, H, T, D), padded on the right."""
    if ragged is not None:
        states = states.index_select(2, ragged[0])
    _, heads, _, dim = states.shape
    return states.view(heads, size, -1, dim).transpose(0, 1)


class Flex(_Mixed):
    """The mask as a FlexAttention block mask: one kernel for all groups, compiled on a GPU."""

    def __init__(self, row: Sequence[GroupSlice], device: torch.device) -> None:
        super().__init__(row, device)
        total = row[-1].end
        group = torch.empty(total, dtype=torch.int32)
        branch = torch.zeros(total, dtype=torch.int32)  # 0 is the prompt
        for g, place in enumerate(row):
            group[place.start : place.end] = g
            marks = torch.arange(1, len(place.completions) + 1, dtype=torch.int32)
            branch[place.first : place.end] = marks.repeat_interleave(torch.tensor(place.completions))
        group, branch = group.to(device), branch.to(device)

        def tree(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            own = (group[q] == group[k]) & ((branch[k] == 0) | (branch[q] == branch[k]))
            return own & (q >= k)

        self._mask: BlockMask = create_block_mask(tree, None, None, total, total, device=str(device))
        # On the CPU it serves to compare the forward pass with that of
        # the blocks: FlexAttention has no backward pass there.
        self._attention: Any = _compiled() if device.type == "cuda" else flex_attention

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `trlt.engine.attention.Branches`; one row."""
        grouped = query.shape[1] != key.shape[1]
        out: Tensor = self._attention(query, key, value, block_mask=self._mask, scale=scale, enable_gqa=grouped)
        return out


@cache
def _compiled() -> Any:
    # Lengths differ from batch to batch: one kernel for all of them.
    return torch.compile(flex_attention, dynamic=True)


def tree_mask(kind: Kind, row: Sequence[GroupSlice], device: torch.device) -> Blocks | Flex:
    """The mask of a row, in one of its two forms; their results are equal up to rounding."""
    return Blocks(row, device) if kind == "blocks" else Flex(row, device)
