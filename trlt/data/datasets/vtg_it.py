"""VTG-IT: when does the described event happen? Moment retrieval from five data sets, as instructions.

Origin: Guo et al., "VTG-LLM: Integrating Timestamp Knowledge into Video LLMs for Enhanced Video Temporal Grounding" (2024).
Files are lists of `{"video", "QA": [{"q", "a"}], "source"}`. The answer states seconds as six tokens, four digits before the
dot and one after it: `<TIME_ZERO><TIME_ZERO><TIME_ONE><TIME_TWO><TIME_DOT><TIME_FIVE>` is 0012.5 s. The question is one of six
prompts around the query; only the query becomes the question of a sample.

Splits: train is `moment_retrieval/<data set>/time_token.json` below the given folder, for those of the five that are there.
merged is `vtg-it-120k.json`, all tasks shuffled: other tasks are dropped, and there is no Charades in it. Both repeat DiDeMo,
and train Charades-STA too. The paper counts 16,318 samples without naming the files; all five together have several times as
many. Merging adds `source`; without it, folder or prompt give data set and task. A training source only. Span: start = end
occurs and is dropped. For DiDeMo's videos times are in steps of five seconds within the first 30 s. Videos: the path as given,
without parts that lead out of the video root. Durations aren't given. License: annotations Apache-2.0; Charades non-commercial,
DiDeMo's and the YouTube videos their uploaders'.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, amount, clean, didemo_key, get, youtube_key
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._footage import inside
from trlt.data.datasets._spans import repair_spans
from trlt.errors import DataError
from trlt.task.sample import Sample, Span, Task

TITLE = "VTG-IT"
TASK: Task = "grounding"
LICENSE = "annotations Apache-2.0; videos under the licenses of Charades, DiDeMo, QuerYD, HiREST and YT-Temporal"
WHERE = "huggingface.co/datasets/Yongxin-Guo/VTG-IT; videos of each data set"
DOMAIN = "videos of all kinds"
FETCH = Fetch(
    by_hand=(
        "annotation: hf download Yongxin-Guo/VTG-IT --repo-type dataset --local-dir {data}/vtg_it",
        "videos: those of the five data sets that it is made of, in {data}/vtg_it/videos under the paths of the annotation",
    ),
)
PAPER_COUNT = 16_318
TRAIN_SPLIT = "train"
MOMENTS = ("Charades", "DideMo", "HiREST_grounding", "QueryD", "VTG-IT-MR")
MERGED = "vtg-it-120k.json"
FILES = {"train": tuple(f"moment_retrieval/{name}/time_token.json" for name in MOMENTS), "merged": (MERGED,)}
OPTIONAL = FILES["train"]
STREAMED = (*FILES["train"], MERGED)
OTHER_TASKS = frozenset(
    "activitynet_captions coin hirest_step vitt vtg-it-dvc vtg-it-vhd summe tvsum vtg-it-vs youcook2 qvhighlights".split()
)
"""Sources, in lower case, of dense captions, summaries and highlights."""

EXAMPLE = Example(
    split="merged",
    purpose="train",
    files={
        MERGED: '[{"video": "data/QuerYD/videos/video-Zz9_-aaBBcc.mp4", "QA": [{"q": "Find the part for the textual '
        'query \'The baker\'s oven  is opened.\' and determine its start and end.", "a": "The given query happens in '
        "<TIME_ZERO><TIME_ZERO><TIME_ONE><TIME_TWO><TIME_DOT><TIME_FIVE> - "
        '<TIME_ZERO><TIME_ONE><TIME_ZERO><TIME_ZERO><TIME_DOT><TIME_ZERO> seconds."}], "source": "QueryD"}]'
    },
    samples=(
        Sample(
            id="vtg_it:merged:0:0",
            source="vtg_it",
            split="merged",
            task=TASK,
            video="data/QuerYD/videos/video-Zz9_-aaBBcc.mp4",
            video_key="youtube:Zz9_-aaBBcc",
            question="The baker's oven is opened.",
            spans=(Span(12.5, 100.0),),
            license=LICENSE,
            meta={"origin": "QueryD"},
        ),
    ),
)


class _VtgRecord(NamedTuple):
    video: str
    turns: list[tuple[str, str]]
    source: str
    """As given, or empty."""
    duration: float | None


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of those files of a split that are there."""
    out = Collector(source="vtg_it", split=split, task=TASK, license=LICENSE)
    for name in FILES[split]:
        folder = "" if name == MERGED else PurePosixPath(name).parent.name
        prefix = f"vtg_it:{split}:{folder}:" if folder else f"vtg_it:{split}:"
        for index, raw in enumerate(files.get(name, ())):
            where = f"{name}[{index}]"
            try:
                record = _record(raw, folder, where)
            except DataError as error:
                out.drop("malformed", str(error))
                continue
            for place, (question, answer) in enumerate(record.turns):
                _keep(out, f"{prefix}{index}:{place}", record, question, answer, f"{where}: {record.video}")
    gone = [name for name in FILES[split] if name not in files]
    return out.reading(f"not there, so not read: {', '.join(gone)}" if gone else "")


def _record(raw: Any, folder: str, where: str) -> _VtgRecord:
    """The parts of a record.

    Raises:
        DataError: it isn't what it should be.
    """
    video, place = inside(get(raw, "video", str, where)), f"{where}: QA"
    if not video:
        raise DataError(f"{where}: video: {raw['video']!r} names no file")
    turns = [(get(turn, "q", str, place), get(turn, "a", str, place)) for turn in get(raw, "QA", list, where)]
    source = folder or raw.get("source")
    return _VtgRecord(video, turns, source if isinstance(source, str) else "", amount(raw.get("duration")) or None)


def _is_retrieval(source: str, question: str) -> bool:
    """Whether a turn asks for a moment, by its source or else its prompt."""
    name = source.casefold()
    return name in _ORIGINS or (name not in OTHER_TASKS and _LEAD.search(question) is not None)


def _origin(source: str, video: str) -> str:
    """The data set that a video came from, by its source, else by the folders of its path; empty if neither says."""
    names = (source, *PurePosixPath(video).parts[:-1])
    return next((_ORIGINS[name.casefold()] for name in names if name.casefold() in _ORIGINS), "")


def _key(origin: str, video: str) -> str:
    """The footage, spelled as in the data set that a video came from."""
    stem = _EXTENSION.sub("", PurePosixPath(video).name)
    if origin == "Charades":
        return f"charades:{stem}"
    if origin == "DideMo":
        return didemo_key(stem)
    return youtube_key(stem)


def _keep(out: Collector, id_: str, record: _VtgRecord, question: str, answer: str, where: str) -> None:
    """Makes a sample of a turn."""
    if not _is_retrieval(record.source, question):
        out.drop("other_task", f"{where}: {record.source} {question:.60}")
        return
    text, times = query(question), token_seconds(answer)
    repairs = repair_spans(times or (), record.duration, clip=True)
    reason = "query_not_found" if not text else repairs.reason if times else "no_times"
    if reason:
        out.drop(reason, f"{where}: {answer if text else question:.90}")
        return
    origin = _origin(record.source, record.video)
    meta: dict[str, Any] = {"origin": origin} if origin else {}
    if origin == "DideMo":
        meta |= {"annotated_s": 30.0, "chunk_s": 5.0}
    if list(repairs.spans) != times:
        meta["raw_spans"] = [list(span) for span in times or ()]
    out.keep(
        flags=repairs.flags,
        id=id_,
        video=record.video,
        video_key=_key(origin, record.video),
        duration=record.duration,
        question=text,
        spans=repairs.spans,
        meta=meta,
    )


_ORIGINS = {name.casefold(): name for name in MOMENTS} | {"queryd": "QueryD", "hirest": "HiREST_grounding"}
_EXTENSION = re.compile(r"\.\w{0,4}$")
_NAMES = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split()
_SIGNS = {f"<TIME_{name}>": str(digit) for digit, name in enumerate(_NAMES)} | {"<TIME_DOT>": "."}
_TOKEN = re.compile(r"<TIME_[A-Z]+>")
_STAMP = re.compile(r"\d{4}\.\d")


def token_seconds(answer: str) -> list[tuple[float, float]] | None:
    """The moments that an answer states; None if its tokens make no whole pairs of times."""
    signs = [_SIGNS.get(token, "?") for token in _TOKEN.findall(answer)]
    stamps = ["".join(signs[place : place + 6]) for place in range(0, len(signs), 6)]
    if not stamps or len(stamps) % 2 or not all(_STAMP.fullmatch(stamp) for stamp in stamps):
        return None
    times = [float(stamp) for stamp in stamps]
    return list(zip(times[::2], times[1::2], strict=True))


# Prompts of moment retrieval name a query of words; those of highlights ("sentence query") ask for scores.
_LEAD = re.compile(r"\b(?:text(?:ual)?|language)\s+query\b\s*:?\s*", re.IGNORECASE)
# The closing mark is the last of its kind that ends a word, so that "the baker's" stays whole.
_QUOTED = re.compile(r"""(?:^|(?<=[\s:(]))(?:'(.+)'|"(.+)"|‘(.+)’|“(.+)”)(?=[\s.,:;?!)]|$)""", re.DOTALL)
# What the known prompts say behind an unquoted query.
_TAIL = re.compile(
    r"[\s,.]*\b(?:in the video,? and (?:output|return|give)\b|when does the described\b|within the video, includ"
    r"|is\s+semantically\s+aligned\b|and determine its\b|please (?:return|output|give|find|tell)\b)",
    re.IGNORECASE,
)
_ENDS_WITH_QUERY = re.compile(r"\bmatches the (?:given )?$", re.IGNORECASE)
_PROMPT = re.compile(
    r"query_placeholder|\btime ?stamps?\b|\bstart\b.*\bend\b|\b(?:textual|language) query\b|\bdescribed content\b",
    re.IGNORECASE | re.DOTALL,
)


def query(prompt: str) -> str:
    """The query inside a prompt; empty if it can't be separated from the prompt's own words."""
    lead = _LEAD.search(prompt)
    if lead and (quoted := _QUOTED.match(prompt, lead.end())):
        return clean(quoted[quoted.lastindex or 0])
    if lead:
        found = _unquoted(prompt[: lead.start()], prompt[lead.end() :])
    elif quoted := _QUOTED.search(prompt):
        found = quoted[quoted.lastindex or 0]
    else:
        found = _after_colon(prompt)
    return "" if _PROMPT.search(found) else clean(found)


def _unquoted(before: str, after: str) -> str:
    """A query without quotes ends where known words begin, or at the end of a prompt that ends with it."""
    tail = _TAIL.search(after)
    if tail:
        return after[: tail.start()]
    return after if _ENDS_WITH_QUERY.search(before) else ""


def _after_colon(prompt: str) -> str:
    """The sentence after a prompt's first colon."""
    _, colon, after = prompt.partition(": ")
    return re.split(r"(?<=[.?!])\s", after.strip(), maxsplit=1)[0] if colon else ""
