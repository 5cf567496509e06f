"""Qwen3-VL, dense: patches of 16 pixels, times as text before each pair of frames, and DeepStack features.

Published prompts have no vision marks around a whole video; see docs/decisions/outer-marks.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from trlt.engine.families import keys, layouts
from trlt.engine.families.family import END, START, VIDEO, Family, Told
from trlt.engine.families.shape import TIME_TOKENS, Architecture
from trlt.engine.families.tiny import tiny_model, tiny_text
from trlt.video.geometry import Geometry

if TYPE_CHECKING:
    from torch import Tensor

    from trlt.engine.inputs import ClipInputs
    from trlt.video.clip import Clip

TEXT = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size", "head_dim"),
    "max_position_embeddings",
)
"""Counts of the language model, but for those of its MLPs."""
VISION = (
    *("depth", "hidden_size", "intermediate_size", "num_heads", "out_hidden_size", "patch_size", "spatial_merge_size"),
    *("temporal_patch_size", "num_position_embeddings"),
)
"""Counts of the vision tower."""
HEADS = {768: 12, 1024: 16, 1152: 16}
"""Of a published tower, by its width."""
DEEPSTACK = {24: [5, 11, 17], 27: [8, 16, 24]}
"""Blocks of a published tower with features of their own, by its depth."""
EVEN_PIXELS = {
    "image_mean": (0.5, 0.5, 0.5),
    "image_std": (0.5, 0.5, 0.5),
    "rescale_factor": (1 / 255,),
    "do_rescale": (True,),
    "do_normalize": (True,),
}
"""From -1 to 1."""
MARKS_KEY, OUTER = "video_marks", "outer"
"""Key and value in the config.json of weights that were tuned with vision marks around a whole video."""


class Qwen3VL(Family):
    """Qwen3-VL, 2B to 32B."""

    name = "Qwen3-VL"
    model_types = ("qwen3_vl",)
    hub_names: ClassVar[tuple[str, ...]] = ("qwen3-vl",)
    geometry = Geometry(16)
    class_names = ("Qwen3VLConfig", "Qwen3VLForConditionalGeneration", "Qwen3VLProcessor")
    placeholder = VIDEO
    pixels = EVEN_PIXELS
    blocks = ("Qwen3VLTextDecoderLayer", "Qwen3VLVisionBlock")
    time_tokens = TIME_TOKENS
    time_in = "text"

    # -- files ----------------------------------------------------------------------------------------------------

    def check(self, config: Mapping[str, Any]) -> None:
        """See `Family.check`."""
        text, where = keys.text_section(config)
        vision = keys.section(config, "vision_config")
        self.check_text(text, where)
        self.check_vision(vision, text, where)
        if config.get(MARKS_KEY) not in (None, OUTER):
            remedy = "take it out for weights that were tuned in the published form"
            raise keys.ConfigFault(MARKS_KEY, config[MARKS_KEY], f"{OUTER!r} is expected", remedy)

    def check_text(self, text: Mapping[str, Any], where: str) -> None:
        """Holds the language model's keys to what decides what it says."""
        keys.whole(text, (*TEXT, "intermediate_size"), where)
        keys.as_published(text, "hidden_act", "silu", where)
        keys.divides(text, "num_attention_heads", text["num_key_value_heads"], f"{where}num_key_value_heads", where)
        keys.as_published(text, "rms_norm_eps", 1e-6, where)
        self.check_rope(text, where)
        keys.interleaved(text, where)

    def check_rope(self, text: Mapping[str, Any], where: str) -> None:
        """Which of a head's numbers are turned: all."""
        keys.rope(text, where, text["head_dim"])

    def check_vision(self, vision: Mapping[str, Any], text: Mapping[str, Any], where: str) -> None:
        """The same for the tower's keys."""
        keys.whole(vision, VISION, "vision_config.")
        keys.as_published(vision, "hidden_act", "gelu_pytorch_tanh", "vision_config.")
        if heads := HEADS.get(vision["hidden_size"]):
            keys.as_published(vision, "num_heads", heads, "vision_config.")
        keys.divides(vision, "hidden_size", 4 * vision["num_heads"], "4 x vision_config.num_heads", "vision_config.")
        keys.width_of_features(vision, text, where)
        places = vision["num_position_embeddings"]
        if math.isqrt(places) ** 2 != places:
            raise keys.ConfigFault("vision_config.num_position_embeddings", places, "a square number is expected")
        self.check_deepstack(vision, text, where)

    def check_deepstack(self, vision: Mapping[str, Any], text: Mapping[str, Any], where: str) -> None:
        """Blocks of the tower whose features are added to the first layers."""
        key = "deepstack_visual_indexes"
        keys.indexes(vision, key, vision["depth"], "vision_config.")
        # More than there are layers are left out by the library, without a word.
        if len(vision[key]) > text["num_hidden_layers"] or sorted(set(vision[key])) != vision[key]:
            wanted = f"blocks in ascending order are expected, at most {where}num_hidden_layers ({text['num_hidden_layers']})"
            raise keys.ConfigFault(f"vision_config.{key}", vision[key], wanted)
        if blocks := DEEPSTACK.get(vision["depth"]):
            keys.as_published(vision, key, blocks, "vision_config.")

    def shape(self, config: Mapping[str, Any]) -> Architecture:
        """See `Family.shape`."""
        return layouts.qwen3_vl(config)

    def adapt_processor(self, processor: Any, config: Mapping[str, Any]) -> None:
        """Takes the marks around a whole video out of chat templates, unless the weights were tuned with them."""
        if self.has_outer_marks(config):
            return
        for holder in (processor, processor.tokenizer):
            holder.chat_template = _without_marks(holder.chat_template)

    def has_outer_marks(self, config: Any) -> bool:
        """See `Family.has_outer_marks`: weights that were tuned with them say so."""
        said = config.get(MARKS_KEY) if isinstance(config, Mapping) else getattr(config, MARKS_KEY, None)
        return bool(said == OUTER)

    def tiny(self, tokenizer: Any, template: str, *, seed: int = 0, hidden: int = 128, layers: int = 4) -> tuple[Any, Any]:
        """See `Family.tiny`; the template is rewritten as that of a loaded processor is."""
        from transformers import Qwen2VLImageProcessor, Qwen3VLVideoProcessor

        text, vision = self.tiny_text(tokenizer, hidden, layers), self.tiny_vision(hidden, layers)
        model = tiny_model(self, tokenizer, text, vision, seed)
        pixels: dict[str, Any] = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        processor = self.classes().processor(
            # vLLM normalizes videos by the image processor's numbers.
            Qwen2VLImageProcessor(patch_size=16, **pixels),
            tokenizer,
            Qwen3VLVideoProcessor(cap_pixels_per_frame=False, **pixels),
            chat_template=template,
        )
        self.adapt_processor(processor, {})
        return model, processor

    def tiny_text(self, tokenizer: Any, hidden: int, layers: int) -> dict[str, Any]:
        """Keys of a tiny language model, whose heads are together wider than its states, as in Qwen3-VL-4B."""
        return tiny_text(tokenizer, hidden, layers) | {
            "num_attention_heads": hidden // 16,
            "head_dim": 32,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
                "rope_theta": 10000.0,
            },
        }

    def tiny_vision(self, hidden: int, layers: int) -> dict[str, Any]:
        """Keys of a tiny tower with as many DeepStack features as published ones have, where there are layers for them."""
        return {
            "initializer_range": 64**-0.5,
            "depth": 4,
            "hidden_size": 64,
            "intermediate_size": 192,
            "num_heads": 2,
            "out_hidden_size": hidden,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [*range(min(3, layers))],
        }

    # -- inputs ---------------------------------------------------------------------------------------------------

    def metadata(self, clip: Clip) -> dict[str, Any]:
        """See `Family.metadata`: the frames' seconds, as frames of a video with one a second."""
        seconds = clip.stamps.tolist()
        return {"fps": 1.0, "total_num_frames": len(seconds), "frames_indices": seconds}

    def video_ids(self, tokenizer: Any, clip: ClipInputs) -> list[int]:
        """See `Family.video_ids`: of each pair of frames the time, and its tokens between marks."""
        start, video, end = tokenizer.convert_tokens_to_ids([START, VIDEO, END])
        times = self.times(clip.stamps)
        assert len(times) == int(clip.grid[0, 0]), "each temporal patch has a time"
        patch = [start, *[video] * (clip.tokens // len(times)), end]
        # Special tokens stand on both sides of a time, and a line's end or one of them before the first.
        texts = tokenizer([f"<{time} seconds>" for time in times], add_special_tokens=False)["input_ids"]
        return [token for text in texts for token in (*text, *patch)]

    def times(self, stamps: Sequence[float]) -> list[str]:
        """Seconds of each temporal patch, with one decimal: halfway between its first and its last frame.

        Args:
            stamps: Seconds of each frame. A frame that is left alone is shown twice.
        """
        size = self.geometry.temporal
        patches = [stamps[first : first + size] for first in range(0, len(stamps), size)]
        return [f"{(patch[0] + patch[-1]) / 2:.1f}" for patch in patches]

    # -- passes ---------------------------------------------------------------------------------------------------

    def encode(self, model: Any, pixels: Tensor, grid: Tensor) -> list[Tensor]:
        """See `Family.encode`; side by side the last block's features and those of DeepStack, each as wide as the model."""
        import torch

        found = model.model.get_video_features(pixels, grid)
        return [torch.cat(parts, dim=-1) for parts in zip(found.pooler_output, *found.deepstack_features, strict=True)]

    def placed(self, embeds: Tensor, video: Tensor, features: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """See `Family.placed`; DeepStack features are added to the states of video tokens behind the first layers."""
        first, *deep = features.to(embeds.dtype).chunk(features.shape[-1] // embeds.shape[-1], dim=-1)
        given = {"visual_pos_masks": video, "deepstack_visual_embeds": deep}
        return embeds.masked_scatter(video[..., None], first), given

    def no_mask(self) -> Any:
        """See `Family.no_mask`: without cache and row positions the library makes none."""
        return None

    # -- other programs -------------------------------------------------------------------------------------------

    def told_vllm(self, clip: Clip, config: Any = None) -> Told:
        """See `Family.told_vllm`; of a file with ten frames a second, both frames of a patch at the very time of the patch.

        The numbers of frames may only be whole, and a clip's times are any. In tenths of a second, as they are written, no
        rounding is left to the other program.
        """
        tenths = [int(time.replace(".", "")) for time in self.times(clip.stamps.tolist())]
        seconds = len(clip.frames) / clip.sample_fps
        return Told(10.0, [tenth for tenth in tenths for _ in range(self.geometry.temporal)], seconds)

    def text(self, clip: Clip) -> str:
        """See `Family.text`."""
        times = self.times(clip.stamps.tolist())
        return "".join(f"<{time} seconds>{START}{VIDEO * (clip.tokens // len(times))}{END}" for time in times)

    def length(self, clip: Clip) -> int:
        """See `Family.length`; digits and points are tokens, and so are `<`, ` seconds`, `>` and the two marks."""
        return clip.tokens + sum(len(time) + 5 for time in self.times(clip.stamps.tolist()))


def _without_marks(template: Any) -> Any:
    if isinstance(template, dict):
        return {name: _without_marks(one) for name, one in template.items()}
    return template.replace(f"{START}{VIDEO}{END}", VIDEO) if isinstance(template, str) else template
