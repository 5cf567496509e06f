"""G-VideoLLM (G-VideoQA): a question about a video, its answer, and the moment that shows it.

Origin: Wang et al., "Grounded-VideoLLM: Sharpening Fine-grained Temporal Grounding in Video Large Language Models" (2024),
written by GPT-4o mini over moments of ActivityNet Captions and QVHighlights. The field names of
`G-VideoQA-gpt4o-mini-anno.json` aren't documented anywhere. It must be a list in one of two layouts:

- conversation: `{question_id, video_id, video_file, conversation: [{from, value}, ...], dataset_name}`, as in the same authors'
  `mix_sft.json`. Seconds are in the texts as `<12.3>` or `<12>`: after the answer, or in a turn of their own.
- flat: `{video_file | video | video_id | vid, question, answer, times}` and optionally `options | choices` (a list, an object
    of letters, or in the question) and `duration`. `times` is `timestamps | timestamp | span | temporal_span`, one `[start,
    end]` or
  a list of them, or the two fields `start, end` or `start_time, end_time`. `answer` is a text, a letter or an index from 0.

Splits: train; the paper counts 29,797. A training source only.
Sample: a question with options, or an open one. If the question states the times, it is dropped: they are the answer. Videos:
as given, or `<id>.mp4`; `v_<id>` is ActivityNet's. QVHighlights' `<id>_<start>_<end>` are already cut files: times count from
the cut, and a file may be shorter than its name says. License: not stated for these annotations; QVHighlights is CC BY-NC-SA
4.0, ActivityNet for research.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from trlt.data.datasets._common import (
    Collector,
    Example,
    Files,
    Purpose,
    Reading,
    amount,
    clean,
    get,
    holding,
    pair,
    without_instruction,
    youtube_key,
)
from trlt.data.datasets._fetch import Fetch, Remote, hub
from trlt.data.datasets._options import bare, choose, fault, flags, split_options
from trlt.data.datasets._spans import repair_spans
from trlt.errors import DataError
from trlt.task.sample import Sample, Span, Task

TITLE = "G-VideoLLM"
TASK: Task = "grounded_qa"
LICENSE = "annotations: not stated; QVHighlights CC BY-NC-SA 4.0, ActivityNet for research"
WHERE = "huggingface.co/datasets/WHB139426/Grounded-VideoLLM; videos from ActivityNet and QVHighlights"
DOMAIN = "vlogs, news and activities"
FETCH = Fetch(
    files=(Remote(hub("WHB139426/Grounded-VideoLLM", "main", "G-VideoQA-gpt4o-mini-anno.json")),),
    by_hand=(
        "videos: those of ActivityNet (`trlt download activitynet` says how) and of QVHighlights "
        "(github.com/jayleicn/moment_detr); put both into {data}/gvideollm/videos",
    ),
)
PAPER_COUNT = 29_797
TRAIN_SPLIT = "train"
FILES = {"train": ("G-VideoQA-gpt4o-mini-anno.json",)}

EXAMPLE = Example(
    split="train",
    purpose="train",
    files={
        "G-VideoQA-gpt4o-mini-anno.json": '[{"question_id": "q1", "video_id": "v_aB3-_xYz019", "video_file": '
        '"activitynet/videos/v_aB3-_xYz019.mp4", "dataset_name": "G-VideoQA", "conversation": [{"from": "human", "value": '
        '"<image>\\nWhat does the girl do with the rope?\\n(A) She ties it.\\n(B) She cuts it."}, {"from": "gpt", "value": '
        '"(B) She cuts it. From <12.3> to <20>."}]}]'
    },
    samples=(
        Sample(
            id="gvideollm:train:v_aB3-_xYz019:0:0",
            source="gvideollm",
            split="train",
            task=TASK,
            video="activitynet/videos/v_aB3-_xYz019.mp4",
            video_key="youtube:aB3-_xYz019",
            question="What does the girl do with the rope?",
            options=("She ties it.", "She cuts it."),
            answer="She cuts it.",
            answer_index=1,
            spans=(Span(12.3, 20.0),),
            license=LICENSE,
            meta={"dataset": "G-VideoQA"},
        ),
    ),
)

_TALKS = ("conversation", "conversations")
_VIDEOS = ("video_file", "video", "video_id", "vid")
_OPTIONS = ("options", "choices")
_SPANS = ("timestamps", "timestamp", "span", "temporal_span")
_ENDS = (("start", "end"), ("start_time", "end_time"))


class _TimedQuestion(NamedTuple):
    question: str
    options: tuple[str, ...]
    answer: str
    times: list[tuple[float, float]]


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `G-VideoQA-gpt4o-mini-anno.json`."""
    name = FILES[split][0]
    records = holding(files, name, list, "a list of records")
    talks = _layout(records, name)
    out = Collector(source="gvideollm", split=split, task=TASK, license=LICENSE)
    for index, record in enumerate(records):
        where = f"{name}[{index}]"
        try:
            video = _video(record, where)
            found = list(_talk(record, where)) if talks else [_flat(record, where)]
        except DataError as error:
            out.drop("malformed", str(error))
            continue
        for place, asked in enumerate(found):
            _keep(out, f"gvideollm:{split}:{PurePosixPath(video).stem}:{index}:{place}", video, record, asked, where)
    return out.reading()


def _layout(records: Sequence[Any], name: str) -> bool:
    """Whether records are conversations; False for flat ones.

    Raises:
        DataError: neither; names what was looked for and what was found.
    """
    objects = [record for record in records if isinstance(record, dict)]
    for record in objects:
        if _first(record, _VIDEOS) and _first(record, _TALKS):
            return True
        timed = _first(record, _SPANS) or any(start in record and end in record for start, end in _ENDS)
        if _first(record, _VIDEOS) and "question" in record and "answer" in record and timed:
            return False
    video, times = " | ".join(_VIDEOS), " | ".join((*_SPANS, *(f"{start} and {end}" for start, end in _ENDS)))
    found = ", ".join(map(str, objects[0])) if objects else "no object"
    raise DataError(
        f"{name}: unknown layout: wanted ({video}) and either ({' | '.join(_TALKS)}), or question, answer and ({times}); "
        f"the first record has {found}. Is this the official file?"
    )


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these fields that a record has."""
    return next((name for name in names if name in record), None)


def _video(record: Any, where: str) -> str:
    """A record's video, below the video root and with an extension."""
    name = _first(record, _VIDEOS) if isinstance(record, dict) else None
    given: str = get(record, name or "video_file", str, where)
    path = "/".join(part for part in given.strip().split("/") if part not in ("", ".", ".."))
    if not path:
        raise DataError(f"{where}: {name}: {given!r} names no file")
    return path if _VIDEO_FILE.search(path) else f"{path}.mp4"


def _talk(record: Any, where: str) -> Iterator[_TimedQuestion]:
    """Questions of a conversation; the times are with the answer, or in the turn before or after it."""
    place = f"{where}: conversation"
    question = ""
    waits: _TimedQuestion | None = None
    for entry in get(record, _first(record, _TALKS) or _TALKS[0], list, where):
        text = get(entry, "value", str, place)
        if get(entry, "from", str, place) in ("human", "user"):
            question = text
            continue
        asked = _TimedQuestion(_plain_question(question), (), *_apart(text))
        joined = waits and (_joined(waits, asked) or _joined(asked, waits))
        if waits and not joined:
            yield waits
        waits = None if joined or (asked.answer and asked.times) else asked
        if not waits:
            yield joined or asked
    if waits:
        yield waits


def _joined(told: _TimedQuestion, timed: _TimedQuestion) -> _TimedQuestion | None:
    """An answer without times, and the times that another turn states alone."""
    fit = told.answer and not told.times and timed.times and not timed.answer
    return told._replace(times=timed.times) if fit else None


def _flat(record: Any, where: str) -> _TimedQuestion:
    """The question of a flat record."""
    name = _first(record, _OPTIONS)
    raw = record[name] if name else None
    listed = list(raw.values()) if isinstance(raw, dict) else raw or []
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise DataError(f"{where}: {name}: expected a list of texts, got {raw!r:.60}")
    options = tuple(bare(text, index) for index, text in enumerate(listed))
    answer = get(record, "answer", (str, int), where)
    if isinstance(answer, int):
        if not 0 <= answer < len(options):
            raise DataError(f"{where}: answer: {answer} is no index of {len(options)} options")
        answer = options[answer]
    text, _ = _apart(answer)
    return _TimedQuestion(_plain_question(get(record, "question", str, where)), options, text, _given_times(record, where))


def _given_times(record: Mapping[str, Any], where: str) -> list[tuple[float, float]]:
    name = _first(record, _SPANS)
    if name:
        raw = record[name]
        several = isinstance(raw, list) and raw and all(isinstance(part, list) for part in raw)
        return [pair(part, f"{where}: {name}") for part in (raw if several else [raw])]
    start, end = next((ends for ends in _ENDS if ends[0] in record), _ENDS[0])
    kinds = (int, float)
    return [(float(get(record, start, kinds, where)), float(get(record, end, kinds, where)))]


_VIDEO_FILE = re.compile(r"\.(?:mp4|mkv|webm|avi|mov|m4v)$", re.IGNORECASE)
_TIME = r"<\s*(\d+(?:\.\d+)?)\s*>(?:\s*s(?:ec(?:ond)?s?)?\b)?"
_MOMENT = re.compile(
    r"[\s,;(\[]*(?:\band\s+)?(?:\b(?:which|it|this)\s+(?:happens|occurs|takes place|is shown|is seen|can be seen)\s+)?"
    rf"(?:\b(?:from|between|during|in|at)\s+)?{_TIME}\s*(?:to|and|until|through|-|–|,)?\s*{_TIME}[)\]]*",
    re.IGNORECASE,
)
_LONE = re.compile(r"<\s*\d+(?:\.\d+)?\s*>")
_WORD = re.compile(r"[^\W\d_]+")
_ONLY_TIMES = frozenset(
    "and answer are be can clip corresponding event evidence found happens in interval is it moment occurs of relevant seen "
    "segment shown takes place that the this time timestamp timestamps video".split()
)
_ANSWER = re.compile(r"^\s*(?:the\s+)?(?:correct\s+|best\s+)?(?:answer|option)(?:\s+is\b\s*:?|\s*:)\s*", re.IGNORECASE)
_QUESTION = re.compile(r"^\s*(?:<\w+>\s*)*question\s*:\s*", re.IGNORECASE)
_WANTS_TIMES = re.compile(
    r"(?:^|(?<=[.?!])\s+|\n\s*)(?:please|provide|give|also|and|then|output|return|locate|find)\b[^.?!\n]*"
    r"\b(?:time\s?stamps?|time\s?spans?|intervals?|moments?|segments?|start and end)\b[^?\n]*$",
    re.IGNORECASE,
)


def _apart(text: str) -> tuple[str, list[tuple[float, float]]]:
    """An answer's words and its moments; no words if it states only the moments."""
    times = [(float(match[1]), float(match[2])) for match in _MOMENT.finditer(text)]
    words = clean(_ANSWER.sub("", _MOMENT.sub("", text))).strip(" ,;:") if times else clean(_ANSWER.sub("", text))
    if times and _ONLY_TIMES.issuperset(_WORD.findall(words.lower())):
        return "", times
    return re.sub(r"\.(?:\s*\.)+$", ".", words), times


def _plain_question(text: str) -> str:
    """A question and its options, without how to answer and what else to state; lines stay lines."""
    text = without_instruction(_QUESTION.sub("", text))
    return without_instruction(_WANTS_TIMES.sub("", text) or text)


def _keep(out: Collector, id_: str, video: str, record: Mapping[str, Any], asked: _TimedQuestion, where: str) -> None:
    """Makes a sample of a question."""
    inside = split_options(asked.question)
    question, options = (clean(asked.question), asked.options) if asked.options else inside
    chosen = choose(asked.answer, options) if options else None
    index = chosen.place if chosen else None
    duration = amount(record.get("duration"))
    repairs = repair_spans(asked.times, duration, clip=True)
    reason = _reason(question, asked) or (chosen.reason if chosen else None) or repairs.reason
    if not reason and index is not None:
        reason = fault(options, index, bench=False)
    if reason:
        out.drop(reason, f"{where}: {question:.60} {asked.answer:.60}".rstrip())
        return
    meta: dict[str, Any] = {"dataset": record["dataset_name"]} if isinstance(record.get("dataset_name"), str) else {}
    if list(repairs.spans) != asked.times:
        meta["raw_spans"] = [list(span) for span in asked.times]
    out.keep(
        flags=(*repairs.flags, *flags(options)),
        id=id_,
        video=video,
        video_key=youtube_key(PurePosixPath(video).stem),
        duration=duration,
        question=question,
        options=options or None,
        answer=options[index] if index is not None else asked.answer,
        answer_index=index,
        spans=repairs.spans,
        meta=meta,
    )


def _reason(question: str, asked: _TimedQuestion) -> str | None:
    """Why a question can't be used, judged by its texts."""
    if not asked.answer:
        return "no_answer"
    if not asked.times:
        return "no_times"
    if not question:
        return "empty_question"
    if _LONE.search(asked.question):
        return "times_in_question"
    return "placeholder_left" if any(_LONE.search(text) for text in (asked.answer, *asked.options)) else None
