"""The processor in a model's folder: tokenizer, chat template, and how frames become patches; held to its config.json."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trlt.engine.families import Family
from trlt.engine.families.family import END, START
from trlt.engine.marks import END_TOKENS, VISION_TOKENS
from trlt.engine.model.config import CONFIG, read_config
from trlt.engine.model.files import object_in
from trlt.engine.model.find import folder_of
from trlt.engine.model.template import try_out
from trlt.engine.model.tensors import UNEXPECTED
from trlt.errors import ModelError, quoted

MARKS = (*VISION_TOKENS, *END_TOKENS)
"""What a tokenizer must know as single tokens."""
NAMED = {
    "video_token_id": "<|video_pad|>",
    "image_token_id": "<|image_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
"""Keys of a config.json to the tokens that they stand for."""
WORDS = "12.5 to"
"""What any tokenizer gives back."""
SIZES = {"patch_size": "patch_size", "temporal_patch_size": "temporal_patch_size", "merge_size": "spatial_merge_size"}
"""Settings of the processor to those of the vision tower that must be the same."""
GENERATION = "generation_config.json"
FRAMES = ("processor_config.json", "video_preprocessor_config.json", "preprocessor_config.json")
"""Files that say how frames become patches; the library takes the first that is there."""
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json")


def load_processor(located: str) -> Any:
    """The processor in a model's folder; of an adapter, that of its base.

    Raises:
        ModelError: it isn't found or available, or isn't that of the model.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import GenerationConfig

    folder = folder_of(located)
    path = str(folder)
    config, family = read_config(folder / CONFIG)
    if not any((folder / name).is_file() for name in FRAMES):
        first, *others = FRAMES
        raise ModelError(
            f"model.path: {path} holds no {first} (or {' or '.join(others)}), which says how frames become patches; download "
            "it again"
        )
    if (folder / GENERATION).is_file():
        try:
            GenerationConfig.from_pretrained(path)
        except UNEXPECTED as error:
            raise ModelError(f"model.path: {folder / GENERATION}: {quoted(error)}; download it again") from error
    try:
        processor: Any = family.classes().processor.from_pretrained(path, trust_remote_code=False)
    except (StrictDataclassError, *UNEXPECTED) as error:
        raise _unread(folder, error) from error
    except Exception as error:
        if type(error) is not Exception:  # tokenizers has no error class of its own
            raise
        raise _unread(folder, error) from error
    # Without its files the library makes a tokenizer that knows no words.
    if processor.tokenizer.decode(processor.tokenizer.encode(WORDS, add_special_tokens=False)) != WORDS:
        raise ModelError(
            f"model.path: {path} holds no tokenizer (tokenizer.json, or vocab.json and merges.txt); download it again"
        )
    family.adapt_processor(processor, config)
    _check_vocabulary(processor.tokenizer, config, folder, family)
    _check_template(processor, family, config, path)
    _check_frames(processor.video_processor, config["vision_config"], family, folder)
    return processor


def _unread(folder: Path, error: Exception) -> ModelError:
    """What is said of a processor that the library can't make; a file that isn't JSON is named by itself."""
    for name in ("tokenizer.json", "vocab.json"):
        if (folder / name).is_file():
            object_in(folder / name)
    return ModelError(
        f"model.path: {folder}: its processor can't be loaded ({quoted(error)}); download "
        f"tokenizer.json, tokenizer_config.json and {_frames_file(folder)} again"
    )


def _frames_file(folder: Path) -> str:
    """The file that says how frames become patches, for a remedy."""
    return next((name for name in FRAMES if (folder / name).is_file()), FRAMES[-1])


def _check_vocabulary(tokenizer: Any, config: Mapping[str, Any], folder: Path, family: Family) -> None:
    """Ends where the tokenizer's numbers aren't rows of the embedding, or marks that prompts are made of are missing."""
    from tokenizers.pre_tokenizers import ByteLevel

    where = f"model.path: {folder / TOKENIZERS[0]}" if (folder / TOKENIZERS[0]).is_file() else f"model.path: {folder}"
    ids: dict[str, int] = tokenizer.get_vocab()
    rows = (config.get("text_config") or config)["vocab_size"]
    if max(ids.values()) >= rows:
        token = max(ids, key=ids.__getitem__)
        raise ModelError(
            f"{where}: {token!r} is token {ids[token]}, and the model has {rows} (vocab_size in {CONFIG}); take the tokenizer "
            "that belongs to the model"
        )
    # To be in the vocabulary isn't enough: a tokenizer that doesn't know a mark as special cuts it into pieces.
    for mark in MARKS:
        if ids.get(mark) is None or tokenizer.encode(mark, add_special_tokens=False) != [ids[mark]]:
            raise ModelError(f"{where}: {mark} is no token of its own; take the tokenizer of a {family.name}")
    for key, mark in NAMED.items():
        if config.get(key) not in (None, ids[mark]):
            raise ModelError(
                f"model.path: {folder / CONFIG}: {key}: {config[key]}, and {mark} is token {ids[mark]} of the tokenizer; "
                "download both again"
            )
    if missing := sorted(set(ByteLevel.alphabet()) - ids.keys()):
        raise ModelError(f"{where}: {len(missing)} of 256 bytes have no token, among them {missing[0]!r}; download it again")
    # The library loads a vocabulary in which tokens have the numbers of others, and
    # answers by it without a word (docs/log.md: 4 of 360 damaged folders).
    if len(set(ids.values())) != len(ids) or max(ids.values()) != len(ids) - 1:
        raise ModelError(f"{where}: its {len(ids)} tokens aren't numbered from 0 to {len(ids) - 1}; download it again")


def _check_template(processor: Any, family: Family, config: Mapping[str, Any], path: str) -> None:
    template = processor.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise ModelError(f"model.path: {path} holds no chat template (chat_template.jinja, or .json); download it again")
    tokenizer = processor.tokenizer
    special = tuple(sorted((name, token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)))
    known = tokenizer.get_vocab()
    for text in try_out(template, special, family.placeholder, f"model.path: {path}"):
        head, _, tail = text.partition(family.placeholder)
        if (head.endswith(START), tail.startswith(END)) != (family.has_outer_marks(config),) * 2:
            raise ModelError(f"model.path: {path}: {_of_marks(family, config)}")
        if unknown := [mark for mark in re.findall(r"<\|[^<>|\s]+\|>", text) if mark not in known]:
            raise ModelError(
                f"model.path: {path}: the chat template writes {unknown[0]}, which is no token of the tokenizer; download "
                "both again"
            )


def _of_marks(family: Family, config: Mapping[str, Any]) -> str:
    """Which marks around a video a chat template should have written."""
    if family.has_outer_marks(config):
        return (
            f"{CONFIG} says that the weights were tuned with {START} and {END} around a video, and the chat template lacks "
            'them; take the template that they were tuned with, or "video_marks" out of config.json if they were tuned without'
        )
    return (
        f"the chat template writes {START} or {END} once more around {family.placeholder}; let it write "
        f"{family.placeholder} alone, or "
        'say "video_marks": "outer" in config.json if the weights were tuned with them'
    )


def _check_frames(video: Any, vision: Mapping[str, Any], family: Family, folder: Path) -> None:
    """Ends where frames would be cut into other patches than the tower takes, or aren't scaled by numbers."""
    for mine, its in SIZES.items():
        if getattr(video, mine, None) != vision[its]:
            raise ModelError(
                f"model.path: {folder}: the processor's {mine} is {getattr(video, mine, None)}, and vision_config.{its} in "
                f"{CONFIG} {vision[its]}; download {_frames_file(folder)} again"
            )
    refuse_other_pixels(video, family, folder)


def refuse_other_pixels(part: Any, family: Family, folder: Path, whose: str = "the processor's") -> None:
    """Refuses a processor of frames or pictures that gives a tower pixels by another mean or scale than its family's.

    Neither shapes nor outputs would show it.

    Raises:
        ModelError: names the setting.
    """
    for name, wanted in family.pixels.items():
        value: Any = getattr(part, name, None)
        found = value if isinstance(value, (list, tuple)) else [value]
        if len(found) != len(wanted) or not all(map(_is_near, found, wanted)):
            raise ModelError(
                f"model.path: {folder}: {whose} {name} is {value}, and {list(wanted)} is published; download "
                f"{_frames_file(folder)} again"
            )


def _is_near(value: object, wanted: float) -> bool:
    # As close as this since a damaged deviation that differed in its seventh digit had passed.
    return isinstance(value, (int, float)) and math.isclose(value, wanted, rel_tol=1e-7)
