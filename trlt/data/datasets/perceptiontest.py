"""PerceptionTest: memory, physics and meaning in scenes staged at a table. Three options per question.

Origin: Pătrăucean et al., "Perception Test: A Diagnostic Benchmark for Multimodal Video Models" (2023).
`mc_question_<split>.json` is an object of video id to `{"mc_question": [{"id", "question", "options", "answer_id", "area",
"reasoning", "tag"}, ...], "metadata": {"split", "video_id", "frame_rate", "num_frames", ...}}`; `answer_id` counts from 0.

Splits: train (7,392 questions, the paper's count) and valid. MVBench asks about videos of valid, so it counts as a test split.
A training source only.
Cut: some videos show the answer at their end, such as where the ball was in a cups game. `cut_frame_mapping_<split>.json` has
the frame at which to cut each video, or -1 to show the whole video. A cut becomes `clip`, from 0 up to that frame; one that
doesn't fit the video is flagged (`bad_cut`), and the whole video is shown. Duplicate options: dropped if the answer itself is
duplicated, else kept and flagged. Videos: `<video_id>.mp4`. License: CC BY 4.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, amount, clean, get, holding
from trlt.data.datasets._fetch import Fetch, Remote
from trlt.data.datasets._options import fault, flags
from trlt.errors import DataError
from trlt.task.answer import plain
from trlt.task.sample import Sample, Span, Task

TITLE = "PerceptionTest"
TASK: Task = "multi_choice"
LICENSE = "CC BY 4.0"
WHERE = "github.com/google-deepmind/perception_test (annotations, cut frames and videos)"
DOMAIN = "scenes staged with everyday objects"
_BUCKET = "https://storage.googleapis.com/dm-perception-test"
FETCH = Fetch(
    files=(
        Remote(f"{_BUCKET}/zip_data/mc_question_train_annotations.zip", 85_000, unpack=True),
        Remote(f"{_BUCKET}/zip_data/mc_question_valid_annotations.zip", 200_000, unpack=True),
        Remote(f"{_BUCKET}/misc/cut_frame_mapping_train.json", 39_498),
    ),
    videos=(Remote(f"{_BUCKET}/zip_data/train_videos.zip", 26_500_000_000, to="videos", unpack=True),),
    by_hand=(
        "videos of the split valid (70 GB): github.com/google-deepmind/perception_test (Download the data); unpack them into "
        "{data}/perceptiontest/videos",
    ),
)
PAPER_COUNT = 7_392
TRAIN_SPLIT = "train"
TEST_SPLIT = "valid"
FILES = {split: (f"mc_question_{split}.json", f"cut_frame_mapping_{split}.json") for split in ("train", "valid")}
OPTIONAL = tuple(cuts for _, cuts in FILES.values())
NO_CUT = -1

EXAMPLE = Example(
    split="train",
    purpose="train",
    files={
        "mc_question_train.json": '{"video_90001": {"mc_question": [{"id": 0, "question": "Where is the coin  at the end?", '
        '"options": ["under the left cup", "under the middle cup", "under the right cup"], "answer_id": 2, "area": "memory", '
        '"reasoning": "predictive", "tag": ["object permanence"]}], "metadata": {"split": "train", "video_id": "video_90001", '
        '"frame_rate": 25.0, "num_frames": 500}}, "video_90002": {"mc_question": [{"id": 3, "question": "What is poured?", '
        '"options": ["tea", "milk", "sand"], "answer_id": 0, "area": "semantics", "reasoning": "descriptive", "tag": []}], '
        '"metadata": {"split": "train", "video_id": "video_90002", "frame_rate": 30.0, "num_frames": 345}}}',
        "cut_frame_mapping_train.json": '{"video_90001": 410, "video_90002": -1}',
    },
    samples=(
        Sample(
            id="perceptiontest:train:video_90001:0",
            source="perceptiontest",
            split="train",
            task=TASK,
            video="video_90001.mp4",
            video_key="perceptiontest:video_90001",
            clip=Span(0.0, 16.4),
            duration=16.4,
            question="Where is the coin at the end?",
            options=("under the left cup", "under the middle cup", "under the right cup"),
            answer="under the right cup",
            answer_index=2,
            license=LICENSE,
            meta={"area": "memory", "reasoning": "predictive", "tag": ["object permanence"]},
        ),
        Sample(
            id="perceptiontest:train:video_90002:3",
            source="perceptiontest",
            split="train",
            task=TASK,
            video="video_90002.mp4",
            video_key="perceptiontest:video_90002",
            duration=11.5,
            question="What is poured?",
            options=("tea", "milk", "sand"),
            answer="tea",
            answer_index=0,
            license=LICENSE,
            meta={"area": "semantics", "reasoning": "descriptive", "tag": []},
        ),
    ),
)


class _Shown(NamedTuple):
    """The part of a video that a question is about."""

    clip: Span | None
    duration: float | None
    flags: tuple[str, ...]


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `mc_question_<split>.json` and, if present, the mapping of cut frames."""
    name, mapping = FILES[split]
    by_video = "an object by video id"
    videos = holding(files, name, dict, by_video)
    cuts = holding(files, mapping, dict, by_video) if mapping in files else {}
    out = Collector(source="perceptiontest", split=split, task=TASK, license=LICENSE)
    for video, entry in videos.items():
        where = f"{name}: {video}"
        try:
            questions, metadata = get(entry, "mc_question", list, where), get(entry, "metadata", dict, where)
            if metadata.get("video_id", video) != video:
                raise DataError(f"{where}: metadata: video_id is {metadata['video_id']!r:.60}")
        except DataError as error:
            out.drop("malformed", str(error))
            continue
        shown = _shown(metadata, cuts.get(video, NO_CUT))
        for index, question in enumerate(questions):
            place = f"{where}: mc_question[{index}]"
            # A renamed file of another split would train on a benchmark's questions unnoticed.
            if metadata.get("split", split) != split:
                out.drop("other_split", f"{place}: metadata: split is {metadata['split']!r:.60}")
                continue
            try:
                _keep(out, question, video, shown, split, place)
            except DataError as error:
                out.drop("malformed", str(error))
    return out.reading(
        "" if mapping in files else f"{mapping} isn't there: videos that aren't cut show the answer at their end"
    )


def _shown(metadata: Mapping[str, Any], cut: Any) -> _Shown:
    rate, frames = amount(metadata.get("frame_rate")), amount(metadata.get("num_frames"))
    whole = frames / rate if rate and frames else None
    missing = () if whole else ("no_duration",)
    if cut == NO_CUT or (frames and cut == frames):
        return _Shown(None, whole, missing)
    frame = amount(cut)
    if not (rate and frames and frame and frame < frames):
        return _Shown(None, whole, (*missing, "bad_cut"))
    # Half-open: the frame at which to cut is the first that isn't shown.
    return _Shown(Span(0.0, frame / rate), frame / rate, ())


def _keep(out: Collector, raw: Any, video: str, shown: _Shown, split: str, where: str) -> None:
    """Makes a sample of a question, or drops it with a reason.

    Raises:
        DataError: it isn't what it should be.
    """
    key, index = get(raw, "id", (int, str), where), get(raw, "answer_id", int, where)
    question, given = clean(get(raw, "question", str, where)), get(raw, "options", list, where)
    if not all(isinstance(option, str) for option in given):
        raise DataError(f"{where}: options: expected texts, got {given!r:.60}")
    options = tuple(map(clean, given))
    texts = tuple(map(plain, options))
    # A negative index would count from the end.
    reason = fault(texts, index, bench=False) if 0 <= index < len(options) else "answer_not_an_option"
    if reason or not question:
        out.drop(reason or "empty_question", f"{where}: answer_id {index}: {question:.60}")
        return
    out.keep(
        flags=(*flags(texts), *shown.flags),
        id=f"perceptiontest:{split}:{video}:{key}",
        video=f"{video}.mp4",
        video_key=f"perceptiontest:{video}",
        clip=shown.clip,
        duration=shown.duration,
        question=question,
        options=options,
        answer=options[index],
        answer_index=index,
        meta={name: raw[name] for name in ("area", "reasoning", "tag") if name in raw},
    )
