"""Training runs as a section of the page: metrics per step, as curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trlt.report.page.charts import StepCurve, legend, line_chart
from trlt.report.page.markup import Markup, element, join
from trlt.report.page.results import run_style

_FIRST = {
    "reward": "Reward, mean of a step",
    "reward/accuracy": "Right answers, share",
    "reward/tiou": "Overlap with the right time span (IoU)",
    "reward/format": "Well-formed answers, share",
    "reward/span": "What a span is paid, in place of its IoU",
    "reward/answer": "What an answer is paid, in place of right or wrong",
    "reward/length_band": "Completions of a length that is paid, share",
    "frac_zero_range": "Questions whose answers all earn the same, share",
    "loss": "Loss",
}
_MORE = {
    "reward_range": "Reward range in a group",
    "reward/overlong": "Penalty for length, part of the reward",
    "kl": "KL from the reference",
    "entropy": "Entropy",
    "grad_norm": "Norm of the gradient",
    "length": "Tokens of a completion",
    "truncated_frac": "Completions cut off at the limit, share",
    "same_answer": "Completions with the commonest answer, share",
    "clip_ratio/region_mean": "Share of clipped tokens",
    "online/completions": "Completions drawn in a step, with replaced ones and re-probes",
    "online/skipped": "Samples that were skipped in a step",
    "online/ask_easy": "Chance of asking a solved sample again after one group of equal rewards",
    "online/ask_hard": "Chance of asking an unsolved sample again after one",
    "online/score": "Score of the groups that were learned from, mean",
    "online/error": "Estimated against drawn scores, mean difference",
    "online/target": "Target difficulty",
    "online/replayed": "Replayed completions in a step",
    "online/kept": "Kept completions",
    "online/back": "Dropped samples that came back in a step",
    "correction/ratio_mean": "Trainer's probability over the sampler's, mean",
    "correction/ratio_max": "The same, largest",
    "learning_rate": "Learning rate",
    "step_time": "Seconds per step",
    "time/video_wait_s": "Seconds of waiting for videos, a step",
}


@dataclass(frozen=True, slots=True)
class Training:
    """One run of `trlt train`."""

    name: str
    log: Sequence[Mapping[str, Any]]
    """Rows of `log.jsonl`."""
    result: Mapping[str, Any] | None
    """Content of `result.json`; None during training."""


def training_section(runs: Sequence[Training]) -> Markup:
    """One line of facts per run, then one panel per metric with one curve per run."""
    facts = [element("li", _facts(run)) for run in runs]
    parts = [element("ul", *facts, class_="facts"), legend([(run.name, run_style(place)) for place, run in enumerate(runs)])]
    shown = "A reward adds up format, right answers and IoU of an answer, and what else the recipe rewards."
    shown += " Thin: each step. Thick: running mean."
    first, more = _panels(runs, _FIRST | _own_parts(runs)), _panels(runs, _MORE)
    parts += [element("p", shown, class_="note"), element("div", *first, class_="panels")]
    if more:
        parts.append(element("details", element("summary", "More curves"), element("div", *more, class_="panels")))
    return join(parts)


def _own_parts(runs: Sequence[Training]) -> dict[str, str]:
    """Titles of the parts that recipes add to the reward."""
    names = dict.fromkeys(key for run in runs for row in run.log for key in row if key.startswith("reward/"))
    return {key: f"{key.removeprefix('reward/')}, part of the reward" for key in names if key not in {**_FIRST, **_MORE}}


def _panels(runs: Sequence[Training], titles: Mapping[str, str]) -> list[Markup]:
    panels = []
    for key, title in titles.items():
        curves = []
        for place, run in enumerate(runs):
            points = [(row["step"], row[key]) for row in run.log if is_number(row.get("step")) and is_number(row.get(key))]
            if points:
                x, y = zip(*points, strict=True)
                curves.append(StepCurve(run.name, run_style(place), x, y))
        if curves:
            panels.append(line_chart(title, curves))
    return panels


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _facts(run: Training) -> str:
    if run.result is None:
        step, of = (run.log[-1].get("step"), run.log[-1].get("of")) if run.log else (0, "?")
        return f"{run.name}: not complete; {step} of {of} steps"
    words = [f"{run.name}: {run.result.get('method')}, {run.result.get('steps')} steps"]
    first, last = run.result.get("reward_first"), run.result.get("reward_last")
    if first is not None and last is not None:
        words.append(f"reward {first:.3f} over the first fifth, {last:.3f} over the last")
    parity = run.result.get("parity")
    if parity:
        words.append(
            f"log-probabilities of sampling and training agree within {parity['largest']:.1e} over {parity['tokens']} tokens"
        )
    return "; ".join(words)
