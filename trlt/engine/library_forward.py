"""The library's own forward of a clip, a prompt and a completion, and whether another side agrees with it.

Nothing of how the engine makes its inputs is used: the processor and the model are called as their documentation says, the rate
is left to the processor, and the position rule is implemented independently. Each side is observed where its tensors enter the
model, not where they were made: a step that only one side takes shows up here, whatever its cause. Knows tensors and tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trlt.engine.agreement import TOLERANCES, Agreement
from trlt.engine.families import family_of
from trlt.engine.mrope import LIBRARY, RULE
from trlt.engine.window_attention import plain_windows
from trlt.errors import ParityError
from trlt.video.clip import Clip

SECONDS = "second_per_grid_ts"
"""What some processors call the seconds from one temporal patch to the next."""
PIXEL_GAP = 1e-5
"""Maximum difference of pixels after normalization: the last bits of float32."""
REMEDY = "`trlt doctor` looks at the libraries; if it finds no fault, this is a bug worth a report"
RULE_REMEDY = (
    f'weights that were trained by the library\'s own rule of positions say `"{RULE}": "{LIBRARY}"` in their config.json; else '
)


@dataclass
class ModelInputs:
    """Model inputs of one side, call by call."""

    ids: list[Tensor] = field(default_factory=list)
    """(R, T) token ids."""
    positions: list[Tensor] = field(default_factory=list)
    """(3, R, T)"""
    grids: list[Tensor] = field(default_factory=list)
    """(clips, 3)"""
    pixels: list[Tensor] = field(default_factory=list)
    """(patches, dim) of the clips, one after another."""


class Entered(NamedTuple):
    """Model inputs of one prompt and its completion, without the last token, which predicts nothing."""

    ids: Tensor
    """(N,)"""
    positions: Tensor
    """(3, N)"""
    grid: Tensor | None
    """(3,); None if this side used precomputed features."""
    pixels: Tensor | None
    """(patches, dim)"""


class ScoredCompletion(NamedTuple):
    """A completion on one side."""

    entered: Entered
    logps: Tensor
    """(T,) float32 log-probability of each token, over the whole vocabulary; at temperature 1 unless stated otherwise."""


@contextmanager
def watch(model: Any, *, clips: int | None = None) -> Iterator[ModelInputs]:
    """Records the inputs of embedding, vision tower and language model.

    Args:
        model: Of any family.
        clips: Number of clips per call whose pixels are kept (40 MB each at 2048 tokens); None keeps all.
    """
    seen = ModelInputs()

    def embedding(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.ids.append((args[0] if args else kwargs["input"]).detach().cpu())

    def vision(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        grid = (kwargs["grid_thw"] if "grid_thw" in kwargs else args[1]).cpu()[:clips]
        seen.grids.append(grid)
        seen.pixels.append(args[0].detach()[: int(grid.prod(-1).sum())].cpu())

    def language(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # The library may put a row of text positions before the three axes.
        seen.positions.append(kwargs["position_ids"].detach()[-3:].cpu())

    hooks = [
        module.register_forward_pre_hook(hook, with_kwargs=True)
        for module, hook in (
            (model.get_input_embeddings(), embedding),
            (model.model.visual, vision),
            (model.model.language_model, language),
        )
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def score(
    model: Any,
    processor: Any,
    clip: Clip,
    system: str,
    user: str,
    tokens: Sequence[int],
    temperature: float = 1.0,
    *,
    think: bool | None = None,
) -> ScoredCompletion:
    """A completion's log-probabilities by the library alone.

    Args:
        model: In evaluation mode.
        processor: The model's own.
        clip: The video.
        system: Of the chat; may be empty.
        user: The question.
        tokens: The completion. Only its (T, vocabulary) logits are held.
        temperature: Divides the logits.
        think: As for the prompt.
    """
    messages: list[dict[str, Any]] = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    messages.append({"role": "user", "content": [{"type": "video"}, {"type": "text", "text": user}]})
    text = family_of(model).chat(processor, messages, think)
    inputs = processor(
        text=[text],
        videos=[torch.from_numpy(clip.frames)],
        # The true rate, or the seconds, and nothing derived from them: what a grid
        # covers in seconds, and the text of the times, are left to the processor.
        video_metadata=[family_of(model).metadata(clip)],
        # The comparison begins with the loader's frames. How these are chosen and
        # resized is compared with the family's package (tests of `video`).
        do_resize=False,
        do_sample_frames=False,
        cap_pixels_per_frame=False,
        return_tensors="pt",
    )
    before = torch.tensor([list(tokens[:-1])], dtype=torch.long)
    ids = torch.cat([inputs["input_ids"], before], dim=1)
    kinds = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(before)], dim=1)
    grid, device = inputs["video_grid_thw"], model.device
    # Of families whose positions count seconds.
    known = {SECONDS: torch.as_tensor(inputs[SECONDS], dtype=torch.float32)} if SECONDS in inputs else {}
    # Window by window, as the library does: by our own attention, windows
    # that are mixed up would be wrong on both sides, and agree.
    with plain_windows(model), watch(model) as seen:
        logits = model(
            input_ids=ids.to(device),
            attention_mask=torch.ones_like(ids).to(device),
            mm_token_type_ids=kinds.to(device),
            pixel_values_videos=inputs["pixel_values_videos"].to(device),
            video_grid_thw=grid.to(device),
            **{name: value.to(device) for name, value in known.items()},
            # Given, because the library's own rule of 5.3 to 5.23 places text in the middle of a long video.
            position_ids=place(model, ids, kinds, grid, **known).to(device),
            use_cache=False,
            logits_to_keep=len(tokens),
        ).logits[0]
    entered = Entered(seen.ids[0][0], seen.positions[0][:, 0], seen.grids[0][0], seen.pixels[0])
    # Row by row: a vocabulary is large, and so would be float32 copies of all logits.
    rows = [(row.float() / temperature).log_softmax(dim=-1)[token] for row, token in zip(logits, tokens, strict=True)]
    return ScoredCompletion(entered, torch.stack(rows).cpu())


def place(model: Any, ids: Tensor, kinds: Tensor, grid: Tensor, **known: Tensor) -> Tensor:
    """(3, 1, N) positions of ids (1, N) with one video, by the rule used in training the weights.

    The library's own function, as its class has it, and for the published rule: text after the video continues one past the
    largest position before it (docs/decisions/text-after-video.md).

    Args:
        model: Its config may say that its weights follow the library.
        ids: Of prompt and completion.
        kinds: (1, N) 2 for the video's tokens, 0 for text.
        grid: (1, 3)
        **known: `second_per_grid_ts` (1,), seconds from one temporal patch to the next, of families that count by them.
    """
    inner = model.model
    # The function of the class: that of the instance is the one under test.
    found, _ = type(inner).get_rope_index(inner, ids, mm_token_type_ids=kinds, video_grid_thw=grid, **known)
    positions: Tensor = found
    if getattr(model.config, RULE, None) != LIBRARY:
        end = int(kinds[0].nonzero()[-1]) + 1
        positions[..., end:] = positions[..., :end].max() + 1 + torch.arange(positions.shape[-1] - end)
    return positions


def require_same(name: str, side: str, found: Entered, library: Entered) -> None:
    """Compares model inputs.

    Args:
        name: The sample's.
        side: Name of the other side in the error.
        found: Its model inputs.
        library: Model inputs of the library's own forward.

    Raises:
        ParityError: names the sample, what differs, by how much, and what to do.
    """

    def fail(what: str, how: str, allowed: str = "they must be equal", remedy: str = REMEDY) -> None:
        where = f"sample {name!r}: {what} differ between {side} and the library's forward"
        raise ParityError(f"{where}: {how}; {allowed}; {remedy}")

    # In the order in which one follows from another: other frames make other
    # tokens, and these other positions. What is named first is the cause.
    if found.grid is not None and library.grid is not None and not torch.equal(found.grid, library.grid):
        fail("grids", f"{found.grid.tolist()} and {library.grid.tolist()}")
    if found.pixels is not None and library.pixels is not None:
        if found.pixels.shape != library.pixels.shape:
            fail("frames", f"{tuple(found.pixels.shape)} and {tuple(library.pixels.shape)} patches")
        gap = _gap(found.pixels, library.pixels)
        # Not `gap > PIXEL_GAP`: NaN has to fail, too.
        if not gap <= PIXEL_GAP:
            fail("frames", f"pixels are up to {gap:.3g} apart after normalization", f"at most {PIXEL_GAP:g} is allowed")
    if not torch.equal(found.ids, library.ids):
        short = min(len(found.ids), len(library.ids))
        unequal = (found.ids[:short] != library.ids[:short]).nonzero()[:, 0].tolist()
        first = unequal[0] if unequal else short
        fail("tokens", f"{len(found.ids)} and {len(library.ids)}, of which number {first} is the first that differs")
    if not torch.equal(found.positions, library.positions):
        apart = (found.positions - library.positions).abs()
        first = int(apart.amax(dim=0).nonzero()[0])
        fail(
            "positions (seconds per grid, or the rule of positions)",
            f"up to {int(apart.max())} apart, from token {first} of {len(found.ids)} on "
            f"({found.positions[:, first].tolist()} and {library.positions[:, first].tolist()})",
            remedy=RULE_REMEDY + REMEDY,
        )


def _gap(a: Tensor, b: Tensor) -> float:
    """Largest difference of pixels, in the coarser of their precisions: a side may have rounded before it was watched."""
    coarser = min((a.dtype, b.dtype), key=lambda dtype: dtype.itemsize)
    return float((a.to(coarser).float() - b.to(coarser).float()).abs().max())


def require_agreement(what: str, sides: str, differences: Sequence[Tensor], precision: str) -> Agreement:
    """Compares log-probabilities.

    Args:
        what: The samples, for the error.
        sides: Which sides, for the error.
        differences: Of each sample, (tokens,) absolute differences at temperature 1.
        precision: Compute precision: `float32` or `bfloat16`.

    Raises:
        ParityError: they differ by more than rounding explains.
    """
    apart, allowed = torch.cat([one.double().flatten() for one in differences]), TOLERANCES[precision]
    found = Agreement(len(differences), len(apart), float(apart.max()), float(apart.mean()))
    if not allowed.allows(found):
        raise ParityError(
            f"{what}: log-probabilities differ between {sides}: up to {found.largest:.2e}, {found.mean:.2e} on average, over "
            f"{found.tokens} tokens; {allowed.words(found.tokens, precision)}; {REMEDY}"
        )
    return found
