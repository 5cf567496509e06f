"""Scenes and questions -> annotation in the official formats of the real data sets. Writes no files and draws no pixels.

Formats: Charades-STA, DiDeMo, NExT-QA, NExT-GQA and ActivityNet Captions as they are published; rows and videos are invented.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, NamedTuple

from trlt.lab.miniature.facts import FIVE_OPTION_KINDS, AskKind
from trlt.lab.miniature.ids import Use, charades_id, flickr_id, scene_seed, youtube_id
from trlt.lab.miniature.questions import SceneQuestion, ask_several
from trlt.lab.miniature.render import FPS
from trlt.lab.miniature.script import CHUNK_S, make_scene
from trlt.lab.miniature.world import COLOURS, KINDS, MOTIONS, SIDE, Domain, Scene
from trlt.task.sample import Span

_NEXT_TYPES: dict[AskKind, str] = {
    "first": "TC",
    "second": "TC",
    "last": "TC",
    "after": "TN",
    "before": "TP",
    "count": "DC",
    "count_moving": "DC",
    "colour": "DO",
    "direction": "CH",
    "action": "CH",
    "turn": "CW",
    "when": "TC",
    "mover": "DO",
}
_NEXTGQA_TYPES: dict[AskKind, str] = {**_NEXT_TYPES, "count_moving": "TC", "colour": "TC", "mover": "TC"}  # has no D types


@dataclass(frozen=True, slots=True)
class Part:
    """A data set or a benchmark of the miniature."""

    annotations: Mapping[str, str | bytes]
    """File name -> text, or the bytes of a file that is none."""
    videos: Mapping[str, Scene]
    """Path -> what it shows; a path without a suffix is a folder of frames."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Path beside the videos -> text, such as subtitles."""


class WorldOptions(NamedTuple):
    """Which of all possible miniatures."""

    seed: int = 0
    """Another seed gives other scenes and questions."""
    graded: bool = False
    """Each clip has a grade of difficulty; see `script.make_scene`."""


def clip(use: Use, domain: Domain, world: WorldOptions, index: int, *, long: bool = False) -> tuple[Scene, Random]:
    """A clip's scene, and the generator that decides what is asked about it."""
    number = scene_seed(use, world.seed, index)
    return make_scene(number, domain, long=long, graded=world.graded), Random(f"questions:{number}")


def clips_of(
    use: Use, domain: Domain, world: WorldOptions, count: int, *, long: bool = False
) -> Iterator[tuple[int, Scene, Random]]:
    """The first clips of a use: the number of each, its scene and its generator."""
    for index in range(count):
        yield index, *clip(use, domain, world, index, long=long)


def charades(split: Literal["train", "test"], clips: int, world: WorldOptions) -> Part:
    """Charades-STA: `VID start end##sentence` lines, and the csv with the lengths."""
    use: Use = "train/charades" if split == "train" else "bench/charades"
    lines: list[str] = []
    rows: list[list[Any]] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of(use, "train", world, clips):
        name = charades_id(use, index)
        videos[f"Charades_v1_480/{name}.mp4"] = scene
        for query in ask_several(scene, rng, "grounding", rng.randint(1, 2)):
            span = only_span(query)
            lines.append(f"{name} {span.start:.1f} {span.end:.1f}##{query.text}\n")
        actions = (
            f"c{(COLOURS.index(s.colour) * len(KINDS) + KINDS.index(s.kind)) * len(MOTIONS) + MOTIONS.index(s.motion):03d}"
            f" {s.start:.2f} {s.end:.2f}"
            for s in scene.shows
        )
        script = ", then ".join(f"a {s.colour} {s.kind}" for s in scene.shows)
        objects = ";".join(sorted({s.kind for s in scene.shows}))
        place = scene.background.style.capitalize()
        length = f"{scene.duration:.2f}"
        rows.append([name, f"MIN{index % 10}", place, 7, 7, "Yes", script, objects, script, ";".join(actions), length])
    header = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"
    return Part({f"charades_sta_{split}.txt": "".join(lines), f"Charades_v1_{split}.csv": _csv(header, rows)}, videos)


def didemo(clips: int, world: WorldOptions) -> Part:
    """DiDeMo: `train_data.json` with four annotators' pairs of chunks, most of whom agree."""
    use: Use = "train/didemo"
    records: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of(use, "train", world, clips, long=True):
        name = f"{40_000_000 + 7 * index}@N0{index % 8}_{flickr_id(use, index)}_{rng.getrandbits(40):010x}.mp4"
        videos[name] = scene
        chunks = round(scene.duration / CHUNK_S)
        for query in ask_several(scene, rng, "grounding", rng.randint(1, 2)):
            span = only_span(query)
            gold = [round(span.start / CHUNK_S), round(span.end / CHUNK_S) - 1]
            times = [gold] * 4
            if rng.random() < 0.5:
                other = rng.randrange(chunks)
                times[rng.randrange(4)] = [other, rng.randrange(other, chunks)]
            records.append(
                {
                    "num_segments": chunks,
                    "description": query.text,
                    "times": times,
                    "video": name,
                    "annotation_id": 1000 + len(records),
                }
            )
    return Part({"train_data.json": json.dumps(records)}, videos)


def nextqa(clips: int, world: WorldOptions) -> Part:
    """NExT-QA: `train.csv` (answers are indices from 0) and the map from ids to files."""
    use: Use = "train/nextqa"
    rows: list[list[Any]] = []
    videos, places = {}, {}
    for index, scene, rng in clips_of(use, "train", world, clips):
        name, place = _next_names(use, index)
        videos[f"{place}.mp4"], places[name] = scene, place
        for qid, q in enumerate(ask_several(scene, rng, "multi_choice", rng.randint(1, 2), kinds=FIVE_OPTION_KINDS)):
            rows.append([name, *_size(scene), q.text, q.answer_index, qid, _NEXT_TYPES[q.kind], *(q.options or ())])
    header = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
    return Part({"train.csv": _csv(header, rows), "map_vid_vidorID.json": json.dumps(places)}, videos)


def nextgqa(split: Literal["val", "test"], clips: int, world: WorldOptions) -> Part:
    """NExT-GQA: the csv (answers are texts), the spans in `gsub_<split>.json`, and the map from ids to files."""
    use: Use = "train/nextgqa" if split == "val" else "bench/nextgqa"
    rows: list[list[Any]] = []
    videos, places, grounds = {}, {}, {}
    for index, scene, rng in clips_of(use, "train", world, clips):
        name, place = _next_names(use, index)
        videos[f"{place}.mp4"], places[name] = scene, place
        location: dict[str, list[list[float]]] = {}
        for qid, q in enumerate(ask_several(scene, rng, "grounded_qa", rng.randint(1, 2))):
            rows.append([name, *_size(scene), q.text, q.answer, qid, _NEXTGQA_TYPES[q.kind], *(q.options or ())])
            location[str(qid)] = [[s.start, s.end] for s in q.spans or ()]
        grounds[name] = {"duration": round(scene.duration), "location": location, "fps": float(FPS)}
    header = "video_id,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
    return Part(
        {
            f"{split}.csv": _csv(header, rows),
            f"gsub_{split}.json": json.dumps(grounds),
            "map_vid_vidorID.json": json.dumps(places),
        },
        videos,
    )


def activitynet(clips: int, world: WorldOptions) -> Part:
    """ActivityNet Captions: `val_2.json`, with videos `v_<id>.mp4` of the shifted domain."""
    use: Use = "bench/activitynet"
    entries: dict[str, dict[str, Any]] = {}
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of(use, "shifted", world, clips):
        name = f"v_{youtube_id(use, index)}"
        videos[f"{name}.mp4"] = scene
        queries = ask_several(scene, rng, "grounding", rng.randint(1, 3))
        queries.sort(key=only_span)
        entries[name] = {
            "duration": scene.duration,
            "timestamps": [list(only_span(q)) for q in queries],
            "sentences": [q.text for q in queries],
        }
    return Part({"val_2.json": json.dumps(entries)}, videos)


def only_span(query: SceneQuestion) -> Span:
    """When a query with one span is true."""
    assert query.spans is not None
    (span,) = query.spans
    return span


def parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of a parquet file with these rows."""
    # Imported here: few parts of the miniature need it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), out)
    content: bytes = out.getvalue().to_pybytes()
    return content


def _next_names(use: Use, index: int) -> tuple[str, str]:
    name = flickr_id(use, index)
    return name, f"{int(name) % 1200:04d}/{name}"


def _size(scene: Scene) -> tuple[int, int, int]:
    return round(scene.duration * FPS), SIDE, SIDE


def _csv(header: str, rows: list[list[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header.split(","))
    writer.writerows(rows)
    return out.getvalue()
