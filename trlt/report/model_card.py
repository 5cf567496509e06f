"""The model card of a tuned model: its base, training, protocol and benchmark results.

A card is Markdown with a YAML head, as model hubs read it. Knows recipes and results in a run's folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trlt import __version__
from trlt.engine.families import Family
from trlt.files import write_text_atomic
from trlt.recipe import Recipe, Train, dump_recipe, to_yaml
from trlt.report import markdown
from trlt.report.markdown_latex import markdown_text
from trlt.report.model_usage import use

NAME = "README.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
"""Marks around the results, which `add_results` inserts."""
RESULTS = f"## Results\n\n{BEGIN}\nNone yet: `trlt eval --bench all --model` with this folder adds them here.\n{END}"
"""The section without results."""


def model_card(
    recipe: Recipe,
    manifest: Mapping[str, Any],
    outcome: Mapping[str, Any],
    family: Family,
    *,
    library_positions: bool = False,
    outer_marks: bool = False,
) -> str:
    """The card of a finished training.

    Args:
        recipe: As resolved.
        manifest: Of the run.
        outcome: Result of training: `steps`, `reward_first`, `reward_last`, `parity`.
        family: The model's.
        library_positions: See `trlt.report.model_usage.use`.
        outer_marks: Likewise.
    """
    train = recipe.train
    made = f"A {family.name}, tuned on videos with {train.method.upper()} by trlt {__version__}."
    tags: list[str] = [train.method]
    if train.lora:
        made += f" Low-rank adapters (LoRA, rank {train.lora.rank}) were trained, and are added to the weights of the base."
        tags.append("lora")
    training, protocol, settings = _made(recipe, manifest, outcome)
    parts = [
        *opening(recipe.model.path, recipe.name, made, recipe, tags, family, library_positions, outer_marks),
        *(training, protocol, RESULTS, settings),
    ]
    return "\n\n".join(parts) + "\n"


def adapter_card(recipe: Recipe, manifest: Mapping[str, Any], outcome: Mapping[str, Any], family: Family) -> str:
    """The card of a finished training's adapters, which lie beside the model that they were added to; see `model_card`."""
    train = recipe.train
    assert train.lora
    head = {"base_model": recipe.model.path, "library_name": "peft", "tags": ["video", "lora", train.method, "trlt"]}
    about = (
        f"Low-rank adapters (LoRA, rank {train.lora.rank}) of the {family.name} `{recipe.model.path}`, trained on videos with "
        f"{train.method.upper()} by trlt {__version__}. The folder `model` beside this one holds the base with the adapters "
        "added; its card has code that asks it, and its results."
    )
    use = (
        "`trlt infer`, `eval`, `probe` and `serve` take this folder as `--model`; `trlt train merge` adds it to the base. In a "
        "program: `peft.PeftModel.from_pretrained(base, folder)`, with the base loaded by transformers."
    )
    parts = [f"---\n{to_yaml(head)}---", f"# {recipe.name}, adapters", about, f"## Use\n\n{use}"]
    return "\n\n".join([*parts, *_made(recipe, manifest, outcome)]) + "\n"


def _made(recipe: Recipe, manifest: Mapping[str, Any], outcome: Mapping[str, Any]) -> tuple[str, str, str]:
    """The sections on training and protocol, and the recipe."""
    data = manifest.get("inputs", {}).get("data", {})
    presented = "How videos and questions were presented; other frames or prompts give other answers."
    return (
        f"## Training\n\n{_table(_training(recipe, manifest, data, outcome))}",
        f"## Protocol\n\n{presented}\n\n{_table(_protocol(recipe, manifest))}",
        f"## Recipe\n\n```yaml\n{dump_recipe(recipe)}```",
    )


def opening(
    base: str,
    title: str,
    made: str,
    recipe: Recipe,
    tags: Sequence[str],
    family: Family,
    library_positions: bool,
    outer_marks: bool,
) -> list[str]:
    """The beginning of a card: head, title, how the model was made and what it lacks, and how to use it."""
    head = {
        "base_model": base,
        "library_name": "transformers",
        "pipeline_tag": "video-text-to-text",
        "tags": ["video", "temporal-grounding", *tags, "trlt"],
    }
    about = " ".join([made, *_lacking(family)])
    code = use(recipe, family, library_positions=library_positions, outer_marks=outer_marks)
    return [f"---\n{to_yaml(head)}---", f"# {title}", about, f"## Use\n\n{code}"]


def _lacking(family: Family) -> list[str]:
    """What published files of the family hold, and this model doesn't."""
    if not family.unloaded:
        return []
    names = " and ".join(f"`{start}*`" for start in family.unloaded)
    return [f"The published tensors {names} aren't in it, as transformers doesn't load them: it can't draft tokens by them."]


def write_card(folder: Path, text: str) -> None:
    """Writes a card beside a model's weights."""
    write_text_atomic(folder / NAME, text)


def add_results(folder: Path, results: Mapping[str, Any]) -> bool:
    """Inserts results into a model's card.

    Args:
        folder: Of the model.
        results: As `trlt eval` writes them.

    Returns:
        False if there is no card by trlt.
    """
    path = folder / NAME
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        return False
    table = markdown(results).removeprefix("# Results").strip()
    write_text_atomic(path, f"{before}{BEGIN}\n{table}\n{END}{after}")
    return True


def _training(
    recipe: Recipe, manifest: Mapping[str, Any], data: Mapping[str, Any], outcome: Mapping[str, Any]
) -> dict[str, object]:
    train = recipe.train
    rows: dict[str, object] = {
        "base": recipe.model.path,
        "base's weights": manifest.get("model", {}).get("sha256"),
        "trained": _trained(train),
        "samples": data.get("samples"),
        "samples' SHA-256": data.get("sha256"),
        "optimizer steps": outcome.get("steps"),
        "learning rate": train.learning_rate,
        "seed": train.seed,
    }
    if train.method == "sft":
        return rows | {"samples per step": train.sft.batch, "targets": train.sft.targets}
    first, last = outcome.get("reward_first"), outcome.get("reward_last")
    rewards = f"{first:.3f} over the first fifth, {last:.3f} over the last" if first is not None and last is not None else None
    return rows | {
        "prompts x completions per step": f"{train.prompts_per_step} x {train.group_size}",
        "KL weight": train.beta,
        "reward": rewards,
        "reward's own parts": "; ".join(map(_part, manifest.get("reward", []))) or None,
    }


def _trained(train: Train) -> str:
    """What of the weights was trained."""
    if train.lora is None:
        return "all weights but the vision tower's" if train.tower_is_frozen else "all weights"
    layers = "attention" if train.lora.targets == "attention" else "attention and MLPs"
    held = f", on a base in {train.lora.quantize}" if train.lora.quantize else ""
    return f"low-rank adapters (LoRA) of the language model's {layers}: rank {train.lora.rank}, alpha {train.lora.alpha}{held}"


def _part(part: Mapping[str, Any]) -> str:
    """A part that the recipe adds to the reward: its name, weight, and the checksums of its files."""
    files = ", ".join(f"{name}, SHA-256 {digest}" for name, digest in part["files"].items())
    return f"{part['name']}, weight {part['weight']:g}" + (f" ({files})" if files else "")


def _protocol(recipe: Recipe, manifest: Mapping[str, Any]) -> dict[str, object]:
    video, train = recipe.video, recipe.train
    return {
        "prompts, version": manifest.get("protocol", {}).get("prompt"),
        "reasoning asked for": "yes" if train.think else "no",
        "multi-choice answered by": train.answer_format,
        "frames a second": video.fps,
        "frames": f"{video.min_frames} to {video.max_frames}",
        "video tokens at most": video.max_tokens,
        "new tokens at most": train.max_new_tokens,
    }


def _table(rows: Mapping[str, object]) -> str:
    cells = [(key, markdown_text(str(value))) for key, value in rows.items() if value is not None]
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in cells)])
