"""The clip loader that every stage uses: frame store, decoding ahead in killable processes, one bad file never ends a run.

Knows requests and clips; what the clips are for is the caller's business.
"""

from __future__ import annotations

import queue
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trlt.errors import VideoError
from trlt.errors.faults import fault_of
from trlt.errors.system import SYSTEMIC
from trlt.recipe import Video
from trlt.video.budget import Budget
from trlt.video.clip import Clip
from trlt.video.clip_cache import ClipCache, store_key
from trlt.video.decode import cores, load_clip
from trlt.video.decoder_handle import Decoder
from trlt.video.decoder_process import Config
from trlt.video.geometry import Geometry

LOAD_CLIP = "trlt.video.decode:load_clip"


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """A clip that is wanted."""

    path: Path
    start: float | None = None
    """Seconds of a player's clock at which the clip begins."""
    end: float | None = None
    """Seconds of that clock; a frame on it is no longer in the clip."""
    key: Any = None
    """Whatever the caller wants back with the clip."""


@dataclass(frozen=True, slots=True)
class LoadedClip:
    """The result of a request: a clip, or why there is none."""

    request: ClipRequest
    clip: Clip | None
    error: VideoError | None = None
    seconds: float = 0.0
    """From when it was begun until it was there, or given up."""


class ClipLoader:
    """Loads clips through the frame store and decoding processes; a context manager.

    Args:
        settings: The recipe's `video` section.
        geometry: Of the model that the clips are for; part of the frame store's keys.
        ahead: Clips that `map` loads before they are asked for, at most; bounds memory (a clip is up to 10 MB at 2048 tokens).
        decoder: `module:function` that the processes call; as `decode.load_clip`.
    """

    def __init__(
        self,
        settings: Video,
        geometry: Geometry = Geometry(),
        *,
        ahead: int | None = None,
        decoder: str = LOAD_CLIP,
    ) -> None:
        self.budget = Budget(settings.fps, settings.min_frames, settings.max_frames, settings.min_tokens, settings.max_tokens)
        self.geometry = geometry
        self.limits = limits_of(settings)
        self.waited_s = 0.0
        """Seconds that `load` and `map` kept their callers waiting, so far."""
        size = int(settings.store_gb * 1e9)
        self._store = ClipCache(settings.store, size) if settings.store else None
        self._workers = settings.workers
        self._ahead = max(1, ahead if ahead is not None else max(4, 2 * settings.workers))
        # All processes together take each core once.
        threads = max(1, cores() // max(1, settings.workers))
        config = Config(decoder, self.budget, threads, settings.store, size, int(settings.memory_gb * 1e9), geometry)
        self._decoders = [Decoder(config, settings.timeout_s) for _ in range(settings.workers)]
        self._idle: queue.LifoQueue[Decoder] = queue.LifoQueue()
        # Last in, first out, with the first on top: a process starts with its
        # first request, so those that aren't needed never start.
        for decoder_ in reversed(self._decoders):
            self._idle.put(decoder_)
        self._pool = ThreadPoolExecutor(settings.workers, "trlt-video") if settings.workers else None
        self._announced: OrderedDict[tuple[Path, float | None, float | None], Future[LoadedClip]] = OrderedDict()
        # A loader that nobody closes ends its processes all the same, when it is collected or the interpreter
        # ends. The function gets what it closes, and not the loader, which would then never be collected.
        self._close = weakref.finalize(self, _close, self._pool, self._decoders)

    def announce(self, requests: Iterable[ClipRequest], *, most: int = 64) -> None:
        """Begins to load clips that will be asked for later, by `load` or `map`; does nothing without processes.

        Args:
            requests: The clips, in the order in which they will be wanted.
            most: Announced clips that are kept; beyond it the oldest are forgotten. Bounds memory.
        """
        if self._pool is None or not self._close.alive:
            return
        for request in requests:
            if _place(request) not in self._announced:
                self._announced[_place(request)] = self._pool.submit(self._attempt, request)
        while len(self._announced) > most:
            self._announced.popitem(last=False)[1].cancel()

    def key(self, path: str | Path, start: float | None = None, end: float | None = None) -> str:
        """Name of a clip in the frame store; changes with all that its frames depend on (`store_key`).

        Raises:
            VideoError: no such file.
        """
        return store_key(path, self.budget, start, end, self.geometry)

    def stored(self, key: str) -> bool:
        """Whether the frame store has a clip."""
        return self._store is not None and self._store.has(key)

    def is_stored(self, path: str | Path, start: float | None = None, end: float | None = None) -> bool:
        """Whether the frame store holds the clip of a file; of one that can't be looked at, it doesn't."""
        try:
            return self.stored(self.key(path, start, end))
        except VideoError:
            return False

    def load(self, path: str | Path, start: float | None = None, end: float | None = None) -> Clip:
        """One clip, now.

        Raises:
            VideoError: it can't be read, or not in `timeout_s`; names file, time and reason.
        """
        [loaded] = self.map([ClipRequest(Path(path), start, end)])
        if loaded.clip is None:
            assert loaded.error is not None
            raise loaded.error
        return loaded.clip

    def _load(self, path: Path, start: float | None, end: float | None) -> Clip:
        key = self.key(path, start, end) if self._store else None
        if self._store and key:
            # With decoding processes it is only read here: each of them stores what it has decoded.
            clip = self._store.get(key)
            if clip is not None:
                return clip
        if self._workers:
            decoder = self._idle.get()
            try:
                return decoder.decode(path, start, end, key)
            finally:
                # Also after a failure: where that has ended the process, the next request starts another.
                self._idle.put(decoder)
        clip = load_clip(path, **asdict(self.budget), start=start, end=end, geometry=self.geometry)
        if self._store and key:
            self._store.put(key, clip)
        return clip

    def map(self, requests: Iterable[ClipRequest]) -> Iterator[LoadedClip]:
        """Clips in the order of the requests, loaded ahead; a file that fails gives its error and the rest goes on.

        Raises:
            VideoError: the loader is closed.
        """
        if not self._close.alive:
            raise VideoError("the clip loader is closed")
        if self._pool is None:
            for request in requests:
                began = time.perf_counter()
                loaded = self._attempt(request)
                self.waited_s += time.perf_counter() - began
                yield loaded
            return
        pending: deque[tuple[ClipRequest, Future[LoadedClip]]] = deque()
        try:
            for request in requests:
                # Taken out: what is handed over isn't held here any longer.
                coming = self._announced.pop(_place(request), None)
                pending.append((request, coming or self._pool.submit(self._attempt, request)))
                if len(pending) >= self._ahead:
                    yield self._next(*pending.popleft())
            while pending:
                yield self._next(*pending.popleft())
        finally:
            for _, future in pending:
                # The caller has left: what hasn't begun needn't.
                future.cancel()

    def close(self) -> None:
        """Ends all processes, also those in the middle of a file."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _attempt(self, request: ClipRequest) -> LoadedClip:
        began, clip, fault = time.perf_counter(), None, None
        try:
            clip = self._load(request.path, request.start, request.end)
        except VideoError as error:
            fault = error
        except OSError as error:  # of this file alone: it has gone, or can't be read where the disk is damaged
            # A full disk, say, or too many open files: the next file would meet the same.
            if error.errno in SYSTEMIC:
                raise
            fault = VideoError(f"{request.path}: can't be read ({error.strerror or error})")
        except MemoryError:
            fault = VideoError(f"{request.path}: decoding needs more memory than there is")
        except Exception as error:  # of this file alone
            fault = fault_of(error)
        return LoadedClip(request, clip, fault, time.perf_counter() - began)

    def _next(self, request: ClipRequest, coming: Future[LoadedClip]) -> LoadedClip:
        began = time.perf_counter()
        loaded = coming.result()
        self.waited_s += time.perf_counter() - began
        # A clip that was announced was loaded for a request with another key.
        return replace(loaded, request=request)


def limits_of(settings: Video) -> str:
    """What a file may take, in words; one that can't be read with these limits may be with others."""
    return f"{settings.timeout_s:g} s, {settings.memory_gb:g} GB" if settings.workers else "none"


def _place(request: ClipRequest) -> tuple[Path, float | None, float | None]:
    return request.path, request.start, request.end


def _close(pool: ThreadPoolExecutor | None, decoders: list[Decoder]) -> None:
    for decoder in decoders:
        # Before the pool, whose threads wait for answers: it would wait with them for a file that hangs.
        decoder.close()
    if pool is not None:
        pool.shutdown(wait=True, cancel_futures=True)
