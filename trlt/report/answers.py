"""A probed sample with all of its answers, for the terminal. Knows rich; neither files nor models.

Questions and answers are untrusted: they are `Text`, never markup, and control characters are shown escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trlt.report.span_bar import timeline
from trlt.task.answer import LETTERS
from trlt.task.sample import Span
from trlt.task.user_question import stated_spans

_REASONING = 80
"""Number of characters shown of a reasoning."""
_TEXT = 240
_WIDTH = 56
"""Characters of the timeline."""
_THINK = re.compile(r"(<think>)(.*?)(</think>|$)", re.DOTALL)


def answers_view(shown: Mapping[str, Any]) -> Group:
    """The sample, spans on one timeline under the gold ones, one line per answer, and a summary of all answers.

    Args:
        shown: As `trlt probe show --json` gives it.
    """
    parts: list[RenderableType] = [*_question(shown), Text("")]
    if shown["error"] is not None:
        return Group(*parts, Text(f"not probed: {visible(shown['error'])}", style="red"))
    if shown["spans"]:
        parts += [_spans(shown), Text("")]
    parts += [_answers(shown), _together(shown)]
    return Group(*parts)


def visible(text: str, most: int | None = None) -> str:
    """A text in one line: white space as single blanks, unprintable characters escaped, cut off beyond `most`."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    return line if most is None or len(line) <= most else line[: most - 1] + "…"


def said(text: str) -> str:
    """A completion in one line, its reasoning shortened."""
    short = _THINK.sub(lambda found: f"{found[1]} {visible(found[2], _REASONING)} {found[3]}", text)
    return visible(short, _TEXT)


def _question(shown: Mapping[str, Any]) -> list[Text]:
    lines = [Text(visible(shown["id"]), style="bold")]
    seconds = f", {shown['duration']:.1f} s" if shown["duration"] is not None else ""
    clip = f", seconds {shown['clip'][0]:g} to {shown['clip'][1]:g} of the file" if shown["clip"] else ""
    lines.append(Text(f"{shown['task']}, {visible(shown['source'])}, {visible(shown['video'])}{seconds}{clip}", style="dim"))
    lines.append(Text(("Event: " if shown["task"] == "grounding" else "Question: ") + visible(shown["question"])))
    for place, option in enumerate(shown["options"] or ()):
        gold = place == shown["answer_index"] or place in (shown.get("answer_indices") or ())
        line = f"  {'>' if gold else ' '} {_letter(place)}. {visible(option)}{'  (gold)' if gold else ''}"
        lines.append(Text(line, style="green" if gold else ""))
    if shown["options"] is None and shown["answer"] is not None:
        lines.append(Text(f"  > {visible(shown['answer'])}  (gold)", style="green"))
    if shown["spans"]:
        gold_spans = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in shown["spans"])
        lines.append(Text(f"Gold: {gold_spans}", style="green"))
    return lines


def _spans(shown: Mapping[str, Any]) -> Text:
    """The gold spans and each answer's below them: green from an IoU of 0.5 on, yellow above 0, else red."""
    gold = [Span(*span) for span in shown["spans"]]
    answers = shown["answers"]
    rows: list[tuple[str, Sequence[Span]]] = [("gold", gold)]
    rows += [(f"{place:>4}", stated_spans(one)) for place, one in enumerate(answers, 1)]
    length = shown["duration"] or max(span.end for _, spans in rows for span in spans)
    first, *lines = timeline(length, rows, width=_WIDTH).plain.splitlines()
    out = Text(no_wrap=True, overflow="ellipsis")
    out.append(f"{first}\n", style="bold cyan")
    for one, line in zip(answers, lines, strict=False):
        iou = one["tiou"] or 0.0
        style = "green" if iou >= 0.5 else "yellow" if iou > 0 else "red"
        out.append(f"{line}  IoU {iou:.2f}\n", style=style)
    out.append(lines[-1], style="dim")
    return out


def _answers(shown: Mapping[str, Any]) -> Table:
    """One line per answer: the parsed answer, its scores and its reward."""
    grounding, choice = shown["task"] == "grounding", shown["task"] == "multi_choice"
    table = Table(show_edge=False, box=None, pad_edge=False, header_style="dim")
    table.add_column("#", justify="right")
    table.add_column("read as", max_width=30)
    if not grounding:
        table.add_column("")
    own = list(shown["answers"][0].get("parts", ())) if shown["answers"] else []
    for name in (*(() if choice else ("IoU",)), "format", *map(visible, own), "reward", "tokens"):
        table.add_column(name, justify="right")
    table.add_column("text", overflow="fold")
    for place, one in enumerate(shown["answers"], 1):
        cells: list[str | Text] = [str(place), Text(_read_as(shown, one))]
        if not grounding:
            cells.append(Text("right", style="green") if one["right"] else Text("wrong", style="red"))
        if not choice:
            cells.append(f"{one['tiou'] or 0.0:.2f}")
        cut = "" if one["finished"] else "  [cut off at the token limit]"
        values = ["-" if (value := one["parts"][name]) is None else f"{value:.2f}" for name in own]
        cells += [f"{one['format']:g}", *values, f"{one['reward']:.2f}", str(one["tokens"])]
        table.add_row(*cells, Text(said(one["text"]) + cut))
    return table


def _read_as(shown: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """The parsed answer: an option, a span, or that there is none."""
    if shown["task"] == "grounding":
        return ", ".join(f"{span.start:.1f} to {span.end:.1f} s" for span in stated_spans(one)) or "no span"
    if shown["options"] is not None:
        place = one["option"]
        return f"{_letter(place)}. {visible(shown['options'][place], 26)}" if place is not None else "no option"
    return visible(one["payload"], 30) if one["payload"] else "no answer"


def _together(shown: Mapping[str, Any]) -> Text:
    """One line over all answers: the values that selection uses."""
    parts = []
    if shown["correct"] is not None:
        parts.append(f"{shown['correct']} of {shown['n']} right")
    if shown["delta_iou"] is not None:
        parts.append(f"mean IoU {shown['mean_iou']:.2f}")
        parts.append(f"max - mean {shown['delta_iou']:.2f}")
    parts += [f"mean reward {shown['mean']:.2f}", f"reward range {shown['reward_range']:.2f}"]
    parts.append(f"deviation {shown['deviation']:.2f}")
    out = Text("\n" + ", ".join(parts) + ": ")
    out.append(shown["class"], style="bold")
    return out.append(f"\n{_rule(shown)}", style="dim")


def _rule(shown: Mapping[str, Any]) -> str:
    """The rule of the class in words; the command says where the thresholds come from."""
    limits = shown["select"]
    levels = f"hard up to {limits['hard']} right answers, easy from {min(limits['easy'], shown['n'])} on"
    by_task = {
        "multi_choice": levels,
        "grounding": f"varied from max - mean = {limits['delta_iou']:g} on, else flat",
        "grounded_qa": f"{levels}; medium is flat below max - mean = {limits['grounded_delta_iou']:g}",
    }
    variance = "; selection goes by variance: the rewards' deviation" if limits["by"] == "variance" else ""
    return f"  {by_task[shown['task']]}{variance}"


def _letter(place: int) -> str:
    return LETTERS[place] if place < len(LETTERS) else str(place + 1)
