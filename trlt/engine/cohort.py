"""Branches that grow together: their shared keys and values, their own, and their tokens.

Knows key, value and logit tensors and token ids; runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trlt.engine.attention import Level, branch_attention, causal_attention
from trlt.engine.inputs import PromptInputs
from trlt.engine.request_queue import CompletionJob


def make_level(keys: Sequence[Tensor], values: Sequence[Tensor], lengths: Sequence[int], nodes: Sequence[int]) -> Level:
    """A level from keys and values (N, H_kv, L, D) per layer, the N true lengths, and each row's node."""
    device, width = keys[0].device, keys[0].shape[2]
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


@dataclass(frozen=True)
class Nodes:
    """Keys and values stored once for all branches below them: N clips or prompts, padded on the right."""

    keys: Sequence[Tensor]
    """For each layer (N, H_kv, L, D)."""
    values: Sequence[Tensor]
    lengths: tuple[int, ...]
    """Without padding."""

    @property
    def tokens(self) -> int:
        """Number of tokens held, including padding."""
        return len(self.lengths) * int(self.keys[0].shape[2])

    def level(self, nodes: Sequence[int]) -> Level:
        """The level for rows below `nodes`."""
        return make_level(self.keys, self.values, self.lengths, nodes)

    def alone(self, node: int) -> Level:
        """One node for one row, laid out in memory as if alone, so that products over it are identical."""
        length = self.lengths[node]
        keys, values = ([t[node : node + 1, :, :length].contiguous() for t in side] for side in (self.keys, self.values))
        return make_level(keys, values, [length], [0])

    @classmethod
    def join(cls, parts: Sequence[Nodes]) -> Nodes:
        """The nodes of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]  # no second copy of a clip's keys and values
        keys, values = (
            [_stack(layer) for layer in zip(*(getattr(part, side) for part in parts), strict=True)]
            for side in ("keys", "values")
        )
        return cls(keys, values, tuple(length for part in parts for length in part.lengths))


def _stack(states: Sequence[Tensor]) -> Tensor:
    width = max(t.shape[2] for t in states)
    return torch.cat([torch.nn.functional.pad(t, (0, 0, 0, width - t.shape[2])) for t in states])


class Recorder:
    """Attention of one phase: reads the levels above, records the keys and values of its calls."""

    def __init__(self, levels: Sequence[Level] = ()) -> None:
        self.levels = levels
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `Branches.attend`."""
        if layer in self.keys:
            # Own keys grow by joining, cohort by cohort. Fixed slots, as a compiled step
            # would need, and one padded cache for all cohorts were left out, because there
            # was no GPU to measure them on (docs/decisions/forest-engine.md).
            key = torch.cat([self.keys[layer], key], dim=2)
            value = torch.cat([self.values[layer], value], dim=2)
        self.keys[layer], self.values[layer] = key, value
        # Nothing above and nothing before: SDPA's causal kernel needs no mask.
        if not self.levels and query.shape[2] == key.shape[2]:
            return causal_attention(query, key, value, scale)
        return branch_attention(query, key, value, self.levels, layer, scale)

    def keep(self, rows: Tensor) -> None:
        """Drops all other rows' own keys and values."""
        self.keys = {layer: t.index_select(0, rows) for layer, t in self.keys.items()}
        self.values = {layer: t.index_select(0, rows) for layer, t in self.values.items()}

    def cut(self, length: int) -> None:
        """Drops everything after the first `length` positions, in layers that have more."""
        # At a length of 0 a layer goes, so that its next keys are taken for its first.
        self.keys, self.values = (
            {layer: t[:, :, :length] for layer, t in side.items() if length} for side in (self.keys, self.values)
        )

    def nodes(self, lengths: Sequence[int]) -> Nodes:
        """The recorded keys and values, as parents of branches; `lengths` without padding."""
        layers = range(len(self.keys))
        return Nodes([self.keys[i] for i in layers], [self.values[i] for i in layers], tuple(lengths))


@dataclass(eq=False)
class Branch:
    """One completion while it grows."""

    job: CompletionJob
    index: int
    """Index among its request's completions."""
    prompt: PromptInputs
    stream: Tensor
    """(max_new_tokens,) uniform numbers for drawing its tokens."""
    tokens: list[int] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)
    finished: bool = False


class Cohort:
    """Branches that were prefilled together: as many steps old, below the same clips.

    Args:
        jobs: The jobs of the branches.
        branches: One per row.
        prompts: Each row's node of `middle`.
        clips: Each prompt's node of `top`.
        top: Clips, with the text before them.
        middle: Prompts after their clips.
        logits: (rows, V) of the first tokens.
    """

    def __init__(
        self,
        jobs: Sequence[CompletionJob],
        branches: Sequence[Branch],
        prompts: Sequence[int],
        clips: Sequence[int],
        top: Nodes,
        middle: Nodes,
        logits: Tensor,
    ) -> None:
        self.jobs = jobs
        self.branches = list(branches)
        self.top, self.middle = top, middle
        self.logits: Tensor | None = logits
        """Logits of the next tokens; None once these are drawn, until the model has processed them."""
        self.steps = 0
        """Number of tokens of each branch."""
        self.own = Recorder()
        self._prompts, self._clips = list(prompts), list(clips)
        self.streams = torch.stack([branch.stream for branch in branches])
        self._start = torch.tensor([branch.prompt.next_position for branch in branches], device=logits.device)
        self._hang()

    def __len__(self) -> int:
        return len(self.branches)

    @property
    def tokens(self) -> int:
        """Number of tokens whose keys and values are or will be held."""
        # As if each completion took all tokens that it may: others begin only where these have room to grow.
        return self.top.tokens + self.middle.tokens + self.streams.numel()

    @property
    def positions(self) -> Tensor:
        """(rows,) of the last drawn tokens."""
        return self._start + (self.steps - 1)

    def above(self, row: int) -> list[Level]:
        """The levels of one row, as if it were alone."""
        prompt = self._prompts[row]
        return [self.top.alone(self._clips[prompt]), self.middle.alone(prompt)]

    def keep(self, rows: Sequence[int]) -> None:
        """Drops all other rows; the clips and prompts stay."""
        # Nothing has ended, as in most steps: nothing is copied.
        if len(rows) == len(self.branches):
            return
        self.branches = [self.branches[row] for row in rows]
        self._prompts = [self._prompts[row] for row in rows]
        if rows:  # one without rows is dropped by the engine
            index = torch.tensor(rows, device=self._start.device)
            self._start, self.streams = self._start[index], self.streams[index]
            self.own.keep(index)
            self._hang()

    def _hang(self) -> None:
        # Made anew whenever branches leave, because levels name their rows. The keys stay where they are.
        self.own.levels = [self.top.level([self._clips[p] for p in self._prompts]), self.middle.level(self._prompts)]

    def left(self) -> list[CompletionJob]:
        """The jobs to ask again if nothing that grows here is kept."""
        indices: dict[int, list[int]] = {id(job): [] for job in self.jobs}
        for branch in self.branches:
            indices[id(branch.job)].append(branch.index)
        return [job.only(indices[id(job)]) for job in self.jobs if indices[id(job)]]


class Together:
    """Rows of several cohorts in one forward pass: each attends in its own cohort."""

    def __init__(self, cohorts: Sequence[Cohort]) -> None:
        self._cohorts = cohorts
        self._sizes = [len(cohort) for cohort in cohorts]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `Branches.attend`."""
        if len(self._cohorts) == 1:
            return self._cohorts[0].own.attend(layer, query, key, value, scale)
        # Linear layers take all rows at once; here cohorts differ, in the length of their own keys and in what is above.
        parts = zip(self._cohorts, *(torch.split(t, self._sizes) for t in (query, key, value)), strict=True)
        return torch.cat([cohort.own.attend(layer, q, k, v, scale) for cohort, q, k, v in parts])
