"""What the library makes of a clip, a question and a completion by itself: the reference for all families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trlt.engine.families import Family
from trlt.video.clip import Clip


class File:
    """A file of so many frames a second, of which every so many-th is shown.

    Args:
        count: Frames shown.
        rows: Height in tokens.
        columns: Width in tokens.
        rate: Frames a second of the file.
        step: From one frame that is shown to the next.
        first: Number of the first.
        seed: Of the noise that they show.
    """

    def __init__(
        self, count: int, rows: int, columns: int, *, rate: float = 30.0, step: int = 15, first: int = 0, seed: int = 0
    ) -> None:
        self.count, self.rows, self.columns, self.rate, self.step, self.seed = count, rows, columns, rate, step, seed
        self.numbers = [first + step * i for i in range(count)]

    def clip(self, family: Family) -> Clip:
        """The clip as a loader makes it for a family."""
        side = family.geometry.side
        shape = (self.count, 3, self.rows * side, self.columns * side)
        frames = np.random.default_rng(self.seed).integers(0, 256, shape, dtype=np.uint8)
        stamps, fps = np.array(self.numbers) / self.rate, self.rate / self.step
        return Clip.of(frames, stamps, sample_fps=fps, duration=self.count / fps, stamps=stamps, geometry=family.geometry)

    def metadata(self) -> dict[str, Any]:
        """What the library's own reader tells its processor."""
        return {"fps": self.rate, "total_num_frames": self.count * self.step, "frames_indices": list(self.numbers)}


def messages(system: str, user: str) -> list[dict[str, Any]]:
    """As the library's documentation writes them."""
    told = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    return [*told, {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": user}]}]


def inputs(processor: Any, file: File, clip: Clip, system: str, user: str) -> dict[str, Any]:
    """Inputs of a model, by the processor alone."""
    text = processor.apply_chat_template(messages(system, user), add_generation_prompt=True, tokenize=False)
    made = dict(
        processor(
            text=[text],
            videos=[torch.from_numpy(clip.frames)],
            video_metadata=[file.metadata()],
            do_resize=False,
            do_sample_frames=False,
            cap_pixels_per_frame=False,
            return_tensors="pt",
        )
    )
    made.pop("video_metadata", None)
    if "second_per_grid_ts" in made:
        made["second_per_grid_ts"] = torch.as_tensor(made["second_per_grid_ts"])
    return made


def with_completion(made: dict[str, Any], tokens: Sequence[int]) -> dict[str, Any]:
    """The same, of prompt and completion."""
    ids = torch.cat([made["input_ids"], torch.tensor([list(tokens)])], dim=1)
    kinds = torch.nn.functional.pad(made["mm_token_type_ids"], (0, len(tokens)))
    return {**made, "input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": kinds}


def logps(model: Any, made: dict[str, Any], tokens: Sequence[int]) -> Tensor:
    """Log-probability of each of a completion's tokens, from one full sequence."""
    model.model.rope_deltas = None
    rows = model(**with_completion(made, tokens), use_cache=False).logits[0, -len(tokens) - 1 : -1].float().log_softmax(-1)
    return rows.gather(-1, torch.tensor(tokens)[:, None])[:, 0]


def greedy(model: Any, made: dict[str, Any], banned: Sequence[int], steps: int) -> list[int]:
    """Tokens of `generate`."""
    model.model.rope_deltas = None
    out = model.generate(**made, max_new_tokens=steps, do_sample=False, suppress_tokens=list(banned))
    return out[0, made["input_ids"].shape[1] :].tolist()  # type: ignore[no-any-return]
