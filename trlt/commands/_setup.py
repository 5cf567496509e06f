"""Setup shared by several commands: the recipe with its flags, a quiet model, and the protocol behind metrics."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trlt.commands._quiet import drop_advice
from trlt.engine.model import (
    SHIPPED,
    config_at,
    folder_of,
    known_family,
    load,
    locate,
    refuse_begun_reasoning,
    refuse_reasoning_name,
)
from trlt.errors import UsageError, counted
from trlt.recipe import Decoding, Effect, Model, Recipe, Section, Stage, Video, load_recipe
from trlt.rollout import RunFiles
from trlt.task.sample import Sample
from trlt.video.geometry import Geometry

if TYPE_CHECKING:
    from trlt.commands._output import Output
    from trlt.engine.forest import Engine
    from trlt.engine.servers.client import Servers

RUNS = Path("runs")
"""Default folder of results without `--out`."""
SMALL_MODEL = 50_000_000
"""Parameter count below which a model's matrix products are too small for several threads."""


def resolve(recipe: Path | None, sets: Sequence[str], flags: Mapping[str, Any]) -> Recipe:
    """The recipe of a command; the miniature model uses float32 by default.

    Raises:
        RecipeError: every fault at once.
    """
    resolved = load_recipe(recipe, sets=sets, flags=flags)
    if resolved.model.path in SHIPPED and recipe is None and not any(item.startswith("model.dtype=") for item in sets):
        resolved = resolved.model_copy(update={"model": resolved.model.model_copy(update={"dtype": "float32"})})
    return resolved


def next_command(*words: object) -> str:
    """The line that says what to type next; it can be pasted as it stands."""
    return f"Next: trlt {shlex.join(map(str, words))}"


HELD_OUT = "HELD_OUT.jsonl"
"""Stands for a user's samples in a command."""


def next_after_tuning(model: Path, recipe: Path, settings: Recipe, before: str) -> str:
    """How to evaluate a tuned model: on the recipe's benchmarks, or without any, on questions that it was not tuned on.

    Args:
        model: Its folder.
        recipe: The resolved recipe's file.
        settings: What it says.
        before: Of the results' folder, what stands before `eval`; one that is there may hold another model's.
    """
    asked = ("--model", model, "--recipe", recipe)
    if settings.eval.benchmarks:
        return next_command("eval", "--bench", "all", *asked, "--out", _free(Path(f"{before}eval")))
    told = f"Whether it helped is told by questions that it wasn't trained on ({HELD_OUT} stands for yours):"
    return f"{told}\n{next_command('eval', '--data', HELD_OUT, *asked, '--out', _free(Path(f'{before}eval')))}"


def beside_others(usual: Path, data: str, model: Mapping[str, Any] | None = None) -> list[object]:
    """`--out` with a new folder if the usual one belongs to a run on other samples or of another model.

    Args:
        usual: The folder that a command takes without `--out`.
        data: SHA-256 of the samples.
        model: As the manifest of a run of the model has it; None: any.
    """
    there = RunFiles(usual).read_manifest() or {}
    same = there.get("inputs", {}).get("data", {}).get("sha256") == data and model in (None, there.get("model"))
    return [] if same or not there else ["--out", _free(usual)]


def _free(folder: Path) -> Path:
    """A folder that doesn't exist yet: by this name, or with a number appended."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([folder], numbered) if not path.exists())


def quiet() -> None:
    """Keeps libraries from drawing bars and logging advice between a command's own lines."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging

    drop_advice()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def refuse_plain(recipe: Recipe, section: str, *, fetch: bool = True) -> None:
    """Ends where the model's chat template begins each answer with `<think>`, and a section asks for answers that don't.

    Args:
        recipe: As resolved.
        section: `eval`, `probe` or `train`.
        fetch: Whether to download a hub id's files; without it, only those that are here are looked at.

    Raises:
        ModelError: names the key and the remedy, before any weights are read; or there is no such model.
    """
    if section == "train" and recipe.train.method == "sft":
        asked, needed = f"train.sft.targets is {recipe.train.sft.targets}", "train.sft.targets: reasoning"
        thinks = recipe.train.sft.targets == "reasoning"
    else:
        flag = " (--think)" if section == "eval" else ""
        asked, needed = f"{section}.think is false", f"{section}.think: true{flag}"
        thinks = getattr(recipe, section).think
    if thinks:
        if recipe.prompt.words().begins_with_think:
            return
        asked, needed = "prompt.format begins otherwise", "prompt.format: <think>{reasoning}</think> … {answer}"
    if fetch:
        folder = folder_of(locate(recipe.model.path))
    elif config := config_at(recipe.model.path):
        folder = config.parent
    else:
        return refuse_reasoning_name(recipe.model.path, asked, f"set {needed}")
    refuse_begun_reasoning(folder, asked, f"set {needed}")


def refuse_own_words(recipe: Recipe, sets: Sequence[str], flags: Mapping[str, Any]) -> None:
    """Ends where a recipe or flags set what another harness's protocol sets itself: the figures would be of neither.

    Raises:
        UsageError: names what is set.
    """
    own = [flag for flag, value in flags.items() if value is not None]
    decided = (
        "video.fps",
        "video.min",
        "video.max",
        "prompt.",
        "eval.think",
        "eval.max",
        "eval.temp",
        "eval.top",
        "eval.as_gqa",
    )
    own += [f"--set {one}" for one in sets if one.startswith(decided) and not one.startswith("eval.max_sequences")]
    own += ["prompt.template"] * bool(recipe.prompt.template) + ["eval.as_gqa"] * recipe.eval.as_gqa
    own += ["eval.max_tokens_video"] * bool(recipe.eval.max_tokens_video) + ["eval.subtitles"] * recipe.eval.subtitles
    own += ["--samples-per-question"] * (recipe.eval.samples_per_question > 1)
    if own:
        listed = ", ".join(dict.fromkeys(own))
        raise UsageError(f"--protocol {recipe.eval.protocol} sets frames, prompt and decoding itself; leave out {listed}")


def make_engine(settings: Model, on_event: Callable[[str], None] | None = None) -> Engine:
    """The model of a recipe, ready to generate; its first completion is checked against the library's own forward.

    Args:
        settings: Which model.
        on_event: Called when the model is loaded, with the result of the check, and when memory runs short.

    Raises:
        ModelError: it isn't found or available, isn't of a known family, or the device isn't there.
    """
    quiet()
    from trlt.engine.forest import Engine

    if on_event:
        on_event(f"loading {settings.path}")
    loaded = load(settings)
    limit_threads(loaded.model)
    return Engine(loaded.model, loaded.processor, on_event=on_event, compare_first=True)


def geometry_for(settings: Model, output: Output, servers: Servers | None = None) -> Geometry:
    """How the family of the model that is asked cuts frames into tokens, by its config.json or its published name.

    A recipe may name a model that comes of a training which is still to be done: where nothing tells its family, the default is
    taken, and said.

    Args:
        settings: Which model.
        output: Gets the note.
        servers: Checked ones, which are asked instead, and know their model's family.

    Raises:
        ModelError: a folder without a model, or a model of no known family.
    """
    if servers:
        return servers.family.geometry
    family = known_family(settings.path)
    if family is None:
        default = Geometry()
        output.note(
            f"model.path: {settings.path!r} isn't on this machine, and its name tells no family; frames are made for patches "
            f"of {default.patch} pixels, as of Qwen2.5-VL; for another family, give a folder with the model's config.json"
        )
        return default
    return family.geometry


def connect(urls: Sequence[str], model: str | None, recipe: Recipe, output: Output) -> Servers | None:
    """The servers that replace a model of this process, after a test request; None if none are named.

    Args:
        urls: Where they listen.
        model: The model's name there; None uses the only one that they serve.
        recipe: Its `model.path` tells the model's family, where the servers don't.
        output: Gets a note when a server is set aside or comes back.

    Raises:
        UsageError: an address that can't be used.
        ServerError: none can be reached, or one doesn't take videos as they are.
    """
    if not urls:
        return None
    from trlt.engine.servers.client import Servers

    output.note(f"trying {counted(len(urls), 'server')} with small clips")
    servers = Servers(urls, model=model, family=known_family(recipe.model.path), on_event=output.note)
    servers.check()
    return servers


def limit_threads(model: Any) -> None:
    """Gives a small model on the CPU one thread: more threads gain nothing and wait for each other.

    On a machine with busy cores (decoding, for example), that waiting made a probe of the miniature ten times slower.
    """
    import torch

    if model.device.type == "cpu" and sum(weight.numel() for weight in model.parameters()) < SMALL_MODEL:
        torch.set_num_threads(1)


def try_prompts(recipe: Recipe, stage: Stage, samples: Sequence[Sample]) -> None:
    """Asks the first sample of each task in the recipe's own words, if it has some, before a model is loaded.

    Raises:
        RecipeError: the template fails, or doesn't show the marks that answers are read by.
    """
    form = recipe.form(stage)
    thinks: tuple[bool, ...] = (form.think,)
    if stage == "train" and recipe.train.method == "sft":
        thinks = {"answer": (False,), "reasoning": (True,), "mixed": (False, True)}[recipe.train.sft.targets]
    for think in thinks:
        replace(form, think=think).try_out(samples)


def protocol(recipe: Recipe, settings: Decoding, video: Video) -> dict[str, Any]:
    """Everything that metrics depend on besides the model and the questions."""
    told = _telling(settings)
    if told.get("samples_per_question") == 1:  # says nothing, and runs from before it was a setting lack it
        del told["samples_per_question"]
    return {"prompt": recipe.prompt.words().version, **told, "video": _telling(video)}


def _telling(section: Section) -> dict[str, Any]:
    """A section's values, without those that only set locations or speed."""
    silent = (Effect.INPUT, Effect.MEANS)
    fields = type(section).model_fields
    return section.model_dump(mode="json", exclude={name for name, f in fields.items() if any(m in silent for m in f.metadata)})
