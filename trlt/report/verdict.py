"""Which of two evaluated models is better, in a few sentences that claim no more than the intervals support (pure)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from trlt.evaluate.conclusive import FEW_VIDEOS, UNEVEN, lenient_check, outputs
from trlt.report.caveats import UNANSWERED
from trlt.report.results_table import headlines

Outcome = Literal["better", "worse", "mixed", "unknown"]
"""Outcome for the second model: better on a main metric and worse on none, and so on; `unknown` if no metric is conclusive."""
SHOWN = 3
"""Metrics that a sentence lists."""
MANY = 5
"""Number of main metrics at which a chance difference is mentioned: the risk is 5% for each."""


class ComparisonVerdict(NamedTuple):
    """The verdict of a comparison."""

    outcome: Outcome
    sentences: tuple[str, ...]
    """The answer, then its qualifications."""

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(self.sentences)

    def to_json(self) -> dict[str, str]:
        """As `--json` gives it."""
        return {"outcome": self.outcome, "text": self.text}


class _HeadlineChange(NamedTuple):
    """A main metric in both runs."""

    bench: str
    metric: str
    values: Mapping[str, Any]
    few: bool
    """Too few videos for an interval."""
    lenient: Mapping[str, Any] | None = None
    """The same read leniently, where many outputs couldn't be read strictly."""

    @property
    def better(self) -> str | None:
        return None if self.few or self.is_form else self.values["better"]

    @property
    def is_form(self) -> bool:
        """Whether the change is conclusive but may be due to the form of outputs: read leniently, it isn't there."""
        return self.lenient is not None and self.values["better"] not in (None, self.lenient["better"])

    @property
    def name(self) -> str:
        """The metric's name in plain words."""
        return "accuracy" if self.metric == "acc" else self.metric

    def __str__(self) -> str:
        """The metric, its change, and the numbers behind it."""
        return f"{self.bench} {self.name} {self.change} ({self.numbers()})"

    @property
    def change(self) -> str:
        """The change, in points."""
        return f"{self.values['difference']:+.1f} points"

    def numbers(self) -> str:
        """Both values, the interval of the change, and the number of questions."""
        values, bounds = self.values, self.values["ci95"]
        interval = (
            f"95% interval of the change {bounds[0]:+.1f} to {bounds[1]:+.1f}; "
            if bounds and bounds[0] < bounds[1] and not self.few
            else ""
        )
        return f"{values['a']:.1f} to {values['b']:.1f}; {interval}{values['n']:,} question{'s' * (values['n'] != 1)}"


def verdict(result: Mapping[str, Any], names: tuple[str, str] = ("A", "B")) -> ComparisonVerdict:
    """Whether the second run is better than the first.

    By the main metrics alone (mIoU and accuracy); a metric counts only if its paired interval excludes 0.

    Args:
        result: As `trlt compare --json` gives it.
        names: Names of the two runs for the reader.
    """
    changes = _changes(result)
    rose, fell = ([one for one in changes if one.better == side] for side in ("B", "A"))
    if len(changes) == 1:
        said = _alone(changes[0], names)
    else:
        said = [*_several(rose, fell, changes, names), *_rest(rose, fell, changes)]
    if len(changes) >= MANY and (rose or fell):
        said.append(f"Each metric has a 5% risk of such a difference by chance alone, and there are {len(changes)}.")
    said = [*_unread(changes, result, names), *_form(changes, result), *said]
    if warned := [bench for bench, entry in result["benchmarks"].items() if entry["warnings"]]:
        said.append(f"The runs didn't follow one protocol on {_listed(warned)}, which may be the reason.")
    outcome: Outcome = "mixed" if rose and fell else "better" if rose else "worse" if fell else "unknown"
    return ComparisonVerdict(outcome, tuple(said))


def brief(result: Mapping[str, Any], names: tuple[str, str] = ("A", "B")) -> str:
    """The same in one sentence where that is all there is to say: which main metrics rose or fell, and how many did neither.

    Where a caveat comes first, nothing is conclusive, or videos are too few, it is the whole verdict.
    """
    changes = _changes(result)
    rose, fell = ([one for one in changes if one.better == side] for side in ("B", "A"))
    caveats = (
        _unread(changes, result, names)
        or _form(changes, result)
        or any(entry["warnings"] for entry in result["benchmarks"].values())
    )
    if caveats or len(changes) == 1 or not (rose or fell) or any(one.few for one in changes):
        return verdict(result, names).text
    a, b = names
    sides = [
        f"{word} {than}on {len(some)}{of} ({_listed([f'{one.bench} {one.name} {one.change}' for one in some])})"
        for word, some, than, of in (
            ("better", rose, f"than {a} ", f" of {len(changes)} main metrics"),
            ("worse", fell, "" if rose else f"than {a} ", "" if rose else f" of {len(changes)} main metrics"),
        )
        if some
    ]
    open_ = len(changes) - len(rose) - len(fell)
    rest = f"; the other {open_} can't be told from chance" if open_ else ""
    return f"{'mixed: ' if rose and fell else ''}{b} is {' and '.join(sides)}{rest}"


def _changes(result: Mapping[str, Any]) -> list[_HeadlineChange]:
    by = result.get("protocol", "paper")
    return [
        _HeadlineChange(bench, metric, entry["metrics"][metric], entry["videos"] < FEW_VIDEOS, lenient_check(entry, metric, by))
        for bench, entry in result["benchmarks"].items()
        for metric in headlines(bench, list(entry["metrics"]))
    ]


def _form(changes: Sequence[_HeadlineChange], result: Mapping[str, Any]) -> list[str]:
    """Metrics that differ by the strict protocol alone, and the command that compares what outputs state."""
    said = [
        f"{one.bench} {one.name} {one.change}, read leniently {one.lenient['difference']:+.1f}"
        for one in changes
        if one.lenient is not None and one.is_form and not one.few
    ]
    if not said:
        return []
    runs = [str(result[key]["run"]) for key in "ab"] if "a" in result else []
    command = shlex.join(["trlt", "compare", *runs, "--lenient"])
    return [f"This is about the form of outputs, and names no winner: {_listed(said)}. Compare what they state: `{command}`."]


def _alone(change: _HeadlineChange, names: tuple[str, str]) -> list[str]:
    a, b = names
    if change.better:
        better = change.better == "B"
        return [
            f"{_begin(b)} is {'better' if better else 'worse'} than {a} on {change.bench}: {change.name} "
            f"{'rose' if better else 'fell'} by {abs(change.values['difference']):.1f} points ({change.numbers()})."
        ]
    form = "many outputs couldn't be read strictly, and read leniently the change isn't there"
    open_ = form if change.is_form else "the change's interval contains 0"
    why = f"fewer than {FEW_VIDEOS} videos are too few" if change.few else open_
    return [f"Whether {b} is better than {a} can't be said: {why}.", f"The change: {change}."]


def _several(
    rose: Sequence[_HeadlineChange], fell: Sequence[_HeadlineChange], changes: Sequence[_HeadlineChange], names: tuple[str, str]
) -> list[str]:
    """The answer, and the metrics behind it."""
    a, b = names
    of = f"of {len(changes)} main metrics"
    if not rose and not fell:
        largest = max(changes, key=lambda one: abs(one.values["difference"]))
        return [
            f"Whether {b} is better than {a} can't be said from {len(changes)} main metrics.",
            f"The largest change: {largest}.",
        ]
    if rose and fell:
        first = f"Mixed: {b} is better than {a} on {len(rose)} {of} and worse on {len(fell)}."
    else:
        first = f"{_begin(b)} is {'better' if rose else 'worse'} than {a} on {len(rose or fell)} {of}."
    return [first, *(f"{word}: {_listed(some)}." for word, some in (("Better", rose), ("Worse", fell)) if some)]


def _unread(changes: Sequence[_HeadlineChange], result: Mapping[str, Any], names: tuple[str, str]) -> list[str]:
    """If most of a run's outputs are unreadable, its metrics mainly reflect their form; that is said first."""
    said = []
    for bench in dict.fromkeys(one.bench for one in changes):
        sides = result["benchmarks"][bench].get("unanswered")
        if sides is not None:
            said += [line for name, key in zip(names, "ab", strict=True) for line in _missing(sides[key], bench, name)]
        if sides is None or not (
            unread := [(name, sides[key]) for name, key in zip(names, "ab", strict=True) if _mostly(sides[key])]
        ):
            continue
        counts = [f"{_part(*outputs(side))} outputs of {name}" for name, side in unread]
        lenient = result.get("protocol") == "lenient"
        values = [f"{how}: {', '.join(of)}" for key, how in _OTHERS.items() if (of := _beside(changes, bench, sides, key))]
        beside = f"; {'; '.join(values)}" if values and not lenient else ""
        why = "state no answer, or several" if lenient else "hold no answer in the tags that were asked for"
        said.append(f"On {bench}, {' and '.join(counts)} couldn't be read (they {why}) and count as wrong{beside}.")
    return said


_OTHERS = {"official": "by the official rule", "lenient": "read leniently"}


def _beside(changes: Sequence[_HeadlineChange], bench: str, sides: Mapping[str, Any], protocol: str) -> list[str]:
    """A benchmark's main metrics by another protocol, over all outputs of each run."""
    return [
        f"{one.name} {sides['a'][protocol][one.metric]:.1f} to {sides['b'][protocol][one.metric]:.1f}"
        for one in changes
        if one.bench == bench and all(one.metric in side.get(protocol, {}) for side in sides.values())
    ]


def _part(count: int, n: int) -> str:
    return f"all {n:,}" if count == n else f"{count:,} of {n:,}"


def _mostly(side: Mapping[str, Any]) -> bool:
    count, n = outputs(side)
    return bool(n) and count >= UNANSWERED * n


def _missing(side: Mapping[str, Any], bench: str, name: str) -> list[str]:
    """That a run has no output for many questions."""
    missing = side.get("missing", 0)
    if not missing or missing < UNEVEN * side["n"]:
        return []
    return [f"On {bench}, {name} has no output for {missing:,} of {side['n']:,} questions, which count as wrong."]


def _rest(rose: Sequence[_HeadlineChange], fell: Sequence[_HeadlineChange], changes: Sequence[_HeadlineChange]) -> list[str]:
    """Why the other metrics are inconclusive."""
    said = []
    few = [one for one in changes if one.few]
    open_ = len(changes) - len(rose) - len(fell) - len(few) - sum(one.is_form and not one.few for one in changes)
    if open_:
        which = f"{'the other ' if rose or fell else ''}{open_}" if open_ < len(changes) else "each metric"
        what = "this change" if open_ == 1 else "these changes"
        said.append(f"The interval of {which} contains 0, so {what} can't be told from chance.")
    if few:
        benches = list(dict.fromkeys(one.bench for one in few))
        said.append(f"Nothing is said of {_listed(benches)}: fewer than {FEW_VIDEOS} videos are too few for an interval.")
    return said


def _listed(what: Sequence[object]) -> str:
    """The first few, and how many more there are."""
    words = [str(one) for one in what[:SHOWN]]
    if len(what) > SHOWN:
        words.append(f"{len(what) - SHOWN} more")
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _begin(name: str) -> str:
    """A name at the start of a sentence: run names stay unchanged, words get a capital."""
    return name[0].upper() + name[1:] if " " in name else name
