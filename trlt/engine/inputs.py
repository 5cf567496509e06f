"""The one place where a clip and a prompt become model inputs; rollouts and the trainer both call it.

Knows tensors and token ids; never answers or rewards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trlt.engine.marks import END_TOKENS, VISION_TOKENS
from trlt.engine.mrope import follow_published_positions
from trlt.errors import ModelError
from trlt.video.clip import Clip


@dataclass(frozen=True)
class ClipInputs:
    """A clip as the vision tower takes it."""

    pixels: Tensor | None
    """(patches, channels * 2 * 14 * 14) float32; None where `features` stand in for them."""
    grid: Tensor
    """(1, 3) int64: temporal patches, rows, columns."""
    seconds_per_grid: float
    """Seconds that one temporal patch covers at the true sampled rate."""
    tokens: int
    """Video tokens after merging 2 x 2 patches."""
    features: Tensor | None = None
    """(tokens, hidden): what the vision tower makes of it, where that is known and doesn't change."""


@dataclass(frozen=True)
class PromptInputs:
    """A prompt as the language model takes it: the part up to the end of the video, and the rest."""

    prefix: Tensor
    """(P,) int64 token ids up to and with `<|vision_end|>`; equal for all prompts of a clip under one system text."""
    suffix: Tensor
    """(S,) int64 token ids after the video, up to the start of the completion."""
    positions: Tensor
    """(3, P + S) int64 M-RoPE positions."""

    @property
    def next_position(self) -> int:
        """Position of the completion's first token, on all three axes: text goes on where it stands."""
        return int(self.positions[:, -1].max()) + 1


class InputBuilder:
    """Makes inputs with a model's own processor and the published rule of positions.

    Raises:
        ModelError: the chat template doesn't render a video as one placeholder between its marks.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        follow_published_positions(model)
        self._rope = model.model.get_rope_index
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._video_token: int = processor.video_token_id

    def clip(self, clip: Clip) -> ClipInputs:
        """Patches of a clip's frames, as the processor of the model cuts them; nothing is resized or sampled again."""
        video = self._processor.video_processor
        out = video(
            videos=[torch.from_numpy(clip.frames)],
            do_resize=False,
            do_sample_frames=False,
            cap_pixels_per_frame=False,
            return_tensors="pt",
        )
        grid = out["video_grid_thw"]
        tokens = int(grid.prod()) // video.merge_size**2
        return ClipInputs(out["pixel_values_videos"], grid, float(clip.seconds_per_grid), tokens)

    def prompt(self, system: str, user: str, clip: ClipInputs) -> PromptInputs:
        """Token ids and positions of one user turn that shows the clip and then asks `user`."""
        head, tail = self._render(system, user)
        # Each part by itself: special tokens stand on both sides of the cut, and no
        # merge of bytes reaches over them, so the ids are those of the whole text.
        before, after = (self._tokenizer(text, add_special_tokens=False)["input_ids"] for text in (head, tail))
        marks = self._tokenizer.convert_tokens_to_ids(["<|vision_end|>"])
        prefix = torch.tensor([*before, *[self._video_token] * clip.tokens, *marks])
        suffix = torch.tensor(after)
        ids = torch.cat([prefix, suffix])[None]
        positions, _ = self._rope(
            ids,
            # The library's kinds: 2 is video, 0 is text.
            mm_token_type_ids=(ids == self._video_token).int() * 2,
            video_grid_thw=clip.grid,
            # As a fraction: in versions of the library that cut it to whole seconds, frames stand at other times.
            second_per_grid_ts=torch.tensor([clip.seconds_per_grid]),
        )
        return PromptInputs(prefix, suffix, positions[:, 0])

    def _render(self, system: str, user: str) -> tuple[str, str]:
        """The chat text before the video's placeholder, and the text after the end of the video."""
        messages: list[dict[str, Any]] = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
        messages.append({"role": "user", "content": [{"type": "video"}, {"type": "text", "text": user}]})
        text = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        # `head` ends with the video's own `<|vision_start|>`, the one mark that may stand there.
        head, found, tail = text.partition("<|video_pad|><|vision_end|>")
        # A mark in a question would become the special token itself: a second video, without frames.
        if not found or any(mark in head[:-1].removesuffix("<|vision_start|") + tail for mark in VISION_TOKENS):
            raise ModelError(
                "prompt: the chat must hold exactly one video; a vision mark in the question or a chat template "
                "without `<|vision_start|><|video_pad|><|vision_end|>` breaks this"
            )
        return head, tail

    def suppressed(self, vocabulary: int) -> Tensor:
        """(vocabulary,) True for tokens that must never be sampled: vision marks and ids that no text has."""
        banned = torch.zeros(vocabulary, dtype=torch.bool)
        banned[self._tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))] = True
        # The embedding has more rows than the tokenizer has tokens.
        banned[len(self._tokenizer) :] = True
        return banned

    def decode(self, tokens: list[int]) -> str:
        """Text of sampled tokens; special tokens stay visible, so that a strict format check sees them."""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def encode(self, text: str) -> list[int]:
        """Token ids of a completion's text, without an end mark."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    @property
    def end_tokens(self) -> list[int]:
        """Ids that end a completion."""
        return self._tokenizer.convert_tokens_to_ids(list(END_TOKENS))  # type: ignore[no-any-return]
