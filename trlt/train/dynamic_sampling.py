"""A step's prompts with their scored completions: which prompt replaces an unusable one, and what is logged.

Which prompts make up a step depends on the data, the seed and the step alone, not on how many processes share the work: each
slot among a step's prompts has its own sequence of replacements, which no other slot uses. So a process goes on with the next
prompt without asking the others. Knows scores and rewards; neither models nor losses.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

from trlt.engine.forest import Completion
from trlt.engine.shared_prefix import Group
from trlt.task.score import Scores
from trlt.train.given_answers import drawn, source_of
from trlt.train.temporal_contrast import Contrast, contrast_metrics


@dataclass(frozen=True)
class ScoredGroup:
    """One prompt with its G completions and their rewards."""

    index: int
    """Of the sample in the training set."""
    group: Group
    completions: tuple[Completion, ...]
    scores: tuple[Scores, ...]
    rewards: tuple[float, ...]
    """The rewards used for learning, including penalties."""
    penalties: tuple[float, ...] = ()
    """The parts of the rewards for length, at most 0 each; empty without a length penalty."""
    parts: tuple[Mapping[str, float | None], ...] = ()
    """What each of the recipe's own parts gave, by name; empty without any."""
    contrast: Contrast | None = None
    """What the group on shuffled frames has shown; None without one."""
    advantages: tuple[float, ...] = ()
    """Of each completion, once the step's groups are known."""
    ious: tuple[float | None, ...] = ()
    """The IoUs that online selection goes by (`Grade.iou`)."""

    @property
    def own(self) -> ScoredGroup:
        """What the policy drew of it, without given answers: what means of the policy are taken over."""
        places = drawn(self.completions)
        if len(places) == len(self.completions):
            return self
        listed = ("completions", "scores", "rewards", "penalties", "parts", "advantages", "ious")
        kept: dict[str, Any] = {
            name: tuple(values[i] for i in places) if (values := getattr(self, name)) else () for name in listed
        }
        return replace(self, **kept)

    def counted(self, *, mask_truncated: bool) -> list[int]:
        """Tokens of each completion that count in the loss; none of one that was cut off, with `mask_truncated`."""
        return [len(c.tokens) if c.finished or not mask_truncated else 0 for c in self.completions]

    @property
    def reward_range(self) -> float:
        """Max - min of the rewards: at 0 there is nothing to learn."""
        return max(self.rewards) - min(self.rewards)


@dataclass
class PromptSlot:
    """One slot among a step's prompts."""

    prompts: Iterator[int]
    """Indices of the samples for this slot, in order."""
    tries: int = 0
    best: ScoredGroup | None = None
    """The group with the widest reward range so far; of equal ones, the first."""

    def offer(self, scored: ScoredGroup | None) -> None:
        """Takes the outcome of a prompt; None if its video can't be read."""
        self.tries += 1
        if scored and (self.best is None or scored.reward_range > self.best.reward_range):
            self.best = scored

    def wants(self, min_reward_range: float, max_tries: int) -> bool:
        """Whether another prompt is to be tried."""
        return self.best is None or (self.best.reward_range < min_reward_range and self.tries < max_tries)


def make_slots(
    step: Sequence[int], own: Sequence[int], samples: int, seed: str, left: Container[int] = frozenset()
) -> list[PromptSlot]:
    """The slots of one process.

    Args:
        step: The step's prompts over all processes, as indices of samples.
        own: Which of them, by position, are this process's.
        samples: How many samples there are.
        seed: Fixes the order of the replacements.
        left: Samples used only if there are no others.
    """

    @cache
    def others() -> tuple[list[int], list[int]]:
        taken = set(step)
        found = [index for index in range(samples) if index not in taken]
        # The same in every process, by the seed and the step: then each slot's share can be cut out of it without asking.
        Random(seed).shuffle(found)
        return [i for i in found if i not in left], [i for i in found if i in left]

    return [PromptSlot(_line(step, others, slot, left)) for slot in own]


def _line(
    step: Sequence[int], others: Callable[[], tuple[list[int], list[int]]], slot: int, left: Container[int]
) -> Iterator[int]:
    """Its own prompt, its share of the others, theirs, and in the end the step's other prompts a second time."""
    # As a number below, 0 or 1: a prompt that has left comes last of all, and one that hasn't isn't offered again.
    stays = step[slot] not in left
    if stays:
        yield step[slot]
    # Only now: to shuffle a large pool takes longer than most steps have a use for.
    for some in others():
        # First its own share, on which no other slot draws before its own is used up. Two
        # slots may then hold the same prompt, which is better than one without any.
        for shift in range(len(step)):
            yield from some[(slot + shift) % len(step) :: len(step)]
    yield from (step[(slot + shift) % len(step)] for shift in range(stays, len(step)))


def resample(
    slots: Sequence[PromptSlot],
    answer: Callable[[Sequence[int]], Sequence[ScoredGroup | None]],
    *,
    min_reward_range: float,
    max_tries: int,
) -> list[ScoredGroup]:
    """A scored group for each slot that has a prompt with a readable video.

    Args:
        slots: Of this process.
        answer: Samples' indices to their scored groups; None for one whose video can't be read.
        min_reward_range: Groups with a smaller reward range are replaced, while there are tries; the widest is kept.
        max_tries: Maximum number of prompts tried per slot for a wider range.
    """
    pending = list(slots)
    while pending:
        # All open slots are asked together, so that their completions grow side by side.
        asked = [(slot, index) for slot in pending if (index := next(slot.prompts, None)) is not None]
        scored_groups = answer([index for _, index in asked]) if asked else []
        for (slot, _), scored in zip(asked, scored_groups, strict=True):
            slot.offer(scored)
        pending = [slot for slot, _ in asked if slot.wants(min_reward_range, max_tries)]
    return [slot.best for slot in slots if slot.best is not None]


def group_metrics(scored: Sequence[ScoredGroup]) -> dict[str, list[float]]:
    """What is logged of groups: one number per completion, group or score, by name.

    Given answers count in the range of a group's rewards, which is what it teaches, and in nothing else.
    """
    ranges = [s.reward_range for s in scored]
    scored = [s.own for s in scored]
    every = [s for group in scored for s in group.scores]
    completions = [c for s in scored for c in s.completions]
    return {
        "reward": [r for s in scored for r in s.rewards],
        "reward_range": ranges,
        "frac_zero_range": [float(one == 0) for one in ranges],
        "reward/format": [s.format for s in every],
        "reward/accuracy": [s.accuracy for s in every if s.accuracy is not None],
        "reward/tiou": [s.tiou for s in every if s.tiou is not None],
        "reward/overlong": [penalty for s in scored for penalty in s.penalties],
        **_parts(scored),
        **contrast_metrics([s.contrast for s in scored if s.contrast]),
        "length": [float(len(c.tokens)) for c in completions],
        "truncated_frac": [float(not c.finished) for c in completions],
        "video_tokens": [float(s.group.clip.tokens) for s in scored],
    }


def given_metrics(scored: Sequence[ScoredGroup]) -> dict[str, list[float]]:
    """What is logged of given answers: their rewards, and for each completion whether it is one."""
    given = [(bool(source_of(c)), r) for s in scored for c, r in zip(s.completions, s.rewards, strict=True)]
    return {"given/reward": [r for is_given, r in given if is_given], "given/share": [float(is_given) for is_given, _ in given]}


def _parts(scored: Sequence[ScoredGroup]) -> dict[str, list[float]]:
    """What the recipe's own parts gave, where they apply."""
    found: dict[str, list[float]] = {}
    for one in (one for group in scored for one in group.parts):
        for name, value in one.items():
            found.setdefault(f"reward/{name}", []).extend([] if value is None else [value])
    return found
