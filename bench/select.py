"""`trlt select` at the size of the paper's pool: a probe of every sample of all nine sources.

    python -m bench.select             490,896 invented rows and their samples; about 1.4 GB of disk while it runs
    python -m bench.select --scale 0.01 --json
    python -m bench.select --rules     the same rows twice: by the paper's rules, and with all rules of docs/selection-rules.md

Rows and samples are written first (not timed). Then the real command runs in a process of its own, whose time and peak
memory are the metrics. What it saw and took is compared with what was kept of each row while it was made.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).resolve().parent

if __name__ == "select":
    # `python bench/sample.py` has this folder first on its path, where the libraries' `import select` finds this file in
    # place of the standard library's module; what they asked for is put in its place.
    spec = PathFinder.find_spec("select", [entry for entry in sys.path if Path(entry).resolve() != HERE])
    assert spec is not None and spec.loader is not None
    sys.modules["select"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["select"])
elif __name__ == "__main__" and not __package__:  # run as a file: the folder above holds the package `bench`
    sys.path[0] = str(HERE.parent)

TASKS = dict.fromkeys(("llava_video", "nextqa", "perceptiontest"), "multi_choice")
TASKS |= dict.fromkeys(("internvid", "didemo", "vtg_it", "charades"), "grounding")
TASKS |= dict.fromkeys(("gvideollm", "nextgqa"), "grounded_qa")
N = 8
FAULTY = 0.002
"""Share of rows whose video couldn't be read."""
CLASSES = ("error", "easy", "medium", "hard", "varied", "flat")
RULES = (
    "select.by=all",
    "select.within={grounding: {best_iou: [0.3, 1.0]}, multi_choice: {pass_rate: [0.1, 0.9]}}",
    "select.target={grounding: {of: mean_iou, mean: 0.4, deviation: 0.2}}",
    "select.balance=[source]",
    "select.per_video=40",
    "select.question_overlap=0.8",
)
"""What `--rules` adds: a rule of each kind. Questions are of invented words, so hardly any are near-duplicates."""


@dataclass
class Made:
    """What is known of one source's rows, by their number; compact, for the command's peak must not be this process's."""

    classes: array[int] = field(default_factory=lambda: array("b"))
    """Places in `CLASSES`, by rules."""
    variances: array[int] = field(default_factory=lambda: array("q"))
    """Of the rewards, times (1000 · N)², exactly; -1 for an error."""


def sample(source: str, number: int, rng: Random) -> Any:
    """An invented sample."""
    from bench.corpus import sentence
    from trlt.task.sample import Sample, Span

    task, values = TASKS[source], dict[str, Any]()
    if task != "multi_choice":
        start = round(rng.uniform(0, 60), 1)
        values["spans"] = (Span(start, round(start + rng.uniform(1, 30), 1)),)
    if task != "grounding":
        place = rng.randrange(5)
        options = tuple(f"{sentence(rng, 5)} {letter}" for letter in "abcde")
        values |= {"options": options, "answer": options[place], "answer_index": place}
    video = f"{rng.randrange(1200):04d}/{rng.randrange(10**9, 10**10)}"
    return Sample(
        **{"id": f"{source}:train:{number}", "source": source, "split": "train", "task": task, "video": f"{video}.mp4"},
        **{"question": f"what does the {sentence(rng)}", "video_key": f"youtube:{video}", "duration": 95.0, "license": "made"},
        **values,
    )


def probed(asked: Any, rng: Random, made: Made) -> dict[str, Any]:
    """An invented row of a sample; its class and variance, reckoned in whole numbers, go to `made`."""
    from trlt.rollout.row import error_row

    if rng.random() < FAULTY:
        made.classes.append(CLASSES.index("error"))
        made.variances.append(-1)
        return error_row(asked, N, f"{asked.video}: can't be read (moov atom not found)")
    task = asked.task
    chance = rng.random()
    rights = [rng.random() < chance for _ in range(N)]
    found = rng.random() if rng.random() < 0.8 else 0.0
    thousandths = [rng.randrange(600, 1000) if rng.random() < found else rng.choice((0, 0, 0, 150)) for _ in range(N)]
    row = _row(asked, rights, thousandths, rng)
    apart = N * max(thousandths) - sum(thousandths)  # max - mean, times 1000 · N
    if task == "grounding":
        klass = "varied" if apart >= 300 * N else "flat"
    else:
        klass = "hard" if sum(rights) <= 1 else "easy" if sum(rights) >= 7 else "medium"
        if task == "grounded_qa" and klass == "medium" and apart < 100 * N:
            klass = "flat"
    made.classes.append(CLASSES.index(klass))
    doubled = [2000 * right if task == "multi_choice" else 2 * iou for right, iou in zip(rights, thousandths, strict=True)]
    if task == "grounded_qa":
        doubled = [1000 * right + iou for right, iou in zip(rights, thousandths, strict=True)]
    made.variances.append(N * sum(value**2 for value in doubled) - sum(doubled) ** 2)
    return row


def _row(asked: Any, rights: list[bool], thousandths: list[int], rng: Random) -> dict[str, Any]:
    """The fields of `trlt.rollout.row.to_row`, in their order."""
    task = asked.task
    ious = [value / 1000 for value in thousandths]
    answers, scores, texts = [], [], []
    for right, iou in zip(rights, ious, strict=True):
        span = None if task == "multi_choice" else [round(rng.uniform(0, 60), 1), round(rng.uniform(60, 95), 1)]
        option = None if task == "grounding" else asked.answer_index if right else (asked.answer_index + 1) % 5
        said = None if option is None else asked.options[option]
        seconds = None if span is None else f"{span[0]} to {span[1]}"
        payload = said or seconds
        observed = f"<observe> {seconds} </observe> " if said and seconds else ""
        texts.append(f"{observed}<answer> {payload} </answer>")
        answers.append({"payload": payload, "option": option, "span": span, "well_formed": True})
        accuracy = None if task == "grounding" else float(right)
        scores.append({"format": 1.0, "accuracy": accuracy, "tiou": None if span is None else iou})
    parts = {"multi_choice": (1.0, 0.0), "grounding": (0.0, 1.0), "grounded_qa": (0.5, 0.5)}[task]
    rewards = [1 + parts[0] * right + parts[1] * iou for right, iou in zip(rights, ious, strict=True)]
    return {
        **{"id": asked.id, "source": asked.source, "task": task, "texts": texts, "answers": answers, "scores": scores},
        **{"rewards": rewards, "tokens": [len(text) // 4 for text in texts], "finished": [True] * N, "n": N},
        "correct": None if task == "grounding" else sum(rights),
        "ious": None if task == "multi_choice" else ious,
        "delta_iou": None if task == "multi_choice" else max(ious) - sum(ious) / N,
        **{"reward_range": max(rewards) - min(rewards), "mean": sum(rewards) / N, "format_rate": 1.0},
        **{"video_tokens": 2048, "error": None},
    }


def write(root: Path, scale: float, seed: int) -> dict[str, Made]:
    """Writes `pool/<source>.jsonl` as `trlt prepare` does, and `probe.jsonl` in the order of the pool."""
    from bench.corpus import PAPER

    made = {}
    (root / "pool").mkdir()
    with (root / "probe.jsonl").open("w") as rows:
        for source in sorted(PAPER):
            made[source], rng = Made(), Random(f"{seed}:{source}")
            with (root / f"pool/{source}.jsonl").open("w") as samples:
                for number in range(max(2, round(PAPER[source] * scale))):
                    asked = sample(source, number, rng)
                    samples.write(json.dumps(asked.to_json()) + "\n")
                    rows.write(json.dumps(probed(asked, rng, made[source])) + "\n")
    return made


def deal(available: Mapping[str, int], size: int) -> dict[str, int]:
    """An even share, dealt one by one: the plain way to say what water-filling must give."""
    taken = dict.fromkeys(sorted(available), 0)
    while size and any(taken[name] < available[name] for name in taken):
        for name in taken:
            if size and taken[name] < available[name]:
                taken[name] += 1
                size -= 1
    return taken


def check(result: dict[str, Any], chosen: Iterable[str], made: Mapping[str, Made], by: str, budget: int | None) -> None:
    """Counts, shares and the chosen ids fit what was made: what is fast and wrong is of no use."""
    counts: Counter[tuple[str, str]] = Counter()
    for source, one in made.items():
        for klass, variance in zip(one.classes, one.variances, strict=True):
            name = CLASSES[klass] if by == "rules" or variance < 0 else "varied" if variance else "flat"
            counts[source, name] += 1
    report = result["selection"]
    cells = {(cell["source"], cell["class"]): cell for cell in report["cells"]}
    found = {key: cell["available"] for key, cell in cells.items() if cell["available"]}
    _same("available", found, {key: count for key, count in counts.items() if key[1] != "error"})
    _same("errors", report["errors"], sum(count for key, count in counts.items() if key[1] == "error"))
    for task, wanted in report["wanted"].items():
        for klass, size in wanted.items():
            dealt = deal({source: counts[source, klass] for source in made if TASKS[source] == task}, size)
            _same(f"{task} ({klass})", {source: cells[source, klass]["taken"] for source in dealt}, dealt)
    if budget is not None:
        may = sum(cell["available"] for cell in cells.values() if report["wanted"][cell["task"]].get(cell["class"]))
        _same("budget", report["taken"], min(budget, may))
    _check_ids(list(chosen), cells, made, by)


def _check_ids(ids: list[str], cells: Mapping[tuple[str, str], Any], made: Mapping[str, Made], by: str) -> None:
    """In the rows' order, of the right classes, and by variance none varies less than one that was left."""
    keys = [(source, int(number)) for source, _, number in (id.split(":") for id in ids)]
    _same("order", keys, sorted(keys))
    numbers: dict[str, list[int]] = {source: [] for source in made}
    for source, number in keys:
        numbers[source].append(number)
    for source, one in made.items():
        if by == "rules":
            taken = Counter(CLASSES[one.classes[number]] for number in numbers[source])
            _same(f"classes of {source}", taken, Counter({k: c["taken"] for (s, k), c in cells.items() if s == source}))
        else:
            most = sorted(one.variances, reverse=True)[: len(numbers[source])]
            _same(f"variances of {source}", sorted((one.variances[n] for n in numbers[source]), reverse=True), most)


def run_rules(root: Path, command: list[str]) -> dict[str, Any]:
    """Selects from the same rows with `RULES`; gives what was taken, seconds and peak memory in MiB.

    Raises:
        SystemExit: the samples break a bound, or a cap.
    """
    from bench.prepare import timed

    out = root / "ruled.jsonl"
    rules = [f"--set={rule}" for rule in RULES]
    seconds, peak, result = timed([*command, *rules, "--out", str(out), "--json"], root)
    with out.open() as lines:
        chosen = {sample["id"]: sample["video_key"] for sample in map(json.loads, lines)}
    _same("samples with rules", len(chosen), result["taken"])
    if max(Counter(chosen.values()).values()) > 40:
        raise SystemExit("a video has more than 40 samples")
    with (root / "probe.jsonl").open() as lines:
        for row in map(json.loads, lines):
            if row["id"] in chosen and not _within(row):
                raise SystemExit(f"{row['id']} was taken against select.within")
    return {"taken": result["taken"], "seconds": round(seconds, 2), "peak_mb": round(peak, 1)}


def _within(row: Mapping[str, Any]) -> bool:
    if row["task"] == "grounding":
        return bool(max(row["ious"]) >= 0.3)
    return row["task"] != "multi_choice" or bool(1 <= row["correct"] <= 7)


def _same(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise SystemExit(f"{what}: {str(expected)[:500]} was made, but found: {str(found)[:500]}")


def main() -> None:
    """Makes rows and samples, runs the command, prints the metrics."""
    from bench.prepare import timed

    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the paper's counts")
    parser.add_argument("--by", choices=("rules", "variance"), default="rules")
    parser.add_argument("--budget", type=int, help="samples in all; default: the paper's sizes")
    parser.add_argument("--rules", action="store_true", help="select from the same rows with rules of every kind, too")
    parser.add_argument("--folder", type=Path, help="where rows and samples go; default: a temporary folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        root = Path(name).resolve()
        made = write(root, args.scale, args.seed)
        rows_mb = (root / "probe.jsonl").stat().st_size / 1e6
        samples_mb = sum(path.stat().st_size for path in root.glob("pool/*")) / 1e6
        command = [sys.executable, "-m", "trlt", "select", "--probe", str(root / "probe.jsonl"), "--data", str(root / "pool")]
        budget = [f"--set=select.budget={args.budget}"] * (args.budget is not None)
        plain = [*command, "--set", f"select.by={args.by}", *budget]
        seconds, peak, result = timed([*plain, "--out", str(root / "train.jsonl"), "--json"], root)
        with (root / "train.jsonl").open() as lines:
            check(result, (json.loads(line)["id"] for line in lines), made, args.by, args.budget)
        ruled = run_rules(root, [*command, *budget]) if args.rules else None
    rows = sum(len(one.classes) for one in made.values())
    print(f"{rows:,} rows ({rows_mb:,.0f} MB) of {len(made)} sources, samples {samples_mb:,.0f} MB")
    print(f"selected: {result['taken']:,} in {seconds:.1f} s ({rows / seconds:,.0f} rows a second), peak {peak:,.0f} MiB")
    if ruled:
        print(f"with rules: {ruled['taken']:,} in {ruled['seconds']:.1f} s, peak {ruled['peak_mb']:,.0f} MiB")
    if args.json:
        metrics = {"rows": rows, "taken": result["taken"], "rows_mb": round(rows_mb, 1), "samples_mb": round(samples_mb, 1)}
        metrics |= {"seconds": round(seconds, 2), "peak_mb": round(peak, 1), "scale": args.scale}
        print(json.dumps(metrics | {"by": args.by, "budget": args.budget} | ({"rules": ruled} if ruled else {})))


if __name__ == "__main__":
    main()
