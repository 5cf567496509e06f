"""Cuts a stretch out of a video file, exact to the frame: what is kept is decoded and encoded anew, with its sound.

Goes by the same clock as the loader. Knows PyAV; nothing of models or questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from trlt.errors import UsageError
from trlt.files import replacing
from trlt.task.sample import Span
from trlt.video import clock
from trlt.video.container import Listing, fault, list_packets, opened, packets_of
from trlt.video.picture import Image, Painter, matrix
from trlt.video.timeline import on_screen, timeline
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
    """Second of the video with which the cut begins; a picture that was on screen already is its first."""
    end: float
    """Seconds of the video up to which it was cut; the video's own end where the span passes it."""
    frames: int
    sound: bool
    warnings: tuple[str, ...] = ()
    """What is wrong with the video, although it could be cut."""


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
    """Writes what is on screen in [start, end) of a video as H.264, with the sound of that time as AAC.

    The file appears in one step. Where up to half of the pictures can't be decoded, those beside stay on screen in their place,
    and the result says so. Pictures are upright and of square pixels, as the loader shows them; their sides are rounded
    down to even numbers.

    Args:
        source: A video file.
        span: Seconds, as the loader counts them.
        out: The .mp4 file; replaced where it is there.

    Raises:
        UsageError: a target that can't be written.
        VideoError: the file can't be read, or shows nothing in the span; names file, time and reason.
    """
    check_target(out, source)
    try:
        if source.is_file() and is_animated(source):
            raise fault(source, "an animated WebP can't be cut; make a video of it first")
        with opened(source, 0) as (container, stream):
            listing = list_packets(source, container, stream)
            line = timeline(listing.times, listing.rate, listing.last_s)
            try:
                first, stop, held = on_screen(line, *span)
            except ValueError:
                last = float(listing.times[-1])
                raise fault(
                    source, f"no frame is presented from {span.start:g} to {span.end:g} s; the last is at {last:.2f} s"
                ) from None
            start = span.start if held else float(listing.times[first])
            with replacing(out) as new:
                return _write(source, new, out, listing, range(first, stop), Span(start, min(span.end, line.end)))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise fault(source, f"can't be cut ({reason})", span.start) from None


def _write(source: Path, partial: Path, out: Path, listing: Listing, places: Sequence[int], kept: Span) -> Cut:
    rate = Fraction(listing.rate or 25).limit_denominator(10_000)
    frames = 0
    time = kept.start
    lost: list[float] = []
    with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as target:
        video: Any = None
        sound = target.add_stream("aac", rate=_SOUND_RATE) if _has_sound(source) else None
        for time, picture, aspect in _pictures(source, listing, places, lost):
            if video is None:
                height, width = (side // 2 * 2 for side in picture.shape[:2])
                if not height or not width:
                    raise ValueError(f"pictures of {picture.shape[1]} x {picture.shape[0]} pixels are too small")
                video = target.add_stream("libx264", rate=rate, options={"crf": QUALITY, "preset": "veryfast"})
                video.width, video.height, video.pix_fmt = width, height, "yuv420p"
                video.codec_context.sample_aspect_ratio = aspect
                video.codec_context.time_base = _CLOCK
            # The first stands for the time before it, as the loader shows it.
            time = max(time, kept.start) if frames else kept.start
            seen = np.ascontiguousarray(picture[:height, :width])
            target.mux(video.encode(_stamped(seen, time - kept.start)))
            frames += 1
        if kept.end - time > 1.5 / rate:
            # A file ends one frame after its last picture: one that is held to the end is there once more.
            target.mux(video.encode(_stamped(seen, kept.end - kept.start - 1 / rate)))
            frames += 1
        target.mux(video.encode())
        heard = False
        if sound is not None:
            for samples in _sound(source, listing, *kept):
                heard = True
                target.mux(sound.encode(samples))
            target.mux(sound.encode())
    return Cut(out, kept.start, kept.end, frames, heard, (*listing.warnings, *_told(lost, len(places))))


def _told(lost: Sequence[float], count: int) -> Iterator[str]:
    """What is said of pictures that can't be decoded."""
    if lost:
        yield (
            f"at {min(lost):.2f} s: damaged; {len(lost)} of {count} frames can't be decoded, the last at {max(lost):.2f} s: "
            "those beside stay on screen in their place"
        )


def _stamped(picture: Image, seconds: float) -> Any:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame.pts, frame.time_base = round(seconds / _CLOCK), _CLOCK
    return frame


def _pictures(
    source: Path, listing: Listing, places: Sequence[int], lost: list[float]
) -> Iterator[tuple[float, Image, Fraction]]:
    """(seconds, picture (H, W, 3), aspect of its pixels) of the wanted frames, in the order of presentation.

    Decoding begins at the key frame before; where that comes too late, at the file's beginning. What comes before the first
    picture that can be decoded at all, such as the rest of a group with which a recording begins, is left out. `lost` gets the
    seconds of all that can't be decoded.
    """
    wanted = {listing.names[i]: float(listing.times[i]) for i in places}
    left: dict[int, float] = {}
    began = 0.0
    for jump in (False,) if listing.ordinal or len(listing.parts) > 1 else (True, False):
        left = dict(wanted)
        with opened(source, 0) as (container, stream):
            painter = Painter(None, len(places))
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            if jump:
                container.seek(min(wanted), stream=stream)
            packets = packets_of(container, stream) if jump else listing.packets(container, stream)
            for number, frame in enumerate(_decoded(packets, stream.codec_context)):
                time = left.get(number if listing.ordinal else frame.pts)
                if time is None:
                    continue
                if jump and len(left) == len(wanted) and time > min(wanted.values()):
                    break
                if len(left) == len(wanted):
                    began = time
                del left[number if listing.ordinal else frame.pts]
                (a, b), (c, d) = abs(matrix(frame)).tolist()
                yield time, painter(frame).transpose(1, 2, 0), 1 / aspect if b + c > a + d else aspect
                if not left:
                    return
        if len(left) < len(wanted):
            break
    lost += left.values()
    if len(left) == len(wanted) or 2 * sum(time > began for time in lost) > len(wanted):
        told = f"{len(left)} of {len(wanted)} frames to cut can't be decoded, the last at {max(left.values()):.2f} s"
        raise fault(source, f"{told}; the file is damaged there: cut what is before or after", min(left.values()))


def _decoded(packets: Iterable[Any], context: Any) -> Iterator[Any]:
    for packet in chain(packets, (None,)):
        try:
            yield from context.decode(packet)
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
        if len(listing.parts) > 1:
            packets = _joined(list(packets_of(container, audio)), listing, stream.time_base / audio.time_base)
        else:
            # By the sound's own packets: the picture may begin later.
            container.seek(max(0, int((start + origin - 1) / audio.time_base)), stream=audio)
            packets = packets_of(container, audio)
        done = 0
        for frame in _decoded(packets, audio.codec_context):
            for part in resampler.resample(frame):
                at = float(part.pts * part.time_base) - origin
                samples: Any = part.to_ndarray()
                # Where parts were joined, the sound of one may run into the next.
                first = max(0, round((start - at) * _SOUND_RATE), done - round((at - start) * _SOUND_RATE))
                last = min(samples.shape[1], round((end - at) * _SOUND_RATE))
                if first < last:
                    kept: Any = av.AudioFrame.from_ndarray(
                        np.ascontiguousarray(samples[:, first:last]), "fltp", part.layout.name
                    )
                    kept.sample_rate, kept.time_base = _SOUND_RATE, Fraction(1, _SOUND_RATE)
                    kept.pts = max(0, round((at - start) * _SOUND_RATE) + first)
                    done = kept.pts + last - first
                    yield kept
                if at >= end:
                    return


def _joined(packets: list[Any], listing: Listing, scale: Fraction) -> Iterator[Any]:
    """Packets of sound moved as those of the picture were, `scale` units of theirs to one of the sound's.

    Sound jumps where the picture does, a few packets earlier or later; where it jumps more or less often, it goes on by itself.
    """
    stays = [packet.duration for packet in packets if packet.duration]
    step = max(1, round(float(np.median(stays)))) if stays else 1
    own = clock.parts([packet.pts for packet in packets], [True] * len(packets), step, None)
    if len(own) == len(listing.parts):
        own = [(first, round(shift * scale)) for (first, _), (_, shift) in zip(own, listing.parts, strict=True)]
    return clock.restamped(iter(packets), own)


def _origin(stream: Any, listing: Listing) -> float:
    """Seconds of the container's clock at which the loader's clock begins."""
    if listing.ordinal:
        return 0.0
    return float(listing.names[0] * stream.time_base) - float(listing.times[0])
