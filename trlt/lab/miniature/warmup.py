"""Clips and samples for the tiny model's supervised warm-up, apart from every clip that a layout may hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

from trlt.lab.miniature.facts import label
from trlt.lab.miniature.layout import Progress, render_all
from trlt.lab.miniature.official import WorldOptions, clip
from trlt.lab.miniature.questions import SceneQuestion, ask
from trlt.lab.miniature.script import TICK_S
from trlt.lab.miniature.world import Domain, Scene
from trlt.task.sample import Sample, Span, Task, write_samples

_SHARES: dict[Task, int] = {"grounding": 8, "multi_choice": 7, "grounded_qa": 5}
_LONG_EVERY = 6  # clips: as many are long as in the layout's training sources
_SHIFTED_EVERY = 4  # clips: a base model has seen more of the world than what it is tuned on


class Warmup(NamedTuple):
    """What `write` has written."""

    samples: Path
    """JSONL; `meta.reasoning` holds what a reader of the clip would note down."""
    videos: Path


def write(
    root: Path,
    count: int,
    seed: int = 0,
    *,
    graded: bool = False,
    slack_s: float = 0.0,
    mirrored: float = 0.0,
    questions_per_clip: int = 3,
    progress: Progress | None = None,
) -> Warmup:
    """Writes `count` samples of all three tasks about clips of both domains, a quarter of them shifted; some are long.

    Args:
        root: Gets `samples.jsonl` and `videos/`.
        count: How many samples.
        seed: Another seed gives other clips.
        graded: Clips of every difficulty, from plain to hardly visible.
        slack_s: Gold spans begin and end up to so many seconds too early and too late, as annotators' often do; a multiple
            of 0.5. What is noted down of a clip (`meta.reasoning`) stays exact.
        mirrored: Share of the questions about a direction, or about what comes first or last, that are answered the other way
            round.
        questions_per_clip: How many samples share a clip.
        progress: Called after each clip.
    """
    samples: list[Sample] = []
    videos: dict[str, Scene] = {}
    index = 0
    while len(samples) < count:
        domain: Domain = "shifted" if index % _SHIFTED_EVERY == _SHIFTED_EVERY - 1 else "train"
        scene, rng = clip(
            "warmup", domain, WorldOptions(seed, graded), index, long=index % _LONG_EVERY == 0
        )  # never of the shifted
        name = f"w{seed}_{index:05d}.mp4"
        videos[name] = scene
        asked: dict[str, SceneQuestion] = {}
        for task in rng.choices(list(_SHARES), list(_SHARES.values()), k=questions_per_clip):
            question = ask(scene, rng, task, options=rng.randint(3, 5))
            if question:
                asked.setdefault(f"{task} {question.text}", question)
        learnt = [_mirrored(_loose(q, scene, slack_s), scene, mirrored) for q in asked.values()]
        found = [_sample(scene, name, q, f"{index}:{k}") for k, q in enumerate(learnt)]
        samples += found[: count - len(samples)]
        index += 1
    render_all(((root / "videos" / name, scene) for name, scene in videos.items()), progress)
    write_samples(root / "samples.jsonl", samples)
    return Warmup(root / "samples.jsonl", root / "videos")


def _loose(question: SceneQuestion, scene: Scene, slack_s: float) -> SceneQuestion:
    """The question with its gold spans widened at random, within the clip."""
    if not slack_s or not question.spans:
        return question
    rng = Random(f"slack:{scene.seed}:{question.text}")
    most = round(slack_s / TICK_S)
    spans = tuple(
        Span(max(0.0, s.start - TICK_S * rng.randint(0, most)), min(scene.duration, s.end + TICK_S * rng.randint(0, most)))
        for s in question.spans
    )
    return replace(question, spans=spans)


_OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}


def _mirrored(question: SceneQuestion, scene: Scene, share: float) -> SceneQuestion:
    """The question with the opposite answer, with the probability `share`, where it has one among its options."""
    if not share or not question.options or Random(f"mirror:{scene.seed}:{question.text}").random() >= share:
        return question
    said = question.answer or ""
    if question.kind in ("first", "last"):
        other = label(scene.shows[-1 if question.kind == "first" else 0])
    elif question.kind in ("direction", "action"):
        other = " ".join(_OPPOSITE.get(word, word) for word in said.split())
    else:
        return question
    if other == said or other not in question.options:
        return question
    return replace(question, answer_index=question.options.index(other))


def _sample(scene: Scene, video: str, question: SceneQuestion, number: str) -> Sample:
    return Sample(
        id=f"miniature:warmup:{number}",
        source="miniature",
        split="warmup",
        task=question.task,
        video=video,
        video_key=f"miniature:{scene.seed}",
        duration=scene.duration,
        question=question.text,
        options=question.options,
        answer=question.answer,
        answer_index=question.answer_index,
        spans=question.spans,
        license="Apache-2.0",
        meta={"reasoning": question.reasoning, "kind": question.kind, "domain": scene.domain},
    )
