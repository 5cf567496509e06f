"""A base whose linear layers are held in 4 bits, by bitsandbytes."""

from __future__ import annotations

from typing import Any

from trlt.errors import ModelError
from trlt.recipe import advice


def in_4_bits(dtype: Any) -> Any:
    """Transformers' settings for a base in NF4."""
    import importlib.util

    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        without = advice("leave train.lora.quantize out")
        raise ModelError(f"train.lora.quantize: bitsandbytes isn't installed; pip install 'trlt[qlora]', or {without}")
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["model.visual", "lm_head"],
    )


def keep_layout(model: Any) -> None:
    """Keeps layers in 4 bits as they were loaded, so that rollouts and training compute them alike.

    On processors with AVX512-BF16, bitsandbytes (0.49 and 0.50) would pack a layer's weights anew in its first evaluation, for
    good: it rounds to BF16 from then on whatever the dtype, and no gradient comes back through it. See
    docs/decisions/four-bits.md.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            # An attribute of the layer, so that copies, PEFT and the reference have it, too. A
            # forward pass of our own would lose the library's fused kernels on GPUs.
            layer.support_avx512bf16_for_cpu = False
