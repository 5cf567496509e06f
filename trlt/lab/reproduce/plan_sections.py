"""The sections of a plan, each key with its type, bounds, default and meaning. Knows no files."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from trlt.recipe import Section
from trlt.task.sample import Task

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Names = Annotated[tuple[Name, ...], Field(strict=False)]
Overlay = dict[str, Any]
"""Keys of a recipe that take the place of those before them."""

BASE = "base"
"""The arm that isn't trained: the recipe's model as it is."""
DEFAULT = "default"
"""The evaluation whose metrics stand as `eval.<benchmark>.<metric>`, without its name."""


class World(Section):
    """The miniature world that the experiment is made in."""

    scale: Annotated[float, Field(gt=0)] = 1.0
    """Clips to train on, as a multiple of the demo's."""
    bench_scale: Annotated[float, Field(gt=0)] = 1.0
    """The same of the clips of benchmarks."""
    seed: Annotated[int, Field(ge=0)] = 0
    graded: bool = True
    """Clips of every difficulty, from plain to hardly visible."""


class Evaluation(Section):
    """One way of asking benchmarks."""

    benchmarks: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
    overlay: Overlay = Field(default_factory=dict)


class Probing(Section):
    """A probe of an arm's model, or of the base model, after the arm is trained."""

    data: Literal["selected", "pool"] = "selected"
    """Samples that are asked: those that the arm was trained on with this seed, or the whole pool."""
    of: Literal["arm", "base"] = "arm"
    """Whose answers. `base` draws them anew (`probe.seed` is 1000 + the run's): what changes then is regression to the mean."""
    tasks: Annotated[tuple[Task, ...], Field(strict=False)] = ()
    """Tasks whose samples are asked; empty asks all."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Samples at most, drawn by the run's seed; null asks all."""
    swap: bool = False
    """Show each sample the video of another one: what is still answered right needs no video. For multi-choice alone."""
    overlay: Overlay = Field(default_factory=dict)

    @model_validator(mode="after")
    def _spanless(self) -> Self:
        if self.swap and self.tasks != ("multi_choice",):
            raise ValueError("swap: true shows another video, which has no gold span; it needs tasks: [multi_choice]")
        return self


class Arm(Section):
    """One way of training; every seed of the plan gives one run of it."""

    overlay: Overlay = Field(default_factory=dict)
    data: Name | None = None
    """Another arm whose selection of the same seed is trained on; null selects by the arm's own recipe."""
    start: Name | None = None
    """Another arm whose model of the same seed this one is trained on from; null starts from the recipe's model."""
    evals: Names = (DEFAULT,)
    probes: Names = ()


class Table(Section):
    """Arms by columns of metrics: means over the seeds."""

    title: str
    arms: Names = ()
    columns: Annotated[tuple[str, ...], Field(strict=False)] = ()


class _Claim(Section):
    """What every claim says of itself."""

    id: Name
    text: str = ""
    """In words."""
    paper: str = ""
    """What the paper reports, in its own numbers."""
    table: Name | None = None
    """The table that it stands below; null shows it wherever all tables are asked for."""
    metric: str
    """A metric of a run, or a named mean of `metrics`."""


class DifferenceClaim(_Claim):
    """a - b is above 0."""

    kind: Literal["difference"]
    a: Name
    b: Name
    than: str | None = None
    """The metric of b, where it isn't that of a."""
    less: bool = False
    """Below 0 instead."""

    @model_validator(mode="after")
    def _differs(self) -> Self:
        if self.a == self.b and self.than in (None, self.metric):
            raise ValueError(f"a and b are both {self.a!r}, whose difference is 0; name another arm, or another metric in than")
        return self


class GapClaim(_Claim):
    """(a - b in `metric`) - (a - b in `than`) is above 0: a gains more there than here."""

    kind: Literal["gap"]
    a: Name
    b: Name
    than: str
    less: bool = False


class TrendClaim(_Claim):
    """The least-squares slope of the metric over x, within a seed, is above 0."""

    kind: Literal["trend"]
    arms: Annotated[tuple[Name, ...], Field(strict=False, min_length=2)]
    x: Annotated[tuple[float, ...], Field(strict=False)]
    """One number per arm."""
    less: bool = False

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if len(self.x) != len(self.arms):
            raise ValueError(f"x has {len(self.x)} numbers for {len(self.arms)} arms; give one each")
        if len(set(self.x)) < 2:
            raise ValueError(f"x is {self.x[0]} everywhere, over which nothing rises; give at least two numbers")
        return self


class EqualClaim(_Claim):
    """a - b lies within the margin: the whole interval does."""

    kind: Literal["equal"]
    a: Name
    b: Name
    than: str | None = None
    """The metric of b, where it isn't that of a."""
    margin: Annotated[float, Field(gt=0)]


Claim = Annotated[DifferenceClaim | GapClaim | TrendClaim | EqualClaim, Field(discriminator="kind")]


class Plan(Section):
    """A whole experiment, written down before it is made."""

    name: Name
    world: World = World()
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=2)]
    """One run an arm and seed; a claim is judged when all of them are there."""
    recipe: Overlay
    """What all arms share. `{out}` in a text is the output folder; sources and benchmarks that aren't named are the world's."""
    evals: dict[Name, Evaluation] = Field(default_factory=dict)
    probes: dict[Name, Probing] = Field(default_factory=dict)
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    metrics: dict[Name, Annotated[tuple[str, ...], Field(strict=False, min_length=1)]] = Field(default_factory=dict)
    """Name to the metrics whose mean it is."""
    tables: dict[Name, Table] = Field(default_factory=dict)
    claims: Annotated[tuple[Claim, ...], Field(strict=False)] = ()
