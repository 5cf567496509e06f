"""What a prompt of each family is made of, token by token."""

from __future__ import annotations

from trlt.engine.inputs import InputBuilder

PLAIN = "<|vision_start|>{18}<|vision_end|>"
TIMED = "".join(f"<{t} seconds><|vision_start|>{{6}}<|vision_end|>" for t in ("0.2", "1.2", "2.2"))
VIDEO = {"Qwen2-VL": PLAIN, "Qwen2.5-VL": PLAIN, "Qwen3-VL": TIMED, "Qwen3-VL-MoE": TIMED, "Qwen3.5": TIMED}
"""Six frames at two a second, of 2 x 3 tokens."""


def test_a_video_is_written_as_the_weights_were_trained(family, loaded, shown):
    builder = InputBuilder(loaded.model, loaded.processor)
    clip = builder.clip(shown())
    prompt = builder.prompt("sys", "which first?", clip)
    text = loaded.processor.tokenizer.decode([*prompt.prefix, *prompt.suffix])
    for count in (18, 6):
        text = text.replace("<|video_pad|>" * count, f"{{{count}}}")
    head = "<|im_start|>system\nsys<|im_end|>\n<|im_start|>user\n"
    assert text == f"{head}{VIDEO[family.name]}which first?<|im_end|>\n<|im_start|>assistant\n"
    assert clip.grid.tolist() == [[3, 4, 6]] and clip.tokens == 18
