"""Folders as the commands leave them, made without a model: two probes, a selection, a training, two evaluations."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from made_clips import choice, event, write_clip

from trlt.commands._output import Output
from trlt.commands.eval import evaluate
from trlt.commands.select import select
from trlt.files import file_digest
from trlt.recipe import Recipe
from trlt.rollout import open_run, to_row
from trlt.rollout.row import Generated, error_row
from trlt.task.sample import Sample, Span

QUIET = Output(json_mode=True)
N = 4
HOSTILE = (
    "</script><script>window.ran = 'script'</script><img src=x onerror=\"window.ran='img'\"><svg onload=\"window.ran='svg'\">"
    "<style>body{display:none}</style><!-- \u202e]]> javascript:window.ran='link' &lt;b&gt; \x00 \ud83d {{7*7}}"
)
"""What an annotation must not do to a page: end the script's block, load, run, hide, or break the encoding."""
LABELS = ["a cat sits", "a cat runs", "a dog sits", "a dog runs"]


def samples(count: int = 12, videos: int = 4) -> list[Sample]:
    """Of all three tasks, by turns."""
    made = []
    for i in range(count):
        video = f"v{i % videos}.mp4"
        if i % 3 == 0:
            made.append(event(f"event:{i}", video, question=f"event number {i}", source="alpha"))
        elif i % 3 == 1:
            made.append(choice(f"choice:{i}", video, question=f"question number {i}", source="beta"))
        else:
            grounded = dict(task="grounded_qa", spans=(Span(0.5, 2.5),), source="alpha", question=f"grounded number {i}")
            made.append(choice(f"grounded:{i}", video, **grounded))
    return made


def said(sample: Sample, right: int, n: int = N) -> list[Generated]:
    """`n` completions, the first `right` of them the gold answer."""
    start, end = sample.spans[0] if sample.spans else (0.0, 0.0)
    good = {
        "grounding": f"<answer> {start} to {end} </answer>",
        "multi_choice": f"<answer> {sample.answer} </answer>",
        "grounded_qa": f"<observe> {start} to {end} </observe> <answer> {sample.answer} </answer>",
    }[sample.task]
    bad = {
        "grounding": "<answer> 0.0 to 0.5 </answer>",
        "multi_choice": "<answer> red circle </answer>",
        "grounded_qa": "<observe> 0.0 to 0.6 </observe> <answer> red circle </answer>",
    }[sample.task]
    return [Generated(f"<think> try {k} </think> {good if k < right else bad}", 9, True) for k in range(n)]


def probe(folder: Path, data: Path, videos: Path, made: Sequence[Sample], right: Callable[[int], int], n: int = N) -> Path:
    """A probe's folder; the sample at place i has `right(i)` right answers, and below 0 an error."""
    recipe = Recipe.model_validate({"probe": {"n": n, "think": True}, "select": {"easy": n, "hard": 0}})
    given = {"sha256": file_digest(data), "samples": len(made), "path": str(data), "videos": str(videos)}
    run = open_run(folder, "probe", recipe, model={"name": folder.name}, inputs={"data": given}, protocol={"n": n})
    rows = run.rows("probe")
    rows.parent.mkdir(parents=True)
    with rows.open("wb") as out:
        for i, sample in enumerate(made):
            if right(i) < 0:
                row = error_row(sample, n, "v.mp4: can't be <b>decoded</b>")
            else:
                row = to_row(sample, said(sample, right(i), n), grader=recipe.grader("probe"), video_tokens=8)
            out.write(json.dumps(row).encode() + b"\n")
    return folder


def train(folder: Path) -> Path:
    recipe = Recipe()
    open_run(folder, "train", recipe, model={"name": "base"}, inputs={}, protocol={})
    log = [{"step": k, "of": 6, "reward": 1 + k / 10, "loss": 0.1 / k, "reward/tiou": 0.3} for k in range(1, 7)]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log) + '{"step": 7, "torn')
    result = {"method": "grpo", "steps": 6, "reward_first": 1.1, "reward_last": 1.6, "parity": None}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def evals(root: Path, *, wrong: str | None = None) -> list[Path]:
    """Two evaluations of predictions on four queries in the layout of Charades-STA; the second is better.

    The first is right about the first query; of the others it says nothing, or `wrong`.
    """
    bench = root / "bench"
    bench.mkdir()
    spans = ["AAAAA 0.0 1.0", "AAAAA 1.0 2.0", "BBBBB 0.5 1.5", "BBBBB 1.0 3.0"]
    lines = [f"{span}##{label}" for span, label in zip(spans, LABELS, strict=True)]
    (bench / "charades_sta_test.txt").write_text("\n".join(lines) + "\n")
    (bench / "Charades_v1_test.csv").write_text("id,length\nAAAAA,2.0\nBBBBB,3.0\n")
    recipe = root / "recipe.yaml"
    recipe.write_text(f"eval:\n  benchmarks:\n    charades: {{annotations: {bench}}}\n")
    gold = {"AAAAA:0": (0, 1), "AAAAA:1": (1, 2), "BBBBB:2": (0.5, 1.5), "BBBBB:3": (1, 3)}
    folders = []
    for name, known in (("eval-base", ["AAAAA:0"]), ("eval-tuned", list(gold))):
        texts = dict.fromkeys(gold, wrong) if wrong else {}
        texts |= {id: f"<think> hm </think> <answer> {gold[id][0]} to {gold[id][1]} </answer>" for id in known}
        given = root / f"{name}.predictions.jsonl"
        given.write_text("".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in texts.items()))
        evaluate(["charades"], recipe_path=recipe, predictions=given, out=root / name, output=QUIET)
        folders.append(root / name)
    return folders


def everything(root: Path, made: list[Sample] | None = None) -> Path:
    """A folder with runs of every kind, and the videos beside."""
    made = made if made is not None else samples()
    runs, videos, data = root / "runs", root / "videos", root / "samples.jsonl"
    for video in sorted({one.video for one in made}):
        write_clip(videos / video, seed=len(video) + ord(video[1]))
    data.write_text("".join(json.dumps(one.to_json()) + "\n" for one in made))  # half a surrogate is no UTF-8
    runs.mkdir(parents=True)
    probe(runs / "probe-a", data, videos, made, lambda i: -1 if i == len(made) - 1 else (0, 2, 2, 4)[i % 4])
    probe(runs / "probe-b", data, videos, made, lambda i: (2, 2, 4, 4)[i % 4])
    select(runs / "probe-a", out=runs / "train.jsonl", recipe_path=runs / "probe-a/recipe.yaml", output=QUIET)
    train(runs / "train")
    evals(runs)
    return runs
