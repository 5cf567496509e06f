"""Saves a model with its processor, and with how it is to be drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trlt.engine.marks import END_TOKENS
from trlt.errors.system import named
from trlt.recipe import Decoding


def draw_as(model: Any, processor: Any, decoding: Decoding) -> None:
    """Lets the library's `generate` draw as the engine does; this is saved with the model, checkpoints included.

    A published base brings settings of its own: a penalty on repetitions, which changes what a model that was tuned without one
    says, and the likeliest token alone.
    """
    from transformers import GenerationConfig

    tokenizer = processor.tokenizer
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        top_k=0,  # none; where nothing is said, `generate` takes 50
        max_new_tokens=decoding.max_new_tokens,
        eos_token_id=tokenizer.convert_tokens_to_ids(list(END_TOKENS)),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=model.generation_config.bos_token_id,
    )


def save(model: Any, processor: Any, folder: Path) -> None:
    """Writes a folder that `from_pretrained` loads anywhere: weights as safetensors, processor, generation settings.

    Of several processes the main one writes. Where they share the weights (FSDP), all must call this together.
    """
    from trlt.engine.sharding import is_main, whole_state

    # All processes before any of them leaves: gathering is an exchange.
    state = whole_state(model)
    if not is_main():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with named(folder):
        model.save_pretrained(folder, **({} if state is None else {"state_dict": state}))
        processor.save_pretrained(folder)
