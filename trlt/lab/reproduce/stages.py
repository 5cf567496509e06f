"""A plan becomes stages, each one command with what it needs, and runs, each an arm with a seed (pure but for checksums).

Every path begins with `{out}`; a stage's folder is named by its digest, so that a changed plan leaves what was there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from trlt.engine.model import MINIATURE, PLAIN, locate
from trlt.lab.miniature import layout
from trlt.lab.reproduce import identity
from trlt.lab.reproduce.plan_sections import BASE, Plan
from trlt.lab.reproduce.recipes import GOLD, OUT, PROBE, marked, names, resolve
from trlt.recipe import Recipe
from trlt.rollout import model_identity
from trlt.task.sample import Task

Kind = Literal["world", "pool", "probe", "select", "subset", "gold", "train", "eval"]
AGAIN = 1000
"""Added to the run's seed where the base model answers once more."""
METRICS = 1
"""Rises when metrics are computed in another way, so that old ones aren't mixed with new ones."""


@dataclass(frozen=True, slots=True)
class Subset:
    """A part of some samples, or each with another's video."""

    source: str
    """File or folder of samples."""
    tasks: tuple[Task, ...]
    limit: int | None
    swap: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Stage:
    """One piece of work: a command, or what is done in this process (`world`, `subset`, `gold`)."""

    kind: Kind
    label: str
    place: str
    """Its folder, or file of samples, without a suffix for the recipe, log and mark beside it."""
    id: str
    """Digest of everything that its outcome depends on."""
    needs: tuple[Stage, ...] = ()
    recipe: Recipe | None = None
    arguments: tuple[str, ...] = ()
    """Of `trlt`, `{recipe}` for the file that holds `recipe`."""
    subset: Subset | None = None

    @property
    def product(self) -> str:
        """What the stages after it are given: a folder, or a file of samples."""
        return f"{self.place}/model" if self.kind == "train" else self.place

    def beside(self, suffix: str, out: Path) -> Path:
        """A file beside the stage's folder: its recipe, log or mark."""
        return Path(f"{self.place.removesuffix('.jsonl').replace(OUT, out.as_posix())}.{suffix}")


@dataclass(frozen=True)
class ArmRun:
    """One arm with one seed."""

    arm: str
    seed: int
    parts: Mapping[str, Stage]
    """`select`, `train`, `eval.<name>` and `probe.<name>` to their stages."""
    recipe: Recipe
    """Of the arm; its thresholds tell difficulties apart."""

    @cached_property
    def id(self) -> str:
        """Digest of everything that its metrics depend on."""
        parts = {name: stage.id for name, stage in self.parts.items()}
        thresholds = identity.settings(self.recipe, ["select"])
        return identity.digest("run", {"parts": parts, "select": thresholds, "figures": METRICS}, [])

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Everything that has to be done, each before what needs it."""
        found: dict[str, Stage] = {}

        def add(stage: Stage) -> None:
            for needed in stage.needs:
                add(needed)
            found.setdefault(stage.place, stage)

        for stage in self.parts.values():
            add(stage)
        return tuple(found.values())


def runs(plan: Plan, where: str, arms: Sequence[str], seeds: Sequence[int]) -> list[ArmRun]:
    """The runs of these arms, all of one seed before those of the next.

    Args:
        plan: The experiment.
        where: Its file, for errors.
        arms: Those that are asked for.
        seeds: The same.

    Raises:
        RecipeError: an overlay with faults.
        ModelError: a model that isn't found or available.
    """
    builder = _Builder(plan, where)
    return [builder.run(arm, seed) for seed in seeds for arm in arms]


class _Builder:
    """Makes stages; those that several runs share are equal."""

    def __init__(self, plan: Plan, where: str) -> None:
        self._plan, self._where = plan, where
        self._recipes: dict[tuple[str, str, str], Recipe] = {}
        self._models: dict[str, Mapping[str, Any]] = {}

    def run(self, arm: str, seed: int) -> ArmRun:
        """One arm with one seed."""
        parts: dict[str, Stage] = {}
        of = self._plan.arms[arm]
        selects = any(self._plan.probes[name].data == "selected" for name in of.probes)
        if arm != BASE or selects:
            parts["select"] = self._select(of.data or arm, seed)
        if arm != BASE:
            parts["train"] = self._train(arm, seed)
        for name in of.evals:
            parts[f"eval.{name}"] = self._eval(arm, name, seed)
        for name in of.probes:
            parts[f"probe.{name}"] = self._probe(arm, name, seed)
        return ArmRun(arm, seed, parts, self._recipe(arm))

    def _recipe(self, arm: str, kind: str = "", name: str = "") -> Recipe:
        """An arm's recipe, or that of one of its evaluations or probes."""
        key = (arm, kind, name)
        if key not in self._recipes:
            overlays: list[Mapping[str, Any]] = [self._plan.arms[arm].overlay]
            where = f"{self._where}: arms.{arm}"
            if kind:
                overlays.append((self._plan.evals if kind == "evals" else self._plan.probes)[name].overlay)
                where += f" with {kind}.{name}"
            self._recipes[key] = resolve(self._plan, where, *overlays)
        return self._recipes[key]

    def _model(self, recipe: Recipe) -> Mapping[str, Any]:
        """What tells the base model apart from others."""
        path = recipe.model.path
        if path not in self._models:
            known = model_identity(locate(path))
            if path in (MINIATURE, PLAIN):
                # Their tokenizer and template come with trlt; so runs that were recorded before these counted stay known.
                known.pop("files")
            self._models[path] = known
        return self._models[path]

    def _world(self) -> Stage:
        values = {"version": layout.VERSION, **self._plan.world.model_dump(mode="json")}
        return Stage("world", "videos and annotation", f"{OUT}/data", identity.digest("world", values, []))

    def _pool(self, recipe: Recipe) -> Stage:
        world = self._world()
        id = identity.digest("pool", identity.settings(recipe, ["prepare"]), [world.id])
        place = f"{OUT}/shared/pool-{id[:8]}"
        words = ("prepare", "{recipe}", "--scan", f"{OUT}/video-scan.jsonl", "--out", place)
        return Stage("pool", "prepare the pool", place, id, (world,), recipe, words)

    def _asked(self, kind: Kind, label: str, place: str, data: Stage, recipe: Recipe, by: Stage | None) -> Stage:
        """A probe of some samples by the base model, or by a trained one."""
        values = identity.settings(recipe, ["video", "probe", "reward"] + ([] if by else ["model"]))
        values |= {"prompt": recipe.prompt.words().version} | ({} if by else {"weights": self._model(recipe)})
        needs = (data, by) if by else (data,)
        id = identity.digest(kind, values, [stage.id for stage in needs])
        words = ("probe", "--data", data.product, "--recipe", "{recipe}", "--model", by.product if by else recipe.model.path)
        place = f"{place}-{id[:8]}"
        return Stage(kind, label, place, id, needs, recipe, (*words, "--out", place))

    def _select(self, arm: str, seed: int) -> Stage:
        recipe = self._recipe(arm)
        probe = self._asked("probe", "probe the pool", f"{OUT}/shared/probe", self._pool(recipe), recipe, None)
        recipe = _with(recipe, "select", seed)
        id = identity.digest("select", identity.settings(recipe, ["select"]), [probe.id])
        place = f"{_folder(arm, seed)}/select-{id[:8]}.jsonl"
        words = ("select", "--probe", probe.place, "--recipe", "{recipe}", "--out", place)
        return Stage("select", f"select for {arm}, seed {seed}", place, id, (probe,), recipe, words)

    def _train(self, arm: str, seed: int) -> Stage:
        data = self._select(self._plan.arms[arm].data or arm, seed)
        recipe = _with(marked(self._recipe(arm), PROBE, data.needs[0].place), "train", seed)
        values = identity.settings(recipe, ["model", "video", "reward", "train"])
        values |= {"prompt": recipe.prompt.words().version, "weights": self._model(recipe)}
        start = self._plan.arms[arm].start
        before: tuple[Stage, ...] = (self._train(start, seed),) if start else ()
        if names(recipe, GOLD):
            gold = self._gold(data, recipe)
            before, recipe = (*before, gold), marked(recipe, GOLD, gold.place)
        id = identity.digest("train", values, [data.id, *(stage.id for stage in before)])
        place = f"{_folder(arm, seed)}/train-{id[:8]}"
        model = before[0].product if start else recipe.model.path
        words = ("train", "{recipe}", "--data", data.place, "--model", model, "--out", place)
        return Stage("train", f"train {arm}, seed {seed}", place, id, (data, *before), recipe, words)

    def _gold(self, data: Stage, recipe: Recipe) -> Stage:
        """The gold answers to some samples, in the form that they are asked for in training."""
        form = {"think": recipe.train.think, "format": recipe.train.answer_format, "prompt": recipe.prompt.words().version}
        id = identity.digest("gold", form, [data.id])
        place = f"{data.place.removesuffix('.jsonl')}-gold-{id[:8]}.jsonl"
        return Stage("gold", f"gold answers for {data.label}", place, id, (data,), recipe)

    def _eval(self, arm: str, name: str, seed: int) -> Stage:
        recipe, world = self._recipe(arm, "evals", name), self._world()
        model = None if arm == BASE else self._train(arm, seed)
        benches = self._plan.evals[name].benchmarks
        values = identity.settings(recipe, ["video", "eval"] + ([] if model else ["model"]))
        values |= {"prompt": recipe.prompt.words().version, "benchmarks": benches}
        values |= {} if model else {"weights": self._model(recipe)}
        needs = (world, model) if model else (world,)
        id = identity.digest("eval", values, [stage.id for stage in needs])
        # The base model is asked once, whatever the seed.
        place = f"{_folder(arm, seed) if model else f'{OUT}/arms/{arm}'}/eval-{name}-{id[:8]}"
        words = [word for bench in benches for word in ("--bench", bench)]
        by = model.product if model else recipe.model.path
        label = f"eval {arm} ({name})" + (f", seed {seed}" if model else "")
        return Stage(
            "eval", label, place, id, needs, recipe, ("eval", *words, "--recipe", "{recipe}", "--model", by, "--out", place)
        )

    def _probe(self, arm: str, name: str, seed: int) -> Stage:
        probing = self._plan.probes[name]
        of_base = probing.of == "base" or arm == BASE
        recipe = _with(self._recipe(arm, "probes", name), "probe", seed + (AGAIN if probing.of == "base" else 0))
        selected = probing.data == "selected"
        data = self._select(self._plan.arms[arm].data or arm, seed) if selected else self._pool(self._recipe(arm))
        place = f"{_folder(arm, seed)}/probe-{name}"
        if probing.tasks or probing.limit or probing.swap:
            subset = Subset(data.product, probing.tasks, probing.limit, probing.swap, seed)
            values = {"tasks": subset.tasks, "limit": subset.limit, "swap": subset.swap, "seed": seed}
            id = identity.digest("subset", values, [data.id])
            file = f"{place}-samples-{id[:8]}.jsonl"
            data = Stage("subset", f"samples of probe {name}, {arm}, seed {seed}", file, id, (data,), subset=subset)
        label = f"probe {arm} ({name}), seed {seed}"
        return self._asked("probe", label, place, data, recipe, None if of_base else self._train(arm, seed))


def _folder(arm: str, seed: int) -> str:
    return f"{OUT}/arms/{arm}/seed-{seed}"


def _with(recipe: Recipe, section: str, seed: int) -> Recipe:
    """The recipe with the seed of one stage."""
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update={"seed": seed})})
