"""Outputs that no protocol reads: how many there are, three of them as they are, and what to do. Knows items and rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from trlt.evaluate.benchmark import items_path
from trlt.evaluate.question_scores import OFFICIAL, Columns, read_items
from trlt.recipe import advice
from trlt.rollout import RunFiles, read_rows

MANY = 0.1
"""Share of a benchmark's outputs above which they are shown; of a good model a few are always odd."""
EXAMPLES, SHOWN = 3, 160
"""Outputs that are shown, and characters of each."""
_REASONING = re.compile(r"<think(?:ing)?>|\u25c1think\u25b7", re.IGNORECASE)
_CLOSED = re.compile(r"</think(?:ing)?>|\u25c1/think\u25b7", re.IGNORECASE)


def unread_outputs(folder: RunFiles, benches: Iterable[str], asked: bool) -> list[str]:
    """What to print below the metrics of a run; nothing where nearly all outputs are read.

    Args:
        folder: Of the run.
        benches: Its benchmarks.
        asked: Whether a model was asked here, whose rows tell which outputs the limit of tokens cut off.
    """
    lines = []
    for bench in benches:
        rows = read_rows(folder.rows(bench)) if asked else ()
        cut = {row["id"]: not row["finished"][0] for row in rows if row["finished"]}
        lines += unread_lines(bench, read_items(items_path(folder.out, bench)), cut if asked else None)
    return lines


def unread_lines(bench: str, columns: Columns, cut: Mapping[str, bool] | None) -> list[str]:
    """What to print of one benchmark.

    Args:
        bench: Name of the benchmark.
        columns: As `item_columns` gives them.
        cut: Whether the limit of tokens cut an output off, by id; None for predictions, of which it isn't known.
    """
    asked = [place for place, error in enumerate(columns["error"]) if error is None]
    mine = [place for place in asked if _is_unread(columns, place)]
    if len(mine) <= MANY * len(asked):
        return []
    lines = [f"{bench}: {len(mine):,} of {len(asked):,} outputs aren't read by any protocol, such as:"]
    lines += [f"  {columns['id'][place]}: {excerpt(columns['text'][place])}" for place in _examples(columns, mine)]
    return [*lines, *(f"  {remedy}" for remedy in _remedies([(columns["id"][p], columns["text"][p]) for p in mine], cut))]


def _is_unread(columns: Columns, place: int) -> bool:
    """Whether neither reader finds a whole answer, and the benchmark's own rule nothing right."""
    task = columns["task"][place]
    option, span = columns["lenient_option"][place], columns["lenient_start"][place]
    parts = {"multi_choice": (option,), "grounding": (span,), "grounded_qa": (option, span)}[task]
    official = any(values[place] for key, values in columns.items() if key.startswith(OFFICIAL))
    return not columns["answered"][place] and any(part is None for part in parts) and not official


def _examples(columns: Columns, places: Sequence[int]) -> Iterator[int]:
    """The first outputs that differ."""
    seen: set[str] = set()
    for place in places:
        text = columns["text"][place]
        if text not in seen:
            seen.add(text)
            yield place
        if len(seen) == EXAMPLES:
            return


def excerpt(text: str) -> str:
    """A text in one line, with its control characters escaped, and without its middle if it is long: answers stand last."""
    said = repr(text)
    return said if len(said) <= SHOWN else f"{said[: SHOWN // 2]} … {said[-SHOWN // 2 :]}"


def _remedies(unread: Sequence[tuple[str, str]], cut: Mapping[str, bool] | None) -> Iterator[str]:
    """What may be wrong, with its number and remedy, the most frequent first."""
    kinds: dict[str, int] = {}
    for id, text in unread:
        kind = _kind(text, cut is not None and cut.get(id, False))
        kinds[kind] = kinds.get(kind, 0) + 1
    for kind, count in sorted(kinds.items(), key=lambda one: -one[1]):
        what, given, asked = _TOLD[kind]
        yield f"{count:,} {what}: {given if cut is None else asked}"


def _kind(text: str, is_cut: bool) -> str:
    if not text.strip():
        return "empty"
    if _REASONING.search(text) and not _CLOSED.search(text):
        return "thinking"
    if is_cut:
        return "cut"
    return "tagged" if "<answer>" in text else "other"


_LONGER = "let the model write more tokens"
_TOLD: dict[str, tuple[str, str, str]] = {
    "empty": ("are empty", "look whether the model failed there", "look whether the model writes its end mark at once"),
    "thinking": (
        "begin to reason and never end",
        f"{_LONGER}, or ask without reasoning",
        f"{advice('raise eval.max_new_tokens')}, or ask without reasoning (--no-think)",
    ),
    "cut": ("end at the limit of tokens", _LONGER, advice("raise eval.max_new_tokens")),
    "tagged": (
        "have tags, and no answer in them",
        "compare them with the prompt; `trlt eval --samples` writes one that asks for a letter, or a span in seconds",
        "the model may be trained for another template: give its own with a recipe's `prompt` section",
    ),
    "other": (
        "state no answer, or several",
        "`trlt eval --samples` writes prompts that ask for one in tags",
        "the model may be trained for another template: give its own with a recipe's `prompt` section",
    ),
}
"""Kind to what is wrong, and the remedies for predictions and for a model that was asked here."""
