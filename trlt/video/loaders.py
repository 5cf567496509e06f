"""A clip loader per budget, for runs whose clips have several."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from trlt.recipe import Video
from trlt.video.geometry import Geometry
from trlt.video.workers import ClipLoader


class ClipLoaders:
    """Loaders by their settings, each made when it is first needed: a context manager that closes them.

    Args:
        geometry: Of the model that the clips are for.
    """

    def __init__(self, geometry: Geometry = Geometry()) -> None:
        self._geometry, self._stack = geometry, ExitStack()
        self._made: dict[str, ClipLoader] = {}

    def __call__(self, settings: Video) -> ClipLoader:
        """The loader of these settings; it takes paths, so that their `root` doesn't matter."""
        key = settings.model_dump_json(exclude={"root"})
        if key not in self._made:
            self._made[key] = self._stack.enter_context(ClipLoader(settings, self._geometry))
        return self._made[key]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()
