"""Run by vLLM's Python: for each line of JSON (`ids`, where the video begins, its grid and its seconds), vLLM's positions."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import torch
from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration as Theirs

model = SimpleNamespace(config=SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=2, tokens_per_second=2)))
model.iter_mm_grid_thw = lambda features: Theirs.iter_mm_grid_thw(model, features)
for line in sys.stdin:
    asked = json.loads(line)
    data = {
        "video_grid_thw": SimpleNamespace(data=torch.tensor(asked["grid"])),
        # As the processor's list of Python floats becomes a tensor.
        "second_per_grid_ts": SimpleNamespace(data=torch.tensor(asked["seconds"])),
    }
    video = SimpleNamespace(modality="video", mm_position=SimpleNamespace(offset=asked["offset"]), data=data)
    positions, _ = Theirs.get_mrope_input_positions(model, asked["ids"], [video])
    sys.stdout.write(json.dumps(positions.tolist()) + "\n")
