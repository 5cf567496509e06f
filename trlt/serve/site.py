"""What the two ways in share: names, limits, the model's thread and the videos."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from trlt.engine.families import FAMILIES, Family
from trlt.errors import VideoError
from trlt.recipe import Decoding
from trlt.serve.uploads import Upload, Uploads
from trlt.serve.worker import Worker
from trlt.task.prompt_form import PromptForm


@dataclass(frozen=True, slots=True)
class Settings:
    """What stays the same while the server runs."""

    model: str
    """Its name, as it is shown and asked for."""
    decoding: Decoding
    """How completions are drawn where a request doesn't say so."""
    form: PromptForm
    """How the page's questions are asked where it doesn't say so."""
    host: str
    """What the server is bound to."""
    most_bytes: int
    """Largest video."""
    keep_s: float
    """Seconds after which an unused video is deleted."""
    most_tokens: int
    """Most video tokens of frames that come ready made."""
    family: Family = FAMILIES[0]
    """Of the model: such frames must be whole tokens, and come at times that its prompts can hold."""


@dataclass(frozen=True, slots=True)
class Site:
    """What requests are answered with."""

    settings: Settings
    worker: Worker
    uploads: Uploads
    peek: Callable[[Path], object]
    """Raises VideoError where a file is no video; from any thread."""

    async def take(self, blocks: AsyncIterator[bytes], name: str) -> Upload:
        """Stores what comes, if it is a video. It is held until `uploads.release`.

        Raises:
            UploadTooLarge: it is larger than allowed.
            Full: there is no room for now.
            Unstorable: the disk takes none.
            VideoError: it is none, by its sender's name.
        """
        upload = await self.uploads.take(blocks, name)
        try:
            await asyncio.to_thread(self.peek, upload.path)
        except BaseException as error:
            self.forget(upload)
            if isinstance(error, VideoError):
                raise VideoError(str(error).replace(str(upload.path), name)) from None
            raise
        return upload

    def forget(self, upload: Upload) -> None:
        """Deletes a video that was taken and held until now."""
        self.uploads.delete(upload.id)
        self.uploads.release(upload)
