"""The two sides of `bench.peers`: what both are given, how each is run and counted, and what it told."""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench import common
from bench.clips import make
from trlt.engine.model import save
from trlt.task import prompt as prompts
from trlt.task.sample import Sample, Span, write_samples

ROOT = Path(__file__).resolve().parents[1]
RATE = 30
"""Frames a second of the files; both sides sample 2."""
AHEAD = 2
"""Clips that ours loads ahead: as many last steps of the cold epoch have none left to decode, and aren't timed."""

PARTS = ("video_wait", "rollout", "score")
"""Of our step, as the trainer logs them; the rest of it is the update."""
LENGTH = re.compile(r"completions/mean_length'?: '?([\d.]+)")
"""In the log of theirs."""


@dataclass(frozen=True)
class Setup:
    """What both sides are given."""

    model: Path
    samples: Path
    """For ours."""
    data: Path
    """For theirs: JSONL of video, question and answer."""
    videos: Path


@dataclass(frozen=True)
class Settings:
    """What our side's process is told."""

    model: str
    samples: str
    videos: str
    folder: str
    """Scratch; the frame store is made in it."""
    clips: int
    """Samples, one a clip: steps of an epoch."""
    tokens: int
    """Most video tokens of a clip: `video.max_tokens`."""
    group: int
    length: int
    threads: int
    workers: int
    """Processes that decode ahead: `video.workers`."""
    features: bool
    """Whether what the tower makes of clips is kept, too: `train.features`."""
    seed: int


@dataclass(frozen=True)
class Run:
    """What one run of a side, or one epoch of ours, showed."""

    step_s: float
    """Wall time over the timed steps."""
    steps: list[float]
    """Seconds of each timed step."""
    decodes: float
    """Reads of a video file, a step."""
    passes: float
    """Passes of the vision tower, a step."""
    clips: float
    """Clips in these passes, a step."""
    video_tokens: int
    prompt_tokens: int
    threads: int
    """Of the model."""
    parts: dict[str, float]
    """Mean seconds of a step's parts; those of theirs overlap."""


def set_up(args: argparse.Namespace, folder: Path) -> Setup:
    """Writes the model, the files and the same questions in both formats."""
    setup = Setup(folder / "model", folder / "samples.jsonl", folder / "data.jsonl", Path(args.files).resolve() / "peers")
    save(*common.build(args), setup.model)
    width, height = args.size
    span = Span(0.25 * args.seconds, 0.5 * args.seconds)
    samples, rows = [], []
    for number in range(args.clips):
        name = f"{width}x{height}_{args.seconds}s_{number}.mp4"
        frames, options = RATE * args.seconds // 2, {"crf": str(18 + number % 12)}
        path = make(setup.videos / name, (width, height), frames, Fraction(RATE), times=2, options=options)
        sample = Sample(f"bench:{number}", "bench", "train", "grounding", name, "a green triangle is shown", spans=(span,))
        samples.append(sample)
        words = prompts.build(sample, think=True, answer_format="letter")
        rows.append({"video": str(path), "question": words.user, "answer": list(span)})
    write_samples(setup.samples, samples)
    setup.data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return setup


def ours(args: argparse.Namespace, setup: Setup, folder: Path) -> dict[str, Run]:
    """Two epochs of the product's trainer: the store cold, then warm."""
    settings = Settings(
        model=str(setup.model),
        samples=str(setup.samples),
        videos=str(setup.videos),
        folder=str(folder),
        clips=args.clips,
        tokens=args.pair * args.seconds,  # 2 frames a second: a pair a second
        group=args.group,
        length=args.length,
        threads=args.threads,
        workers=args.workers,
        features=args.features,
        seed=args.seed,
    )
    command = [sys.executable, "-m", "bench.our_steps", json.dumps(asdict(settings))]
    done, passes, decodes = _watched(command, folder, OMP_NUM_THREADS=str(args.threads))
    told = json.loads(done.stdout.splitlines()[-1])
    cold, warm = range(args.clips), range(args.clips, 2 * args.clips)
    return {"cold": _epoch(told, cold, cold[1:-AHEAD], passes, decodes), "warm": _epoch(told, warm, warm, passes, decodes)}


def theirs(args: argparse.Namespace, setup: Setup, folder: Path) -> Run:
    """One run of the peer's script."""
    command = ["bash", str(Path(args.script).resolve()), str(setup.model), str(setup.data), str(args.steps)]
    variables = {
        "PEER_CACHE": str(Path(args.cache).resolve()),
        "WORK": str(folder / "work"),
        "NUM_GENERATIONS": args.group,
        "MAX_COMPLETION": args.length,
        "BENCH_FIXED_LEN": 1,
        "FPS": 2,
        "VIDEO_MAX_TOKEN_NUM": args.pair,
        "FREEZE_VIT": "true",
        "THREADS": args.threads,
        "SEED": args.seed,
        "LR": 1e-5,
    }
    done, passes, _ = _watched(command, folder, **{name: str(value) for name, value in variables.items()})
    lengths = set(LENGTH.findall((folder / "work" / "log.txt").read_text(encoding="utf-8", errors="replace")))
    if {float(length) for length in lengths} != {float(args.length)}:
        raise SystemExit(f"the peer's completions aren't {args.length} tokens long, on average of a step: {sorted(lengths)}")
    return read_peer(done.stdout, done.stderr, passes, args.threads)


def read_peer(stdout: str, stderr: str, passes: list[list[str]], threads: int) -> Run:
    """What the script told.

    Args:
        stdout: Its last line is `BENCH {...}`.
        stderr: Holds a line `BENCH_STEP {...}` for each step.
        passes: Words of the lines that count the tower's passes.
        threads: That it was given.

    Raises:
        SystemExit: no such line.
    """
    word, _, metrics = (stdout.strip().splitlines() or [""])[-1].partition(" ")
    steps = [json.loads(line.partition(" ")[2]) for line in stderr.splitlines() if line.startswith("BENCH_STEP {")]
    if word != "BENCH" or not steps:
        raise SystemExit(f"the peer's script ended without its lines of metrics:\n{stdout[-500:]}\n{stderr[-2000:]}")
    told = json.loads(metrics)
    parts = {name for step in steps[1:] for name in step["parts"]}
    return Run(
        step_s=told["mean_s"],
        steps=told["all_s"][1:],
        decodes=statistics.mean(step["parts"].get("fetch_video", {"n": 0})["n"] for step in steps),
        passes=len(passes) / len(steps),
        clips=sum(int(clips) for _, clips in passes) / len(steps),
        video_tokens=told["video_tokens"],
        prompt_tokens=told["sequence_tokens"],
        threads=threads,
        parts={name: statistics.mean(step["parts"].get(name, {"s": 0.0})["s"] for step in steps[1:]) for name in sorted(parts)},
    )


def _watched(
    command: list[str], folder: Path, **variables: str
) -> tuple[subprocess.CompletedProcess[str], list[list[str]], list[list[str]]]:
    """Runs a side; gives also the words of the lines that count its vision passes and decodes.

    Raises:
        SystemExit: it failed; its last lines say why.
    """
    folder.mkdir()
    files = {"BENCH_PASSES": folder / "passes.txt", "BENCH_DECODES": folder / "decodes.txt"}
    for file in files.values():
        file.touch()
    paths = os.pathsep.join([str(ROOT / "bench" / "peer_counts"), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": paths, **{name: str(file) for name, file in files.items()}, **variables}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = "\n".join(done.stderr.splitlines()[-30:])
        raise SystemExit(f"{' '.join(command[:3])} ended with status {done.returncode}:\n{lines}")
    passes, decodes = ([line.split() for line in file.read_text(encoding="utf-8").splitlines()] for file in files.values())
    return done, passes, decodes


def _epoch(told: dict[str, Any], whole: range, timed: range, passes: list[list[str]], decodes: list[list[str]]) -> Run:
    """Counts over the steps `whole`, seconds over the steps `timed`."""
    marks = told["marks"]
    first, last = marks[whole.start], marks[whole.stop]
    seconds = [marks[step + 1] - marks[step] for step in timed]
    towers = [int(clips) for at, clips in passes if first <= float(at) <= last]
    parts = {part: statistics.mean(told["parts"][part][step] for step in timed) for part in PARTS}
    mean = statistics.mean(seconds)
    return Run(
        step_s=mean,
        steps=seconds,
        decodes=sum(first <= float(at) <= last for at, _ in decodes) / len(whole),
        passes=len(towers) / len(whole),
        clips=sum(towers) / len(whole),
        video_tokens=told["video_tokens"],
        prompt_tokens=told["prompt_tokens"],
        threads=told["threads"],
        parts=parts | {"update": mean - sum(parts.values())},
    )
