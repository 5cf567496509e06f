"""Loads and saves a model with its processor. Only safetensors, never remote code.

`find` says what a name stands for (`hub`: in the cache), and `which` to which family it belongs; `config` and `files` look at
it before weights are read; `tensors` holds these to the model; `processor` and `template` do so for the tokenizer and the chat
template; `load` and `write` are what commands call; `adapter` adds an adapter that is there, `lora` begins one, and `four_bits`
holds a base in 4 bits.
"""

from trlt.engine.model.adapter import check_adapter, named_base
from trlt.engine.model.config import CONFIG, check_config
from trlt.engine.model.find import MINIATURE, PLAIN, SHIPPED, find, folder_of, locate, miniature_path, resolve
from trlt.engine.model.load import LoadedModel, load, precision_of
from trlt.engine.model.lora import draw_adapters, fit_adapters, in_float32, save_adapter, with_adapters
from trlt.engine.model.processor import load_processor, refuse_other_pixels
from trlt.engine.model.tensors import match, refuse_not_finite, refuse_tied
from trlt.engine.model.thinking import refuse_begun_reasoning, refuse_reasoning_name
from trlt.engine.model.which import config_at, family_at, known_family, published_family, refuse_name
from trlt.engine.model.write import draw_as, save

__all__ = [
    "CONFIG",
    "MINIATURE",
    "PLAIN",
    "SHIPPED",
    "LoadedModel",
    "check_adapter",
    "check_config",
    "config_at",
    "draw_adapters",
    "draw_as",
    "family_at",
    "find",
    "fit_adapters",
    "folder_of",
    "in_float32",
    "known_family",
    "load",
    "load_processor",
    "locate",
    "match",
    "miniature_path",
    "named_base",
    "precision_of",
    "published_family",
    "refuse_begun_reasoning",
    "refuse_name",
    "refuse_not_finite",
    "refuse_other_pixels",
    "refuse_reasoning_name",
    "refuse_tied",
    "resolve",
    "save",
    "save_adapter",
    "with_adapters",
]
