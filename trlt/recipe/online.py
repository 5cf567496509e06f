"""A recipe's keys for choosing prompts while training (`train.online`). Knows neither files nor torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trlt.recipe._base import Input, Outcome, Positive, Section, Share

Unit = Annotated[float, Field(ge=0, le=1)]


class Skip(Section):
    """Skip samples before their rollouts that are likely to give a zero-variance group again (GRESO, arXiv 2506.02177)."""

    easy: Outcome[Share] = 0.5
    """A sample whose last c groups were zero-variance ones with a mean score of at least 0.5 is asked with a probability of
    `easy`^c; this is the value of the first epoch."""
    hard: Outcome[Share] = 0.5
    """The same for those with a lower mean score."""
    target: Outcome[Share] = 0.25
    """Fraction of zero-variance groups among those asked that is aimed at: a third of it easy, two thirds hard ones."""
    step: Outcome[Unit] = 0.01
    """From the second epoch on, `easy` and `hard` move by this in each step, towards their part of `target`; 0 keeps them."""
    floor: Outcome[Share] = 0.01
    """Minimum probability of being asked."""


class Near(Section):
    """Ask samples whose success rate is near a target by a draw from each one's posterior (MoPPS, arXiv 2507.04632)."""

    target: Outcome[Unit] = 0.5
    """Success rate that is aimed at."""
    candidates: Outcome[Positive | None] = 8
    """Candidates per prompt of a step, drawn uniformly from the pool; null takes the whole pool."""


class Curriculum(Section):
    """Ask samples whose difficulty is near a target that moves with the reward (AdaRFT, arXiv 2504.05520)."""

    score: Outcome[Unit] = 0.5
    """Mean score of a step's groups that is aimed at (the paper's beta)."""
    sensitivity: Outcome[Annotated[float, Field(gt=0)]] = 2.0
    """How sharply the target reacts to what the score is apart from it (alpha)."""
    rate: Outcome[Annotated[float, Field(gt=0)]] = 0.5
    """Largest move of the target in a step (eta; 50 of 100 in the paper)."""
    start: Outcome[Unit] = 0.0
    """Target of the first step: 0 for the easiest, 1 for the hardest."""
    difficulty: Outcome[Literal["probe", "estimate"]] = "probe"
    """A sample's difficulty: 1 minus its mean score in `probe` (the paper's, which stays), or by the estimate that follows the
    policy."""
    candidates: Outcome[Positive | None] = 8
    """Candidates per prompt of a step, drawn uniformly from the pool; null takes the whole pool, as the paper does."""


class Replay(Section):
    """Keep a success of groups in which few succeed for a later group of its sample, with an importance weight.

    After RePO (arXiv 2506.09340) and ExGRPO (arXiv 2510.02245).
    """

    most: Outcome[Positive] = 2
    """Number of successes in a group (scores of at least 0.5) up to which they count as rare."""
    share: Outcome[Unit] = 0.25
    """Maximum fraction of a step's prompts that are taken for having a kept completion; 0 waits for their turn."""
    times: Outcome[Positive] = 2
    """How often a kept completion is replayed before it is dropped."""
    max_age: Outcome[Positive | None] = 100
    """Steps after which a kept completion is dropped; null keeps it."""
    size: Outcome[Positive] = 4096
    """Maximum number of kept completions, one per sample; the oldest is dropped first."""
    cap: Outcome[Annotated[float, Field(ge=1)]] = 3.0
    """Maximum weight of a replayed token: its probability now divided by that when it was drawn."""


class Reprobe(Section):
    """Ask samples again that weren't asked for long, to refresh their estimates; nothing is learned from their groups."""

    every: Outcome[Positive] = 10
    """Steps between re-probes."""
    samples: Outcome[Positive] = 8
    """Samples per re-probe, over all processes: those that were asked (or probed) the longest ago."""


class Online(Section):
    """Which prompts are asked next, chosen by what earlier ones earned (docs/online-selection.md)."""

    discount: Outcome[Unit] = 0.5
    """What a sample's earlier answers count after each further visit (MoPPS's lambda); 1 never forgets."""
    probe: Input[str | None] = None
    """Rows of `trlt probe` (its folder or file) that estimates begin with; null begins with an even chance."""
    probe_weight: Outcome[Annotated[float, Field(gt=0)]] = 1.0
    """How many of training's answers one of the probe counts as (3 in MoPPS's code)."""
    skip: Outcome[Skip | None] = None
    """Skip prompts whose groups will hardly teach anything (GRESO); null asks all."""
    near: Outcome[Near | None] = None
    """Ask samples whose estimated success rate is near a target (MoPPS); null goes by the order of the data."""
    curriculum: Outcome[Curriculum | None] = None
    """Ask samples near a difficulty that moves with the reward (AdaRFT); null has none."""
    replay: Outcome[Replay | None] = None
    """Keep rare successes, and put them into later groups of their sample; null keeps none."""
    reprobe: Outcome[Reprobe | None] = None
    """Ask samples again that weren't asked for long; null asks none."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.skip or self.near or self.curriculum or self.replay or self.reprobe):
            raise ValueError(
                "is empty; set one of train.online.skip, near, curriculum, replay and reprobe (e.g. skip: {}), or leave it out"
            )
        if self.near and self.curriculum:
            raise ValueError("train.online.near and train.online.curriculum both say which prompts come next; leave one out")
        if self.curriculum and self.curriculum.difficulty == "probe" and self.probe is None:
            raise ValueError(
                "train.online.curriculum orders samples by their difficulty in train.online.probe, which isn't set; name the "
                "rows of `trlt probe`, or take train.online.curriculum.difficulty: estimate"
            )
        return self
