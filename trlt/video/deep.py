"""Clips as the loader gives them, with warnings about every frame of their stretch, not only about those that were sampled.

For `trlt video check --deep`. Knows PyAV. What a decoder conceals by itself isn't seen here either.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av.error

from trlt.video import decode
from trlt.video.clip import Clip
from trlt.video.container import Listing, list_packets, opened
from trlt.video.decode import plan
from trlt.video.frame_folder import unreadable
from trlt.video.geometry import Geometry
from trlt.video.timeline import on_screen, timeline
from trlt.video.webp import is_animated

LOAD_CLIP = "trlt.video.deep:load_clip"
SHALLOW = ("can't be decoded", "can't be read (")
"""In what the loader warns of: the frames that it met, which are told again here with all others."""


def load_clip(
    path: str | Path,
    *,
    start: float | None = None,
    end: float | None = None,
    threads: int = 0,
    geometry: Geometry = Geometry(),
    **budget: Any,
) -> Clip:
    """As `decode.load_clip`, after which every frame of the stretch is decoded.

    Raises:
        VideoError: as there.
        MemoryError: as there.
    """
    clip = decode.load_clip(path, start=start, end=end, threads=threads, geometry=geometry, **budget)
    found = damage(Path(path), start, end, threads, geometry)
    kept = tuple(warning for warning in clip.warnings if not found or not any(part in warning for part in SHALLOW))
    return replace(clip, warnings=(*kept, *found))


def damage(
    path: Path, start: float | None, end: float | None, threads: int, geometry: Geometry = Geometry()
) -> tuple[str, ...]:
    """What is wrong with the frames of [start, end) of a file that can be read."""
    if path.is_dir():
        return tuple(f"{name} can't be read ({why})" for name, why in unreadable(path).items())
    if is_animated(path):  # whose pictures are decoded one after the other anyway
        return ()
    with opened(path, 1) as (container, stream):
        listing = list_packets(path, container, stream)
    first, stop, _ = on_screen(timeline(listing.times, listing.rate, listing.last_s), start, end, geometry)
    wanted = dict(zip(listing.names[first:stop], listing.times[first:stop].tolist(), strict=True))
    with opened(path, threads) as (container, stream):
        seen, faults = _decoded(listing, container, stream, set(wanted))
    lost = [time for name, time in wanted.items() if name not in seen]
    if lost:
        count = f"{len(lost)} of {len(wanted)} frames can't be decoded"
        return (f"at {min(lost):.2f} s: damaged; {count}, the last at {max(lost):.2f} s",)
    return (f"damaged: {faults} packets can't be decoded or are incomplete",) if faults else ()


def _decoded(listing: Listing, container: Any, stream: Any, wanted: set[int]) -> tuple[set[int], int]:
    """What came out of the decoder, by the listing's names, and how often it refused a packet or marked a frame as damaged."""
    context = stream.codec_context
    [*_, (_, last)] = runs = plan(listing, wanted)
    begin, seen, faults, number = runs[0][0], set(), 0, 0
    for place, packet in enumerate(chain(islice(listing.packets(container, stream), last + 1), (None,))):
        if packet is not None and place < begin:
            continue
        try:
            frames = context.decode(packet)
        except av.error.FFmpegError:
            faults += 1
            continue
        for frame in frames:
            seen.add(number if listing.ordinal else frame.pts)
            faults += frame.is_corrupt
            number += 1
    return seen, faults
