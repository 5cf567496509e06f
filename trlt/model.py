"""Loads and saves a model with its processor. Only safetensors, never remote code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.disk import named
from trlt.errors import ModelError
from trlt.reading import loads
from trlt.recipe import Decoding, Lora, Model, advice

MINIATURE, PLAIN = "miniature", "miniature-plain"
"""Stand for the models that ship with trlt: one that knows clips of every difficulty, and one that knows plain ones alone."""
SHIPPED = {MINIATURE: "model", PLAIN: "plain"}
"""Their names to their folders."""
MODEL_TYPE = "qwen2_5_vl"
END_MARKS = ("<|im_end|>", "<|endoftext|>")
"""Either ends a completion; a test holds them to `engine.inputs`, which this module may not import."""
WORDS = "12.5 to"
"""What any tokenizer gives back."""
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Loaded:
    """A model ready for use, and where it came from."""

    model: Any
    """`Qwen2_5_VLForConditionalGeneration` in evaluation mode on its device."""
    processor: Any
    """`Qwen2_5_VLProcessor` with the model's own tokenizer and chat template."""
    path: str
    """Folder or hub id."""
    trained: Any = None
    """What a trainer gets: the model, or PEFT's around it; None where nobody has asked for one yet."""
    whole: Any = None
    """`WholeCopy` that borrows the weights, where each process holds a slice of them."""


def miniature_path(name: str = MINIATURE) -> Path:
    """The folder of a model that ships with trlt."""
    return Path(__file__).parent / "miniature" / SHIPPED[name]


def locate(name: str) -> str:
    """The folder or hub id behind a name, checked without loading any weights.

    Raises:
        ModelError: the folder isn't a Qwen2.5-VL, or the hub id is neither cached nor reachable.
    """
    path = miniature_path(name) if name in SHIPPED else Path(name).expanduser()
    if not (path / "config.json").exists() and (path / "manifest.json").is_file():  # a training run's folder
        path /= "model"
        if not path.is_dir():
            raise ModelError(f"model.path: {path.parent} is a run that has no model yet; wait for its end, or go on with it")
    if name in SHIPPED or path.exists():
        config = path / "config.json"
        if not config.is_file():
            raise ModelError(f"model.path: {path} holds no config.json; give the folder that `save_pretrained` wrote")
        try:
            kind = loads(config.read_bytes(), finite=False).get("model_type")
        except (ValueError, AttributeError):
            raise ModelError(f"model.path: {config} is no JSON object; download the model again") from None
        if kind != MODEL_TYPE:
            raise ModelError(f"model.path: {config} says model_type {kind!r}; trlt tunes {MODEL_TYPE} (Qwen2.5-VL)")
        _check_weights(path)
        return str(path)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"model.path: {name!r} is neither a folder nor a hub id; `--model {MINIATURE}` needs no download")
    return _locate_on_hub(name)


def _check_weights(folder: Path) -> None:
    """Looks at the files of weights without reading these: are all there, and whole?

    Raises:
        ModelError: names the file.
    """
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"model.path: {folder} holds no *.safetensors file; other formats aren't loaded")
    from safetensors import SafetensorError, safe_open

    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        try:
            names = sorted(set(loads(index.read_bytes())["weight_map"].values()))
            odd = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ModelError(f"model.path: {index} doesn't say which file holds which weight; download it again") from None
        if odd:
            raise ModelError(f"model.path: {index} names {odd[0]!r}; only *.safetensors files beside it are loaded")
    for name in names:
        path = folder / name
        if not path.is_file():
            raise ModelError(f"model.path: {path} is missing; download the model again")
        try:
            with safe_open(path, framework="numpy") as weights:  # reads the header, and holds it to the file's size
                whole = bool(weights.keys())
        except (SafetensorError, OSError):
            whole = False
        if not whole:
            raise ModelError(f"model.path: {path} is damaged or was cut off; download it again")


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


def load(settings: Model, *, quantize: str | None = None) -> Loaded:
    """The model and processor of a recipe.

    Args:
        settings: Which weights, and how they are held.
        quantize: `nf4` holds the language model's linear layers in 4 bits, computed with in `settings.dtype`.

    Raises:
        ModelError: it can't be had, isn't a Qwen2.5-VL, or the device isn't there; bitsandbytes is missing.
    """
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    from trlt.positions import follow_published_positions

    path = locate(settings.path)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"model.device: {device} was asked for, but torch sees no GPU; use --set model.device=cpu")
    if device == "cuda":
        device = f"cuda:{torch.cuda.current_device()}"
    # Tensor by tensor from the file to the GPU; where ZeRO-3 is on, it places its slices itself.
    sliced = bool(is_deepspeed_zero3_enabled())  # type: ignore[no-untyped-call]
    placed: dict[str, Any] = {"device_map": {"": device}} if quantize or not (sliced or device == "cpu") else {}
    try:
        read: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            path,
            dtype=getattr(torch, settings.dtype),
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **placed,
            **({} if quantize is None else {"quantization_config": _in_4_bits(getattr(torch, settings.dtype))}),
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"model.path: {path} can't be loaded: {error}") from error
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):  # the library has no error class for it
            raise
        raise ModelError(
            f"model.path: {path}: its weights don't have the sizes that its config.json states; download the model again"
        ) from error
    model, found = read
    refuse_misfits(path, found["missing_keys"], found["unexpected_keys"])
    refuse_not_finite(path, model.named_parameters())
    if quantize is not None:
        _keep_layout(model)
    model.train(False)
    follow_published_positions(model)
    return Loaded(model, load_processor(path), path)


def refuse_misfits(path: str, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Ends where tensors and model don't belong together: the library would draw what is missing, and answer by that.

    Raises:
        ModelError: names the first few.
    """
    for names, what in ((sorted(missing), "lacks {} tensors of the model"), (sorted(unexpected), "holds {} tensors too many")):
        if names:
            raise ModelError(f"model.path: {path} {what.format(len(names))}: {_few(names)}; download the model again")


def refuse_not_finite(path: str, weights: Iterable[tuple[str, Any]]) -> None:
    """Ends where weights are NaN or infinite. Reads each once, where it is, and makes no copy of its size.

    Raises:
        ModelError: names the first few.
    """
    import torch

    found = []
    for name, weight in weights:
        held = getattr(weight, "ds_tensor", weight).detach()  # under ZeRO-3, this process's slice
        # The largest and the smallest value are finite where all are: NaN comes through.
        if held.is_floating_point() and held.numel() and not torch.stack(torch.aminmax(held)).isfinite().all():
            found.append(name)
    if found:
        raise ModelError(
            f"model.path: {path}: NaN or infinite numbers in {len(found)} tensors: {_few(found)}; download the model again, or "
            "take an earlier checkpoint"
        )


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def load_processor(path: str) -> Any:
    """The processor in a model's folder.

    Raises:
        ModelError: it can't be had.
    """
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(path, trust_remote_code=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model.path: {path}: its processor can't be loaded ({error}); download tokenizer.json, tokenizer_config.json and "
            "preprocessor_config.json again"
        ) from error
    # Without its files the library makes a tokenizer that knows no words.
    if processor.tokenizer.decode(processor.tokenizer.encode(WORDS, add_special_tokens=False)) != WORDS:
        raise ModelError(
            f"model.path: {path} holds no tokenizer (tokenizer.json, or vocab.json and merges.txt); download it again"
        )
    if not processor.chat_template:
        raise ModelError(f"model.path: {path} holds no chat template (chat_template.jinja, or .json); download it again")
    return processor


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
        eos_token_id=tokenizer.convert_tokens_to_ids(list(END_MARKS)),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=model.generation_config.bos_token_id,
    )


def save(model: Any, processor: Any, folder: Path) -> None:
    """Writes a folder that `from_pretrained` loads anywhere: weights as safetensors, processor, generation settings.

    Of several processes the main one writes. Where they share the weights (FSDP), all must call this together.
    """
    from trlt.sharding import is_main, whole_state

    state = whole_state(model)
    if not is_main():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with named(folder):
        model.save_pretrained(folder, **({} if state is None else {"state_dict": state}))
        processor.save_pretrained(folder)


def adapters(settings: Lora | None) -> Any:
    """PEFT's configuration of low-rank adapters on the language model's linear layers; None where there are none."""
    if settings is None:
        return None
    from peft import LoraConfig

    layers = ATTENTION if settings.targets == "attention" else ATTENTION + MLP
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=rf".*language_model\..*\.({'|'.join(layers)})",
        task_type="CAUSAL_LM",
    )


def with_adapters(model: Any, settings: Lora | None, seed: int = 0) -> Any:
    """The model within low-rank adapters, which alone are trained; itself where there are none.

    Args:
        model: One without weights, on the meta device, gets adapters without any.
        settings: Their shape.
        seed: Of the first values; see `draw_adapters`.
    """
    if settings is None:
        return model
    from peft import get_peft_model

    adapted = get_peft_model(model, adapters(settings))
    if model.device.type != "meta":
        draw_adapters(adapted, seed, model.device)
    return adapted


def draw_adapters(model: Any, seed: int, device: Any) -> None:
    """Gives low-rank adapters their first values, which depend on the seed alone and not on how weights are shared.

    A is drawn as PEFT draws it, by He et al.'s uniform distribution with a = sqrt(5); B is 0, so that the model starts as its
    base.

    Args:
        model: Of PEFT; its adapters may be slices without values.
        seed: Of all draws.
        device: Where they stay.
    """
    import torch

    from trlt.sharding import own_slice, with_slice

    generator = torch.Generator().manual_seed(seed)
    for name, weight in list(model.named_parameters()):
        if ".lora_" not in name:
            continue
        whole = torch.zeros(weight.shape)
        if ".lora_A." in name:
            torch.nn.init.kaiming_uniform_(whole, a=math.sqrt(5), generator=generator)
        owner, _, leaf = name.rpartition(".")
        value = with_slice(weight, own_slice(whole, weight).to(device, weight.dtype, copy=True))
        setattr(model.get_submodule(owner), leaf, value)


def in_float32(model: Any, seed: int) -> None:
    """Undoes TRL's rounding of adapters on a base in 4 bits to BF16, in which a learning rate of 1e-6 moves nothing."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    draw_adapters(model, seed, model.device)


def save_adapter(model: Any, base: str, folder: Path) -> None:
    """Writes the adapters of a PEFT model as safetensors; `trlt train merge` adds them to the base.

    Of several processes the main one writes. Where they share the weights (FSDP), all must call this together.
    """
    from trlt.sharding import is_main, whole_state

    state = whole_state(model)
    if not is_main():
        return
    for config in model.peft_config.values():
        config.base_model_name_or_path = base
    with named(folder):
        model.save_pretrained(folder, **({} if state is None else {"state_dict": state}))


def _in_4_bits(dtype: Any) -> Any:
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


def _keep_layout(model: Any) -> None:
    """Keeps layers in 4 bits as they were loaded, so that rollouts and training compute them alike.

    On processors with AVX512-BF16, bitsandbytes (0.49 and 0.50) would pack a layer's weights anew in its first evaluation, for
    good: it rounds to BF16 from then on whatever the dtype, and no gradient comes back through it. See
    docs/decisions/four-bits.md.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = False
