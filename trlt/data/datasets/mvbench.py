"""MVBench: twenty tasks of 200 multi-choice questions each, over videos of a dozen data sets.

Origin: Li et al., "MVBench: A Comprehensive Multi-modal Video Understanding Benchmark" (2024). `json/<task>.json` is a list of
`{video, question, candidates, answer}`, where `answer` is a candidate's text; the bounded tasks add `start` and `end`, in
seconds of the video. Videos are under `video/`, in the folders of `TASKS`.

Layouts: Episodic Reasoning has frame folders (`%05d.jpg` from 1, 3 a second). Another branch has clips that are already cut,
where bounds don't apply; `data0613/` holds replacements for star and clevrer. `meta.alternatives` names them all. The videos of
Fine-grained Pose (NTU) were withdrawn: that task is often missing, and then named in the results. Protocol: mean of the
available task accuracies. Official check: the first white-space token, lower-cased, dots removed, is a part of `(b)` or
contains it. There an empty output counts as right; here it is wrong. License: MIT (annotations); each video has the license of
its data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, holding
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch, Remote, hub
from trlt.data.datasets._metrics import Item, benchmark_entry, mean_values, official_text
from trlt.data.datasets._metrics import accuracy_values as values
from trlt.data.datasets._spans import repair_span
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample, Span, Task


class TaskFolder(NamedTuple):
    """Folder of a task's videos, relative to `video/`."""

    title: str
    folder: str
    key: str
    """Data set of the videos, for `video_key`."""
    bounded: bool = False
    cut_folder: str | None = None
    """Folder of the branch with cut or converted clips."""
    fps: float | None = None
    """Rate of frame folders."""


_STAR = ("star/Charades_v1_480", "charades", True, "star/Charades_segment")
_CLEVRER = ("clevrer/video_validation", "clevrer")
_PERCEPTION = ("perception/videos", "perceptiontest")

TITLE = "MVBench"
TASK: Task = "multi_choice"
LICENSE = "annotations MIT; videos under their data sets' licenses"
WHERE = "huggingface.co/datasets/OpenGVLab/MVBench"
DOMAIN = "mixed"
TEST_SPLIT = "test"
TASKS = {
    "action_sequence": TaskFolder("Action Sequence", *_STAR),
    "action_prediction": TaskFolder("Action Prediction", *_STAR),
    "action_antonym": TaskFolder("Action Antonym", "ssv2_video", "ssv2", cut_folder="ssv2_video_mp4"),
    "fine_grained_action": TaskFolder("Fine-grained Action", "Moments_in_Time_Raw/videos", "moments"),
    "unexpected_action": TaskFolder("Unexpected Action", "FunQA_test/test", "funqa"),
    "object_existence": TaskFolder("Object Existence", *_CLEVRER),
    "object_interaction": TaskFolder("Object Interaction", *_STAR),
    "object_shuffle": TaskFolder("Object Shuffle", *_PERCEPTION),
    "moving_direction": TaskFolder("Moving Direction", *_CLEVRER),
    "action_localization": TaskFolder("Action Localization", "sta/sta_video", "charades", True, "sta/sta_video_segment"),
    "scene_transition": TaskFolder("Scene Transition", "scene_qa/video", "movqa"),
    "action_count": TaskFolder("Action Count", *_PERCEPTION),
    "moving_count": TaskFolder("Moving Count", *_CLEVRER),
    "moving_attribute": TaskFolder("Moving Attribute", *_CLEVRER),
    "state_change": TaskFolder("State Change", *_PERCEPTION),
    "fine_grained_pose": TaskFolder("Fine-grained Pose", "nturgbd", "ntu", cut_folder="nturgbd_convert"),
    "character_order": TaskFolder("Character Order", *_PERCEPTION),
    "egocentric_navigation": TaskFolder("Egocentric Navigation", "vlnqa", "vlnqa"),
    "episodic_reasoning": TaskFolder(
        "Episodic Reasoning", "tvqa/frames_fps3_hq", "tvqa", True, "tvqa/video_fps3_hq_segment", fps=3
    ),
    "counterfactual_inference": TaskFolder("Counterfactual Inference", *_CLEVRER),
}
FILES = {"test": tuple(f"{task}.json" for task in TASKS)}
FETCH = Fetch(
    # The branch, not a commit: files were corrected after they had come out.
    files=tuple(Remote(hub("OpenGVLab/MVBench", "main", f"json/{file}"), to="json") for file in FILES["test"]),
    by_hand=(
        "videos: hf download OpenGVLab/MVBench --repo-type dataset --include 'video/*' --local-dir {data}/mvbench (17 GB), "
        "then unzip each archive in {data}/mvbench/video; those of NTU RGB+D are given out by its authors alone",
    ),
    videos_at="mvbench/video",
)
OFFICIAL_LOWER = "MVBench's rule reads a letter, such as B or (b), from the first word; an answer in words is wrong by it"
OPTIONAL = FILES["test"]
"""A missing task is named in the notes and in the results; at least one must be there."""

FACTS = Facts(
    questions=4_000,
    videos=None,
    rule=("The first word, without dots, is a part of `(b)` or contains it; the mean of the 20 tasks' accuracies."),
    published=(
        "The authors' prompt ends in `Best option:(`, with 16 frames for their own model; lmms-eval takes 32 "
        "frames and 16 new tokens."
    ),
    disagreements=(
        ("Qwen2.5-VL-7B has 69.6 by Qwen's card, 67.1 in VideoAuto-R1's README and 65.3 in the paper."),
        ("Qwen3-VL-8B has 68.7 by Qwen's report and 69.4 in VideoAuto-R1's README."),
        ("The official check counts an empty output as right; here it is wrong."),
        ("Clips that are cut already and whole videos are mixed in the wild."),
    ),
)

EXAMPLE = Example(
    split="test",
    purpose="bench",
    files={
        "object_existence.json": '[{"video": "video_90001.mp4", "question": "Are there any moving green objects?", '
        '"candidates": ["not sure", "yes", "no"], "answer": "no"}]',
        "episodic_reasoning.json": '[{"video": "show_s01e01_seg01_clip_00", "question": "What is on the table?", '
        '"candidates": ["a cup", "a hat"], "answer": "a hat", "start": 1.5, "end": 8.0}]',
    },
    samples=(
        Sample(
            id="object_existence:0",
            source="mvbench",
            split="test",
            task=TASK,
            video="clevrer/video_validation/video_90001.mp4",
            video_key="clevrer:video_90001",
            question="Are there any moving green objects?",
            options=("not sure", "yes", "no"),
            answer="no",
            answer_index=2,
            license=LICENSE,
            meta={
                "task": "object_existence",
                "alternatives": [
                    {"video": "data0613/clevrer/video_validation/video_90001.mp4", "cut": False},
                    {"video": "data0613/clevrer/video_90001.mp4", "cut": False},
                ],
            },
        ),
        Sample(
            id="episodic_reasoning:0",
            source="mvbench",
            split="test",
            task=TASK,
            video="tvqa/frames_fps3_hq/show_s01e01_seg01_clip_00",
            video_key="tvqa:show_s01e01_seg01_clip_00",
            clip=Span(1.5, 8.0),
            duration=6.5,
            question="What is on the table?",
            options=("a cup", "a hat"),
            answer="a hat",
            answer_index=1,
            license=LICENSE,
            meta={
                "task": "episodic_reasoning",
                "fps": 3,
                "alternatives": [
                    {"video": "tvqa/video_fps3_hq_segment/show_s01e01_seg01_clip_00.mp4", "cut": True},
                    {"video": "tvqa/video_fps3_hq_segment/show_s01e01_seg01_clip_00_1.5_8.0.mp4", "cut": True},
                ],
            },
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the parsed `<task>.json` files that are there, task by task."""
    out = Collector(source="mvbench", split=TEST_SPLIT, task=TASK, license=LICENSE)
    for task, place in TASKS.items():
        name = f"{task}.json"
        for index, record in enumerate(holding(files, name, list, "a list of records") if name in files else []):
            _read(out, record, place, task, index)
    missing = [place.title for task, place in TASKS.items() if f"{task}.json" not in files]
    return out.reading(f"tasks without annotation: {', '.join(missing)}" if missing else "")


def _read(out: Collector, record: Any, place: TaskFolder, task: str, index: int) -> None:
    where = f"{task}.json[{index}]"
    video, question = get(record, "video", str, where), clean(get(record, "question", str, where))
    options = tuple(clean(str(text)) for text in get(record, "candidates", list, where))
    answer = clean(get(record, "answer", str, where))
    if answer not in options:
        out.drop("answer_not_an_option", f"{where}: answer {answer!r}")
        return
    bounds: tuple[float, ...] = ()
    clip, flags = None, ["duplicate_options"] * (len(set(options)) < len(options))
    if place.bounded and record.get("start") is not None and record.get("end") is not None:
        bounds = (get(record, "start", (int, float), where), get(record, "end", (int, float), where))
        clip = repair_span(*bounds, None, clip=False).span
        # The whole video still holds the answer, so a question with useless bounds stays in.
        flags += [] if clip else ["bad_bounds"]
    meta: dict[str, Any] = {"task": task} | ({"fps": place.fps} if place.fps else {})
    others = _alternatives(video, place, bounds)
    out.keep(
        flags=flags,
        id=f"{task}:{index}",
        video=f"{place.folder}/{video}",
        video_key=f"{place.key}:{PurePosixPath(video).stem if not place.fps else video}",
        clip=clip,
        duration=clip.length if clip else None,
        question=question,
        options=options,
        answer=answer,
        answer_index=options.index(answer),
        meta=meta | ({"alternatives": others} if others else {}),
    )


def _alternatives(video: str, place: TaskFolder, bounds: tuple[float, ...]) -> list[dict[str, Any]]:
    """Other places of a video; a cut clip's file name may end in its bounds, written as in the annotation."""
    out: list[dict[str, Any]] = []
    family = place.folder.split("/")[0]
    if family in ("star", "clevrer"):
        out += [{"video": f"data0613/{folder}/{video}", "cut": False} for folder in (place.folder, family)]
    if place.cut_folder:
        stem = video if place.fps else str(PurePosixPath(video).with_suffix(""))
        names = [f"{stem}.mp4"] + ([f"{stem}_{bounds[0]}_{bounds[1]}.mp4"] if bounds else [])
        out += [{"video": f"{place.cut_folder}/{name}", "cut": True} for name in names]
    return out


def official(item: Item) -> dict[str, float]:
    """Whether one question is right by the official check, save that an empty output is wrong."""
    words = official_text(item).lower().split(maxsplit=1)
    token = words[0].replace(".", "") if words else ""
    gold = f"({LETTERS[item.sample.answer_index or 0].lower()})"
    return {"acc": float(bool(token) and (token in gold or gold in token))}


def group(sample: Sample) -> str:
    """The task: the metric is the mean over the available tasks."""
    return str(sample.meta["task"])


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """The mean of the task accuracies, in percent; by task, with the official check beside; missing tasks by name."""
    entry = benchmark_entry(
        items,
        paper=values,
        official=official,
        answered=lambda item: item.answer.option is not None,
        by={"task": group},
        group=group,
    )
    for task, part in entry["by"]["task"].items():
        mine = [item for item in items if item.sample.meta["task"] == task]
        part["official_acc"] = mean_values(mine, official)["acc"]
    missing = [place.title for task, place in TASKS.items() if task not in entry["by"]["task"]]
    return entry | {"missing_tasks": missing}
