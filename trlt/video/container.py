"""Opens a video file and lists its packets. Knows PyAV; decides nothing about which frames are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.format import Flags
from av.stream import Disposition
from numpy.typing import NDArray

from trlt.errors import VideoError
from trlt.video import clock, damage
from trlt.video.demuxer_log import listening

_NO_STAMP = -(1 << 63)
"""Stands for a frame that is shown, at a time which the container doesn't tell; sorts first."""

PLAYLISTS = frozenset({"concat", "dash", "hls", "image2", "imf", "rtp", "rtsp", "sdp", "vobsub"})
"""Formats that name other files. FFmpeg tells them by content, so that a text called `x.mp4` could show its neighbour."""
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(sorted(av.formats_available - PLAYLISTS))}
"""For whatever is opened: one file, and none that it names."""

_LARGEST = 1 << 60
"""Stamps and shifts below it can be added up."""

KEEP_BYTES = 64 << 20
"""Packets of files up to this size stay in memory between listing and decoding; larger files are read a second time."""

UNTOLD_RATE = 25
"""Frames a second of a bare stream that doesn't tell; FFmpeg's assumption."""


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """The packets of a file, known before decoding."""

    stamps: list[int | None]
    """For each packet, in decoding order, the presentation time in the stream's unit; None where it shows no frame. On one
    clock also where the file's own begins anew."""
    parts: list[clock.Part]
    """What was added to the file's stamps for that."""
    keys: list[bool]
    """For each packet, whether decoding can start with it."""
    kept: list[Any] | None
    """The packets themselves, or None where they are too large to keep."""
    ordinal: bool
    """The container's presentation times are of no use: frames are told apart by the order in which they come out."""
    names: list[int]
    """(N) what each frame goes by, in the order of presentation: its stamp, or its number where `ordinal`."""
    times: NDArray[np.float64]
    """(N,) rising, seconds of a player's clock at which each frame is presented."""
    rate: float | None
    """Frames a second as the file says."""
    last_s: float | None
    """Seconds that the last frame stays, as the file says."""
    warnings: tuple[str, ...]

    def packets(self, container: Any, stream: Any) -> Iterator[Any]:
        """The packets once more, from a container that was opened anew where they weren't kept, stamped as listed here."""
        return iter(self.kept) if self.kept is not None else clock.restamped(packets_of(container, stream), self.parts)


def fault(path: Path, reason: str, at_s: float | None = None) -> VideoError:
    """The error for a video: file, time and reason."""
    return VideoError(f"{path}: {reason}" if at_s is None else f"{path}: at {at_s:.2f} s: {reason}")


@contextmanager
def opened(path: Path, threads: int, said: list[tuple[str, str]] | None = None) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream, ready to demux and decode.

    Args:
        path: Of the file.
        threads: Of the decoder.
        said: Takes what FFmpeg notes on the way.

    Raises:
        VideoError: no such file, nothing in it, not a video, or no video stream.
    """
    try:
        if path.stat().st_size == 0:
            raise fault(path, "the file is empty (0 bytes); download it again")
        with listening(said if said is not None else []):
            container = av.open(str(path.absolute()), options=dict(OPTIONS), metadata_errors="ignore")
    except av.error.ArgumentError:
        raise fault(path, "not a video, or a playlist of other files; give the video itself") from None
    except (av.error.FFmpegError, OSError) as error:
        raise fault(path, _why(path, error)) from None
    with container:
        # FFmpeg draws text files as a terminal would.
        if container.format.name == "tty":
            raise fault(path, "a text file, not a video")
        # A cover picture is a video stream, too.
        shown = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        best = container.streams.best("video")
        stream = best if best in shown else shown[0] if shown else None
        if stream is None:
            raise fault(path, "has no video stream" + (", only audio" if container.streams.audio else ""))
        if stream.codec_context is None:
            raise fault(path, "its video codec is unknown to this build of FFmpeg")
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        yield container, stream


def _why(path: Path, error: Exception) -> str:
    """What a person should read when a file can't be opened."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and not isinstance(error, av.error.FFmpegError):
        return f"can't be read ({error.strerror})"
    with path.open("rb") as handle:
        head = handle.read(64).lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the video itself; run `git lfs pull`"
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not a video; the download failed"
    what = getattr(error, "strerror", None) or type(error).__name__
    return f"not a video that can be opened ({what}); the file is damaged or cut off"


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets in decoding order, without the empty one that marks the end."""
    return (packet for packet in container.demux(stream) if packet.size)


def list_packets(path: Path, container: Any, stream: Any, said: Sequence[tuple[str, str]] = ()) -> Listing:
    """Reads all packets without decoding them.

    Args:
        path: Of the file.
        container: As opened.
        stream: Its picture.
        said: What FFmpeg noted while it was opened (`demuxer_log.listening`).

    Raises:
        VideoError: there are none, or fewer than half of those that the file promises.
    """
    keep = path.stat().st_size <= KEEP_BYTES
    kept: list[Any] = []
    stamps: list[int | None] = []
    dts: list[int | None] = []
    keys: list[bool] = []
    stays: list[int] = []
    torn: list[int] = []
    warnings = []
    last = (-(1 << 63), 0)
    hidden_possible = stream.codec_context.name in ("vp8", "libvpx")
    noted = list(said)
    try:
        with listening(noted):
            for packet in packets_of(container, stream):
                # VP8 stores frames that are only referred to in packets of their own; bit 4 of the header tells shown ones.
                hidden = packet.is_discard or (hidden_possible and not memoryview(packet)[0] & 0x10)
                if packet.is_corrupt:
                    torn.append(len(stamps))
                stamps.append(None if hidden else packet.pts if packet.pts is not None else _NO_STAMP)
                dts.append(packet.dts)
                keys.append(packet.is_keyframe)
                if packet.duration:
                    stays.append(packet.duration)
                if keep:
                    kept.append(packet)
                if packet.pts is not None and packet.pts >= last[0]:
                    last = (packet.pts, packet.duration or 0)
    except (av.error.FFmpegError, OSError) as error:
        warnings.append(f"reading stops after {len(stamps)} frames ({error.strerror})")
    promised = stream.frames if "mp4" in container.format.name else 0
    if not stamps or 2 * len(stamps) < promised:
        raise fault(path, f"cut off: {len(stamps)} of {promised} frames are there" if promised else "holds no video frames")
    if len(stamps) < promised:
        warnings.append(f"cut off: {len(stamps)} of {promised} frames are there")
    unit = float(stream.time_base)
    parts = _parts(container, stream, stamps, keys, stays)
    if len(parts) > 1:
        stamps = clock.moved(stamps, parts)
        kept = list(clock.restamped(iter(kept), parts))
    ordinal, names, times = _presented(container, stream, stamps, dts)
    rate = _rate(container, stream)
    if rate is None and _is_bare(container):
        warnings.append(f"tells no frame rate; read as {UNTOLD_RATE} frames a second")
    told = damage.told(
        container.format.name,
        times,
        joined=[float(times[min(i, len(times) - 1)]) for i, _ in parts[1:]]
        if ordinal
        else _when([i for i, _ in parts[1:]], stamps, names, times),
        torn=len(torn),
        torn_s=[] if ordinal else _when(torn, stamps, names, times),
        complains=any(who == container.format.name for who, _ in noted),
        steady=_may_restart(container),
    )
    return Listing(
        stamps=stamps,
        parts=parts,
        keys=keys,
        kept=kept if keep else None,
        ordinal=ordinal,
        names=names,
        times=times,
        rate=rate,
        last_s=last[1] * unit or None,
        warnings=(*warnings, *told),
    )


def _parts(
    container: Any, stream: Any, stamps: Sequence[int | None], keys: Sequence[bool], stays: Sequence[int]
) -> list[clock.Part]:
    # Without true presentation times there is no clock that could begin anew: such frames go by their order.
    if container.format.name == "avi" or _NO_STAMP in stamps:
        return [(0, 0)]
    unit = stream.time_base
    step = round(float(np.median(stays))) if stays else round(1 / ((stream.average_rate or 25) * unit))
    ahead = round(clock.AHEAD_S / unit) if _may_restart(container) else None
    found = clock.parts(stamps, keys, max(1, step), ahead)
    # Damaged stamps may be anything; what would pass 64 bits stays as it is.
    return (
        found if all(abs(shift) < _LARGEST for _, shift in found) and all(abs(s or 0) < _LARGEST for s in stamps) else [(0, 0)]
    )


def _when(packets: Sequence[int], stamps: Sequence[int | None], names: list[int], times: NDArray[np.float64]) -> list[float]:
    """Seconds of the pictures of some packets."""
    shown = [stamp for number in packets if (stamp := stamps[number]) is not None]
    return [float(times[min(place, len(times) - 1)]) for place in np.searchsorted(names, shown).tolist()]


def _may_restart(container: Any) -> bool:
    """Whether the format's clock may begin anew, as that of transport and program streams."""
    return bool(Flags(container.format.flags) & Flags.ts_discont)


def _presented(
    container: Any, stream: Any, stamps: list[int | None], dts: list[int | None]
) -> tuple[bool, list[int], NDArray[np.float64]]:
    """Whether frames go by number, what each goes by, and its time."""
    unit = stream.time_base
    shown = sorted(stamp for stamp in stamps if stamp is not None)
    # AVI has no presentation times: those that its demuxer gives are decoding times, wrong wherever frames are reordered.
    ordinal = container.format.name == "avi" or _NO_STAMP in shown or len(set(shown)) < len(shown)
    if not ordinal:
        return False, shown, clock.seconds(shown, unit) + _lead(container, shown[0] * unit)
    order = sorted({value for value in dts if value is not None})
    if len(order) == len(shown):
        return True, list(range(len(shown))), clock.seconds(order, unit) + _lead(container, order[0] * unit)
    return True, list(range(len(shown))), np.arange(len(shown)) / (_rate(container, stream) or UNTOLD_RATE)


def _rate(container: Any, stream: Any) -> float | None:
    """Frames a second as the file says.

    A bare stream (.h264) has no container that could say it: the average is then FFmpeg's assumption of 25, and only the
    stream's own header knows better.
    """
    if _is_bare(container):
        return float(stream.guessed_rate) if stream.codec_context.framerate else None
    found = stream.average_rate or stream.guessed_rate
    return float(found) if found else None


def _is_bare(container: Any) -> bool:
    """Whether the file is a stream without a container."""
    return bool(container.format.flags & Flags.no_timestamps.value)


def _lead(container: Any, first: Fraction) -> float:
    starts = (float(s.start_time * s.time_base) for s in container.streams.audio if s.start_time is not None)
    return clock.lead(float(first), starts)
