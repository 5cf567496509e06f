"""InternVid-VTime: when does the described event happen? YouTube videos of all kinds, described by models.

Origin: the second training stage of Huang et al., "VTimeLLM: Empower LLM to Grasp Video Moments" (2024), over InternVid (Wang
et al., 2024). `stage2.json` is a list of `{"source": "internvid", "id": YouTube id, "conversations": [{"from", "value"}, ...],
"meta": {"split": [129.8, 184.0], "duration": 54.2, "token": {"<s0>": 0, "<e0>": 9.4, ...}}}`. `split` is the part of the video
that was shown; `token` maps the placeholders in the texts to seconds from the start of that part.

Splits: train; the paper counts 213,158 events. A training source only.
Sample: one per event, in any kind of dialogue: a dense caption ("From <s0> to <e0>, X." or "X from <s0> to <e0>."), a caption
of a segment (times in the question, X in the answer) or grounding (X in the question, times in the answer). An event that a
record repeats in the same words counts once. A turn without times can't be grounded and is dropped (`no_times`), and so is a
record without `meta.token`; an event whose words can't be separated from the rest is dropped too (`no_event`). Videos:
`<id>.mp4`. Some downloads hold whole videos, others the cut parts, under the same name or one such as `<id>_vtime.mp4`: `split`
becomes `clip`, and a file only as long as `clip` counts as already cut (`meta.maybe_cut`). License: CC BY-NC-ND 4.0,
non-commercial and no derivatives; InternVid's captions are CC BY-NC-SA 4.0, videos YouTube's.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
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
    left_over,
    pair,
    youtube_key,
)
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._spans import repair_spans
from trlt.errors import DataError
from trlt.task.sample import Sample, Span, Task

TITLE = "InternVid-VTime"
TASK: Task = "grounding"
LICENSE = "CC BY-NC-ND 4.0: non-commercial, no derivatives"
WHERE = "github.com/huangb23/VTimeLLM; videos from YouTube, by id"
DOMAIN = "YouTube videos of all kinds"
FETCH = Fetch(
    by_hand=(
        "annotation: stage2.json, from the share that github.com/huangb23/VTimeLLM links on its page of data (a cloud of "
        "Tsinghua's); put it into {data}/internvid",
        "videos: from YouTube by their ids; put them into {data}/internvid/videos as <id>.mp4",
    ),
)
PAPER_COUNT = 213_158
TRAIN_SPLIT = "train"
FILES = {"train": ("stage2.json",)}
STREAMED = ("stage2.json",)

_FIRST = Sample(
    id="internvid:train:aB3-_xYz019:0:0",
    source="internvid",
    split="train",
    task=TASK,
    video="aB3-_xYz019.mp4",
    video_key="youtube:aB3-_xYz019",
    clip=Span(60.5, 92.5),
    duration=32.0,
    question="a red kite rises over a beach",
    spans=(Span(0.0, 11.5),),
    license=LICENSE,
    meta={"maybe_cut": True},
)
EXAMPLE = Example(
    split="train",
    purpose="train",
    files={
        "stage2.json": '[{"source": "internvid", "id": "aB3-_xYz019", "conversations": [{"from": "human", "value": '
        '"<video>\\nTell me when each thing happens."}, {"from": "gpt", "value": "From <s0> to <e0>, a red kite rises over a '
        'beach. From <s1> to <e1>, children cheer."}], "meta": {"split": [60.5, 92.5], "duration": 32.0, "token": '
        '{"<s0>": 0, "<e0>": 11.5, "<s1>": 20.0, "<e1>": 29.5}}}]'
    },
    samples=(
        _FIRST,
        replace(_FIRST, id="internvid:train:aB3-_xYz019:0:1", question="children cheer", spans=(Span(20.0, 29.5),)),
    ),
)


class Event(NamedTuple):
    """An event in a turn, and its times."""

    numbers: tuple[str, ...]
    """Numbers of its placeholders: `("0",)` for `<s0>` and `<e0>`."""
    text: str
    """Empty if it can't be separated from the rest."""


class _InternVidRecord(NamedTuple):
    video: str
    turns: Sequence[tuple[str, str]]
    tokens: Mapping[str, Any] | None
    clip: Span | None
    duration: float | None


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of the records of `stage2.json`."""
    name = FILES[split][0]
    out = Collector(source="internvid", split=split, task=TASK, license=LICENSE)
    for index, raw in enumerate(files[name]):
        where = f"{name}[{index}]"
        try:
            record = _record(raw, where)
        except DataError as error:
            out.drop("malformed", str(error))
            continue
        if raw.get("source", "internvid") != "internvid":
            out.drop("other_source", f"{where}: {raw['source']}")
        elif record.tokens is None:
            out.drop("no_times", f"{where}: {record.video}: no meta.token")
        else:
            _keep_events(out, record, record.tokens, split, index, where)
    return out.reading()


def _record(raw: Any, where: str) -> _InternVidRecord:
    """The parts of a record.

    Raises:
        DataError: it isn't what it should be.
    """
    video, said = get(raw, "id", str, where).strip(), get(raw, "conversations", list, where)
    if not video:
        raise DataError(f"{where}: id: empty")
    turns: list[tuple[str, str]] = []
    question = ""
    for entry in said:
        text = get(entry, "value", str, f"{where}: conversations")
        if get(entry, "from", str, f"{where}: conversations") in ("human", "user"):
            question = text
        else:
            turns.append((question, text))
            question = ""
    meta = raw.get("meta") or {}
    if not isinstance(meta, dict):
        raise DataError(f"{where}: meta: expected an object, got {meta!r:.60}")
    tokens = meta.get("token")
    clip = None if meta.get("split") is None else Span(*pair(meta["split"], f"{where}: meta: split"))
    if clip and not 0 <= clip.start < clip.end < math.inf:
        raise DataError(f"{where}: meta: split: {list(clip)} must be 0 <= start < end")
    # Times have at most three decimals; 184.0 - 129.8 would be a hair less than the last event's end.
    duration = round(clip.length, 3) if clip else amount(meta.get("duration"))
    return _InternVidRecord(video, turns, tokens if isinstance(tokens, dict) else None, clip, duration or None)


def _keep_events(
    out: Collector, record: _InternVidRecord, tokens: Mapping[str, Any], split: str, index: int, where: str
) -> None:
    """Makes samples of a record's events, each once."""
    told: set[tuple[tuple[str, ...], str]] = set()
    kept: Counter[str] = Counter()
    flags = (() if record.clip else ("no_split",)) + (() if record.duration else ("no_duration",))
    for question, answer in record.turns:
        found = events(question, answer)
        if not found:
            # One placeholder without its other half is no stretch of time.
            half = left_over(clean(f"{question} {answer}"))
            out.drop("no_event" if half else "no_times", f"{where}: {record.video}: {answer:.60}")
        for event in found:
            if (event.numbers, event.text.casefold()) in told:
                continue
            told.add((event.numbers, event.text.casefold()))
            number = event.numbers[0]
            times = _times(event.numbers, tokens)
            repairs = repair_spans(times or (), record.duration, clip=True)
            reason = "no_event" if not event.text else repairs.reason if times else "no_times"
            if reason:
                out.drop(reason, f"{where}: {record.video}: <s{number}>: {event.text or answer:.60}")
                continue
            # The same moment may be told in other words: the second telling is `<N>.1`.
            label = f"{number}.{kept[number]}" if kept[number] else number
            kept[number] += 1
            meta: dict[str, Any] = {"maybe_cut": True} if record.clip else {}
            if list(repairs.spans) != times:
                meta["raw_spans"] = [list(span) for span in times or ()]
            out.keep(
                flags=(*repairs.flags, *flags),
                id=f"internvid:{split}:{record.video}:{index}:{label}",
                video=f"{record.video}.mp4",
                video_key=youtube_key(record.video),
                clip=record.clip,
                duration=record.duration,
                question=event.text,
                spans=repairs.spans,
                meta=meta,
            )


def _times(numbers: Iterable[str], tokens: Mapping[str, Any]) -> list[tuple[float, float]] | None:
    """Seconds of an event's placeholders; None where one has none."""
    out: list[tuple[float, float]] = []
    for number in numbers:
        start, end = (tokens.get(f"<{side}{number}>") for side in "se")
        if any(not isinstance(value, (int, float)) or isinstance(value, bool) for value in (start, end)):
            return None
        out.append((float(start), float(end)))  # type: ignore[arg-type]
    return out


# All placeholders of a text by one pattern with both brackets: replaced one after another, <s1 would be found in <s10.
_PAIR = re.compile(r"(?:\b(?:from|between|during)\s+)?<s(\d+)>\s*(?:to|and|until|through|-|–)\s*<e\1>", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_ONLY_TIMES = frozenset("and be can event happens in is it occurs place scene seen takes that the this video visible".split())
_ASKED = re.compile(
    r"\b(?:during|between|at|in|when|where)\b(?:\s+\w+){0,6}?\s+"
    r"(?:(?:can|could|do|did)\s+(?:we|you|one)\s+(?:see|observe|witness|find|spot|notice)\s+(?P<seen>.+?)"
    r"(?:\s+(?:happening|occurring|taking\s+place))?"
    r"|(?:does|do|did)\s+(?P<done>.+?)\s+(?:occur|happen|take\s+place|appear)"
    r"|(?:is|are)\s+(?P<shown>.+?)\s+(?:visible|shown|seen))(?:\s+in\s+the\s+video)?\s*[?.]*$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def events(question: str, answer: str) -> list[Event]:
    """The events of a turn with their times; none if it names no times."""
    told = list(_PAIR.finditer(answer))
    if not told:
        numbers = [match[1] for match in _PAIR.finditer(question)]
        # One description of several moments: whose it is can't be known.
        return [Event((number,), _trimmed(answer) if len(numbers) == 1 else "") for number in numbers]
    if _ONLY_TIMES.issuperset(_WORD.findall(_PAIR.sub(" ", answer).lower())):
        asked = _ASKED.search(clean(question))
        text = _trimmed((asked["seen"] or asked["done"] or asked["shown"]).strip("\"'“”‘’")) if asked else ""
        return [Event(tuple(match[1] for match in told), text)]
    return _told(answer, told)


def _told(text: str, pairs: Sequence[re.Match[str]]) -> list[Event]:
    """Events of a dense caption: times that begin a sentence lead their event, others follow it."""
    edges = [0, *(match.end() for match in pairs)]
    before = [text[edge : match.start()].rstrip(" \n\"'”’") for edge, match in zip(edges, pairs, strict=False)]
    leads = [not words or words[-1] in ".!?;:" for words in before]
    out: list[Event] = []
    for place, match in enumerate(pairs):
        last = place + 1 == len(pairs)
        if leads[place]:
            words = text[match.end() : len(text) if last else pairs[place + 1].start()]
            if not last and not leads[place + 1]:
                words = _halves(words)[0]
        else:
            words = text[edges[place] : match.start()]
            if place and leads[place - 1]:
                words = _halves(words)[1]
        out.append(Event((match[1],), _trimmed(words)))
    return out


def _halves(text: str) -> tuple[str, str]:
    """Two events between the times of both, one sentence each; empty if no sentence ends in between."""
    parts = _SENTENCE_END.split(text.strip(), maxsplit=1)
    return (parts[0], parts[1]) if len(parts) == 2 else ("", "")


def _trimmed(text: str) -> str:
    """An event's words, without the punctuation that tied them to their times."""
    return clean(text).strip(" .,;:-–").removeprefix("and ")
