"""The recorded losses: how they are made, and `python -m tests.golden.record`, which records them anew.

Nothing here depends on a codec: the clips are folders of lossless pictures that numpy draws.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trlt.commands._output import Output
from trlt.commands.train import train
from trlt.lab.miniature.official import WorldOptions, clip
from trlt.lab.miniature.questions import ask
from trlt.lab.miniature.render import render_frames
from trlt.task.sample import Sample, Task, write_samples

HERE = Path(__file__).parent
METHODS = ("grpo", "sft")
TASKS: tuple[Task, ...] = ("multi_choice", "grounding", "grounded_qa")
SAMPLES = 12
KEPT = ("step", "reward", "reward_range", "length", "loss", "grad_norm")


def samples(videos: Path) -> Iterator[Sample]:
    """Writes clips and yields a question about each."""
    from PIL import Image

    index = written = 0
    while written < SAMPLES:
        scene, rng = clip("warmup", "train", WorldOptions(11), index)
        index += 1
        task = TASKS[written % len(TASKS)]
        question = ask(scene, rng, task, options=3)
        if question is None:
            continue
        folder = videos / f"{written:02d}"
        folder.mkdir(parents=True)
        for number, pixels in enumerate(render_frames(scene, fps=3), 1):
            Image.fromarray(pixels).save(folder / f"{number:05d}.png")
        yield Sample(
            id=f"golden:{written}",
            source="miniature",
            split="golden",
            task=question.task,
            video=folder.name,
            video_key=f"miniature:{scene.seed}",
            duration=scene.duration,
            question=question.text,
            options=question.options,
            answer=question.answer,
            answer_index=question.answer_index,
            spans=question.spans,
            license="Apache-2.0",
            meta={"reasoning": question.reasoning},
        )
        written += 1


def measure(method: str) -> list[dict[str, Any]]:
    """Trains the miniature model by the fixed recipe; the metrics of each step."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_samples(root / "samples.jsonl", list(samples(root / "videos")))
        sets = [f"train.method={method}", f"video.root={root / 'videos'}"]
        train(HERE / "recipe.yaml", sets=sets, data=root / "samples.jsonl", out=root / "run", output=Output(json_mode=True))
        rows = [json.loads(line) for line in (root / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: row[key] for key in KEPT if key in row} for row in rows]


def path(method: str) -> Path:
    """Where a method's metrics stand."""
    return HERE / f"{method}.json"


def main() -> None:
    """Records all anew, and says what has changed."""
    for method in METHODS:
        rows = measure(method)
        old = json.loads(path(method).read_text(encoding="utf-8")) if path(method).is_file() else []
        path(method).write_text("[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n", encoding="utf-8")
        gaps = [abs(row[key] - was.get(key, 0.0)) for row, was in zip(rows, old, strict=False) for key in row]
        sys.stdout.write(f"{path(method)}: {len(rows)} steps, at most {max(gaps, default=0.0):.2e} from what stood there\n")


if __name__ == "__main__":
    main()
