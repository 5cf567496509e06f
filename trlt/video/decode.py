"""File or folder of frames to `Clip`, in this process. Decodes what is needed, never substitutes anything.

Runs inside the decoding processes too: imports numpy and PyAV, never torch.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av.error
import numpy as np
from numpy.typing import NDArray

from trlt.video.budget import Budget
from trlt.video.clip import Clip
from trlt.video.container import Listing, fault, list_packets, opened
from trlt.video.frame_folder import sample_folder
from trlt.video.geometry import Geometry
from trlt.video.picture import Painter
from trlt.video.timeline import Choice, choose, timeline
from trlt.video.webp import is_animated, sample_webp

VERSION = 4
"""Counts up when the same file and budget would give other frames; part of the frame store's keys."""

SKIP_PACKETS = 16
"""Fewest packets worth skipping: each jump drains the decoder, and its threads start anew."""

SMALL_PIXELS = 8 << 20
"""Pixels to decode below which another thread costs more than it brings."""

LEAN = ("h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video")
"""Decoders that can be told before each packet to leave out what no other frame refers to; others take that only once."""

Image = NDArray[np.uint8]
Runs = list[tuple[int, int]]
"""Packets to decode: first and last of each stretch, both included, rising."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """The frames of a choice, one (C, H, W) image each."""

    images: list[Image]
    choice: Choice
    warnings: tuple[str, ...]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_clip(
    path: str | Path,
    *,
    fps: float,
    min_frames: int,
    max_frames: int,
    min_tokens: int,
    max_tokens: int,
    start: float | None = None,
    end: float | None = None,
    threads: int = 0,
    geometry: Geometry = Geometry(),
) -> Clip:
    """The frames that the budget takes of a video, or of the half-open stretch [start, end) of it.

    Args:
        path: A video file, or a folder of numbered frames.
        fps: Frames to sample per second.
        min_frames: Minimum number of frames; a video with fewer gives all (an even number).
        max_frames: Maximum number of frames.
        min_tokens: Minimum number of tokens per temporal patch (two frames).
        max_tokens: Maximum number of tokens per clip.
        start: Seconds of a player's clock; a frame on it belongs to the clip.
        end: Seconds of that clock; a frame on it doesn't.
        threads: Threads of the decoder; 0 uses one per core.
        geometry: Of the model that the clip is for.

    Raises:
        VideoError: it can't be read, holds one frame only, or nothing in the stretch; names file, time and reason.
        MemoryError: it is too large.
    """
    budget = Budget(fps, min_frames, max_frames, min_tokens, max_tokens)
    sampled = sample(Path(path), budget, start, end, threads=threads, geometry=geometry)
    return Clip.of(
        np.stack(sampled.images),
        sampled.choice.times,
        sample_fps=sampled.choice.sample_fps,
        duration=sampled.choice.duration,
        stamps=sampled.choice.stamps,
        geometry=geometry,
        warnings=sampled.warnings,
    )


def sample(
    path: Path,
    budget: Budget,
    start: float | None = None,
    end: float | None = None,
    *,
    fit: bool = True,
    threads: int = 0,
    geometry: Geometry = Geometry(),
) -> Sampled:
    """The sampled frames; `fit` false keeps their own size.

    Raises:
        VideoError: as `load_clip`.
    """
    if (start is not None and not 0 <= start < np.inf) or (end is not None and not (start or 0) < end < np.inf):
        raise fault(path, f"clip bounds [{start}, {end}) must be finite seconds with 0 <= start < end")
    try:
        if path.is_dir():
            return Sampled(*sample_folder(path, budget, start, end, fit=fit, geometry=geometry))
        if path.is_file() and is_animated(path):
            return Sampled(*sample_webp(path, budget, start, end, fit=fit, geometry=geometry))
        return _sample_file(path, budget, start, end, fit, threads, geometry)
    except ValueError as error:
        raise fault(path, str(error), start) from None
    except (av.error.FFmpegError, OSError) as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(f"{path}: too large to be decoded") from None
        raise fault(path, f"can't be decoded ({error.strerror or type(error).__name__})", start) from None


def _sample_file(
    path: Path, budget: Budget, start: float | None, end: float | None, fit: bool, threads: int, geometry: Geometry
) -> Sampled:
    said: list[tuple[str, str]] = []
    with opened(path, 1, said) as (container, stream):
        listing = list_packets(path, container, stream, said)
        line = timeline(listing.times, listing.rate, listing.last_s)
        choice = choose(line, budget, start, end, geometry)
        aspect = float(stream.sample_aspect_ratio or 1)
        area = stream.codec_context.width * stream.codec_context.height
        # Where frames go by number, one that is left out would shift the numbers of all that follow.
        can_be_lean = not listing.ordinal and stream.codec_context.name in LEAN

        def decode(picked: Choice, names: list[int], runs: Runs, *, quick: bool = False) -> _Pass:
            """One pass over the runs; `quick` leaves out what nobody needs, and takes parts side by side."""
            lean = quick and can_be_lean
            wanted = {names[i] for i in picked.indices}

            def part(runs: Runs, wanted: set[int], threads: int, *, alone: bool = False) -> _Pass:
                # One a part: it isn't made for several threads, and its first frame fixes the size of all others.
                painter = Painter(budget if fit else None, len(picked.indices), aspect, geometry)
                if alone and listing.kept is not None:  # no need to open the file once more
                    context = stream.codec_context
                    # The decoder takes its number of threads once, when it is opened.
                    if not context.is_open:
                        context.thread_count = threads
                    # An earlier pass may have left frames in the decoder.
                    context.flush_buffers()
                    return _decode(listing.kept, context, listing, runs, wanted, painter, lean)
                # A part needs a container and a decoder of its own.
                with opened(path, threads) as (again, video):
                    return _decode(listing.packets(again, video), video.codec_context, listing, runs, wanted, painter, lean)

            busy = area * sum(last - first + 1 for first, last in runs)
            # Parts side by side and not the decoder's own threads, which gain nothing on small frames: 10
            # minutes at 360p took 9.0 s by one thread, 9.8 s by two, and 4.8 s in two parts.
            parts = split(listing, runs, wanted, min(threads or cores(), busy // SMALL_PIXELS) if quick else 1)
            if len(parts) > 1:
                with ThreadPoolExecutor(len(parts), "trlt-decode") as pool:
                    result = _merged(pool.map(lambda one: part(one[0], one[1], 1), parts))
                if len({image.shape for image in result.images.values()}) < 2:
                    return result
                # The picture's size changes on the way: the first frame decides for all, so they are painted in order.
            return part(runs, wanted, 1 if busy < SMALL_PIXELS else threads, alone=True)

        names = listing.names
        whole = [(0, len(listing.stamps) - 1)]
        result = decode(choice, names, plan(listing, {names[i] for i in choice.indices}), quick=True)
        warnings = list(listing.warnings)
        if result.missing:  # damage, or key frames that aren't: from the start, everything, in order
            result = decode(choice, names, whole)
        if result.missing:
            lost = min(float(listing.times[i]) for i in choice.indices if names[i] in result.missing)
            alive = [i for i, name in enumerate(names) if name in result.seen]
            if len(alive) < 2 or 2 * len(alive) < len(names):
                raise fault(path, f"only {len(alive)} of {len(names)} frames can be decoded; the file is damaged", lost)
            warnings.append(f"at {lost:.2f} s: damaged; {len(names) - len(alive)} of {len(names)} frames can't be decoded")
            # Chosen anew among the frames that are there, by the clock: no frame stands in for another that was lost.
            left = timeline(listing.times[alive], listing.rate, listing.last_s)
            choice = choose(left, budget, start, end, geometry)
            names = [names[i] for i in alive]
            result = decode(choice, names, whole)
            if result.missing:
                raise fault(path, "decodes differently each time; the file is damaged", lost)
        # All wanted frames came out, but the decoder refused or concealed something, which may show in them.
        elif result.faults:
            warnings.append(f"damaged: {result.faults} packets can't be decoded or are incomplete")
        return Sampled([result.images[names[i]] for i in choice.indices], choice, tuple(warnings))


def plan(listing: Listing, wanted: set[int]) -> Runs:
    """Runs of packets, first and last included, that must be decoded to get the wanted frames."""
    final = len(listing.stamps) - 1
    if listing.ordinal:
        return [(0, final)]
    runs: Runs = []
    before = key = 0
    for i, stamp in enumerate(listing.stamps):
        if listing.keys[i]:
            before, key = key, i
        if stamp not in wanted:
            continue
        # A picture shown before the key frame that it follows refers to the group before as well.
        leading = listing.stamps[key] is not None and stamp is not None and stamp < (listing.stamps[key] or 0)
        first = before if leading else key
        if runs and first <= runs[-1][1] + SKIP_PACKETS:
            runs[-1] = (runs[-1][0], i)
        else:
            runs.append((first, i))
    # Near the beginning there is nothing worth skipping.
    if runs and runs[0][0] < SKIP_PACKETS:
        runs[0] = (0, runs[0][1])
    return runs


def split(listing: Listing, runs: Runs, wanted: set[int], parts: int) -> list[tuple[Runs, set[int]]]:
    """The runs in up to `parts` parts of about as many packets each, with the wanted frames of each.

    Parts begin with key frames, so that each can be decoded alone: on small frames, and where frames are left out, that uses
    cores far better than the decoder's own threads. No part begins with a key frame whose leading pictures are wanted, since
    these refer to the group before.
    """
    if parts < 2 or listing.ordinal:
        return [(runs, wanted)]
    bound: set[int] = set()
    key = 0
    for i, stamp in enumerate(listing.stamps):
        if listing.keys[i]:
            key = i
        elif stamp in wanted and (listing.stamps[key] is None or stamp < (listing.stamps[key] or 0)):
            bound.add(key)
    share = sum(last - first + 1 for first, last in runs) / parts
    made: list[Runs] = [[]]
    done = 0
    for first, last in runs:
        begin = first
        for i in range(first, last + 1):
            if done >= share * len(made) and (i == first or (listing.keys[i] and i not in bound)):
                if i > begin:
                    made[-1].append((begin, i - 1))
                made.append([])
                begin = i
            done += 1
        made[-1].append((begin, last))
    stamps = [{s for first, last in part for s in listing.stamps[first : last + 1]} for part in made]
    return [(part, {name for name in there if name in wanted}) for part, there in zip(made, stamps, strict=True)]


@dataclass(slots=True, eq=False)
class _Pass:
    """What one run through the decoder gave."""

    images: dict[int, Image]
    missing: set[int]
    seen: set[int]
    """Every frame that came out, wanted or not."""
    faults: int
    """Packets that the decoder refused, and frames that it marked as damaged."""


def _merged(parts: Iterable[_Pass]) -> _Pass:
    total = _Pass({}, set(), set(), 0)
    for part in parts:
        total.images |= part.images
        total.missing |= part.missing
        total.seen |= part.seen
        total.faults += part.faults
    return total


def _decode(
    packets: Iterable[Any],
    context: Any,
    listing: Listing,
    runs: Runs,
    wanted: set[int],
    paint: Callable[[Any], Image],
    lean: bool,
) -> _Pass:
    result = _Pass({}, set(wanted), set(), 0)
    # The last setting of an earlier pass would still hold.
    context.skip_frame = "DEFAULT"
    for number, frame in enumerate(decoded(packets, context, runs, result, wanted if lean else None)):
        name = number if listing.ordinal else frame.pts
        result.seen.add(name)
        result.faults += frame.is_corrupt
        if name in result.missing:
            result.images[name] = paint(frame)
            result.missing.remove(name)
            # `seen` is cut short by this, and is read only where a frame is missing.
            if not result.missing:
                break
    return result


def decoded(packets: Iterable[Any], context: Any, runs: Runs, result: _Pass, wanted: set[int] | None) -> Iterator[Any]:
    """Decoded frames of the runs, in the order of presentation within each.

    Where `wanted` (stamps) is given, the decoder leaves out frames that are neither wanted nor referred to by others.
    """
    numbered = enumerate(packets)
    for first, last in runs:
        for number, packet in numbered:
            if number >= first:
                if wanted is not None:
                    context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
                try:
                    # A packet that is refused isn't the end: most decoders go on with the next one.
                    yield from context.decode(packet)
                except av.error.FFmpegError:
                    result.faults += 1
            if number >= last:
                break
        try:
            # The decoder holds frames back, to reorder them. Once it has
            # been drained it takes no packets until it is flushed.
            yield from context.decode(None)
        except av.error.FFmpegError:
            result.faults += 1
        context.flush_buffers()
