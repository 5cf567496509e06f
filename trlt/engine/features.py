"""Features of clips from a frozen vision tower: computed once for rollouts, policy and reference, and cached on disk.

Knows clips and tensors; nothing of prompts.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from trlt.engine.families import family_of
from trlt.engine.inputs import ClipInputs, InputBuilder
from trlt.video.clip import Clip
from trlt.video.disk_cache import DiskCache

CHECKSUM = 4
"""Bytes."""
Encode = Callable[[ClipInputs], Tensor]


class FeatureCache(DiskCache):
    """Features of clips on disk, bounded in bytes: safetensors, followed by 4 bytes of their CRC-32."""

    SUFFIX = ".safetensors"
    FIELD = "train.features"

    def get(self, key: str) -> Tensor | None:
        """(tokens, hidden), or None if they are missing or damaged (then the entry is dropped)."""
        data = self.read(key)
        if data is None:
            return None
        body = data[:-CHECKSUM].tobytes()
        if zlib.crc32(body).to_bytes(CHECKSUM, "little") != data[-CHECKSUM:].tobytes():
            self.drop(key)
            return None
        return load(body)["features"]

    def put(self, key: str, features: Tensor) -> None:
        """Adds features; see `write`."""
        body = save({"features": features.contiguous().cpu()})
        self.write(key, body, zlib.crc32(body).to_bytes(CHECKSUM, "little"))


class FrozenTower:
    """Clips as inputs that have already passed the vision tower.

    Args:
        model: The tower's model; read once, to distinguish its features from others.
        builder: Makes patches of frames.
        encode: Runs the tower on a clip's patches: (tokens, hidden).
        store: Keeps features across epochs and runs; None computes them each time.
    """

    def __init__(self, model: Any, builder: InputBuilder, encode: Encode, store: FeatureCache | None) -> None:
        self._builder, self._encode, self._store = builder, encode, store
        self._device: torch.device = model.device
        # The store outlives the run: features of other weights, or of
        # these in another precision, mustn't be taken for them.
        self._tower = f"{digest_of(model.model.visual)}{settings_of(model)}" if store else ""
        self.passes = 0
        """Number of runs of the tower."""

    def inputs(self, clip: Clip) -> ClipInputs:
        """A clip as the language model takes it; without pixels."""
        key = self._key(clip) if self._store else ""
        features = self._store.get(key) if self._store else None
        if features is None:
            made = self._builder.clip(clip)
            features = self._encode(made)
            self.passes += 1
            if self._store:
                self._store.put(key, features)
        return self._builder.without_patches(clip, features.to(self._device))

    def _key(self, clip: Clip) -> str:
        """A hash of the model's family, its tower and the frames: file names and paths don't matter."""
        told = hashlib.sha256(f"{self._tower} {clip.frames.shape} ".encode())
        told.update(clip.frames.data if clip.frames.flags.c_contiguous else clip.frames.tobytes())
        return told.hexdigest()


def settings_of(model: Any) -> str:
    """What the features depend on beside weights and frames: the family, and which blocks do what."""
    found = model.config.vision_config.to_dict()
    # Numbers alone, since the rest differs from one version of the library to the next.
    kept = {key: value for key, value in sorted(found.items()) if isinstance(value, (int, list, tuple))}
    return f"{family_of(model).name} {json.dumps(kept)}"


def digest_of(tower: Any) -> str:
    """A hash of a module's weights, whose dtype counts too."""
    told = hashlib.sha256()
    for name, weight in sorted(tower.state_dict().items()):
        told.update(f"{name} {weight.dtype} {tuple(weight.shape)} ".encode())
        # As bytes: NumPy has no BF16.
        told.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return told.hexdigest()
