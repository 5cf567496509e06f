"""Clips and prompts that branches hang from: keys, values and states that are computed once. Knows tensors and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trlt.engine.attention import Level
from trlt.engine.linear_attention import Carried, States


def make_level(keys: Mapping[int, Tensor], values: Mapping[int, Tensor], lengths: Sequence[int], nodes: Sequence[int]) -> Level:
    """A level from keys and values (N, H_kv, L, D) by layer, the N true lengths, and each row's node."""
    device, width = _any(keys).device, _any(keys).shape[2]
    hidden = None  # where nothing is padded, so that scores need no pass more
    if min(lengths) < width:
        hidden = torch.arange(width, device=device) >= torch.tensor(lengths, device=device)[:, None]
    members: list[list[int]] = [[] for _ in lengths]
    for row, node in enumerate(nodes):
        members[node].append(row)
    most = max(map(len, members))
    slots = [0] * len(nodes)
    for node, rows in enumerate(members):
        for place, row in enumerate(rows):
            slots[row] = node * most + place
    # The padding's results are computed for row 0 and never read: `slots` leads to the true ones.
    padded = [[*rows, *[0] * (most - len(rows))] for rows in members]
    index = torch.tensor(padded, device=device), torch.tensor(slots, device=device), torch.tensor(nodes, device=device)
    # Then rows stand as their nodes do, and queries and keys are viewed instead of gathered.
    even = list(nodes) == [node for node in range(len(members)) for _ in range(most)]
    return Level(keys, values, hidden, *index, even)


def _any(states: Mapping[int, Tensor]) -> Tensor:
    """One layer's: of all layers with keys, shapes and device are the same."""
    return next(iter(states.values()))


@dataclass(frozen=True)
class Nodes:
    """Keys and values stored once for all branches below them: N clips or prompts, padded on the right."""

    keys: Mapping[int, Tensor]
    """By layer (N, H_kv, L, D)."""
    values: Mapping[int, Tensor]
    lengths: tuple[int, ...]
    """Without padding."""
    states: States = field(default_factory=dict)
    """What linear layers carry on from each node and all above it; copied for each branch, as it can't be shared."""

    @property
    def tokens(self) -> int:
        """Number of tokens held, including padding."""
        return len(self.lengths) * int(_any(self.keys).shape[2])

    def level(self, nodes: Sequence[int]) -> Level:
        """The level for rows below `nodes`."""
        return make_level(self.keys, self.values, self.lengths, nodes)

    def alone(self, node: int) -> Level:
        """One node for one row, laid out in memory as if alone, so that products over it are identical."""
        length = self.lengths[node]
        keys, values = (
            {layer: t[node : node + 1, :, :length].contiguous() for layer, t in side.items()}
            for side in (self.keys, self.values)
        )
        return make_level(keys, values, [length], [0])

    def carried(self, nodes: Sequence[int]) -> dict[int, Carried]:
        """What rows below `nodes` start from, each with a copy of its own."""
        if not self.states:
            return {}
        index = torch.tensor(nodes, device=_any(self.keys).device)
        return {layer: one.rows(index) for layer, one in self.states.items()}

    def without_states(self) -> Nodes:
        """The same, once all that begins below has what it starts from."""
        return replace(self, states={})

    @classmethod
    def join(cls, parts: Sequence[Nodes]) -> Nodes:
        """The nodes of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]  # no second copy of a clip's keys and values
        keys, values = (
            {layer: _stack([getattr(part, side)[layer] for part in parts]) for layer in getattr(parts[0], side)}
            for side in ("keys", "values")
        )
        states = {
            layer: Carried(*(torch.cat(list(t)) for t in zip(*(part.states[layer] for part in parts), strict=True)))
            for layer in parts[0].states
        }
        return cls(keys, values, tuple(length for part in parts for length in part.lengths), states)


def _stack(states: Sequence[Tensor]) -> Tensor:
    width = max(t.shape[2] for t in states)
    return torch.cat([torch.nn.functional.pad(t, (0, 0, 0, width - t.shape[2])) for t in states])
