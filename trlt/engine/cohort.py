"""Branches that grow together: their shared keys and values, their own, the states of linear layers, and their tokens.

Knows key, value, state and logit tensors and token ids; runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trlt.engine.attention import Level, branch_attention, causal_attention
from trlt.engine.inputs import PromptInputs
from trlt.engine.linear_attention import Carried, LinearLayer, Projected, States
from trlt.engine.nodes import Nodes
from trlt.engine.request_queue import CompletionJob, Costs


class Recorder:
    """Attention of one phase: reads the levels above, records the keys and values of its calls.

    Args:
        levels: Above the rows.
        carried: What linear layers carry on from these, row by row.
        lengths: True lengths of rows that are padded on the right; None without padding. Keys can be hidden afterwards, but a
            state that has seen padding is another one.
        steps: Linear layers take one token after another, as in decoding, however many there are; else all at once, but for
            a single one that goes on from a state.
    """

    def __init__(
        self,
        levels: Sequence[Level] = (),
        carried: States | None = None,
        lengths: Sequence[int] | None = None,
        *,
        steps: bool = False,
    ) -> None:
        self.levels = levels
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.states: dict[int, Carried] = dict(carried or {})
        self._before: dict[int, Carried | None] = {}
        """The states before the pass under way, in layers that it has been through."""
        self._lengths, self._steps = lengths, steps

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

    def mix(self, layer: LinearLayer, given: Projected) -> Tensor:
        """See `MixingBranches.mix`."""
        before = self.states.get(layer.index)
        lengths = None
        if self._lengths is not None and min(self._lengths) < given.mixed.shape[1]:
            lengths = torch.tensor(self._lengths, device=given.mixed.device)
        steps = self._steps or (before is not None and given.mixed.shape[1] == 1)
        out, after = layer.advance(given, before, lengths, steps=steps)
        # A state can't be cut as keys are: until the pass is complete, the one before it is kept.
        self._before[layer.index], self.states[layer.index] = before, after
        return out

    def complete(self) -> None:
        """The pass under way has succeeded: nothing of it will be undone."""
        self._before.clear()

    def keep(self, rows: Tensor) -> None:
        """Drops all other rows' own keys and values, and their states."""
        self.keys = {layer: t.index_select(0, rows) for layer, t in self.keys.items()}
        self.values = {layer: t.index_select(0, rows) for layer, t in self.values.items()}
        # Layer by layer in place: these are the larger part, and aren't to be held twice.
        for layer, one in self.states.items():
            self.states[layer] = one.rows(rows)

    def cut(self, length: int) -> None:
        """Drops everything after the first `length` positions, in layers that have more; states of a part of a pass go back."""
        # At a length of 0 a layer goes, so that its next keys are taken for its first.
        self.keys, self.values = (
            {layer: t[:, :, :length] for layer, t in side.items() if length} for side in (self.keys, self.values)
        )
        for layer, before in self._before.items():
            if before is None:
                del self.states[layer]
            else:
                self.states[layer] = before
        self._before.clear()

    def nodes(self, lengths: Sequence[int]) -> Nodes:
        """The recorded keys, values and states, as parents of branches; `lengths` without padding."""
        return Nodes(self.keys, self.values, tuple(lengths), self.states)


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
    undecided: bool = False
    """Whether a router could as well have sent one of its tokens to another expert: alone, it may have done so."""


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
        self._prompts, self._clips = list(prompts), list(clips)
        self.own = Recorder(carried=middle.carried(self._prompts))
        self.streams = torch.stack([branch.stream for branch in branches])
        self._start = torch.tensor([branch.prompt.next_position for branch in branches], device=logits.device)
        self._hang()

    def __len__(self) -> int:
        return len(self.branches)

    def tokens(self, costs: Costs) -> float:
        """Number of tokens whose keys and values are or will be held, or what takes as much."""
        # As if each completion took all tokens that it may: others begin only where these have room to grow.
        own = costs.grown(len(self.middle.lengths), len(self), self.streams.shape[1])
        return self.top.tokens + self.middle.tokens + own

    @property
    def positions(self) -> Tensor:
        """(rows,) of the last drawn tokens."""
        return self._start + (self.steps - 1)

    def above(self, row: int) -> Recorder:
        """For all tokens of one row, as if it were alone: reads what is above it, and starts from its prompt's states."""
        prompt = self._prompts[row]
        levels = [self.top.alone(self._clips[prompt]), self.middle.alone(prompt)]
        # By another rule than that of decoding, logits would lie further apart (docs/decisions/linear-layers.md).
        return Recorder(levels, self.middle.carried([prompt]), steps=True)

    def seen(self, logits: Tensor) -> None:
        """The model has processed the last drawn tokens, and gives (rows, V) logits of the next."""
        self.logits = logits
        self.own.complete()

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
        # The layers' products take all rows at once; here cohorts differ, in the length of their own keys and in what is above.
        parts = zip(self._cohorts, *(torch.split(t, self._sizes) for t in (query, key, value)), strict=True)
        return torch.cat([cohort.own.attend(layer, q, k, v, scale) for cohort, q, k, v in parts])

    def mix(self, layer: LinearLayer, given: Projected) -> Tensor:
        """See `MixingBranches.mix`."""
        parts = zip(self._cohorts, *(torch.split(t, self._sizes) for t in given), strict=True)
        return torch.cat([cohort.own.mix(layer, Projected(*some)) for cohort, *some in parts])
