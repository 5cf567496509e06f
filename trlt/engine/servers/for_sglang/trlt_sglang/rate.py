"""Makes SGLang tell the processor of a Qwen2.5-VL the frame rate of each video.

SGLang reads the rate from the file, but up to 0.5.23 it hands it on for newer models only. The processor then assumes 24 frames
a second, and every temporal position is wrong. Imported by SGLang, which finds the class by its place:
`SGLANG_EXTERNAL_MM_PROCESSOR_PACKAGE=trlt_sglang`. Knows SGLang; nothing else of trlt can be imported here.
"""

from __future__ import annotations

from typing import Any

from sglang.srt.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from sglang.srt.multimodal.processors import qwen_vl

_read = qwen_vl.preprocess_video


async def _preprocess_video(*args: Any, **kwargs: Any) -> Any:
    frames, metadata = await _read(*args, **kwargs)
    if metadata is not None:
        # SGLang drops it before the processor is called; the frames go all the way.
        frames.trlt_metadata = metadata
    return frames, metadata


qwen_vl.preprocess_video = _preprocess_video


class Qwen2_5_VLWithRate(qwen_vl.QwenVLImageProcessor):  # type: ignore[misc]
    """SGLang's processor of a Qwen2.5-VL, with the rate."""

    models = (Qwen2_5_VLForConditionalGeneration,)

    def process_and_combine_mm_data(self, base_output: Any, *args: Any, **kwargs: Any) -> Any:
        """As SGLang's, with the metadata that it gives the processors of newer models."""
        videos = base_output.videos or []
        found = [frames.trlt_metadata for frames in videos if hasattr(frames, "trlt_metadata")]
        if found and len(found) == len(videos):
            kwargs |= {"video_metadata": found, "do_sample_frames": False}
        return super().process_and_combine_mm_data(base_output, *args, **kwargs)
