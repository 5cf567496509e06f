"""Whether rollout, trainer and the library's own forward see and score the same input; a difference stops a run.

The comparison of the engine with the library is that of every run (`trlt.engine.library_forward`); here the trainer joins it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trlt.engine.agreement import Agreement
from trlt.engine.first_completion import Drawn, FirstClip
from trlt.engine.forest import Completion, Engine, PromptRequest, Tree
from trlt.engine.inputs import ClipInputs, PromptInputs
from trlt.engine.library_forward import Entered, ModelInputs, ScoredCompletion, require_agreement, require_same, score, watch
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, TreeBatch
from trlt.task.prompt import Prompt
from trlt.video.clip import Clip

COMPLETIONS = 2
"""That are drawn of each sample."""

MakeInputs = Callable[[Clip, Prompt], tuple[ClipInputs, PromptInputs]]


@dataclass(frozen=True, slots=True)
class Parity(Agreement):
    """Of rollout, trainer and library, each with each."""

    vllm: Agreement | None = None
    """Of vLLM and the trainer, where vLLM draws the completions."""

    @property
    def words(self) -> str:
        """One line for a command's output."""
        return (
            f"parity of rollout, trainer and the library's forward: {self.largest:.1e} at most, {self.mean:.1e} on average, "
            f"over {self.tokens} tokens"
        )


class Trainer(NamedTuple):
    """The side that learns, as its update computes log-probabilities."""

    model: Any
    """The `Qwen2_5_VLForConditionalGeneration` that is trained, sharded or not."""
    batch: Callable[[Sequence[Group]], TreeBatch]
    """Groups become the batch of a forward pass."""
    score: Callable[[TreeBatch], Tensor]
    """(rows, T) log-probabilities at the temperature of sampling. Processes that share the weights come here together."""


class _ParitySample(NamedTuple):
    name: str
    drawn: Drawn
    completions: Sequence[Completion]
    group: Group
    library: ScoredCompletion


@torch.no_grad()
def check(
    engine: Engine,
    processor: Any,
    clips: Sequence[tuple[str, Clip, Prompt]],
    make_inputs: MakeInputs,
    trainer: Trainer,
    sampling: Sampling,
) -> Parity:
    """Draws some completions of each clip, and compares what entered the model, and log-probabilities.

    Those at another temperature than 1 are compared times the temperature: an error of the logits counts alike then.

    Args:
        engine: The rollout side, with the weights and under the precision that draw in training.
        processor: The model's own, called as the library's documentation says.
        clips: (sample id, clip, prompt) of a few samples; as many forward passes on all processes whatever their number.
        make_inputs: How training makes its inputs.
        trainer: The other side.
        sampling: As in training.

    Raises:
        ParityError: names the sample, what differs, by how much, and what to do.
    """
    # All is computed before anything is compared: no process leaves the others waiting for its slice of the weights.
    with _evaluating(engine.model), _evaluating(trainer.model):
        samples = [_ask(engine, processor, *one, make_inputs, sampling) for one in clips]
        batch = trainer.batch([one.group for one in samples])
        with watch(trainer.model) as seen:
            logps = trainer.score(batch).float().cpu()
    by_group = logps.view(len(samples), -1, logps.shape[-1])
    rollout: list[Tensor] = []
    learnt: list[Tensor] = []
    drawn: list[Tensor] = []
    for g, one in enumerate(samples):
        # Inputs before log-probabilities: they must be equal, and if they aren't, that is why the others differ.
        require_same(one.name, "the engine", one.drawn.scored.entered, one.library.entered)
        require_same(one.name, "the trainer", _entered(batch, seen, g, len(one.drawn.tokens)), one.library.entered)
        count = len(one.drawn.tokens)
        rollout += [
            (row[: len(c.logps)] - torch.tensor(c.logps)).abs() * sampling.temperature
            for row, c in zip(by_group[g], one.completions, strict=True)
        ]
        learnt.append((by_group[g, 0, :count] - one.library.logps).abs() * sampling.temperature)
        # As noted when it was drawn, from logits of a batch, and not scored once more.
        own = torch.tensor(one.completions[0].logps[:count])
        drawn.append((own - one.library.logps).abs() * sampling.temperature)
    names = f"samples {', '.join(repr(one.name) for one in samples)}"
    for sides, apart in (
        ("rollout and trainer", rollout),
        ("rollout and the library's forward", drawn),
        ("the trainer and the library's forward", learnt),
    ):
        require_agreement(names, sides, apart, engine.precision)
    whole = torch.cat([*rollout, *drawn, *learnt]).double()
    return Parity(len(samples), len(whole), float(whole.max()), float(whole.mean()))


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout, and as the model was before in the end."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _ask(
    engine: Engine, processor: Any, name: str, clip: Clip, words: Prompt, make_inputs: MakeInputs, sampling: Sampling
) -> _ParitySample:
    """Completions by the engine, and the first of them by the library."""
    told: list[Drawn] = []
    engine.first = FirstClip(told.append)
    request = PromptRequest(f"parity:{name}", words.system, words.user, COMPLETIONS, words.think)
    clip_inputs, prompt = make_inputs(clip, words)
    [[completions]] = engine.generate([Tree(clip_inputs, (request,))], sampling)
    [drawn] = told
    asked = (words.system, words.user, drawn.tokens, sampling.temperature)
    library = score(engine.model, processor, clip, *asked, think=words.think)
    return _ParitySample(name, drawn, completions, Group(clip_inputs, prompt, tuple(c.tokens for c in completions)), library)


def _entered(batch: TreeBatch, seen: ModelInputs, g: int, count: int) -> Entered:
    """What entered the trainer's model of a group's first completion, of which `count` tokens are looked at."""
    place, size = batch.row[g], len(batch.row[g].completions)
    row, start = (g * size, 0) if batch.full else (0, place.start)
    stop = start + place.prompt + count - 1
    ids, positions = seen.ids[0][row, start:stop], seen.positions[0][:, row, start:stop]
    if not seen.grids:
        return Entered(ids, positions, None, None)
    # With full sequences, each completion has a copy of the clip.
    grids, clip = seen.grids[0], g * size if batch.full else g
    first = int(grids[:clip].prod(-1).sum())
    return Entered(ids, positions, grids[clip], seen.pixels[0][first : first + int(grids[clip].prod())])
