"""Scenes and questions -> four more benchmarks in their official formats. Writes no files and draws no pixels.

Formats: ActivityNet-RTL, TempCompass, Video-MME and MMVU; rows and videos are invented.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from trlt.lab.miniature.facts import FIVE_OPTION_KINDS, AnswerKind, AskKind
from trlt.lab.miniature.ids import flickr_id, youtube_id
from trlt.lab.miniature.official import Part, WorldOptions, clips_of, only_span, parquet
from trlt.lab.miniature.questions import SceneQuestion, ask, ask_several
from trlt.lab.miniature.sources import lettered
from trlt.lab.miniature.world import Scene
from trlt.task.answer import LETTERS

_REASONED: tuple[AnswerKind, ...] = ("first", "second", "last", "after", "before", "turn", "mover")
"""Kinds whose evidence is one stretch of time that the question doesn't name."""


def activitynet_rtl(clips: int, world: WorldOptions) -> Part:
    """ActivityNet-RTL: questions whose answer begins with the moment, about videos of the shifted domain."""
    records: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/activitynet_rtl", "shifted", world, clips):
        name = youtube_id("bench/activitynet_rtl", index)
        videos[f"v_{name}.mp4"] = scene
        for number, q in enumerate(ask_several(scene, rng, "grounded_qa", rng.randint(1, 2), kinds=_REASONED)):
            span = only_span(q)
            records.append(
                {
                    "vid": name,
                    "question": q.text,
                    "answer": f"<{span.start:g}> <{span.end:g}> What is seen then answers it: {q.answer}.",
                    "duration": scene.duration,
                    "question_id": f"{name}_{number}",
                }
            )
    return Part({"annot_val_1_q229.json": json.dumps(records)}, videos)


_DIMS: dict[str, tuple[AnswerKind, ...]] = {
    "action": ("action",),
    "direction": ("direction",),
    "order": ("first", "second", "last", "after", "before"),
    "attribute_change": ("turn",),
}
"""What TempCompass calls it -> what is asked. Its fifth, speed, is nothing that a scene is told to have."""


def tempcompass(clips: int, world: WorldOptions) -> Part:
    """TempCompass: a video's dimensions asked about in four ways, in a file each: video -> dimension -> questions."""
    files: dict[str, dict[str, dict[str, list[dict[str, str]]]]] = {name: {} for name in _WAYS}
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/tempcompass", "train", world, clips):
        name = flickr_id("bench/tempcompass", index)
        videos[f"{name}.mp4"] = scene
        asked = _compass(scene, rng)
        for task, way in _WAYS.items():
            files[task][name] = {dim: [way(scene, q, rng)] for dim, q in asked.items()}
    return Part({f"{task}.json": json.dumps(entries) for task, entries in files.items()}, videos)


def _compass(scene: Scene, rng: Random) -> dict[str, SceneQuestion]:
    """Dimension -> a question with three options, for one or two dimensions that fit a scene."""
    found: dict[str, SceneQuestion] = {}
    wanted = rng.randint(1, 2)
    for dim in rng.sample(list(_DIMS), len(_DIMS)):
        question = ask(scene, rng, "multi_choice", rng.choice(_DIMS[dim]), options=3)
        if question and len(found) < wanted:
            found[dim] = question
    return found


def _claim(question: SceneQuestion, option: str) -> str:
    """What an option says as an answer: `what does the circle do` and `moves left` -> the circle moves left."""
    if "appears " in question.text:
        return f"the {option} appears {question.text.partition('appears ')[2]}"
    subject, _, verb = question.text.partition("does ")[2].rpartition(" ")
    if option == "nowhere":
        return f"{subject} stays still"
    return f"{subject} {option}" if verb == "do" else f"{subject} {verb}s {option}"


def _right(question: SceneQuestion) -> str:
    assert question.answer is not None
    return question.answer


def _wrong(question: SceneQuestion) -> list[str]:
    return [option for option in question.options or () if option != question.answer]


def _multi_choice(scene: Scene, question: SceneQuestion, rng: Random) -> dict[str, str]:
    lines = lettered(question)
    return {"question": "\n".join([question.text, *lines]), "answer": lines[question.answer_index or 0]}


def _yes_no(scene: Scene, question: SceneQuestion, rng: Random) -> dict[str, str]:
    """Of all that is asked elsewhere, only what there is has yes or no for an answer."""
    asked = ask(scene, rng, "multi_choice", "exists", options=2)
    assert asked is not None
    return {"question": asked.text, "answer": _right(asked)}


_MATCHING = (
    ("Which description is a more suitable match for the video?", "Option 1", "Option 2"),
    ("Which sentence better captures the essence of the video?", "Sentence A", "Sentence B"),
    ("Which caption matches the video better?", "Caption A", "Caption B"),
)
"""The three ways in which it is asked there: the question, and what the two are called."""


def _caption_matching(scene: Scene, question: SceneQuestion, rng: Random) -> dict[str, str]:
    asked, *labels = rng.choice(_MATCHING)
    options = [_right(question), rng.choice(_wrong(question))]
    place = rng.randint(0, 1)
    options = options[::-1] if place else options
    lines = [f"{label}: {_claim(question, option)}." for label, option in zip(labels, options, strict=True)]
    return {"question": "\n".join([asked, *lines]), "answer": lines[place]}


def _captioning(scene: Scene, question: SceneQuestion, rng: Random) -> dict[str, str]:
    """A caption is asked for, which a judge model takes to answer the multi-choice question."""
    choice = _multi_choice(scene, question, rng)
    pieces = (f"Information {line[0]}: {{'answer': '{line[3:]}'}}" for line in lettered(question))
    asked = f"One of these pieces of information fits the video ({question.text}). Write a caption of the video that tells it."
    return {
        "question": "\n".join([asked, *pieces, "Generated Caption:"]),
        "answer": choice["answer"],
        "mc_question": choice["question"],
        "mc_answer": choice["answer"],
    }


_WAYS = {
    "multi-choice": _multi_choice,
    "yes_no": _yes_no,
    "caption_matching": _caption_matching,
    "captioning": _captioning,
}

_MME_TYPES: dict[AskKind, str] = {
    "count": "Counting Problem",
    "count_moving": "Counting Problem",
    "colour": "Attribute Perception",
    "turn": "Attribute Perception",
    "mover": "Attribute Perception",
    "action": "Action Recognition",
    "direction": "Spatial Perception",
    "when": "Temporal Perception",
}
"""The rest is of order in time."""
_MME_DOMAINS = (("Knowledge", "Geography"), ("Life Record", "Daily Life"), ("Artistic Performance", "Acrobatics"))


def videomme(clips: int, world: WorldOptions) -> Part:
    """Video-MME: the parquet file, three questions with four options a video, of the shifted domain."""
    rows: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/videomme", "shifted", world, clips):
        name = youtube_id("bench/videomme", index)
        videos[f"data/{name}.mp4"] = scene
        domain, category = _MME_DOMAINS[index % len(_MME_DOMAINS)]
        for number, q in enumerate(ask_several(scene, rng, "multi_choice", 3, kinds=FIVE_OPTION_KINDS, options=4), 1):
            rows.append(
                {
                    "video_id": f"{index + 1:03d}",
                    "duration": _length(scene),
                    "domain": domain,
                    "sub_category": category,
                    "url": f"https://www.youtube.com/watch?v={name}",
                    "videoID": name,
                    "question_id": f"{index + 1:03d}-{number}",
                    "task_type": _MME_TYPES.get(q.kind, "Temporal Reasoning"),
                    "question": q.text,
                    "options": lettered(q),
                    "answer": LETTERS[q.answer_index or 0],
                }
            )
    return Part({"videomme/test-00000-of-00001.parquet": parquet(rows)}, videos)


def _length(scene: Scene) -> str:
    """Short, medium or long, as scenes of the shifted domain go: they last 10 to 14 s."""
    return "short" if scene.duration <= 11 else "medium" if scene.duration <= 12 else "long"


_MMVU_SUBJECTS = ("Art", "Biology", "Computer Science", "Dentistry", "Economics", "Mechanics", "Modern Physics")
_MMVU_VIDEOS = "https://huggingface.co/datasets/yale-nlp/MMVU/resolve/main/videos"
_OPEN_EVERY = 15  # questions: open-ended ones need a judge model, and are there to be left out


def mmvu(clips: int, world: WorldOptions) -> Part:
    """MMVU: `validation.json`, five choices each save for some open-ended ones, about videos of the shifted domain."""
    records: list[dict[str, Any]] = []
    videos: dict[str, Scene] = {}
    for index, scene, rng in clips_of("bench/mmvu", "shifted", world, clips):
        subject = _MMVU_SUBJECTS[index % len(_MMVU_SUBJECTS)]
        path = f"{subject.replace(' ', '_')}/{index}.mp4"
        videos[path] = scene
        (q,) = ask_several(scene, rng, "multi_choice", 1, kinds=FIVE_OPTION_KINDS)
        is_open = index % _OPEN_EVERY == 1
        options = [""] * 5 if is_open else q.options or ()
        records.append(
            {
                "id": f"validation_{index}",
                "video": f"{_MMVU_VIDEOS}/{path}",
                "youtube_url": f"https://www.youtube.com/watch?v={youtube_id('bench/mmvu', index)}",
                "question_type": "open-ended" if is_open else "multiple-choice",
                "metadata": {"subject": subject, "textbook": "", "rationale": q.reasoning, "knowledge": []},
                "question": q.text,
                "choices": dict(zip("ABCDE", options, strict=True)),
                "answer": q.answer if is_open else LETTERS[q.answer_index or 0],
            }
        )
    return Part({"validation.json": json.dumps(records)}, videos)
