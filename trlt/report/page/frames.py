"""A few small frames of each clip as JPEG within the page, up to a size. Knows clips; nothing of questions."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from trlt.recipe import Video
from trlt.report.page.markup import Markup, data_block
from trlt.report.page.questions import ShownSample
from trlt.video.clip import Clip
from trlt.video.workers import ClipLoader, ClipRequest

FRAMES = 8
TOKENS = 80
"""Token budget of a clip, which gives frames of about 160 x 90 pixels."""
_QUALITY = 70

Progress = Callable[[int, int], None]
"""Called with the number done and the total."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """The embedded frames of a page."""

    blocks: Mapping[str, int]
    """Id of a sample to its block."""
    clips: int
    wanted: int
    """Clips with an existing file."""
    errors: int
    """Clips that couldn't be read."""


SETTINGS = Video(fps=2.0, min_frames=FRAMES, max_frames=FRAMES, min_tokens=4, max_tokens=TOKENS, workers=2)
"""A budget of eight small frames, whatever the runs used; decoded in killable processes."""


class FrameBlocks:
    """Writes blocks of frames, one clip each, until a size is reached.

    Args:
        questions: Those whose `path` is known get frames, in this order.
        limit: Bytes of all blocks together.
        loader: Decodes.
        progress: Called as decoding proceeds.
    """

    def __init__(self, questions: list[ShownSample], limit: int, loader: ClipLoader, progress: Progress | None = None) -> None:
        self._limit, self._loader, self._progress = limit, loader, progress
        self._ids: dict[str, list[str]] = {}
        self._requests: dict[str, ClipRequest] = {}
        for one in questions:
            if one.path is not None:
                start, end = one.clip or (None, None)
                key = f"{one.path} {start} {end}"  # not by the name: folders may hold others of the same
                self._ids.setdefault(key, []).append(one.id)
                self._requests.setdefault(key, ClipRequest(one.path, start, end, key))
        self._blocks: dict[str, int] = {}
        self._written = self._errors = 0

    def blocks(self) -> Iterator[Markup]:
        """Each a list of [seconds of the clip, JPEG in base64]."""
        room = self._limit
        if self._progress and self._requests:
            self._progress(0, len(self._requests))
        for done, loaded in enumerate(self._loader.map(self._requests.values()), 1):
            if self._progress:
                self._progress(done, len(self._requests))
            if loaded.clip is None:
                self._errors += 1
                continue
            block = data_block(f"frames-{self._written}", _pictures(loaded.clip, loaded.request.start or 0.0))
            room -= len(block)
            if room < 0:
                if self._progress:
                    self._progress(self._written + self._errors, self._written + self._errors)
                break
            self._blocks |= dict.fromkeys(self._ids[loaded.request.key], self._written)
            self._written += 1
            yield block

    def embedded(self) -> Embedded:
        """The written frames."""
        return Embedded(self._blocks, self._written, len(self._requests), self._errors)


def _pictures(clip: Clip, start: float) -> list[list[float | str]]:
    from PIL import Image

    pictures: list[list[float | str]] = []
    for frame_CHW, seconds in zip(clip.frames, clip.times, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(frame_CHW.transpose(1, 2, 0)).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
        pictures.append([round(float(seconds) - start, 2), base64.b64encode(buffer.getvalue()).decode()])
    return pictures
