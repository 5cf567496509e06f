"""TimeLens-100K: when does the described event happen? Videos of five data sets, annotated anew by a model.

Origin: Zhang et al., "TimeLens: Rethinking Video Temporal Grounding with Multimodal LLMs" (2025). `timelens-100k.jsonl` has a
line per video, `{"source", "video_path": "cosmo_cap/<id>.mp4", "duration", "events": [{"query", "span": [[s, e]]}]}`; `span` is
a list of spans, of which there may be several. Files that its filter wrote have a line per query instead, `{"source",
"video_path", "duration", "query", "span", "iou", …}`: one is read where it is given as the file, with `meta.iou`.

Splits: train (about 19,500 videos and 100,000 events by the paper; not counted here). A training source only.
Query: without the full stops around it, as the official loader has it. Videos: `<folder>/<file>` as given, in cosmo_cap,
didemo, hirest, internvid_vtime and queryd. `video_key` names DiDeMo's by their Flickr ids and the others by YouTube's, so that
HiREST's in TVGBench are found. License: academic use only, and not in the European Union; videos under their uploaders' terms.
"""

from __future__ import annotations

from typing import Any

from trlt.data.datasets._common import Collector, Example, Files, Purpose, Reading, amount, clean, get, pair
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._footage import footage_key, inside
from trlt.data.datasets._pool import expect
from trlt.data.datasets._spans import repair_spans
from trlt.errors import DataError
from trlt.task.sample import Sample, Span, Task

TITLE = "TimeLens-100K"
TASK: Task = "grounding"
LICENSE = "TimeLens: academic use only, and not in the European Union; videos under their uploaders' terms"
WHERE = "huggingface.co/datasets/TencentARC/TimeLens-100K; unpack its archives in videos/"
DOMAIN = "videos of all kinds"
FETCH = Fetch(
    by_hand=(
        "annotation: hf download TencentARC/TimeLens-100K --repo-type dataset --local-dir {data}/timelens_100k",
        "videos: unpack the archives into {data}/timelens_100k/videos, as <folder>/<file> of the annotation",
    )
)
PAPER_COUNT = None
TRAIN_SPLIT = "train"
NAME = "timelens-100k.jsonl"
FILES = {"train": (NAME,)}

EXAMPLE = Example(
    split="train",
    purpose="train",
    files={
        NAME: '{"source": "hirest", "video_path": "hirest/aB3_dE-7hIj.mp4", "duration": 95.5, "events": [{"query": "The cook  '
        'opens an oven.", "span": [[10.0, 20.5]]}, {"query": "a timer rings", "span": [[30, 32], [60, 61.5]]}]}\n'
    },
    samples=tuple(
        Sample(
            id=f"timelens_100k:train:0:{place}",
            source="timelens_100k",
            split="train",
            task=TASK,
            video="hirest/aB3_dE-7hIj.mp4",
            video_key="youtube:aB3_dE-7hIj",
            duration=95.5,
            question=query,
            spans=spans,
            license=LICENSE,
            meta={"origin": "hirest"},
        )
        for place, (query, spans) in enumerate(
            [("The cook opens an oven", (Span(10.0, 20.5),)), ("a timer rings", (Span(30.0, 32.0), Span(60.0, 61.5)))]
        )
    ),
)


def read(files: Files, split: str, purpose: Purpose) -> Reading:
    """Samples of a parsed `timelens-100k.jsonl`, or of a filtered file."""
    usual = frozenset({"video_path", "duration"})
    expect(files[NAME], NAME, [usual | {"events"}, usual | {"query", "span"}], "TencentARC/TimeLens (timelens_data.py)")
    out = Collector(source="timelens_100k", split=split, task=TASK, license=LICENSE)
    for index, record in enumerate(files[NAME]):
        where = f"{NAME}[{index}]"
        try:
            events = get(record, "events", list, where) if "query" not in record else [record]
            source = str(record.get("source") or "")
            video, length = inside(get(record, "video_path", str, where)), amount(record.get("duration")) or None
            if not video:
                raise DataError(f"{where}: video_path: {record['video_path']!r} names no file")
        except (DataError, TypeError) as error:
            out.drop("malformed", str(error))
            continue
        if not events:
            out.drop("no_events", f"{where}: {video}")
        for place, event in enumerate(events):
            _keep(out, event, (index, place), (video, length, source), f"{where}: events[{place}]")
    return out.reading()


def _keep(out: Collector, event: Any, at: tuple[int, int], about: tuple[str, float | None, str], where: str) -> None:
    """Makes a sample of an event, or counts it as dropped."""
    video, length, source = about
    try:
        query = clean(get(event, "query", str, where)).strip(".").strip()
        spans = get(event, "span", list, where)
        flat = bool(spans) and not isinstance(spans[0], list)  # one pair alone
        times = [pair(span, f"{where}: span") for span in ([spans] if flat else spans)]
    except DataError as error:
        out.drop("malformed", str(error))
        return
    repairs = repair_spans(times, length, clip=True)
    if reason := "empty_question" if not query else repairs.reason:
        out.drop(reason, f"{where}: {video}: {spans} of {length} s, {query:.60}")
        return
    meta = {"origin": source, "iou": amount(event.get("iou"))}
    out.keep(
        flags=repairs.flags,
        id=f"timelens_100k:train:{at[0]}:{at[1]}",
        video=video,
        video_key=footage_key(video, source, "timelens_100k"),
        duration=length,
        question=query,
        spans=repairs.spans,
        meta={key: value for key, value in meta.items() if value not in (None, "")},
    )
