"""Scenes and questions -> MVBench's layout: ten of its twenty tasks, in the shifted domain. Writes no files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any, NamedTuple

from trlt.lab.miniature.facts import AnswerKind
from trlt.lab.miniature.ids import charades_id
from trlt.lab.miniature.official import Part, WorldOptions, clip
from trlt.lab.miniature.questions import SceneQuestion, ask
from trlt.lab.miniature.script import TICK_S
from trlt.lab.miniature.world import Scene, window


class _Task(NamedTuple):
    kinds: tuple[AnswerKind, ...]
    options: int
    folder: str
    bounded: bool = False


TASKS: dict[str, _Task] = {
    "action_antonym": _Task(("action",), 3, "ssv2_video"),
    "action_localization": _Task(("when",), 4, "sta/sta_video", bounded=True),
    "action_sequence": _Task(("after", "before"), 4, "star/Charades_v1_480", bounded=True),
    "episodic_reasoning": _Task(("first", "last", "after", "colour"), 5, "tvqa/frames_fps3_hq", bounded=True),
    "fine_grained_pose": _Task(("action",), 4, "nturgbd"),
    "moving_attribute": _Task(("mover", "shape"), 4, "clevrer/video_validation"),
    "moving_count": _Task(("count_moving", "count"), 4, "clevrer/video_validation"),
    "moving_direction": _Task(("direction",), 4, "clevrer/video_validation"),
    "object_existence": _Task(("exists",), 3, "clevrer/video_validation"),
    "state_change": _Task(("turn",), 3, "perception/videos"),
}
"""File name without suffix -> what is asked, and where the videos lie."""
_LATER = ("fine_grained_pose",)  # takes its clips last: those of the tasks that were there before stay as they are


def mvbench(questions: int, world: WorldOptions) -> Part:
    """MVBench: `json/<task>.json` and the videos of each task, `questions` a task."""
    files: dict[str, str] = {}
    videos: dict[str, Scene] = {}
    index = 0
    for name in (*(t for t in TASKS if t not in _LATER), *_LATER):
        task = TASKS[name]
        rows: list[dict[str, Any]] = []
        while len(rows) < questions:
            scene, rng = clip("bench/mvbench", "shifted", world, index)
            start, end = _bounds(scene, rng) if task.bounded else (0.0, scene.duration)
            part = window(scene, start, end)
            question = part and ask(part, rng, "multi_choice", rng.choice(task.kinds), options=task.options)
            if question:
                stem, suffix = _video(task.folder, index)
                videos[f"{task.folder}/{stem}{suffix}"] = scene
                rows.append(_row(question, f"{stem}{suffix}", (start, end) if task.bounded else None))
            index += 1
        files[f"json/{name}.json"] = json.dumps(rows)
    return Part(files, videos)


def _row(question: SceneQuestion, video: str, bounds: tuple[float, float] | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "video": video,
        "question": question.text,
        "candidates": list(question.options or ()),
        "answer": question.answer,
    }
    if bounds:
        row["start"], row["end"] = bounds
    return row


def _video(folder: str, index: int) -> tuple[str, str]:
    """A file's stem and suffix as its folder has them."""
    if folder.startswith("st"):  # star and sta hold Charades videos
        return charades_id("bench/mvbench", index), ".mp4"
    if folder.startswith("ssv2"):
        return str(100_000 + index), ".webm"
    if folder == "nturgbd":
        return f"S{index // 960 + 1:03d}C{index % 3 + 1:03d}P{index // 24 % 40 + 1:03d}R001A{index % 24 + 1:03d}_rgb", ".avi"
    if folder.startswith("tvqa"):
        return f"show_s01e{index // 10 % 20 + 1:02d}_seg02_clip_{index:02d}", ""
    return f"video_{10_000 + index}", ".mp4"


def _bounds(scene: Scene, rng: Random) -> tuple[float, float]:
    """A stretch with two shows or more that cuts through none, and leaves one out where it can."""
    found = list(_stretches(scene))
    return rng.choice(found) if found else (0.0, scene.duration)


def _stretches(scene: Scene) -> Iterator[tuple[float, float]]:
    for start in (TICK_S * k for k in count()):
        if start >= scene.duration:
            return
        for end in (TICK_S * k for k in range(round(start / TICK_S) + 1, round(scene.duration / TICK_S) + 1)):
            part = window(scene, start, end)
            if part and 2 <= len(part.shows) < len(scene.shows):
                yield start, end
