"""NExT-QA: why and how do people act, and what comes before and after? Five options per question.

Origin: Xiao et al., "NExT-QA: Next Phase of Question-Answering to Explaining Temporal Actions" (2021), over VidOR.
`<split>.csv` has `video,frame_count,width,height,question,answer,qid,type,a0..a4`; `answer` is an index from 0. A video's file
is `map_vid_vidorID.json[video] + ".mp4"`; a question is identified by (video, qid).

Splits: train (the paper uses 17,024), val (4,996), test. A training source only; NExT-GQA is its grounded benchmark.
Duplicate options: dropped if the answer itself is duplicated, else kept and flagged. License: MIT (annotations); the videos are
YFCC100M's.
"""

from __future__ import annotations

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, columns
from trlt.data.datasets._fetch import Fetch, Remote, on_github
from trlt.data.datasets._next import MAP, NO_MAP, OPTION_COLUMNS, folders, options, video_path
from trlt.data.datasets._options import fault, flags
from trlt.task.sample import Sample, Task

TITLE = "NExT-QA"
TASK: Task = "multi_choice"
LICENSE = "MIT"
WHERE = "github.com/doc-doc/NExT-QA; videos are VidOR's"
DOMAIN = "personal videos"
_NEXTQA = ("doc-doc/NExT-QA", "6b92588ab4496268fa1caab9414a8b998ee063c5")
FETCH = Fetch(
    files=(
        Remote(on_github(*_NEXTQA, "dataset/nextqa/train.csv"), None, "git:d21e93e78572a03b09528a05a2dfb3a1871afe27"),
        Remote(
            on_github(*_NEXTQA, "dataset/nextqa/val.csv"),
            814_107,
            "sha256:43198bdef8436b8d64a9b75d846b0987c10cbf94ebf4be325c4a4e54634d66b8",
        ),
        Remote(
            on_github(*_NEXTQA, "dataset/nextqa/test.csv"),
            1_385_657,
            "sha256:cdf46de237b3b3b846ff0209ae1394ad559791b5a0de0bb8c78648f74da83542",
        ),
        Remote(
            on_github(*_NEXTQA, f"dataset/nextqa/{MAP}"),
            331_540,
            "sha256:1955d89e7a175346faf8d4a582297ff349619231394f59fd7872f459ac8a8685",
        ),
    ),
    by_hand=(
        "videos: the archive NExTVideo on a drive, which github.com/doc-doc/NExT-QA (Data Preparation) links; unpack it into "
        "{data}/nextqa/videos",
    ),
)
PAPER_COUNT = 17_024
TRAIN_SPLIT = "train"
TEST_SPLIT = "test"
FILES = {"train": ("train.csv", MAP), "val": ("val.csv", MAP), "test": ("test.csv", MAP)}
OPTIONAL = (MAP,)

EXAMPLE = Example(
    split="train",
    purpose="train",
    files={
        "train.csv": "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
        "5550001112,450,640,480,why did the girl open the box ,2,3,CW,hungry,to hide it, find the puppy,cold,dance\n",
        MAP: '{"5550001112": "0042/5550001112"}',
    },
    samples=(
        Sample(
            id="nextqa:train:5550001112_3",
            source="nextqa",
            split="train",
            task=TASK,
            video="0042/5550001112.mp4",
            video_key="flickr:5550001112",
            question="why did the girl open the box",
            options=("hungry", "to hide it", "find the puppy", "cold", "dance"),
            answer="find the puppy",
            answer_index=2,
            license=LICENSE,
            meta={"type": "CW"},
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `<split>.csv` and, if present, the map of videos."""
    name = FILES[split][0]
    wanted = ("video", "question", "answer", "qid", "type", *OPTION_COLUMNS)
    paths = folders(files)
    out = Collector(source="nextqa", split=split, task=TASK, license=LICENSE)
    for row in columns(files, name, wanted, hint="NExT-GQA's files have video_id: they are another data set, nextgqa."):
        video, qid = row["video"].strip(), row["qid"].strip()
        where = f"{name}: video {video}, qid {qid}"
        texts, question = options(row), clean(row["question"])
        index = int(row["answer"]) if row["answer"].strip().isdecimal() and len(row["answer"]) < 9 else len(texts)
        if index >= len(texts):
            out.drop("answer_not_an_option", f"{where}: answer {row['answer']!r}")
            continue
        reason = fault(texts, index, bench=False) or (None if question else "empty_question")
        if reason:
            out.drop(reason, where)
            continue
        out.keep(
            flags=flags(texts),
            id=f"nextqa:{split}:{video}_{qid}",
            video=video_path(video, paths),
            video_key=f"flickr:{video}",
            question=question,
            options=texts,
            answer=texts[index],
            answer_index=index,
            meta={"type": row["type"].strip()},
        )
    return out.reading("" if MAP in files else NO_MAP)
