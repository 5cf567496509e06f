"""LongVideoBench: multi-choice questions about moments of web videos from 8 seconds to an hour; with or without subtitles.

Origin: Wu et al., "LongVideoBench: A Benchmark for Long-context Interleaved Video-Language Understanding" (2024).
`lvb_val.json` is a list of `{id, video_id, video_path, question, candidates[3-5], correct_choice (from 0), subtitle_path,
starting_timestamp_for_subtitles, duration, duration_group, question_category, topic_category, level, ...}`; the hub's parquet
has the same rows, with `option0` to `option4` in place of candidates ("N/A" where there is none). Videos are
`videos/<video_path>`, subtitles `subtitles/<subtitle_path>`.

Splits: validation (1,337 questions about 753 videos). The test split's answers aren't public: its files are refused, unless
they have them.
Protocol: accuracy, micro; by group of lengths (15, 60, 600, 3600 seconds at most) and by category of the question. Official
check (lmms-eval, by an author): known lead-ins are taken out, then the first capital A to E anywhere is the answer. There, an
output without any is given a random letter; here it is wrong. The questions often refer to what is said: figures with
subtitles (`--subtitles`) and without differ, and the published ones are of either kind. License: CC BY-NC-SA 4.0; videos
belong to their owners.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, amount, clean, get, holding, youtube_key
from trlt.data.datasets._facts import Facts
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._lead_ins import first_capital
from trlt.data.datasets._metrics import Item, benchmark_entry, official_text
from trlt.data.datasets._metrics import accuracy_values as values
from trlt.data.datasets._options import fault, flags
from trlt.errors import DataError
from trlt.task.answer import LETTERS
from trlt.task.sample import Sample, Task

TITLE = "LongVideoBench"
TASK: Task = "multi_choice"
LICENSE = "LongVideoBench: CC BY-NC-SA 4.0; videos belong to their owners"
WHERE = "huggingface.co/datasets/longvideobench/LongVideoBench"
DOMAIN = "web videos with subtitles"
TEST_SPLIT = "validation"
FILES = {
    "validation": ("lvb_val.json", "validation-00000-of-00001.parquet"),
    "test": ("lvb_test_wo_gt.json", "test-00000-of-00001.parquet"),
}
OPTIONAL = (*FILES["validation"], *FILES["test"])
"""Either of a split's is enough; the JSON is read if both are there."""
FETCH = Fetch(
    by_hand=(
        "annotation and subtitles: accept the terms at huggingface.co/datasets/longvideobench/LongVideoBench, then hf download "
        "longvideobench/LongVideoBench lvb_val.json subtitles.tar --repo-type dataset --local-dir {data}/longvideobench and "
        "tar -xf subtitles.tar there, into {data}/longvideobench/subtitles",
        "videos: hf download longvideobench/LongVideoBench --repo-type dataset --include 'videos.tar.part.*' --local-dir "
        "{data}/longvideobench, then cat videos.tar.part.* | tar -x there, into {data}/longvideobench/videos",
    ),
)
OFFICIAL_LOWER = "LongVideoBench's rule takes the first capital A to E for the answer; an answer in words is wrong by it"
GROUPS = ("duration_group", "question_category")
FACTS = Facts(
    questions=1_337,
    videos=753,
    rule=(
        "Known lead-ins are taken out, then the first capital A to E anywhere is the answer; without any, a random letter. "
        "Accuracy over all questions, by group of lengths and by category."
    ),
    published=(
        "The official input interleaves subtitles with frames, by time. Papers report figures with and without subtitles, "
        "often without saying which, and some the best of several numbers of frames (16 to 64, or 256)."
    ),
    disagreements=(
        "Here, subtitles (`--subtitles`) stand after the video, each line with its time, and not between the frames: figures "
        "with subtitles may differ from interleaved ones for that reason alone.",
        "lmms-eval's longvideobench_val_v has no subtitles, longvideobench_val_i has them, with 16 frames.",
        "VLMEvalKit's list of lead-ins lacks two commas, so four of them are never taken out there.",
        "Qwen2.5-VL-7B has 54.7 or 56.0 by Qwen (as quoted) and 60.9 in VideoAuto-R1's README; Qwen3-VL-8B 67.6 there.",
    ),
)

EXAMPLE = Example(
    split="validation",
    purpose="bench",
    files={
        "lvb_val.json": '[{"id": "aB3_dE-7hIj_0", "video_id": "aB3_dE-7hIj", "video_path": "aB3_dE-7hIj.mp4", "question": '
        '"At the word  \'boat\', what is shown?", "candidates": ["a gull", "a mast", "a buoy"], "correct_choice": 2, '
        '"subtitle_path": "aB3_dE-7hIj_en.json", "starting_timestamp_for_subtitles": 30.5, "duration": 58.2, '
        '"duration_group": 60, "question_category": "T2O", "topic_category": "KH", "level": "L1-Perception"}]'
    },
    samples=(
        Sample(
            id="aB3_dE-7hIj_0",
            source="longvideobench",
            split="validation",
            task=TASK,
            video="aB3_dE-7hIj.mp4",
            video_key="youtube:aB3_dE-7hIj",
            duration=58.2,
            question="At the word 'boat', what is shown?",
            options=("a gull", "a mast", "a buoy"),
            answer="a buoy",
            answer_index=2,
            license=LICENSE,
            meta={
                "duration_group": "60",
                "question_category": "T2O",
                "alternatives": [{"video": "videos/aB3_dE-7hIj.mp4", "cut": False}],
                "subtitle_file": {"path": "aB3_dE-7hIj_en.json", "offset_s": 30.5},
            },
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of either form of a split's rows.

    Raises:
        DataError: no row has an answer, as in the public files of the test split.
    """
    name = next(name for name in FILES[split] if name in files)
    out = Collector(source="longvideobench", split=split, task=TASK, license=LICENSE)
    for index, row in enumerate(holding(files, name, list, "a list of rows")):
        _read(out, row, f"{name}[{index}]")
    if not out.samples and set(out.dropped) == {"no_answer"}:
        raise DataError(
            f"{name}: none of its {out.read:,} rows has an answer (`correct_choice`): this split is scored by the authors; "
            f"evaluate on the split 'validation'"
        )
    return out.reading()


def _read(out: Collector, row: Any, where: str) -> None:
    name, video = get(row, "id", str, where), get(row, "video_path", str, where)
    place = row.get("correct_choice")
    if place is None or place == -1:
        out.drop("no_answer", name)
        return
    options = _options(row, where)
    if get(row, "correct_choice", int, where) not in range(len(options)):
        out.drop("answer_not_an_option", f"{name}: {place}")
        return
    if reason := fault(options, place, bench=True):
        out.drop(reason, name)
        return
    subtitles = row.get("subtitle_path")
    out.keep(
        flags=flags(options),
        id=name,
        video=video,
        video_key=_key(video),
        duration=amount(row.get("duration")) or None,
        question=clean(get(row, "question", str, where)),
        options=options,
        answer=options[place],
        answer_index=place,
        meta={
            "duration_group": str(get(row, "duration_group", (int, str), where)),
            "question_category": get(row, "question_category", str, where),
            "alternatives": [{"video": f"videos/{video}", "cut": False}],
        }
        | ({"subtitle_file": {"path": str(subtitles), "offset_s": _offset(row)}} if subtitles else {}),
    )


def _options(row: Any, where: str) -> tuple[str, ...]:
    """The candidates, or the columns `option0` to `option4` that hold one."""
    if "candidates" in row:
        given = get(row, "candidates", list, where)
    else:
        columns = (get(row, f"option{place}", (str, type(None)), where) for place in range(5))
        given = [text for text in columns if text not in (None, "N/A")]
    return tuple(clean(str(text)) for text in given)


def _offset(row: Any) -> float:
    """Seconds of the subtitles' clock at which the video begins."""
    return amount(row.get("starting_timestamp_for_subtitles")) or 0.0


_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")


def _key(video: str) -> str:
    """Files are named by the id of YouTube, or by the longer numbers of another site."""
    stem = PurePosixPath(video).stem
    return youtube_key(stem) if _YOUTUBE_ID.fullmatch(stem) else f"longvideobench:{stem}"


_LEAD_INS = (
    *("The best answer is", "The correct answer is", "The answer is", "The answer"),
    *("The best option is", "The correct option is", "Best answer:", "Best option:"),
)


def official(item: Item) -> dict[str, float]:
    """Whether the first capital A to E is the gold letter; without any, wrong (there: a random letter)."""
    said = first_capital(official_text(item), _LEAD_INS, "ABCDE")
    return {"acc": float(said == LETTERS[item.sample.answer_index or 0])}


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """Accuracy in percent, micro; by group of lengths and by category of the question."""
    return benchmark_entry(
        items,
        paper=values,
        official=official,
        answered=lambda item: item.answer.option is not None,
        by={group: _part(group) for group in GROUPS},
    )


def _part(group: str) -> Callable[[Sample], str]:
    return lambda sample: str(sample.meta[group])
