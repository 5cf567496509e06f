"""The first completion of an engine, watched from its clip to its last token. Knows tensors and token ids; never answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trlt.engine.agreement import Agreement
from trlt.engine.cohort import Branch, Cohort
from trlt.engine.library_forward import Entered, ModelInputs, ScoredCompletion, require_agreement, require_same, score, watch
from trlt.engine.request_queue import CompletionJob
from trlt.video.clip import Clip

TOKENS = 64
"""Maximum number of watched tokens: answers wait meanwhile, and the library's logits of all of them are in memory."""


class Drawn(NamedTuple):
    """A completion, or its beginning, and the model inputs behind it."""

    job: CompletionJob
    tokens: tuple[int, ...]
    scored: ScoredCompletion


class FirstClip:
    """Watches the first branch of the first request.

    It is in the first row of all passes and steps until it ends. If it is dropped for lack of memory, it is the first to be
    asked again.

    Args:
        done: Called once with the completion.
    """

    def __init__(self, done: Callable[[Drawn], None]) -> None:
        self.done = done
        self._seen = ModelInputs()
        self._video_token = -1
        self._branch: Branch | None = None
        self._positions: list[Tensor] = []
        self._logps: list[Tensor] = []
        self._wanted = TOKENS

    @contextmanager
    def prefill(self, model: Any) -> Iterator[None]:
        """Watches a prefill, if it is the first branch's; one that failed is forgotten with the next."""
        if self._branch is not None:
            yield
            return
        self._video_token = model.config.video_token_id
        # The first clip's pixels alone: each takes 40 MB at 2048 tokens.
        with watch(model, clips=1) as self._seen:
            yield

    def see(self, cohort: Cohort, token: int, limit: int) -> None:
        """Notes a step of the oldest cohort, before the branches are given its tokens.

        Args:
            cohort: With the step's logits.
            token: The token drawn for its first row.
            limit: Tokens that a completion may have.
        """
        if self.drawn is not None:
            return
        branch = cohort.branches[0]
        if branch is not self._branch:
            # A new branch, or the same one begun anew after it was dropped for lack
            # of memory: what was noted of an earlier try doesn't count.
            self._branch, self._positions, self._logps, self._wanted = branch, [], [], min(TOKENS, limit)
        assert cohort.logits is not None
        if branch.tokens:
            # The first token comes out of the prefill: no token was shown to the model for it.
            self._positions.append(cohort.positions[:1])
        # At temperature 1, whatever it is drawn at: see `compare`.
        self._logps.append(cohort.logits[0].float().log_softmax(dim=-1)[token])

    @property
    def drawn(self) -> Drawn | None:
        """The watched completion, once it is complete."""
        branch, count = self._branch, len(self._logps)
        if branch is None or not (branch.finished or count == self._wanted):
            return None
        prefix, suffix = len(branch.prompt.prefix), len(branch.prompt.suffix)
        tokens = tuple(branch.tokens[:count])
        # Prompts follow clips, whose rows alone hold video tokens; each has the first branch's in the first row.
        second = next(i for i, ids in enumerate(self._seen.ids) if self._video_token not in ids[0])
        ids = [self._seen.ids[0][0, :prefix], self._seen.ids[second][0, :suffix], torch.tensor(tokens[:-1], dtype=torch.long)]
        steps = [at.cpu().expand(3, 1) for at in self._positions]
        positions = [self._seen.positions[0][:, 0, :prefix], self._seen.positions[second][:, 0, :suffix], *steps]
        grid, pixels = (side[0] if side else None for side in (self._seen.grids, self._seen.pixels))
        entered = Entered(torch.cat(ids), torch.cat(positions, dim=1), grid[0] if grid is not None else None, pixels)
        return Drawn(branch.job, tokens, ScoredCompletion(entered, torch.stack(self._logps).cpu()))


def compare(drawn: Drawn, model: Any, processor: Any, precision: str) -> Agreement:
    """Compares an engine's completion with the library's own forward; draws nothing itself.

    Log-probabilities are compared at temperature 1, whatever the sampling temperature: at 0.01 logits and their rounding are
    multiplied by 100, and near 0 and 1 probabilities hide everything else.

    Args:
        drawn: About a clip with its frames.
        model: The engine's, in evaluation mode.
        processor: The model's own.
        precision: The engine's compute precision.

    Raises:
        ParityError: names the sample, what differs, by how much and what to do.
    """
    clip, request = drawn.job.clip, drawn.job.request
    assert isinstance(clip, Clip), "the library starts from frames"
    found = score(model, processor, clip, request.system, request.user, drawn.tokens, think=request.think)
    require_same(request.key, "the engine", drawn.scored.entered, found.entered)
    apart = (drawn.scored.logps - found.logps).abs()
    return require_agreement(f"sample {request.key!r}", "the engine and the library's forward", [apart], precision)
