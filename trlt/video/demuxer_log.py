"""What FFmpeg's demuxers say about bytes that they skip: only its log tells. Knows PyAV's log, no files.

Listen while packets are read and not while they are decoded: a message takes Python's lock, for which a decoder's own thread
might wait forever while that decoder is being closed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from av import logging as ffmpeg

_lock = threading.Lock()
_listeners = 0
_before: tuple[int | None, bool] = (None, True)


@contextmanager
def listening(said: list[tuple[str, str]]) -> Iterator[None]:
    """Appends (who, what) of each error that FFmpeg notes in this thread; those of other threads go nowhere."""
    _begin()
    try:
        with ffmpeg.Capture(local=False), ffmpeg.Capture(local=True) as logs:
            yield
    finally:
        _end()
    said += [(name, text.strip()) for level, name, text in logs if level <= ffmpeg.ERROR]


def _begin() -> None:
    global _listeners, _before
    with _lock:
        _listeners += 1
        if _listeners == 1:
            _before = ffmpeg.get_level(), ffmpeg.get_skip_repeated()
            ffmpeg.set_level(ffmpeg.ERROR)
            # Two files with the same damage say the same, and the second must be heard too.
            ffmpeg.set_skip_repeated(False)


def _end() -> None:
    global _listeners
    with _lock:
        _listeners -= 1
        if not _listeners:
            ffmpeg.set_level(_before[0])
            ffmpeg.set_skip_repeated(_before[1])
