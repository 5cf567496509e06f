"""What a row of another tool's log says: the output, and whatever names its question. Pure.

lmms-eval (`lmms_eval/loggers/evaluation_tracker.py`): `doc_id`, `input` (the prompt), `target`, `resps` and `filtered_resps`
(lists in each other, or a text; `resps` is left out where both are the same), and the task's own values, some of which name the
video and question; until 0.3 also the record itself, as `doc`. VLMEvalKit (`vlmeval/inference_video.py`): the columns of its
data set, such as `index`, `video`, `question`, `candidates` or `A`, `B`, … and `answer`, with `prediction` added.
"""

from __future__ import annotations

import ast
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from trlt.task.answer import LETTERS

OUTPUTS = ("prediction", "pred", "response", "output", "model_output", "generated_text", "completion")
_IDS = ("id", "question_id", "qid", "uid", "index")
_VIDEOS = ("video", "video_path", "videoID", "video_id", "video_name", "vid", "videos")
_QUESTIONS = ("question", "caption", "query", "sentence")
_OPTIONS = ("options", "candidates", "choices")
_LABELS = ("task_type", "task", "dim", "type", "duration", "sub_task")
_SUFFIXES = {".mp4", ".mkv", ".webm", ".avi", ".mov", ".gif", ".mpg", ".mpeg", ".m4v", ".flv"}


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """One output of a log; what isn't known is empty."""

    file: Path
    where: str
    """For messages."""
    text: str
    """The raw output."""
    fault: str = ""
    """Why it has no single output."""
    ids: tuple[str, ...] = ()
    """Values that may be an id of ours."""
    videos: tuple[str, ...] = ()
    """Names of its video, without folder and suffix."""
    question: str = ""
    """The question alone, perhaps with its options in the lines below."""
    prompt: str = ""
    """A text that holds the question."""
    options: tuple[str, ...] = ()
    """As given apart from the question."""
    no_options: bool = False
    """Whether its record has a place for options, which is empty."""
    target: str = ""
    """The right answer in whatever form; it only tells questions of the same text apart."""
    place: int | None = None
    """Its number in the tool's data set, from 0."""
    labels: tuple[str, ...] = ()
    """Names of its part of the benchmark."""


def logged_row(file: Path, where: str, record: Mapping[str, Any]) -> LoggedRow:
    """A row of a log.

    Args:
        file: Of the row.
        where: Its place, for messages.
        record: Its values.
    """
    sources = [record, *_inner(record)]
    text, fault = _output(record)
    prompt = record.get("input")
    if not isinstance(prompt, str):
        prompt = next(_texts(record.get("arguments", record.get("args"))), "")
    named = {key: list(_values(sources, keys)) for key, keys in (("id", _IDS), ("video", _VIDEOS), ("question", _QUESTIONS))}
    videos = tuple(dict.fromkeys(video_name(name) for name in named["video"]))
    ids = tuple(dict.fromkeys([*named["id"], *(f"{video}:{qid}" for video in videos for qid in _values(sources, ("qid",)))]))
    # `target` is a letter or a place where `answer` may be the whole text, and the other way round.
    target = next(_values([record], ("target",)), "") or next(_values(sources, ("answer", "timestamp")), "")
    place = record.get("doc_id", record.get("index"))
    return LoggedRow(
        file=file,
        where=where,
        text=text,
        fault=fault,
        ids=ids,
        videos=videos,
        question=next(iter(named["question"]), ""),
        prompt=prompt,
        options=_options(sources),
        no_options=any(_shows_no_options(source) for source in sources),
        target=target,
        place=_whole(place),
        labels=tuple(words(label) for label in _values(sources, _LABELS)),
    )


def _inner(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The record as logged, then the values of its task; `video>>>caption>>>[start, end]` is a key in those of Charades-STA."""
    doc = record.get("doc")
    if isinstance(doc, dict):
        yield doc
    for key, value in record.items():
        if key != "doc" and isinstance(value, dict):
            yield value
            for name in value:
                parts = name.split(">>>") if isinstance(name, str) else []
                if len(parts) == 3:
                    yield dict(zip(("video", "caption", "timestamp"), parts, strict=True))


def _output(record: Mapping[str, Any]) -> tuple[str, str]:
    """The raw output, and what is wrong with it: more than one, or none."""
    if "resps" in record or "filtered_resps" in record:
        raw, filtered = (list(_texts(record.get(key))) for key in ("resps", "filtered_resps"))
        for said in (raw, filtered):
            if len(said) == 1:
                return said[0], ""
        count = max(len(raw), len(filtered))
        return "", f"it holds {count} outputs, and one per question is scored" if count else "it holds no output"
    for key in OUTPUTS:
        if key in record:
            value = record[key]
            return ("" if _is_missing(value) else str(value)), ""
    return "", "it has no output: no `resps`, `filtered_resps` or `prediction`"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _values(sources: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Iterator[str]:
    """The values of some keys as texts, source by source."""
    for source in sources:
        for key in keys:
            value = source.get(key)
            if isinstance(value, (str, int, float)) and not isinstance(value, bool) and not _is_missing(value):
                yield str(value)
            elif key == "timestamp" and isinstance(value, list):
                yield str(value)


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _whole(value: Any) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _options(sources: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Options in columns `A`, `B`, … or `a0`, `a1`, …, or in a list, which a table holds as Python wrote it."""
    for source in sources:
        for key in _OPTIONS:
            found = _listed(source.get(key))
            if found:
                return found
        for names in (list(LETTERS), [f"a{place}" for place in range(len(LETTERS))]):
            texts = [str(source[name]) for name in names if name in source and not _is_missing(source[name])]
            if len(texts) > 1:
                return tuple(texts)
    return ()


def _shows_no_options(source: Mapping[str, Any]) -> bool:
    """Whether a record's fields for options are there, and hold none."""
    letters = [source[name] for name in LETTERS if name in source]
    fields = [source[key] for key in _OPTIONS if key in source]
    fields += [letters] if len(letters) > 1 else []
    return bool(fields) and all(_is_blank(field) for field in fields)


def _is_blank(value: Any) -> bool:
    """Whether a value holds no text."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return all(_is_missing(one) or (isinstance(one, str) and not one.strip()) for one in value)
    return _is_missing(value) or value in ("[]", "{}")


def _listed(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return ()
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    texts = [str(one) for one in value] if isinstance(value, (list, tuple)) else []
    while texts and not texts[-1].strip():
        texts.pop()
    return unlettered(texts) if len(texts) > 1 else ()


_LED = re.compile(
    r"\s*(?:(?:option|sentence|caption|choice)\s+)?\(?([A-Za-z]|[0-9]{1,2})[).:]\s*(.*)", re.ASCII | re.IGNORECASE | re.DOTALL
)


def unlettered(texts: Sequence[str]) -> tuple[str, ...]:
    """Options without `A.`, `(A)` or `Option 1:` if all of them have one, in order."""
    found = [_LED.fullmatch(text) for text in texts]
    if all(match and _order(match[1]) == place for place, match in enumerate(found)):
        return tuple(match[2] for match in found if match)
    return tuple(texts)


def _order(label: str) -> int:
    """Place of an option by its label, from 0."""
    return int(label) - 1 if label.isdigit() else LETTERS.index(label.upper())


def split(text: str) -> tuple[str, tuple[str, ...]]:
    """A text before the first lines that are options (`A. …`, `(A) …`, `Option 1: …`), and the options."""
    lines = text.splitlines()
    found = [_LED.fullmatch(line) for line in lines]
    for start, first in enumerate(found):
        if first is None or _order(first[1]) != 0:
            continue
        options: list[str] = []
        for match in found[start : start + len(LETTERS)]:
            if match is None or _order(match[1]) != len(options):
                break
            options.append(match[2].strip())
        if len(options) > 1:
            while options and not options[-1]:
                options.pop()
            return "\n".join(lines[:start]), tuple(options)
    return text, ()


def video_name(path: str) -> str:
    """The name of a video, without folder, suffix and case."""
    name = PurePosixPath(path.replace("\\", "/")).name
    stem, dot, suffix = name.rpartition(".")
    return (stem if dot and f".{suffix.lower()}" in _SUFFIXES else name).casefold()


def words(text: str) -> str:
    """The words of a text, without case and signs: how two tools' spellings of one question are compared."""
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())) or text.strip()
