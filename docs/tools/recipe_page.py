"""`docs/recipe.md` from the recipe's models: every field with its type, bounds, default and meaning."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from trlt.recipe import Recipe, Section, to_yaml

HEAD = """\
# Recipes: every field

<!-- Made by `python -m docs.tools.pages` from trlt/recipe: change it there. -->

A recipe is a YAML file with a whole experiment, one section per stage. Keys that it leaves out have the defaults below: the
paper's value if the paper gives one. An empty file is a valid recipe.

- Later values override earlier ones, in this order: defaults, recipe file, `--set key=value`, flags of the command.
- A key is the path through the sections: `--set train.sft.batch=8`.
- All faults of a recipe are reported at once, before anything runs, with file, key, value and remedy. Unknown keys are faults.
- YAML is parsed as version 1.2: `1e-6` is a number, `no` and `0:10:0` are strings. Duplicate keys are faults.
- The resolved recipe is saved with every run, as `recipe.yaml` in its folder.

```yaml
name: small
model: {path: miniature, dtype: float32}
select: {delta_iou: 0.2, sizes: {multi_choice: 100, grounding: 100, grounded_qa: 50}}
train:
  prompts_per_step: 8
  learning_rate: 2e-4
  sft: {targets: reasoning}
```

Those that ship with trlt are [ready recipes](ready-recipes.md): `trlt recipe list` shows them.
"""
PLAIN = {
    "name": "Name of the experiment; results go to `runs/<name>/`.",
    "min_frames": "Minimum number of frames per video.",
    "max_frames": "Maximum number of frames per video.",
    "temperature": "Divides the logits before a token is drawn.",
    "top_p": "Tokens are sampled from the most likely ones that together have this probability.",
    "max_new_tokens": "Tokens after which a completion is truncated.",
    "seed": "Seed of sampling.",
    "select.seed": "Decides which samples of a source are taken if there are more than needed.",
    "multi_choice": "Multi-choice samples.",
    "grounding": "Grounding samples.",
    "grounded_qa": "Grounded QA samples.",
    "format": "Weight of the template (R_format).",
    "grounded_accuracy": "Weight of the answers in grounded QA.",
    "grounded_tiou": "Weight of the spans in grounded QA.",
    "method": "GRPO or the supervised baseline.",
    "learning_rate": "Learning rate of AdamW.",
    "weight_decay": "Weight decay of AdamW.",
    "max_grad_norm": "Gradients are scaled down to this norm.",
    "epochs": "Passes over the samples.",
    "keep_checkpoints": "Number of checkpoints to keep; older ones are removed.",
    "gradient_checkpointing": "Recompute activations in the backward pass instead of keeping them: slower, with less memory.",
    "report_to": "Where training metrics go besides `log.jsonl`.",
    "benchmarks": "Benchmark -> where its files are; the benchmarks of `--bench all`.",
    "annotations": "Folder with the official files, or the annotation file.",
    "videos": "Folder of the videos.",
    "split": "A split other than the training split.",
    "rank": "Rank of the adapters.",
    "dropout": "Dropout on the adapters' inputs.",
}
"""Meanings of fields whose name says it all in the code; the field's own docstring comes first."""


def recipe_page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_section(Recipe, ""), _default()])


def undescribed() -> list[str]:
    """Keys for which neither a docstring nor `PLAIN` has a meaning."""
    return [key for key, model, name, _ in every_field() if not _meaning(key, model, name)]


def every_field() -> Iterator[tuple[str, type[Section], str, FieldInfo]]:
    """(dotted key, model, name, field) of everything that isn't a section."""
    todo: list[tuple[str, type[Section]]] = [("", Recipe)]
    while todo:
        prefix, model = todo.pop(0)
        for name, field in model.model_fields.items():
            inner = _inner(field.annotation)
            if inner is None or not _is_section(field.annotation):
                yield prefix + name, model, name, field
            if inner is not None:
                todo.append((f"{prefix}{name}{_entry(field.annotation)}.", inner))


def _section(model: type[Section], prefix: str) -> Iterator[str]:
    key = prefix.removesuffix(".")
    if key:
        yield f"{'###' if '.' in key else '##'} {key}\n\n{_one_line(model.__doc__ or '')}\n"
    rows, below = [], []
    for name, field in model.model_fields.items():
        inner = _inner(field.annotation)
        if inner is not None:
            below.append((inner, f"{prefix}{name}{_entry(field.annotation)}."))
        if inner is None or not _is_section(field.annotation):
            meaning = _meaning(prefix + name, model, name).replace("|", "\\|")
            rows.append(f"| `{name}` | {_kind(field)} | {_shown(field)} | {meaning} |")
    if rows:
        yield "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows, ""])
    for inner, place in below:
        yield from _section(inner, place)


def _meaning(key: str, model: type[Section], name: str) -> str:
    for one in model.__mro__:
        field = one.__dict__.get("__pydantic_fields__", {}).get(name)
        if field is not None and field.description:
            return _one_line(field.description)
    return PLAIN.get(key) or PLAIN.get(name, "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _inner(kind: Any) -> type[Section] | None:
    """The section that a type is, or whose entries it holds."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind
    return next((found for part in get_args(kind) if (found := _inner(part)) is not None), None)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type)


def _entry(kind: Any) -> str:
    """How an entry of a list or a table is written behind the key."""
    return {tuple: "[]", dict: ".<name>"}.get(get_origin(kind), "")


def _kind(field: FieldInfo) -> str:
    bounds = []
    for mark in [*field.metadata, *_marks(field.annotation)]:
        for name, sign in (("gt", "above"), ("ge", "from"), ("lt", "below"), ("le", "to")):
            if (value := getattr(mark, name, None)) is not None:
                bounds.append(f"{sign} {value:,}" if isinstance(value, int) else f"{sign} {value:g}")
    return ", ".join([_named(field.annotation), *bounds]).replace("|", "\\|")


def _marks(kind: Any) -> list[Any]:
    """Bounds that stand inside an optional type."""
    found = list(getattr(kind, "__metadata__", ()))
    return found + [mark for part in get_args(kind) if get_origin(kind) not in (Literal, tuple, dict) for mark in _marks(part)]


def _named(kind: Any) -> str:
    if hasattr(kind, "__metadata__"):
        return _named(kind.__origin__)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " \\| ".join(f"`{part}`" for part in parts).replace("\\|", "or")
    if origin is tuple:
        return f"list of {_named(parts[0])}"
    if origin is dict:
        return f"table of {_named(parts[1])}"
    if parts:
        return " or ".join(_named(part) for part in parts)
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", NoneType: "null"}
    return plain.get(kind, "section")


def _shown(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    if value is None or isinstance(value, bool):
        return f"`{str(value).lower().replace('none', 'null')}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _default() -> str:
    values = to_yaml(Recipe().model_dump(mode="json"))
    return f"## All defaults as one file\n\n```yaml\n{values}```\n"
