"""Scenes and questions -> five more training sources in their official formats. Writes no files and draws no pixels.

Formats: LLaVA-Video-178K, PerceptionTest, InternVid-VTime, VTG-IT and G-VideoLLM; rows and videos are invented.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Any, NamedTuple

from trlt.lab.miniature.facts import FIVE_OPTION_KINDS, AskKind
from trlt.lab.miniature.ids import charades_id, youtube_id
from trlt.lab.miniature.official import Part, WorldOptions, clip, clips_of, only_span
from trlt.lab.miniature.questions import SceneQuestion, ask_several
from trlt.lab.miniature.render import FPS
from trlt.lab.miniature.script import CHUNK_S, TICK_S
from trlt.lab.miniature.world import SIDE, Scene, window
from trlt.task.answer import LETTERS
from trlt.task.sample import Span

_BUCKET = "0_30_s_youtube_v0_1"
_FOLDER = "liwei_youtube_videos/videos/youtube_video_2024"


def llava_video(clips: int, world: WorldOptions) -> Part:
    """LLaVA-Video-178K: multi-choice conversations of the YouTube part of up to 30 s, one or two turns a record."""
    records: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("train/llava_video", "train", world, clips):
        name = youtube_id("train/llava_video", index)
        video = f"{_FOLDER}/ytb_{name}.mp4"
        videos[f"{_BUCKET}/{video}"] = scene
        said: list[tuple[str, str]] = []
        for q in ask_several(scene, rng, "multi_choice", rng.randint(1, 2), kinds=FIVE_OPTION_KINDS):
            lines = [q.text, "Options:", *(f"{option}." for option in lettered(q)), _INSTRUCTION]
            said.append(("\n".join(lines), f"{lettered(q)[q.answer_index or 0]}."))
        records.append({"id": name, "conversations": _conversation(said, "<image>"), "data_source": _BUCKET, "video": video})
    return Part({f"{_BUCKET}/{_BUCKET.replace('_v0', '_mc_v0')}_qa_processed.json": json.dumps(records)}, videos)


_INSTRUCTION = "Please provide your answer by stating the letter followed by the full option."


def lettered(question: SceneQuestion) -> list[str]:
    """The options as lines of `A. text`."""
    return [f"{letter}. {text}" for letter, text in zip(LETTERS, question.options or (), strict=False)]


def _conversation(said: Sequence[tuple[str, str]], tag: str) -> list[dict[str, str]]:
    """Turns of question and answer; the video's tag stands before the first question."""
    turns: list[dict[str, str]] = []
    for place, (asked, answered) in enumerate(said):
        turns.append({"from": "human", "value": asked if place else f"{tag}\n{asked}"})
        turns.append({"from": "gpt", "value": answered})
    return turns


_AREAS: dict[AskKind, str] = {"count": "abstraction", "count_moving": "abstraction", "after": "memory", "before": "memory"}


def perceptiontest(clips: int, world: WorldOptions) -> Part:
    """PerceptionTest: `mc_question_train.json`, three options each, and the frame where to cut each video."""
    entries: dict[str, Any] = {}
    cuts: dict[str, int] = {}
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("train/perceptiontest", "train", world, clips):
        name = f"video_{1000 + index}"  # MVBench, which has videos of this data set too, numbers them from 10,000 here
        cut = _cut(scene, rng)
        shown = scene if cut is None else window(scene, 0, cut)
        assert shown is not None
        cuts[name] = -1 if cut is None else round(cut * FPS)
        videos[f"{name}.mp4"] = scene
        asked = ask_several(shown, rng, "multi_choice", rng.randint(1, 2), options=3)
        entries[name] = {
            "metadata": _metadata(name, scene, cut is not None),
            "mc_question": [
                {
                    "id": number,
                    "question": q.text,
                    "options": list(q.options or ()),
                    "answer_id": q.answer_index,
                    "area": _AREAS.get(q.kind, "semantics"),
                    "reasoning": "descriptive",
                    "tag": [q.kind.replace("_", " ")],
                }
                for number, q in enumerate(asked)
            ],
        }
    return Part({"mc_question_train.json": json.dumps(entries), "cut_frame_mapping_train.json": json.dumps(cuts)}, videos)


def _cut(scene: Scene, rng: Random) -> float | None:
    """A time with two shows or more before it and one behind; None where a scene has no such time."""
    times = (TICK_S * k for k in range(1, round(scene.duration / TICK_S)))
    parts = [(time, part) for time in times if (part := window(scene, 0, time))]
    found = [time for time, part in parts if 2 <= len(part.shows) < len(scene.shows)]
    return rng.choice(found) if found else None


def _metadata(name: str, scene: Scene, cup_game: bool) -> dict[str, Any]:
    return {
        "split": "train",
        "video_id": name,
        "frame_rate": float(FPS),
        "num_frames": round(scene.duration * FPS),
        "resolution": [SIDE, SIDE],
        "audio_samples": 0,
        "audio_sample_rate": 48_000.0,
        "is_cup_game": int(cup_game),
        "is_camera_moving": 0,
    }


def internvid(clips: int, world: WorldOptions) -> Part:
    """InternVid-VTime: `stage2.json`; every other video is whole, and `split` a part of it, the others are cut already."""
    records: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    for index in count():
        if len(records) == clips:
            break
        whole = len(records) % 2 == 0
        scene, rng = clip("train/internvid", "train", world, index, long=whole)
        found = _splits(scene) if whole else [Span(0.0, scene.duration)]
        if not found:
            continue
        inside = rng.choice(found)
        shown = window(scene, *inside)
        assert shown is not None
        name = youtube_id("train/internvid", index)
        videos[f"{name}.mp4"] = scene
        offset = 0.0 if whole else rng.randint(20, 600) / 2  # where a cut file once stood in its video
        events = ask_several(shown, rng, "grounding", rng.randint(2, 3))
        times = {f"<{side}{k}>": t for k, q in enumerate(events) for side, t in zip("se", only_span(q), strict=True)}
        records.append(
            {
                "source": "internvid",
                "id": name,
                "conversations": _conversation(_dialogue(events, _FORMS[len(records) % len(_FORMS)]), "<video>"),
                "meta": {
                    "split": [inside.start + offset, inside.end + offset],
                    "duration": inside.length,
                    "token": times,
                },
            }
        )
    return Part({"stage2.json": json.dumps(records)}, videos)


def _splits(scene: Scene) -> list[Span]:
    """Parts of a long scene that hold two shows or more, cut through none, and leave 5 s or more out."""
    times = [CHUNK_S * k for k in range(round(scene.duration / CHUNK_S) + 1)]
    spans = [Span(a, b) for a in times for b in times if a < b and b - a < scene.duration]
    return [span for span in spans if (part := window(scene, *span)) and len(part.shows) >= 2]


_FORMS = ("dense", "segment", "moment")


def _dialogue(events: Sequence[SceneQuestion], form: str) -> list[tuple[str, str]]:
    """A dialogue with placeholders: all events in one answer, or each in a turn, told or asked for."""
    numbered = [(f"<s{k}> to <e{k}>", q.text) for k, q in enumerate(events)]
    if form == "dense":
        return [("What happens in the video, and when?", " ".join(f"From {times}, {text}." for times, text in numbered))]
    if form == "segment":
        return [(f"What happens from {times} in the video?", f"{text}.") for times, text in numbered]
    return [(f"During which frames can we see {text} happening in the video?", f"From {times}.") for times, text in numbered]


class _Origin(NamedTuple):
    folder: str
    """Below `moment_retrieval/`."""
    video: str
    prompts: tuple[str, ...]


_ORIGINS = (
    _Origin(
        "Charades",
        "data/Charades/videos/{}.mp4",
        (
            "Find the part for the textual query '{}' and determine its start and end.",
            "Here is a textual query: '{}'. When does the described content occur? Please return the timestamps.",
            "Tell which segment of the video matches the given textual query '{}', and output its start and end in seconds.",
        ),
    ),
    _Origin(
        "QueryD",
        "data/QuerYD/videos/video-{}.mp4",
        (
            "Give the start and end of what the textual query '{}' tells in the video.",
            "Locate the content of the textual query '{}' within the video, including both timestamps.",
            "A moment of the video is described by the textual query '{}'. Please give its start and end.",
        ),
    ),
)


def vtg_it(clips: int, world: WorldOptions) -> Part:
    """VTG-IT: moment retrieval of two of its data sets, times as six tokens each."""
    records: dict[str, list[dict[str, Any]]] = {origin.folder: [] for origin in _ORIGINS}
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("train/vtg_it", "train", world, clips):
        origin = _ORIGINS[index % 2]
        name = charades_id("train/vtg_it", index) if origin.folder == "Charades" else youtube_id("train/vtg_it", index)
        video = origin.video.format(name)
        videos[video] = scene
        turns = [
            {
                "q": rng.choice(origin.prompts).format(q.text),
                "a": f"The given query happens in {_tokens(only_span(q).start)} - {_tokens(only_span(q).end)} seconds.",
            }
            for q in ask_several(scene, rng, "grounding", rng.randint(1, 2))
        ]
        records[origin.folder].append({"video": video, "QA": turns})
    return Part({f"moment_retrieval/{name}/time_token.json": json.dumps(found) for name, found in records.items()}, videos)


_DIGITS = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split()


def _tokens(time_s: float) -> str:
    """Seconds as six tokens: four digits, the dot, one digit."""
    return "".join("<TIME_DOT>" if sign == "." else f"<TIME_{_DIGITS[int(sign)]}>" for sign in f"{time_s:06.1f}")


def gvideollm(clips: int, world: WorldOptions) -> Part:
    """G-VideoLLM: one conversation a question about videos of ActivityNet and, cut already, of QVHighlights."""
    records: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("train/gvideollm", "train", world, clips):
        name, origin = f"v_{youtube_id('train/gvideollm', index)}", "activitynet"
        if index % 2:
            start = 2.0 * rng.randint(10, 100)
            name, origin = f"{name[2:]}_{start:.1f}_{start + scene.duration:.1f}", "qvhighlights"
        file = f"{origin}/videos/{name}.mp4"
        videos[file] = scene
        for q in ask_several(scene, rng, "grounded_qa", rng.randint(1, 2)):
            records.append(
                {
                    "question_id": f"{origin}_{len(records)}",
                    "video_id": name,
                    "video_file": file,
                    "conversation": _conversation(_grounded(q), "<image>"),
                    "dataset_name": "G-VideoQA",
                }
            )
    return Part({"G-VideoQA-gpt4o-mini-anno.json": json.dumps(records)}, videos)


def _grounded(question: SceneQuestion) -> list[tuple[str, str]]:
    """A question with its answer and one moment behind it; several moments have a turn of their own."""
    options = [f"({letter}) {text}" for letter, text in zip(LETTERS, question.options or (), strict=False)]
    asked, answered = "\n".join([question.text, *options]), options[question.answer_index or 0]
    # Whole seconds have no decimals there.
    moments = [f"from <{span.start:g}> to <{span.end:g}>" for span in question.spans or ()]
    if len(moments) == 1:
        return [(asked, f"{answered}. {moments[0].capitalize()}.")]
    return [(asked, f"{answered}."), ("When is it seen?", f"{' and '.join(moments).capitalize()}.")]
