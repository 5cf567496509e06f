"""Common mistakes in samples, and what to write instead (pure). Knows only JSON values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from trlt.errors import did_you_mean, shown

_NEEDED = ("id", "source", "split", "task", "video", "question")
_KINDS: Mapping[str, type] = {
    **dict.fromkeys((*_NEEDED, "video_key", "license", "subtitles"), str),
    **dict.fromkeys(("options", "spans", "answer_indices"), list),
    "meta": dict,
    "several": bool,
    "numeric": bool,
}
_NAMES: Mapping[type, str] = {str: "a string", list: "a list", dict: "an object", bool: "true or false"}
_LETTERED = re.compile(r"\s*\(?([A-Za-z])(?:[.:]\s|\)[.:]?)\s*\S")
_LETTER = re.compile(r"\s*\(?([A-Za-z])[.):]*\s*")


def not_an_object(value: Any) -> str:
    """Message for a line that isn't an object."""
    if isinstance(value, list):
        return "a JSON list; write one object per line"
    return f"expected an object, got {shown(value)}; write one object per line"


def shape_fault(obj: Mapping[str, Any], fields: Iterable[str]) -> str | None:
    """The fault in the fields of a sample's object: an unknown field, missing fields, or a wrong type.

    Args:
        obj: The object as written.
        fields: All fields of a sample.
    """
    for key in obj:
        if key not in fields:
            return f"{shown(key)[1:-1]}: unknown field; {did_you_mean(key, fields)}"
    if missing := [key for key in _NEEDED if key not in obj]:
        return f"{', '.join(missing)}: {'is' if len(missing) == 1 else 'are'} missing"
    for key, kind in _KINDS.items():
        if key in obj and not isinstance(obj[key], kind) and (obj[key] is not None or kind is not list):
            return f"{key}: expected {_NAMES[kind]}, got {shown(obj[key])}"
    return None


def question_fault(obj: Mapping[str, Any]) -> str | None:
    """The fault in the text of a question written by hand; such official questions are dropped while reading."""
    if not obj["question"].strip():
        return "question: is empty"
    return lettered(obj.get("options") or ())


def lettered(options: Sequence[Any]) -> str | None:
    """Message for options that all begin with their own letters, in order: the prompt would add letters again.

    A single such option (`A. Lincoln`) is ordinary text.
    """
    found = [_LETTERED.match(option) if isinstance(option, str) else None for option in options]
    if not found or not all(one and ord(one[1].upper()) == ord("A") + place for place, one in enumerate(found)):
        return None
    return f"options: {shown(options[0])} and the others begin with their letters, which the prompt adds; write them without"


def video_fault(video: str) -> str | None:
    """Why a path can't be a sample's video path, or None."""
    inside = f"video: {shown(video)} must be a path inside the video root"
    if not video:
        return "video: is empty, and must be a path inside the video root"
    if PurePosixPath(video).is_absolute() or PureWindowsPath(video).drive:
        name = PureWindowsPath(video).name if "\\" in video else PurePosixPath(video).name
        given = "give that folder with --videos FOLDER (video.root in a recipe)"
        return f"{inside}: write it relative to the folder of videos ({shown(name)}), and {given}"
    if "\\" in video:
        return f"{inside}, with forward slashes: use / ({shown(video.replace(chr(92), '/'))})"
    return inside if ".." in PurePosixPath(video).parts or "\0" in video else None


def answer_fault(options: Sequence[str], answer: str | None, index: Any) -> str | None:
    """The fault in the right option, or None.

    Args:
        options: At least two different ones.
        answer: Its text.
        index: Its place, from 0.
    """
    where = options.index(answer) if answer in options else None
    if index is None and answer is None:
        return "answer, answer_index: are missing; write the right option's text, and its place from 0"
    if index is None:
        if where is not None:
            return f"answer_index: is missing; options[{where}] is the answer, so it is {where}"
        return f"answer_index: is missing, and answer: {shown(answer)} is no option{_meant(answer, options)}"
    if type(index) is not int:
        return f"answer_index: expected a whole number, got {shown(index)}"
    if not 0 <= index < len(options):
        return f"answer_index: {index} must be from 0 to {len(options) - 1}"
    right = f"options[{index}] = {shown(options[index])}"
    if answer is None:
        return f"answer: is missing; answer_index is {index}, so it is {right}"
    if options[index] != answer:
        meant = f", but options[{where}]" if where is not None else _meant(answer, options, index)
        return f"answer: {shown(answer)} is not {right}{meant}"
    return None


def choices_fault(options: Sequence[str], answer: str | None, index: Any, indices: Sequence[Any]) -> str | None:
    """The fault in the right options of a question that asks for all that apply, or None; see `answer_fault`."""
    if index is not None:
        return f"answer_index: {shown(index)} and answer_indices are both given; leave answer_index null"
    places = [one for one in indices if type(one) is int and 0 <= one < len(options)]
    if not places or len(places) != len(indices) or places != sorted(set(places)):
        return f"answer_indices: {shown(list(indices))} must be places from 0 to {len(options) - 1}, ascending and each once"
    right = "; ".join(options[place] for place in places)
    if answer != right:
        return f"answer: {shown(answer)} must be the right options' texts, {shown(right)}"
    return None


def _meant(answer: str | None, options: Sequence[str], index: int | None = None) -> str:
    """What to write instead of a letter; `index`, if given, may name an option other than the letter."""
    letter = _LETTER.fullmatch(answer or "")
    place = ord(letter[1].upper()) - ord("A") if letter else len(options)
    known = place < len(options) and index in (None, place)
    return "; write the option's text" + (f", {shown(options[place])}" if known else "")
