"""A tiny run from end to end, in a process of its own: a broken library may crash it, and nothing else.

`python -m trlt.commands.doctor_checks.trial` writes a clip, decodes it, asks the model that ships with trlt, and makes one GRPO
step, which begins by comparing rollout, trainer and the library's own forward. With a `model_type` of another family, it asks a
tiny model of that, too: ids, positions, features and log-probabilities must be the library's. It prints a JSON object a stage.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.commands.doctor_checks._check import Check

STAGES = ("write a video", "decode it", "load the model", "ask it", "one GRPO step")
FAMILY = "ask a tiny model of the recipe's family"
"""The last stage, where that is another than the shipped model's."""
LIMIT_S = 300.0
"""After which the process is ended."""
LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What makes a process one of several that train together."""
REMEDY = "mend the faults above first; if there are none, report this with the output of --json"


@dataclass(frozen=True, slots=True)
class Trial:
    """The findings, and how long each stage took in seconds."""

    checks: list[Check]
    seconds: dict[str, float]


def trial(kind: str | None = None) -> Trial:
    """Runs all stages; the first that fails is the last.

    Args:
        kind: `model_type` of a family that is tried, too.
    """
    env = {key: value for key, value in os.environ.items() if key not in LAUNCHED}
    # One GPU: where transformers' trainer sees more, it copies the model to all of them.
    env["CUDA_VISIBLE_DEVICES"] = env.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    command = [sys.executable, "-m", "trlt.commands.doctor_checks.trial", *([kind] if kind else [])]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said, complaints = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            said, complaints = process.communicate()
            complaints += f"\nnot done in {LIMIT_S:g} s"
    return read_trial(said, complaints, process.returncode)


def read_trial(said: str, complaints: str, code: int) -> Trial:
    """What the process's words mean.

    Args:
        said: Its output: a JSON object a stage.
        complaints: Its error output, of which the last line is told.
        code: How it ended; below 0, minus the number of a signal.
    """
    checks: list[Check] = []
    seconds: dict[str, float] = {}
    for line in said.splitlines():
        if not line.startswith('{"stage": '):  # a library's words
            continue
        stage = json.loads(line)
        seconds[stage["stage"]] = stage["seconds"]
        checks.append(
            Check(stage["stage"], "ok", f"{stage['seconds']:.1f} s" + (f": {stage['found']}" if stage["found"] else ""))
        )
    if code:
        ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        last = next((line.strip() for line in reversed(complaints.splitlines()) if line.strip()), ended)
        checks.append(
            Check((*STAGES, FAMILY)[min(len(checks), len(STAGES))], "fault", last if code > 0 else f"{ended}: {last}", REMEDY)
        )
    return Trial(checks, seconds)


def main() -> None:
    """Runs the stages and prints each as it is done."""
    with tempfile.TemporaryDirectory(prefix="trlt-doctor-") as folder:
        began = time.monotonic()
        # The family's stage may have been left out.
        for stage, found in zip((*STAGES, FAMILY), _stages(Path(folder), *sys.argv[1:]), strict=False):
            now = time.monotonic()
            sys.stdout.write(json.dumps({"stage": stage, "seconds": round(now - began, 2), "found": found}) + "\n")
            sys.stdout.flush()
            began = now


def _stages(folder: Path, kind: str | None = None) -> Iterator[str]:
    """Does one stage after the other; what each found."""
    from trlt.engine.model import family_at
    from trlt.lab.miniature import warmup
    from trlt.recipe import Model, Recipe, Train, Video
    from trlt.task.sample import read_samples
    from trlt.video.resolve import VideoIndex
    from trlt.video.workers import ClipLoader

    model = Model(path="miniature", dtype="float32")
    settings = Train(
        think=False, answer_format="open", max_new_tokens=32, prompts_per_step=1, max_steps=1, gradient_checkpointing=False
    )
    recipe = Recipe(model=model, video=Video(max_tokens=32, workers=1), train=settings)
    written = warmup.write(folder, 1)
    [sample] = read_samples(written.samples)
    yield f"{sample.duration:g} s of H.264"
    with ClipLoader(recipe.video, family_at(model.path).geometry) as loader:
        clip = loader.load(written.videos / sample.video)
        yield f"{len(clip.frames)} frames, {clip.tokens} tokens, by a process of its own"
        from trlt.engine.forest import Engine, Tree
        from trlt.engine.inputs import InputBuilder
        from trlt.engine.model import load
        from trlt.engine.sampling import Sampling
        from trlt.rollout import request
        from trlt.train.trainer import TrainingData

        loaded = load(model)
        yield f"miniature on {loaded.model.device}"
        sampling = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens, settings.seed)
        engine = Engine(loaded.model, loaded.processor, compare_first=True)
        [[[completion]]] = engine.generate([Tree(clip, (request(sample, recipe.form("train"), 1),))], sampling)
        assert engine.parity
        answer = recipe.form("train").read(sample, completion.text).payload or "no answer"
        yield f"{sample.question}? {answer}; within {engine.parity.largest:.1g} of the library's own forward"
        training_data = TrainingData([sample], VideoIndex(written.videos), loader, InputBuilder(loaded.model, loaded.processor))
        yield _grpo(loaded, training_data, recipe, folder / "run")
    from trlt.engine.families import family_named, family_of

    family = family_named(kind)
    if family is not None and family is not family_of(loaded.model):
        from trlt.lab.miniature.tiny import CHAT_TEMPLATE

        made, processor = family.tiny(loaded.processor.tokenizer, CHAT_TEMPLATE)
        engine = Engine(made.eval().to(loaded.model.device), processor, compare_first=True)
        with ClipLoader(recipe.video, family.geometry) as loader:
            clip = loader.load(written.videos / sample.video)
        engine.generate([Tree(clip, (request(sample, recipe.form("train"), 1),))], sampling)
        assert engine.parity
        yield f"{family.name}: within {engine.parity.largest:.1g} of the library's own forward"


def _grpo(loaded: Any, training_data: Any, recipe: Any, folder: Path) -> str:
    from trlt.train import grpo_run

    train: Callable[..., tuple[int, Any]] = grpo_run.train
    _, parity = train(loaded, training_data, recipe, folder)
    return f"rollout and trainer agree within {parity.largest:.1g} on {parity.tokens} tokens"


if __name__ == "__main__":
    main()
