"""Loads and saves a model with its processor. Only safetensors, never remote code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.errors import ModelError
from trlt.recipe import Model

MINIATURE = "miniature"
"""Stands for the model that ships with trlt."""
MODEL_TYPE = "qwen2_5_vl"


@dataclass(frozen=True)
class Loaded:
    """A model ready for use, and where it came from."""

    model: Any
    """`Qwen2_5_VLForConditionalGeneration` in evaluation mode on its device."""
    processor: Any
    """`Qwen2_5_VLProcessor` with the model's own tokenizer and chat template."""
    path: str
    """Folder or hub id."""


def miniature_path() -> Path:
    """The folder of the model that ships with trlt."""
    return Path(__file__).parent / "miniature" / "model"


def locate(name: str) -> str:
    """The folder or hub id behind a name, checked without loading any weights.

    Raises:
        ModelError: the folder isn't a Qwen2.5-VL, or the hub id is neither cached nor reachable.
    """
    path = miniature_path() if name == MINIATURE else Path(name).expanduser()
    if name == MINIATURE or path.exists():
        config = path / "config.json"
        if not config.is_file():
            raise ModelError(f"model.path: {path} holds no config.json; give the folder that `save_pretrained` wrote")
        try:
            kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
        except (json.JSONDecodeError, AttributeError):
            raise ModelError(f"model.path: {config} is no JSON object; download the model again") from None
        if kind != MODEL_TYPE:
            raise ModelError(f"model.path: {config} says model_type {kind!r}; trlt tunes {MODEL_TYPE} (Qwen2.5-VL)")
        if not any(path.glob("*.safetensors")):
            raise ModelError(f"model.path: {path} holds no *.safetensors file; other formats aren't loaded")
        return str(path)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"model.path: {name!r} is neither a folder nor a hub id; `--model {MINIATURE}` needs no download")
    return _locate_on_hub(name)


def _locate_on_hub(name: str) -> str:
    import socket
    from urllib.parse import urlsplit

    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return name
    try:
        # Asked first, because the hub's client would retry an unreachable host for half a minute.
        socket.create_connection((urlsplit(constants.ENDPOINT).hostname or "", 443), timeout=5).close()
        hf_hub_download(name, "config.json")
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"model.path: {name} is not in the local cache and can't be fetched ({type(error).__name__}); "
            f"download it where there is a network (`hf download {name}`), give a local folder with --model, "
            f"or try `--model {MINIATURE}`"
        ) from None
    return name


def load(settings: Model) -> Loaded:
    """The model and processor of a recipe.

    Raises:
        ModelError: it can't be had, isn't a Qwen2.5-VL, or the device isn't there.
    """
    import torch
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    from trlt.positions import follow_published_positions

    path = locate(settings.path)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"model.device: {device} was asked for, but torch sees no GPU; use --set model.device=cpu")
    try:
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            path, dtype=getattr(torch, settings.dtype), attn_implementation="sdpa", use_safetensors=True
        )
        processor = AutoProcessor.from_pretrained(path)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ModelError(f"model.path: {path} can't be loaded: {error}") from error
    model.to(torch.device(device))  # type: ignore[arg-type]
    model.train(False)
    follow_published_positions(model)
    return Loaded(model, processor, path)


def save(model: Any, processor: Any, folder: Path) -> None:
    """Writes a folder that `from_pretrained` loads anywhere: weights as safetensors, processor, generation settings.

    Of several processes the main one writes. Where they share the weights (FSDP), all must call this together.
    """
    from trlt.sharding import is_main, whole_state

    state = whole_state(model)
    if not is_main():
        return
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, **({} if state is None else {"state_dict": state}))
    processor.save_pretrained(folder)
