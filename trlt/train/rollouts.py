"""Samples -> clips -> the policy's completions -> scored groups: what a training step learns from.

Knows samples, clips, the engine and rewards; neither losses nor the processes of a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from trlt.engine.features import FrozenTower
from trlt.engine.forest import Completion, Engine, PromptRequest, Tree
from trlt.engine.inputs import ClipInputs, PromptInputs
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group
from trlt.engine.vllm import VllmSampler
from trlt.errors import VideoError
from trlt.errors.faults import Surprises, fault_of
from trlt.recipe import Recipe
from trlt.task.grade import Grade
from trlt.task.reward import overlong
from trlt.task.sample import Sample
from trlt.train.dynamic_sampling import ScoredGroup
from trlt.train.given_answers import GivenAnswer, Provider
from trlt.train.reward_phases import RewardPhases
from trlt.train.temporal_contrast import PART, second_grader, second_size, shuffled, with_contrast
from trlt.train.trainer import TrainingData
from trlt.train.unreadable_videos import BrokenSamples
from trlt.video.clip import Clip


class _GroupRequest(NamedTuple):
    """What one sample is asked with."""

    place: int
    """Among those that a group is wanted for."""
    tree: Tree
    inputs: ClipInputs
    prompt: PromptInputs
    length_s: float
    """Seconds of its clip."""
    given: Sequence[GivenAnswer]
    """Take the last places of its group."""
    second: Tree | None
    """The same frames shuffled, for `train.temporal_contrast`; None without."""


class GroupRollouts:
    """Samples completions from the policy and scores them.

    Args:
        engine: Of the policy; its model may be another one each step.
        training_data: Samples, and access to their clips.
        recipe: The resolved recipe.
        broken: Where samples are listed that can't be used.
        autocast: What the model computes under.
        tower: A frozen vision tower; None if it is trained.
        replies: Folder where a judge's replies are kept.
        vllm: Draws in place of the engine; awake and with the policy's weights whenever this is called.
    """

    def __init__(
        self,
        engine: Engine,
        training_data: TrainingData,
        recipe: Recipe,
        broken: BrokenSamples,
        autocast: Callable[[], AbstractContextManager[None]],
        tower: FrozenTower | None = None,
        vllm: VllmSampler | None = None,
        replies: Path | None = None,
    ) -> None:
        self.engine, self.vllm = engine, vllm
        self._training_data, self._recipe, self._broken = training_data, recipe, broken
        self._autocast, self._tower = autocast, tower
        self._reward, self._form = RewardPhases(recipe, replies), recipe.form("train")
        self._contrast = recipe.train.temporal_contrast
        self.parts = self._reward.names + ([PART] if self._contrast else [])
        """Names of the reward's own parts, and of what else a completion is paid beside its scores."""
        self._surprises = Surprises(again="")
        self.given: Provider | None = None
        """Answers that take places of groups; None for none."""
        self.told: Callable[[int, int], None] | None = None
        """Is told how many completions of a call are there, of how many."""
        self.seconds: dict[str, list[float]] = {"time/video_wait_s": [], "time/rollout_s": [], "time/score_s": []}
        """Of each call since somebody took them away."""

    def __call__(self, indices: Sequence[int], step: int) -> list[ScoredGroup | None]:
        """A scored group for each sample; None if it can't be used.

        Args:
            indices: Of samples.
            step: Optimizer steps that are done; part of the random stream's name, so that a sample that comes again is answered
                anew.
        """
        train, training_data = self._recipe.train, self._training_data
        began = time.perf_counter()
        read: list[tuple[int, Clip]] = []
        for place, found in enumerate(training_data.clips(indices)):
            if isinstance(found, VideoError):
                self._broken.add(training_data.samples[indices[place]], found, step)
            else:
                read.append((place, found))
        decoded = time.perf_counter()
        sampling = Sampling(train.temperature, train.top_p, train.max_new_tokens, train.seed)
        asked: list[_GroupRequest] = []
        drawn: dict[int, Sequence[Completion]] = {}
        # Under what the update computes under: else the parity check would compare two precisions.
        with self._autocast():
            for place, clip in read:
                sample = training_data.samples[indices[place]]
                try:
                    words = self._form.prompt(sample)
                    inputs = self.inputs(clip)
                    prompt = training_data.builder.prompt(words.system, words.user, inputs, think=words.think)
                    given = self.given(indices[place], step) if self.given else ()
                except Exception as error:  # of this sample alone
                    self._broken.add(sample, fault_of(error), step)
                    continue
                # The step is part of the name, so a sample that comes again is
                # answered anew, and a resumed run draws as the other did.
                request = PromptRequest(
                    f"{sample.id}@{step}", words.system, words.user, train.group_size - len(given), words.think
                )
                # The update gets these very inputs, so what was answered and what is learned can't be different prompts.
                tree = Tree(clip if self.vllm else inputs, (request,))
                second = self._second_tree(sample, clip, request)
                asked.append(_GroupRequest(place, tree, inputs, prompt, clip.duration, given, second))
            # Shuffled frames come as they are, past a frozen tower: its store isn't filled with orders that never come again.
            trees = [one.tree for one in asked] + [one.second for one in asked if one.second]
            owners = [*range(len(asked)), *(i for i, one in enumerate(asked) if one.second)]
            if self.vllm:
                answers = self.vllm.generate(trees, sampling, max_sequences=train.max_sequences)
                drawn = {t: completions for t, (completions,) in enumerate(answers)}
            else:
                ended = _counter(self.told, sum(tree.requests[0].n for tree in trees)) if self.told else None
                answered = self.engine.stream(trees, sampling, max_sequences=train.max_sequences, ended=ended)
                for t, _, completions, fault in answered:
                    if fault is None:
                        drawn[t] = completions
                    else:
                        self._broken.add(training_data.samples[indices[asked[owners[t]].place]], fault, step)
        sampled = time.perf_counter()
        # In the order of the prompts. The order in which the engine is done with them depends on its batches.
        others = {owner: drawn.pop(t) for t, owner in enumerate(owners) if t >= len(asked) and t in drawn}
        # Where the shuffled group has failed, its sample is listed already, and isn't learned from without.
        whole = [(t, said) for t, said in sorted(drawn.items()) if t in others or not asked[t].second]
        scored = self._scored(indices, [(asked[t], (*said, *asked[t].given), others.get(t, ())) for t, said in whole], step)
        for name, seconds in zip(
            self.seconds, (decoded - began, sampled - decoded, time.perf_counter() - sampled), strict=True
        ):
            self.seconds[name].append(seconds)
        return scored

    def _scored(
        self,
        indices: Sequence[int],
        drawn: Sequence[tuple[_GroupRequest, Sequence[Completion], Sequence[Completion]]],
        step: int,
    ) -> list[ScoredGroup | None]:
        """The scored groups of a call; all completions are graded together, and a sample that can't be is listed.

        Args:
            indices: Of samples.
            drawn: Requests, each with its completions, and those on shuffled frames where it has a second group.
            step: See `__call__`.

        Raises:
            TrltError: most samples meet unforeseen errors; or a part of the reward gave what is no reward.
        """
        scored: list[ScoredGroup | None] = [None] * len(indices)
        grader = self._reward.at(step).grader
        samples = [grader.timed(self._training_data.samples[indices[one.place]], one.length_s) for one, _, _ in drawn]
        outcomes = grader.outcomes(
            [(sample, [c.text for c in said]) for sample, (_, said, _) in zip(samples, drawn, strict=True)]
        )
        others = [(sample, [c.text for c in other]) for sample, (_, _, other) in zip(samples, drawn, strict=True)]
        seconds = second_grader(grader).outcomes(others)
        for sample, (one, said, _), outcome, second in zip(samples, drawn, outcomes, seconds, strict=True):
            try:
                if isinstance(outcome, VideoError):
                    raise outcome
                if isinstance(second, VideoError):
                    raise second
                group = Group(one.inputs, one.prompt, tuple(c.tokens for c in said))
                found = self.score(indices[one.place], group, said, outcome, step)
                scored[one.place] = with_contrast(found, outcome, second, self._contrast) if self._contrast else found
            except Exception as error:  # of these answers alone
                fault = fault_of(error)
                try:
                    self._broken.add_all({sample.id: str(fault)}, step)
                finally:  # either may end the run; this one knows the traceback
                    self._surprises.add("score", fault)
            else:
                self._surprises.passed("score")
        return scored

    def inputs(self, clip: Clip) -> ClipInputs:
        """A clip as the engine and the update take it."""
        return self._tower.inputs(clip) if self._tower else self._training_data.builder.clip(clip)

    def _second_tree(self, sample: Sample, clip: Clip, request: PromptRequest) -> Tree | None:
        """The same question on shuffled frames; None if the sample's task isn't contrasted."""
        settings = self._contrast
        if settings is None or sample.task not in settings.tasks:
            return None
        # Another name, else both groups would be drawn with the same random numbers.
        name = f"{request.key}:shuffled"
        other = replace(request, key=name, n=second_size(settings, request.n))
        return Tree(shuffled(clip, f"{self._recipe.train.seed}:{name}"), (other,))

    def score(
        self, index: int, group: Group, completions: Sequence[Completion], grades: Sequence[Grade], step: int
    ) -> ScoredGroup:
        """The rewards of a sample's completions: from their grades, with the pay for lengths, minus length penalties.

        Args:
            index: Of the sample.
            group: What the completions are an answer to, and their tokens.
            completions: As they were drawn.
            grades: Of each.
            step: Optimizer steps that are done.
        """
        train, phase = self._recipe.train, self._reward.at(step)
        sample = self._training_data.samples[index]
        paid = [phase.paid(sample, one, len(c.tokens)) for one, c in zip(grades, completions, strict=True)]
        rewards = [one.reward for one in paid]
        penalties: list[float] = []
        # In training alone: evaluation grades the same text without it.
        if train.overlong_tokens is not None:
            penalties = [overlong(len(c.tokens), train.max_new_tokens, train.overlong_tokens) for c in completions]
            rewards = [r + penalty for r, penalty in zip(rewards, penalties, strict=True)]
        return ScoredGroup(
            index,
            group,
            tuple(completions),
            tuple(one.scores for one in grades),
            tuple(rewards),
            tuple(penalties),
            tuple(one.parts for one in paid) if self.parts else (),
            ious=tuple(one.iou for one in grades),
        )


def _counter(told: Callable[[int, int], None], total: int) -> Callable[[int], None]:
    """Sums up what has ended, and tells the sum."""
    done = 0

    def ended(count: int) -> None:
        nonlocal done
        done += count
        told(done, total)

    return ended
