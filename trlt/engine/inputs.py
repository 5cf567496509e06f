"""The one place where a clip and a prompt become model inputs; rollouts and the trainer both call it.

Knows tensors and token ids; never answers or rewards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trlt.engine.families import Rendered, chat, family_of
from trlt.engine.families.family import END, START
from trlt.engine.marks import END_TOKENS, VISION_TOKENS
from trlt.engine.opening import opening_of, without_opening
from trlt.errors import ModelError
from trlt.video.clip import Clip


@dataclass(frozen=True)
class ClipInputs:
    """A clip as the vision tower takes it."""

    pixels: Tensor | None
    """(patches, values of a patch) float32; None where `features` stand in for them."""
    grid: Tensor
    """(1, 3) int64: temporal patches, rows, columns."""
    seconds_per_grid: float
    """Seconds that one temporal patch covers at the true sampled rate."""
    tokens: int
    """Video tokens after merging 2 x 2 patches."""
    features: Tensor | None = None
    """(tokens, width): what the vision tower makes of it, where that is known and doesn't change."""
    stamps: tuple[float, ...] = ()
    """Seconds of each frame as the family counts them, for families that tell times as text."""


@dataclass(frozen=True)
class PromptInputs:
    """A prompt as the language model takes it: the part up to the end of the video, and the rest."""

    prefix: Tensor
    """(P,) int64 token ids up to the end of the video and its marks; equal for all prompts of a clip under one system text."""
    suffix: Tensor
    """(S,) int64 token ids after the video, up to the start of the completion."""
    positions: Tensor
    """(3, P + S) int64 M-RoPE positions."""
    opening: str = ""
    """What the chat template has begun of the completion, at the end of `suffix`."""

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
        self._family = family_of(model)
        self._family.adapt(model)
        self._model = model
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._outer = self._family.has_outer_marks(model.config)

    def clip(self, clip: Clip) -> ClipInputs:
        """Patches of a clip's frames, as the processor of the model cuts them; nothing is resized or sampled again."""
        made = self.without_patches(clip)
        pixels, grid = self._family.patches(self._processor, torch.from_numpy(clip.frames))
        return replace(made, pixels=pixels, grid=grid)

    def without_patches(self, clip: Clip, features: Tensor | None = None) -> ClipInputs:
        """The same with features in place of patches, or with neither: what prompts need."""
        # Sides that suit both would else be cut into other tokens without a word.
        assert clip.geometry == self._family.geometry, "the clip's frames are sized for another family"
        grid, stamps = torch.tensor([clip.grid]), tuple(clip.stamps.tolist())
        return ClipInputs(None, grid, float(clip.seconds_per_grid), clip.tokens, features, stamps)

    def prompt(self, system: str, user: str, clip: ClipInputs, *, think: bool | None = None) -> PromptInputs:
        """Token ids and positions of one user turn that shows the clip and then asks `user`.

        Raises:
            ModelError: a mark of the vision tower in a text, or a template that begins reasoning where `think` is False.
        """
        text = self._render(system, user, think)
        # Each part by itself: special tokens stand on both sides of the cut, and no
        # merge of bytes reaches over them, so the ids are those of the whole text.
        before, after = (self._tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text.head, text.tail))
        prefix = torch.tensor([*before, *self._family.video_ids(self._tokenizer, clip)])
        suffix = torch.tensor(after)
        positions = self._family.positions(self._model, torch.cat([prefix, suffix]), clip)
        return PromptInputs(prefix, suffix, positions, text.opening)

    def unexpanded(self, system: str, user: str, *, think: bool | None = None) -> list[int]:
        """Token ids of a prompt whose video is one placeholder, for a program that puts the video's tokens in itself."""
        text = self._render(system, user, think)
        parts = (text.head, self._family.placeholder, text.tail)
        return [token for part in parts for token in self._tokenizer(part, add_special_tokens=False)["input_ids"]]

    def _render(self, system: str, user: str, think: bool | None) -> Rendered:
        """The chat text around the video."""
        text = self._family.chat(self._processor, chat(system, user), think)
        head, found, tail = text.partition(self._family.placeholder)
        # What weights were tuned with stays, as text around the video.
        words = head.removesuffix(START) + tail.removeprefix(END) if self._outer else head + tail
        # A mark in a question would become the special token itself: a second video, without frames.
        if not found or any(mark in words for mark in VISION_TOKENS):
            raise ModelError(
                "prompt: the chat must hold exactly one video; a vision mark in the question or a chat template "
                f"without `{self._family.placeholder}` breaks this"
            )
        opening = opening_of(tail)
        if opening and think is False:
            raise ModelError(
                f"prompt: the model's chat template begins every answer with {opening.strip()}; ask it with reasoning"
            )
        return Rendered(head, tail, opening)

    def opening(self, system: str, user: str, think: bool | None) -> str:
        """What the chat template begins of a prompt's completion."""
        return self._render(system, user, think).opening

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

    def encode(self, text: str, opening: str = "") -> list[int]:
        """Token ids of a completion's text, without an end mark and without the opening that its prompt ends with."""
        return list(self._tokenizer(without_opening(text, opening), add_special_tokens=False)["input_ids"])

    @property
    def end_tokens(self) -> list[int]:
        """Ids that end a completion."""
        return self._tokenizer.convert_tokens_to_ids(list(END_TOKENS))  # type: ignore[no-any-return]
