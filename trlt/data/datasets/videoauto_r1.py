"""VideoAuto-R1-Data: questions and moments of eight sources about videos, three of them evaluation sets elsewhere.

Origin: Liu et al., "VideoAuto-R1: Video Auto Reasoning via Thinking Once, Answering Twice" (2026). Each source keeps a form of
its own, as the project's loader (`data_rl.py`, `data_config.yaml`) names them: Video-R1's records (17,000), TVBench's
`{question, candidates, answer, video, start, end}`, STI-Bench's `{Question, Candidates: {A: …}, Answer, Video, time_start,
time_end}`, MMR-VBench's `{question, options: ["(A) …"], correctAnswer, video}`, moments of Charades-STA and ActivityNet as
`{description, timestamps: [s, e], video}`, Time-R1's rows, and NExT-GQA's `{question, options, answer, timestamps, video}`.
Its texts and images (DAPO-Math, ViRL, ThinkLite) aren't read.

Splits: train is all of them that are there; clean leaves out TVBench, STI-Bench and MMR-VBench, which are evaluation sets
(`evaluation_set` flags their rows in train): a paper that reports them must not train on them. A training source only. The
files weren't at hand, so rows of another form are counted with a reason. Videos: the folders of the project's configuration,
below its `data/`. NExT-GQA rows become grounded questions. License: Apache-2.0 for the project; questions and videos under the
terms of their own data sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from trlt.data.datasets._common import (
    Collector,
    Example,
    Files,
    Purpose,
    Reading,
    amount,
    clean,
    get,
    pair,
    without_instruction,
)
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._footage import footage_key, inside
from trlt.data.datasets._options import bare, choose, fault, flags
from trlt.data.datasets._pool import expect, stated
from trlt.data.datasets._spans import repair_spans
from trlt.data.datasets.timer1 import keep_row
from trlt.errors import DataError
from trlt.task.numbers import parse_number
from trlt.task.sample import Sample, Span, Task

TITLE = "VideoAuto-R1-Data"
TASK: Task = "multi_choice"
LICENSE = "Apache-2.0 for the project; questions and videos under the terms of their own data sets"
WHERE = "huggingface.co/datasets/IVUL-KAUST/VideoAuto-R1-Data; unpack its archives where they are"
DOMAIN = "videos of all kinds"
FETCH = Fetch(
    by_hand=(
        "annotation: hf download IVUL-KAUST/VideoAuto-R1-Data --repo-type dataset --local-dir {data}/videoauto_r1",
        "videos: unpack the archives where they are; their folder is {data}/videoauto_r1, too",
    )
)
PAPER_COUNT = None
TRAIN_SPLIT = "train"
TV_TASKS = (
    "action_antonym action_count action_localization action_sequence egocentric_sequence moving_direction object_count "
    "object_shuffle scene_transition unexpected_action"
).split()
_VIDEO_R1 = "Video-R1/Video-R1-filter-17k.json"
_TV = tuple(f"TVBench/filter_json/{task}.json" for task in TV_TASKS)
_STI, _MMR = "STI-Bench/stibench-filter-1.5k.json", "MMR-VBench/mmrv-filter-0.5k.json"
_CHARADES, _ANET = "CharadesSTA/charades_sta_train.json", "ActivityNet-TVG/anet_tvg_filter.json"
_TIMER1, _NEXT = "TimeR1/train_2k5.json", "NeXT-GQA/nextgqa_train.json"
EVALUATION_SETS = (*_TV, _STI, _MMR)
"""Files of questions that are an evaluation set elsewhere."""
CLEAN = (_VIDEO_R1, _CHARADES, _ANET, _TIMER1, _NEXT)
FILES = {"train": (*CLEAN, *EVALUATION_SETS), "clean": CLEAN}
OPTIONAL = FILES["train"]
STREAMED = OPTIONAL
FORMS: Mapping[str, frozenset[str]] = {
    _VIDEO_R1: frozenset({"problem", "problem_type", "data_type", "solution", "path"}),
    **dict.fromkeys(_TV, frozenset({"question", "candidates", "answer", "video"})),
    _STI: frozenset({"Question", "Candidates", "Answer", "Video", "time_start", "time_end"}),
    _MMR: frozenset({"question", "options", "correctAnswer", "video"}),
    _CHARADES: frozenset({"description", "timestamps", "video"}),
    _ANET: frozenset({"description", "timestamps", "video"}),
    _TIMER1: frozenset({"sentence", "timestamp", "video"}),
    _NEXT: frozenset({"question", "options", "answer", "timestamps", "video"}),
}
"""File -> the fields of its records."""
FOLDERS: Mapping[str, str] = {
    _VIDEO_R1: "Video-R1/videos/",
    **{file: f"TVBench/videos/{PurePosixPath(file).stem}/" for file in _TV},
    _STI: "STI-Bench/videos/",
    _MMR: "MMR-VBench/videos/",
    _CHARADES: "CharadesSTA/Charades_v1_480/",
    _ANET: "ActivityNet-TVG/videos_train/",
    _TIMER1: "TimeR1/videos/",
    _NEXT: "NeXT-GQA/nextgqa_train/",
}
"""File -> the folder of its videos."""

_LINES = {
    _CHARADES: '[{"description": "a person opens  a door", "timestamps": [1.5, 4], "video": "QX7LK.mp4"}]',
    _NEXT: '[{"question": "Why did the boy run?", "options": ["A. to hide", "B. to play"], "answer": "B", "timestamps": '
    '[2.0, 6.5], "video": "5550001112.mp4"}]',
    _MMR: '[{"question": "What is hidden?", "options": ["(A) a key", "(B) a coin", ""], "correctAnswer": "(A) a key", '
    '"video": "film_9.mp4"}]',
}
EXAMPLE = Example(
    split="train",
    purpose="train",
    files=_LINES,
    samples=(
        Sample(
            id="videoauto_r1:charades_sta_train:0",
            source="videoauto_r1",
            split="train",
            task="grounding",
            video="CharadesSTA/Charades_v1_480/QX7LK.mp4",
            video_key="charades:QX7LK",
            question="a person opens a door",
            spans=(Span(1.5, 4.0),),
            license=LICENSE,
            meta={"origin": "CharadesSTA"},
        ),
        Sample(
            id="videoauto_r1:nextgqa_train:0",
            source="videoauto_r1",
            split="train",
            task="grounded_qa",
            video="NeXT-GQA/nextgqa_train/5550001112.mp4",
            video_key="flickr:5550001112",
            question="Why did the boy run?",
            options=("to hide", "to play"),
            answer="to play",
            answer_index=1,
            spans=(Span(2.0, 6.5),),
            license=LICENSE,
            meta={"origin": "NeXT-GQA"},
        ),
        Sample(
            id="videoauto_r1:mmrv-filter-0.5k:0",
            source="videoauto_r1",
            split="train",
            task="multi_choice",
            video="MMR-VBench/videos/film_9.mp4",
            video_key="mmr-vbench:film_9",
            question="What is hidden?",
            options=("a key", "a coin"),
            answer="a key",
            answer_index=0,
            license=LICENSE,
            meta={"origin": "MMR-VBench", "flags": ["evaluation_set"]},
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of those files of a split that are there; ids have the file's name and row numbers, from 0."""
    out = Collector(source="videoauto_r1", split=split, license=LICENSE)
    for name in FILES[split]:
        if name not in files:
            continue
        expect(files[name], name, [FORMS[name]], "IVUL-KAUST/VideoAuto-R1 (videoauto_r1/utils/data_rl.py)")
        for row, record in enumerate(files[name]):
            where = f"{name}[{row}]"
            try:
                _read(out, name, record, f"videoauto_r1:{PurePosixPath(name).stem}:{row}", where)
            except DataError as error:
                out.drop("malformed", str(error))
    gone = [name for name in FILES[split] if name not in files]
    spoiled = [name for name in EVALUATION_SETS if name in files and split == "train"]
    return out.reading(
        f"not there, so not read: {', '.join(gone)}" if gone else "",
        f"evaluation sets elsewhere ({', '.join(sorted({name.split('/')[0] for name in spoiled}))}): the split `clean` leaves "
        "them out"
        if spoiled
        else "",
    )


def _read(out: Collector, name: str, record: Any, id_: str, where: str) -> None:
    """Makes a sample of a record, or counts it as dropped.

    Raises:
        DataError: a field is missing or of another type.
    """
    origin = name.split("/")[0]
    if name == _TIMER1:
        keep_row(out, record, id_, where, folder=FOLDERS[name])
        return
    key = {_VIDEO_R1: "path", _STI: "Video"}.get(name, "video")
    file = inside(get(record, key, str, where))
    if not file:
        raise DataError(f"{where}: {key}: {record[key]!r} names no file")
    video = f"{FOLDERS[name]}{file}"
    source = str(record.get("data_source") or "") if name == _VIDEO_R1 else _TV_SOURCES.get(PurePosixPath(name).stem, "")
    # Of Video-R1's paths the first folder names the data set; of the others' it is their own.
    footage = footage_key(file if name == _VIDEO_R1 else video, source, "videoauto_r1")
    shared: dict[str, Any] = {"id": id_, "video": video, "video_key": footage, "meta": {"origin": origin}}
    marks = ("evaluation_set",) if name in EVALUATION_SETS else ()
    if name in (_CHARADES, _ANET):
        _moment(out, record, shared, where)
    elif name == _VIDEO_R1:
        _video_r1(out, record, shared, where)
    elif name == _STI:
        listed = get(record, "Candidates", dict, where)
        begin, end = (get(record, key, (int, float), where) for key in ("time_start", "time_end"))
        asked = f"From {begin:g} s to {end:g} s: {get(record, 'Question', str, where)}"
        keys = list(map(str, listed))
        said = get(record, "Answer", str, where).strip()
        answer = str(listed[said]) if said in listed else said
        if keys != sorted(keys):
            raise DataError(f"{where}: Candidates: expected A, B, … in order, got {keys!r:.60}")
        _choice(out, asked, [str(text) for text in listed.values()], answer, shared, (where, marks))
    elif name == _MMR:
        options = [text for text in get(record, "options", list, where) if text]
        _choice(
            out, get(record, "question", str, where), options, get(record, "correctAnswer", str, where), shared, (where, marks)
        )
    else:
        listed = get(record, "options" if name == _NEXT else "candidates", list, where)
        if name == _NEXT:
            times = get(record, "timestamps", list, where)
            several = bool(times) and isinstance(times[0], list)
            repairs = repair_spans([pair(one, where) for one in (times if several else [times])], None, clip=True)
            if repairs.reason:
                out.drop(repairs.reason, f"{where}: {times}")
                return
            shared["spans"] = repairs.spans
        elif (begin := amount(record.get("start"))) is not None and (end := amount(record.get("end"))) is not None:
            shared |= {"clip": Span(begin, end)}
        _choice(out, get(record, "question", str, where), listed, get(record, "answer", str, where), shared, (where, marks))


def _moment(out: Collector, record: Any, shared: dict[str, Any], where: str) -> None:
    query, times = clean(get(record, "description", str, where)), pair(get(record, "timestamps", list, where), where)
    repairs = repair_spans([times], amount(record.get("duration")) or None, clip=True)
    if reason := "empty_question" if not query else repairs.reason:
        out.drop(reason, f"{where}: {list(times)} {query:.60}")
        return
    out.keep(flags=repairs.flags, task="grounding", question=query, spans=repairs.spans, **shared)


def _video_r1(out: Collector, record: Any, shared: dict[str, Any], where: str) -> None:
    kind, form = get(record, "data_type", str, where), get(record, "problem_type", str, where)
    if kind != "video" or form not in ("multiple choice", "numerical"):
        out.drop("image" if kind == "image" else "other_kind", f"{where}: {kind}, {form}")
        return
    problem, said = get(record, "problem", str, where), stated(get(record, "solution", str, where))
    if form == "multiple choice":
        _choice(out, problem, get(record, "options", list, where), said, shared, (where, ()))
    elif parse_number(said) is None:
        out.drop("no_number", f"{where}: {said!r:.60}")
    else:
        out.keep(task="multi_choice", question=clean(without_instruction(problem)), answer=said, numeric=True, **shared)


def _choice(
    out: Collector, problem: str, listed: list[Any], said: str, shared: dict[str, Any], about: tuple[str, tuple[str, ...]]
) -> None:
    where, marks = about
    if not all(isinstance(text, str) for text in listed):
        raise DataError(f"{where}: options: expected a list of texts, got {listed!r:.60}")
    options = tuple(bare(clean(text), place) for place, text in enumerate(listed))
    question, chosen = clean(problem), choose(stated(said), options)
    reason = "empty_question" if not question else "no_options" if not options else chosen.reason
    if reason is None and chosen.place is not None:
        reason = fault(options, chosen.place, bench=False)
    if reason or chosen.place is None:
        out.drop(reason or "answer_not_an_option", f"{where}: {said:.60}")
        return
    task = "grounded_qa" if "spans" in shared else "multi_choice"
    answer = {"options": options, "answer": options[chosen.place], "answer_index": chosen.place}
    out.keep(flags=(*marks, *flags(options)), task=task, question=question, **answer, **shared)


_TV_SOURCES = {
    "action_localization": "charades",
    "action_sequence": "star",
    "moving_direction": "clevrer",
    "object_count": "clevrer",
    "action_count": "perceptiontest",
    "object_shuffle": "perceptiontest",
}
"""Task of TVBench -> the data set of its videos, as they are commonly attributed; not checked against TVBench's paper."""
