"""What NExT-QA and NExT-GQA share: videos of VidOR named by their Flickr id, and five options per question. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trlt.data.datasets._common import Files, clean
from trlt.errors import DataError

MAP = "map_vid_vidorID.json"
OPTION_COLUMNS = ("a0", "a1", "a2", "a3", "a4")
NO_MAP = f"{MAP} isn't there: videos are looked for by their id alone"


def folders(files: Files) -> Mapping[str, str]:
    """Video id to `<folder>/<id>` of VidOR; empty if the optional map is missing.

    Raises:
        DataError: the map is no JSON object of texts.
    """
    found: Any = files.get(MAP, {})
    if not isinstance(found, dict) or not all(isinstance(path, str) for path in found.values()):
        raise DataError(f"{MAP}: expected an object of video id to path")
    return found


def video_path(video_id: str, paths: Mapping[str, str]) -> str:
    """Path of a video's file, relative to VidOR's folder."""
    return f"{paths.get(video_id, video_id)}.mp4"


def options(row: Mapping[str, str]) -> tuple[str, ...]:
    """The five answers, without stray spaces."""
    return tuple(clean(row[column]) for column in OPTION_COLUMNS)
