"""OneThinker: questions and moments of many kinds about videos and images; only what is about videos is read.

Origin: Feng et al., "OneThinker: All-in-one Reasoning Model for Image and Video" (2025). Files are lists of `{"problem",
"answer", "data_type": "video" or "image", "problem_type", "options": ["A. text", ...], "videos" or "images": [...],
"data_source"}`; the gold answer of a moment is JSON in a text, `{"time": [s, e]}`.

Splits: train (`onethinker_rl_train.json`), sft (`onethinker_sft_video.json`, whose reasoning in `process` becomes
`meta.reasoning`). A training source only. Read are multiple choice, open-ended, numerical and regression (as `numeric`: a near
answer earns a part) and temporal grounding; left out and counted are images, OCR, math, spatial and spatial-temporal grounding,
tracking and segmentation (`other_kind`). Query: what the problem quotes; a problem without quotes is dropped
(`query_not_found`). The form is that of the project's loader and rewards; its files weren't at hand, so odd rows are counted
with a reason. Videos: as given, below the video root. `video_key` names their origin by folders and `data_source`. License:
see its page; questions and videos belong to the data sets they were taken from.
"""

from __future__ import annotations

from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, clean, get, pair, without_instruction
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._footage import footage_key, inside
from trlt.data.datasets._options import bare, choose, fault, flags, split_options
from trlt.data.datasets._pool import expect, quoted, reasoning, stated, stated_spans
from trlt.data.datasets._spans import repair_spans
from trlt.errors import DataError
from trlt.task.answer import LETTERS
from trlt.task.numbers import parse_number
from trlt.task.sample import Sample, Span, Task

TITLE = "OneThinker"
TASK: Task = "multi_choice"
LICENSE = "see its page; questions and videos under the terms of their own data sets"
WHERE = "huggingface.co/datasets/OneThink/OneThinker-train-data; unpack its archives where they are"
DOMAIN = "videos of all kinds"
FETCH = Fetch(
    by_hand=(
        "annotation: hf download OneThink/OneThinker-train-data --repo-type dataset --local-dir {data}/onethinker",
        "videos: unpack the archives into {data}/onethinker/videos under the paths of the annotation",
    )
)
PAPER_COUNT = None
TRAIN_SPLIT = "train"
FILES = {"train": ("onethinker_rl_train.json",), "sft": ("onethinker_sft_video.json",)}
STREAMED = ("onethinker_rl_train.json", "onethinker_sft_video.json")
OTHER_KINDS = frozenset(
    ("ocr", "math", "spatial grounding", "spatial-temporal grounding", "tracking", "segmentation", "image segmentation")
)
"""Kinds of problems that are left out."""

EXAMPLE = Example(
    split="train",
    purpose="train",
    files={
        "onethinker_rl_train.json": '[{"problem": "<video>Where does the  goat stand?", "answer": "B", "data_type": "video", '
        '"problem_type": "multiple choice", "options": ["A. On a car", "B. On a roof"], "videos": '
        '["./NeXT-QA/5550001112.mp4"], "data_source": "NeXT-QA"}, {"problem": "Find the moment of \\"the goat\'s jump\\".", '
        '"answer": "{\\"time\\": [2, 4.5]}", "data_type": "video", "problem_type": "temporal grounding", "options": [], '
        '"videos": ["Charades/QX7LK.mp4"], "data_source": "Charades-STA"}, {"problem": "How many goats are there?", '
        '"answer": "3", "data_type": "video", "problem_type": "numerical", "options": [], "videos": '
        '["clevrer/video_90001.mp4"]}]'
    },
    samples=(
        Sample(
            id="onethinker:train:0",
            source="onethinker",
            split="train",
            task="multi_choice",
            video="NeXT-QA/5550001112.mp4",
            video_key="flickr:5550001112",
            question="Where does the goat stand?",
            options=("On a car", "On a roof"),
            answer="On a roof",
            answer_index=1,
            license=LICENSE,
            meta={"data_source": "NeXT-QA"},
        ),
        Sample(
            id="onethinker:train:1",
            source="onethinker",
            split="train",
            task="grounding",
            video="Charades/QX7LK.mp4",
            video_key="charades:QX7LK",
            question="the goat's jump",
            spans=(Span(2.0, 4.5),),
            license=LICENSE,
            meta={"data_source": "Charades-STA"},
        ),
        Sample(
            id="onethinker:train:2",
            source="onethinker",
            split="train",
            task="multi_choice",
            video="clevrer/video_90001.mp4",
            video_key="clevrer:video_90001",
            question="How many goats are there?",
            answer="3",
            numeric=True,
            license=LICENSE,
        ),
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the records of one file that are about videos; ids are row numbers, from 0."""
    name = FILES[split][0]
    form = frozenset({"problem", "data_type", "problem_type"})
    expect(files[name], name, [form], "tulerfeng/OneThinker (EasyR1/verl/utils/dataset.py)")
    out = Collector(source="onethinker", split=split, license=LICENSE)
    for row, record in enumerate(files[name]):
        where = f"{name}[{row}]"
        try:
            _read(out, record, f"onethinker:{split}:{row}", where)
        except DataError as error:
            out.drop("malformed", str(error))
    return out.reading("images, OCR, math, tracking, segmentation and spatial grounding aren't read" if out.dropped else "")


def _read(out: Collector, record: Any, id_: str, where: str) -> None:
    """Makes a sample of a record, or counts it as dropped.

    Raises:
        DataError: a field is missing or of another type.
    """
    about, kind = get(record, "data_type", str, where), get(record, "problem_type", str, where).strip().lower()
    if about != "video":
        out.drop("image" if about == "image" else "unknown_data_type", f"{where}: {about}")
        return
    if kind in OTHER_KINDS:
        out.drop("other_kind", f"{where}: {kind}")
        return
    video, source = _video(record, where), str(record.get("data_source") or "")
    said = stated(get(record, "answer" if "answer" in record else "solution", str, where))
    text, kept = reasoning(record.get("process"))
    meta = {"data_source": source, "reasoning": text}
    shared: dict[str, Any] = {
        "id": id_,
        "video": video,
        "video_key": footage_key(video, source, "onethinker"),
        "meta": {key: value for key, value in meta.items() if value},
    }
    problem = get(record, "problem", str, where)
    if kind == "multiple choice":
        _choice(out, problem, record.get("options"), said, (where, kept), shared)
    elif kind == "temporal grounding":
        _moment(out, problem, said, (where, kept), shared)
    elif kind in ("open-ended", "free-form", "numerical", "regression"):
        question, number = clean(without_instruction(problem)), kind in ("numerical", "regression")
        reason = "empty_question" if not question else "empty_answer" if not said else None
        if reason or (number and parse_number(said) is None):
            out.drop(reason or "no_number", f"{where}: {said!r:.60}")
            return
        out.keep(flags=kept, task="multi_choice", question=question, answer=clean(said), numeric=number, **shared)
    else:
        out.drop("unknown_kind", f"{where}: problem_type {kind!r:.60}")


def _video(record: Any, where: str) -> str:
    """The path of the one video."""
    key = "videos" if "videos" in record else "path"
    given = get(record, key, (str, list), where)
    files = [given] if isinstance(given, str) else given
    if len(files) != 1 or not isinstance(files[0], str) or not inside(files[0]):
        raise DataError(f"{where}: {key}: expected one file, got {given!r:.60}")
    return inside(files[0])


def _choice(
    out: Collector, problem: str, listed: Any, said: str, about: tuple[str, tuple[str, ...]], shared: dict[str, Any]
) -> None:
    where, kept = about
    if listed:
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed) or len(listed) > len(LETTERS):
            raise DataError(f"{where}: options: expected a list of texts, got {listed!r:.60}")
        question, options = clean(problem), tuple(bare(clean(one), place) for place, one in enumerate(listed))
    else:
        question, options = split_options(problem)
    chosen = choose(said, options)
    reason = "empty_question" if not question else "no_options" if not options else chosen.reason
    if reason is None and chosen.place is not None:
        reason = fault(options, chosen.place, bench=False)
    if reason or chosen.place is None:
        out.drop(reason or "answer_not_an_option", f"{where}: {said:.60}")
        return
    answer = {"options": options, "answer": options[chosen.place], "answer_index": chosen.place}
    out.keep(flags=(*kept, *flags(options)), task="multi_choice", question=question, **answer, **shared)


def _moment(out: Collector, problem: str, said: str, about: tuple[str, tuple[str, ...]], shared: dict[str, Any]) -> None:
    where, kept = about
    found, query = stated_spans(said), quoted(problem)
    times = [pair(one, f"{where}: answer: time") for one in found or ()]
    repairs = repair_spans(times, None, clip=True)
    reason = "query_not_found" if not query else "no_times" if not found else repairs.reason
    if reason:
        out.drop(reason, f"{where}: {said if query else problem:.90}")
        return
    out.keep(flags=(*kept, *repairs.flags), task="grounding", question=query, spans=repairs.spans, **shared)
