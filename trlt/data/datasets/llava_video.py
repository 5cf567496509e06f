"""LLaVA-Video-178K: what happens in a video of up to three minutes? Four or five options per question, written by a model.

Origin: Zhang et al., "Video Instruction Tuning With Synthetic Data" (2024). One folder per bucket, as `0_30_s_youtube_v0_1/`,
holds `0_30_s_youtube_mc_v0_1_qa_processed.json`, a list of `{"id", "conversations": [{"from": "human" or "gpt", "value"}, ...],
"data_source", "video"}`, and the videos: `video` is a path inside that folder. A question's text includes its options, with or
without `Options:`, and how to answer; an answer is a letter, mostly with its text.

Splits: youtube_mc (the paper's 158,439 questions), academic_mc (Charades, ActivityNet, NExT-QA, Ego4D, YouCook2), nextqa and
perceptiontest. Some of a split's files may be missing. Training sources only, and multi-choice only: the open-ended files
(`*_oe_*`, all of activitynetqa) and the captions (`*_cap_*`) have no options to choose from and don't fit any task here.
Sample: one per pair of turns. Ids of records repeat: from the second record on, an id is followed by `#2`, `#3`, ... Dropped: a
turn without options, an answer whose letter is no option's or whose text is another option's, an answer that occurs twice among
the options. Other duplicate options are flagged. Videos: `<bucket's folder>/<video>`; YouTube's are named `ytb_<id>.mp4`. Many
academic ones are also in NExT-QA, Charades-STA or benchmarks: they have the same `video_key` there. License: Apache-2.0, for
research only; videos belong to their uploaders or their data sets.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, get, without_instruction, youtube_key
from trlt.data.datasets._fetch import Fetch, Remote, hub
from trlt.data.datasets._options import SplitQuestion, choose, fault, flags, split_options
from trlt.errors import DataError
from trlt.task.answer import plain
from trlt.task.sample import Sample, Task

TITLE = "LLaVA-Video-178K"
TASK: Task = "multi_choice"
LICENSE = "Apache-2.0, research only"
WHERE = "huggingface.co/datasets/lmms-lab/LLaVA-Video-178K (annotations and videos)"
DOMAIN = "YouTube videos of all kinds"
PAPER_COUNT = 158_439
TRAIN_SPLIT = "youtube_mc"
_BUCKETS = ("0_30_s", "30_60_s", "1_2_m", "2_3_m")
FILES = {
    "youtube_mc": tuple(f"{bucket}_youtube_mc_v0_1_qa_processed.json" for bucket in _BUCKETS),
    "academic_mc": tuple(f"{bucket}_academic_mc_v0_1_qa_processed.json" for bucket in _BUCKETS),
    "nextqa": tuple(f"{bucket}_nextqa_mc_qa_processed.json" for bucket in _BUCKETS),
    # There are no longer videos of it.
    "perceptiontest": tuple(f"{bucket}_perceptiontest_mc_qa_processed.json" for bucket in _BUCKETS[:2]),
}
FETCH = Fetch(
    files=tuple(
        Remote(
            hub(
                "lmms-lab/LLaVA-Video-178K",
                "c45957bdb4b8aeccb78ae82a9ad4392e90660196",
                f"{bucket}_youtube_v0_1/{bucket}_youtube_mc_v0_1_qa_processed.json",
            ),
            size,
            to=f"{bucket}_youtube_v0_1",
        )
        for bucket, size in zip(_BUCKETS, (61_100_000, 264_000_000, 349_000_000, None), strict=True)
    ),
    by_hand=(
        "videos: hf download lmms-lab/LLaVA-Video-178K --repo-type dataset --include '*_youtube_v0_1/*.tar.gz' --local-dir "
        "{data}/llava_video (hundreds of GB), then unpack each archive in its folder; other splits: --include '*_mc_*.json'",
    ),
    videos_at="llava_video",
)
OPTIONAL = tuple(name for names in FILES.values() for name in names)
"""Buckets are downloaded one by one; at least one must be there."""
STREAMED = OPTIONAL

_FIRST = Sample(
    id="llava_video:youtube_mc:30_60_s:aB3-_xYz019:0",
    source="llava_video",
    split="youtube_mc",
    task=TASK,
    video="30_60_s_youtube_v0_1/liwei_youtube_videos/videos/youtube_video_2024/ytb_aB3-_xYz019.mp4",
    video_key="youtube:aB3-_xYz019",
    question="What does the baker do first?",
    options=("She sifts flour", "She lights the oven", "She sings"),
    answer="She lights the oven",
    answer_index=1,
    license=LICENSE,
)
EXAMPLE = Example(
    split="youtube_mc",
    purpose="train",
    files={
        "30_60_s_youtube_mc_v0_1_qa_processed.json": '[{"id": "aB3-_xYz019", "conversations": [{"from": "human", "value": '
        '"<image>\\nWhat does the baker do first?\\nA. She sifts flour\\nB. She lights the oven\\nC. She sings\\nPlease '
        'respond with only the letter of the correct answer."}, {"from": "gpt", "value": "B."}, {"from": "human", "value": '
        '"Where is the red bowl?\\nOptions:\\nA. On a shelf.\\nB. In the sink.\\nPlease provide your answer by stating the '
        'letter followed by the full option."}, {"from": "gpt", "value": "A. On a shelf."}], '
        '"data_source": "30_60_s_youtube_v0_1", "video": "liwei_youtube_videos/videos/youtube_video_2024/ytb_aB3-_xYz019.mp4"}]'
    },
    samples=(
        _FIRST,
        replace(
            _FIRST,
            id="llava_video:youtube_mc:30_60_s:aB3-_xYz019:1",
            question="Where is the red bowl?",
            options=("On a shelf.", "In the sink."),
            answer="On a shelf.",
            answer_index=0,
        ),
    ),
)


class _LlavaRecord(NamedTuple):
    id: str
    video: str
    """As it stands in the file."""
    turns: list[tuple[str, str]]
    """Question and answer; the half that is missing is empty."""


class _RecordVideo(NamedTuple):
    """What all samples of a record share."""

    id: str
    video: str
    video_key: str


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the files of a split that are there, bucket by bucket."""
    out = Collector(source="llava_video", split=split, task=TASK, license=LICENSE)
    for name in FILES[split]:
        if name in files:
            _read_file(out, files[name], name, split)
    missing = [name for name in FILES[split] if name not in files]
    return out.reading(f"files that aren't there: {', '.join(missing)}" if missing else "")


def _read_file(out: Collector, records: Any, name: str, split: str) -> None:
    folder = name.removesuffix("_qa_processed.json").replace("_mc", "", 1)
    bucket = "_".join(folder.split("_")[:3])
    seen: Counter[str] = Counter()
    for index, raw in enumerate(records):
        where = f"{name}[{index}]"
        try:
            record = _record(raw, where)
        except DataError as error:
            out.drop("malformed", str(error))
            continue
        seen[record.id] += 1
        count = seen[record.id]
        label = f"{record.id}#{count}" if count > 1 else record.id
        key = video_key(record.video, folder)
        place = _RecordVideo(f"llava_video:{split}:{bucket}:{label}", f"{folder}/{record.video}", key)
        for turn, (question, answer) in enumerate(record.turns):
            _keep(out, question, answer, place, turn, where)


def _record(raw: Any, where: str) -> _LlavaRecord:
    """The parts of a record.

    Raises:
        DataError: it isn't what it should be.
    """
    key = str(get(raw, "id", (str, int), where)).strip()
    video = get(raw, "video", str, where).strip()
    if not key or not video:
        raise DataError(f"{where}: {'video' if key else 'id'}: empty")
    turns: list[tuple[str, str]] = []
    asked: str | None = None
    for entry in get(raw, "conversations", list, where):
        speaker, text = get(entry, "from", str, where), get(entry, "value", str, where)
        if speaker == "gpt":
            turns.append((asked or "", text))
            asked = None
        elif speaker == "human":
            if asked is not None:
                turns.append((asked, ""))
            asked = text
        else:
            raise DataError(f"{where}: from: expected human or gpt, got {speaker!r:.60}")
    if asked is not None:
        turns.append((asked, ""))
    if not turns:
        raise DataError(f"{where}: conversations: empty")
    return _LlavaRecord(key, video, turns)


def _keep(out: Collector, text: str, answer: str, place: _RecordVideo, turn: int, where: str) -> None:
    """Makes a sample of a pair of turns, or drops it with a reason."""
    question, options = _asked(text)
    chosen = choose(answer, options)
    texts = tuple(map(plain, options))
    reason = chosen.reason if options else "no_options"
    if chosen.place is not None:
        reason = fault(texts, chosen.place, bench=False) or (None if question else "empty_question")
    if reason or chosen.place is None:
        out.drop(reason or "no_options", f"{where}: turn {turn}: {question:.60}: {answer:.60}")
        return
    out.keep(
        flags=flags(texts),
        id=f"{place.id}:{turn}",
        video=place.video,
        video_key=place.video_key,
        question=question,
        options=options,
        answer=options[chosen.place],
        answer_index=chosen.place,
    )


# Both instructions of the official files. To look for them first is cheaper than a pattern over the whole text, and finds one
# that follows the last option on its line as well.
_INSTRUCTIONS = (
    "Please provide your answer by stating the letter followed by the full option",
    "Please respond with only the letter of the correct answer",
)


def _asked(text: str) -> SplitQuestion:
    """The question and its options, without the tag and the answer instruction, which follows the options."""
    text = text.replace("<image>", "")
    for instruction in _INSTRUCTIONS:
        before, found, after = text.rpartition(instruction)
        if found and after.strip() in ("", "."):
            return split_options(before)
    return split_options(without_instruction(text))


# What a data set's folder has in its name, in lower case and without punctuation, and how its videos are known. "charades"
# isn't here: Charades-Ego has it in its name too, and has other videos.
_ORIGINS = {
    "youtube": "youtube",
    "activitynet": "youtube",
    "kinetics": "youtube",
    "youcook": "youtube",
    "nextqa": "flickr",
    "nextvideo": "flickr",
    "vidor": "flickr",
    "perceptiontest": "perceptiontest",
}
_CHARADES = frozenset({"charades", "charadesv1", "charadesv1480"})
_PUNCTUATION = re.compile(r"[\W_]+")
_CUT_PART = re.compile(r"split_\d+")
_NO_ORIGIN = frozenset({"academicsource", "videos", "data"})


def video_key(video: str, folder: str) -> str:
    """Origin of a video, from the folders of its path and its name; else from the bucket's folder.

    Args:
        video: Path inside the bucket's folder.
        folder: The bucket's: `0_30_s_nextqa`.
    """
    *parents, name = video.split("/")
    stem = name.rpartition(".")[0] or name
    bucket = folder.split("_")[3]
    for parent in (*parents, bucket):
        plain_name = _PUNCTUATION.sub("", parent.lower())
        if plain_name in _CHARADES:
            return f"charades:{stem}"
        for part, origin in _ORIGINS.items():
            if part in plain_name:
                return _known(origin, stem, parents)
    if stem.startswith("ytb_"):
        return youtube_key(stem)
    named = [parent for parent in parents if _PUNCTUATION.sub("", parent.lower()) not in _NO_ORIGIN]
    # Names such as `split_2` repeat from folder to folder, so deeper folders stay.
    return f"{(named or [bucket])[0].lower()}:{'/'.join([*named[1:], stem])}"


def _known(origin: str, stem: str, parents: list[str]) -> str:
    if origin != "youtube":
        return f"{origin}:{stem}"
    # YouCook2's are cut up: `youcook2/101/<YouTube id>/split_2.mp4`.
    return youtube_key(parents[-1] if parents and _CUT_PART.fullmatch(stem) else stem)
