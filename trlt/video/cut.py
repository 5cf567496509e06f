"""Cuts a stretch out of a video file, exact to the frame: what is kept is decoded and encoded anew, with its sound.

Goes by the same clock as the loader. Knows PyAV; nothing of models or questions.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from trlt.errors import UsageError
from trlt.sample import Span
from trlt.video.container import Listing, fault, list_packets, opened
from trlt.video.picture import Image, Painter, matrix
from trlt.video.timeline import SLACK_S, timeline
from trlt.video.webp import is_animated

QUALITY = "18"
"""x264's constant rate factor; at 18 a viewer sees no difference."""
_CLOCK = Fraction(1, 90_000)
"""Unit of the times of the cut file's frames, in seconds."""
_SOUND_RATE = 48_000


@dataclass(frozen=True, slots=True)
class Cut:
    """What was written."""

    path: Path
    start: float
    """Seconds of the video at which the first frame is presented."""
    end: float
    """Seconds of the video up to which it was cut; the video's own end where the span passes it."""
    frames: int
    sound: bool


def check_target(out: Path, source: Path) -> None:
    """Whether a cut can be written there at all; asked before a model is.

    Raises:
        UsageError: another name than .mp4, the video itself, or a source that is no file.
    """
    if out.suffix.lower() != ".mp4":
        raise UsageError(f"{out}: a name that ends in .mp4 is needed")
    if out.is_dir():
        raise UsageError(f"{out}: a folder; give the name of a file")
    if source.is_dir():
        raise UsageError(f"{source}: a folder of frames can't be cut; give a video file")
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"{out}: is the video itself; give another name")


def cut(source: Path, span: Span, out: Path) -> Cut:
    """Writes the frames that are presented in [start, end) of a video as H.264, with the sound of that time as AAC.

    The file appears in one step. Pictures are upright and of square pixels, as the loader shows them; their sides are rounded
    down to even numbers.

    Args:
        source: A video file.
        span: Seconds, as the loader counts them.
        out: The .mp4 file; replaced where it is there.

    Raises:
        UsageError: a target that can't be written.
        VideoError: the file can't be read, or holds no frame in the span; names file, time and reason.
    """
    check_target(out, source)
    try:
        if source.is_file() and is_animated(source):
            raise fault(source, "an animated WebP can't be cut; make a video of it first")
        with opened(source, 0) as (container, stream):
            listing = list_packets(source, container, stream)
            places = [i for i, time in enumerate(listing.times) if span.start - SLACK_S <= time < span.end - SLACK_S]
            if not places:
                last = float(listing.times[-1])
                raise fault(source, f"no frame is presented from {span.start:g} to {span.end:g} s; the last is at {last:.2f} s")
            out.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.stem}.", suffix=".mp4")
            os.close(handle)
            try:
                result = _write(source, Path(name), out, listing, places, span)
                os.chmod(name, 0o644)
                os.replace(name, out)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            return result
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise fault(source, f"can't be cut ({reason})", span.start) from None


def _write(source: Path, partial: Path, out: Path, listing: Listing, places: list[int], span: Span) -> Cut:
    start = float(listing.times[places[0]])
    rate = Fraction(listing.rate or 25).limit_denominator(10_000)
    with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as target:
        video: Any = None
        sound = target.add_stream("aac", rate=_SOUND_RATE) if _has_sound(source) else None
        for time, picture, aspect in _pictures(source, listing, places):
            if video is None:
                height, width = (side // 2 * 2 for side in picture.shape[:2])
                if not height or not width:
                    raise ValueError(f"pictures of {picture.shape[1]} x {picture.shape[0]} pixels are too small")
                video = target.add_stream("libx264", rate=rate, options={"crf": QUALITY, "preset": "veryfast"})
                video.width, video.height, video.pix_fmt = width, height, "yuv420p"
                video.codec_context.sample_aspect_ratio = aspect
                video.codec_context.time_base = _CLOCK
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            frame.pts, frame.time_base = round((time - start) / _CLOCK), _CLOCK
            target.mux(video.encode(frame))
        target.mux(video.encode())
        heard = False
        if sound is not None:
            for samples in _sound(source, listing, start, span.end):
                heard = True
                target.mux(sound.encode(samples))
            target.mux(sound.encode())
    end = timeline(listing.times, listing.rate, listing.last_s).end
    return Cut(out, start, min(span.end, end), len(places), heard)


def _pictures(source: Path, listing: Listing, places: list[int]) -> Iterator[tuple[float, Image, Fraction]]:
    """(seconds, picture (H, W, 3), aspect of its pixels) of the wanted frames, in the order of presentation.

    Decoding begins at the key frame before; where that comes too late, at the file's beginning.
    """
    wanted = {listing.names[i]: float(listing.times[i]) for i in places}
    left: dict[int, float] = {}
    for jump in (False,) if listing.ordinal else (True, False):
        left = dict(wanted)
        with opened(source, 0) as (container, stream):
            painter = Painter(None, len(places))
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            if jump:
                container.seek(min(wanted), stream=stream)
            for number, frame in enumerate(_decoded(container, stream)):
                time = left.get(number if listing.ordinal else frame.pts)
                if time is None:
                    continue
                if jump and len(left) == len(wanted) and time > min(wanted.values()):
                    break
                del left[number if listing.ordinal else frame.pts]
                (a, b), (c, d) = abs(matrix(frame)).tolist()
                yield time, painter(frame).transpose(1, 2, 0), 1 / aspect if b + c > a + d else aspect
                if not left:
                    return
        if len(left) < len(wanted):
            break
    raise fault(source, f"{len(left)} of {len(wanted)} frames to cut can't be decoded; the file is damaged", min(left.values()))


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _has_sound(source: Path) -> bool:
    with opened(source, 1) as (container, _):
        return any(stream.codec_context is not None for stream in container.streams.audio[:1])


def _sound(source: Path, listing: Listing, start: float, end: float) -> Iterator[Any]:
    """Sound of [start, end) s, cut to the sample; its times begin with the first picture."""
    with opened(source, 1) as (container, stream):
        audio = container.streams.audio[0]
        origin = _origin(stream, listing)
        resampler: Any = av.AudioResampler(format="fltp", layout="mono" if audio.channels == 1 else "stereo", rate=_SOUND_RATE)
        container.seek(max(0, int((start + origin - 1) * av.time_base)))
        for frame in _decoded(container, audio):
            for part in resampler.resample(frame):
                at = float(part.pts * part.time_base) - origin
                samples: Any = part.to_ndarray()
                first = max(0, round((start - at) * _SOUND_RATE))
                last = min(samples.shape[1], round((end - at) * _SOUND_RATE))
                if first < last:
                    kept: Any = av.AudioFrame.from_ndarray(
                        np.ascontiguousarray(samples[:, first:last]), "fltp", part.layout.name
                    )
                    kept.sample_rate, kept.time_base = _SOUND_RATE, Fraction(1, _SOUND_RATE)
                    kept.pts = max(0, round((at - start) * _SOUND_RATE) + first)
                    yield kept
                if at >= end:
                    return


def _origin(stream: Any, listing: Listing) -> float:
    """Seconds of the container's clock at which the loader's clock begins."""
    if listing.ordinal:
        return 0.0
    return float(listing.names[0] * stream.time_base) - float(listing.times[0])
