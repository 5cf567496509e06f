"""What the two ways in share: names, limits, the model's thread and the videos."""

from __future__ import annotations

from dataclasses import dataclass

from trlt.recipe import Decoding
from trlt.serve.uploads import Uploads
from trlt.serve.worker import Worker


@dataclass(frozen=True, slots=True)
class Settings:
    """What stays the same while the server runs."""

    model: str
    """Its name, as it is shown and asked for."""
    decoding: Decoding
    """How completions are drawn where a request doesn't say so."""
    host: str
    """What the server is bound to."""
    most_bytes: int
    """Largest video."""
    keep_s: float
    """Seconds after which an unused video is deleted."""
    most_tokens: int
    """Most video tokens of frames that come ready made."""


@dataclass(frozen=True, slots=True)
class Site:
    """What requests are answered with."""

    settings: Settings
    worker: Worker
    uploads: Uploads
