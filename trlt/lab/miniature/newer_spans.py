"""Scenes and questions -> five newer grounding benchmarks in their official formats. Writes no files and draws no pixels.

Formats: TimeLens-Bench's three parts, TVGBench and QVHighlights; rows are invented. TimeLens-Bench asks anew about the videos
of Charades-STA, ActivityNet Captions and QVHighlights: here too, and they are written once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

from trlt.lab.miniature.facts import DOES
from trlt.lab.miniature.ids import Use, charades_id, youtube_id
from trlt.lab.miniature.official import Part, WorldOptions, clips_of, only_span
from trlt.lab.miniature.questions import ask_several
from trlt.lab.miniature.world import COLOURS, KINDS, MOTIONS, Domain, Scene
from trlt.task.sample import Span


class _Source(NamedTuple):
    use: Use
    domain: Domain
    name: Callable[[int, Scene], str]


_SOURCES = {
    "charades": _Source("bench/charades", "train", lambda index, _: charades_id("bench/charades", index)),
    "activitynet": _Source("bench/activitynet", "shifted", lambda index, _: f"v_{youtube_id('bench/activitynet', index)}"),
    "qvhighlights": _Source("bench/qvhighlights", "shifted", lambda index, scene: _cut_name(index, scene)),
}
TIMELENS = tuple(_SOURCES)
"""The parts of TimeLens-Bench, each named by the benchmark whose videos it asks about."""


def timelens(part: str, clips: int, world: WorldOptions) -> Part:
    """TimeLens-Bench: `<part>-timelens.json`, about the first videos of another benchmark, which writes them."""
    source = _SOURCES[part]
    entries: dict[str, dict[str, Any]] = {}
    for index, scene, _ in clips_of(source.use, source.domain, world, clips):
        rng = Random(f"timelens:{part}:{world.seed}:{index}")
        queries = ask_several(scene, rng, "grounding", rng.randint(1, 2))
        entries[source.name(index, scene)] = {
            "duration": scene.duration,
            "spans": [list(only_span(query)) for query in queries],
            "queries": [f"{query.text}." for query in queries],
        }
    return Part({f"{part}-timelens.json": json.dumps(entries)}, {})


def _cut_name(index: int, scene: Scene) -> str:
    start = 60.0 + 2 * (index % 50)
    return f"{youtube_id('bench/qvhighlights', index)}_{start:.1f}_{start + scene.duration:.1f}"


def qvhighlights(clips: int, world: WorldOptions) -> Part:
    """QVHighlights: the validation file; what is true of several shapes has several windows."""
    rows: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/qvhighlights", "shifted", world, clips):
        name = _cut_name(index, scene)
        videos[f"{name}.mp4"] = scene
        found = list(_repeated(scene)) or [(q.text, [only_span(q)]) for q in ask_several(scene, rng, "grounding", 1)]
        query, windows = rng.choice(found)
        clips_2s = sorted({second // 2 for window in windows for second in range(int(window.start), int(window.end))})
        rows.append(
            {
                "qid": 9000 + index,
                "query": query,
                "duration": round(scene.duration),
                "vid": name,
                "relevant_windows": [list(window) for window in windows],
                "relevant_clip_ids": clips_2s,
                "saliency_scores": [[2, 3, 4]] * len(clips_2s),
            }
        )
    return Part({"highlight_val_release.jsonl": "".join(f"{json.dumps(row)}\n" for row in rows)}, videos)


def _repeated(scene: Scene) -> Iterator[tuple[str, list[Span]]]:
    """Queries that are true of two shapes or more at different times, with all of their windows."""
    for colour in COLOURS:
        yield from _several(f"a {colour} shape is shown", [s.span for s in scene.shows if s.colours == (colour,)])
    for kind in KINDS:
        yield from _several(f"a {kind} is shown", [s.span for s in scene.shows if s.kind == kind])
    for motion in MOTIONS:
        yield from _several(f"a shape {DOES[motion]}", [s.span for s in scene.shows if s.motion == motion])


def _several(query: str, spans: list[Span]) -> Iterator[tuple[str, list[Span]]]:
    """The query with its windows, unless they are fewer than two or touch."""
    spans = sorted(spans)
    if len(spans) > 1 and all(one.end < other.start for one, other in zip(spans, spans[1:], strict=False)):
        yield query, spans


_TVG = "./dataset/timer1/videos"
_TVG_SOURCES = {
    "charades": "Charades_sta_test",
    "hirest": "hirest_formated_moment_evaluation_gt",
    "tacos": "tacos_val",
}


def tvgbench(clips: int, world: WorldOptions) -> Part:
    """TVGBench: one list; the gold span is a text, and the videos are cut already."""
    rows: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/tvgbench", "train", world, clips):
        dataset, origin = list(_TVG_SOURCES.items())[index % len(_TVG_SOURCES)]
        spell = charades_id if dataset == "charades" else youtube_id
        name = spell("bench/tvgbench", index)
        videos[f"{name}.mp4"] = scene
        for query in ask_several(scene, rng, "grounding", rng.randint(1, 2)):
            span = only_span(query)
            rows.append(
                {
                    "path": f"{_TVG}/tvgbench_data/{name}.mp4",
                    "question": query.text,
                    "answer": f"{span.start:g}-{span.end:g}",
                    "start": None,
                    "end": None,
                    "duration": scene.duration,
                    "question_type": "video temporal grounding",
                    "source": f"{_TVG}/annotations/tvgbench/raw_data/{origin}.json",
                    "dataset_name": dataset,
                    "qsemtype": "Object Transition" if "turns" in query.text else "Object Attribute",
                }
            )
    return Part({"tvgbench.json": json.dumps(rows)}, videos)
