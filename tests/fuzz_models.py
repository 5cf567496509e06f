"""Damages copies of a model's folder and loads them: `python -m tests.fuzz_models 300` counts what comes of it.

What may come of it: an error that a user can act on, or the very model that was there before. What may not: a traceback, or
another model without a word. What no look at a file tells is a number in a weight that became another number, or a word of the
tokenizer that became another word: `weights` and `tokenizer.json` are damaged only where it shows.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from trlt.engine.model import load
from trlt.errors import TrltError
from trlt.recipe import Model

WEIGHTS = "model.safetensors"
SETTINGS = ("config.json", "generation_config.json", "processor_config.json", "tokenizer_config.json")


def tensors(change: Callable[[dict[str, Any], random.Random], Any]) -> Callable[[Path, random.Random], None]:
    """A damage of what is stored, by name."""

    def go(folder: Path, rng: random.Random) -> None:
        held = load_file(folder / WEIGHTS)
        change(held, rng)
        save_file({name: value.contiguous() for name, value in held.items()}, folder / WEIGHTS, {"format": "pt"})

    return go


def _key(held: dict[str, Any], rng: random.Random) -> str:
    return rng.choice(sorted(held))


def _swap(held: dict[str, Any], rng: random.Random) -> None:
    first = _key(held, rng)
    second = rng.choice(sorted(name for name in held if held[name].shape != held[first].shape))
    held[first], held[second] = held[second], held[first]


def _put(held: dict[str, Any], rng: random.Random) -> None:
    flat = held[_key(held, rng)].view(-1)
    flat[rng.randrange(len(flat))] = rng.choice([float("nan"), float("inf"), -float("inf")])


def truncate(folder: Path, rng: random.Random) -> None:
    """Cuts off the end of any file."""
    path = _file(folder, rng)
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def zero_header(folder: Path, rng: random.Random) -> None:
    """Zeroes a stretch of the weights' header."""
    path = folder / WEIGHTS
    data = bytearray(path.read_bytes())
    start = rng.randrange(8 + int.from_bytes(data[:8], "little"))
    data[start : start + rng.choice([1, 8, 64])] = bytes(1)
    path.write_bytes(bytes(data))


def flip_header(folder: Path, rng: random.Random) -> None:
    """Flips a bit of the weights' header."""
    path = folder / WEIGHTS
    data = bytearray(path.read_bytes())
    data[rng.randrange(8 + int.from_bytes(data[:8], "little"))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def flip_settings(folder: Path, rng: random.Random) -> None:
    """Flips a bit of a small JSON file."""
    path = folder / rng.choice(SETTINGS)
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from _places(inner)


def change_settings(folder: Path, rng: random.Random) -> None:
    """Puts a value of another type or size in place of one in a small JSON file, or takes it out."""
    path = folder / rng.choice(SETTINGS)
    value = json.loads(path.read_text())
    inner, key = rng.choice(list(_places(value)))
    if rng.random() < 0.3:
        del inner[key]
    else:
        inner[key] = rng.choice([None, "x", -1, 0, 3, 1.5, 10**9, [], {}, True, [1, 2], {"a": 1}])
    path.write_text(json.dumps(value))


def change_tokenizer(folder: Path, rng: random.Random) -> None:
    """Takes a token out of the tokenizer, or gives it a number that it can't have."""
    path = folder / "tokenizer.json"
    value = json.loads(path.read_text())
    words = value["model"]["vocab"]
    token = rng.choice(sorted(words))
    if rng.random() < 0.5:
        del words[token]
    else:
        words[token] = rng.choice([10**6, -1, "x", None, words[rng.choice(sorted(set(words) - {token}))]])
    path.write_text(json.dumps(value))


def _file(folder: Path, rng: random.Random) -> Path:
    return rng.choice(sorted(path for path in folder.iterdir() if path.is_file()))


DAMAGES: dict[str, Callable[[Path, random.Random], Any]] = {
    "truncated file": truncate,
    "deleted file": lambda folder, rng: _file(folder, rng).unlink(),
    "emptied file": lambda folder, rng: _file(folder, rng).write_bytes(b""),
    "zeroed header": zero_header,
    "flipped bit in the header": flip_header,
    "flipped bit in a JSON file": flip_settings,
    "changed value in a JSON file": change_settings,
    "changed tokenizer": change_tokenizer,
    "swapped tensors": tensors(_swap),
    "missing tensor": tensors(lambda held, rng: held.pop(_key(held, rng))),
    "NaN or infinite": tensors(_put),
    "cut tensor": tensors(lambda held, rng: held.update({(name := _key(held, rng)): held[name][:-1]})),
}


def known(loaded: Any) -> dict[str, Any]:
    """All that a loaded model answers by: weights, settings that shapes don't tell, words and pictures."""
    config, video = loaded.model.config, loaded.processor.video_processor
    text, vision = config.text_config, config.vision_config
    chat = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "Question: what? 12.5 to 13.0"}]}]
    said = loaded.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    frames = torch.arange(4 * 3 * 56 * 56, dtype=torch.uint8).view(4, 3, 56, 56)
    seen = video(videos=[frames], do_resize=False, do_sample_frames=False, cap_pixels_per_frame=False, return_tensors="pt")
    positions = loaded.model.model.language_model.rotary_emb.inv_freq
    return {
        "weights": loaded.model.state_dict(),
        "text": (text.rms_norm_eps, text.hidden_act, text.rope_parameters, text.use_sliding_window, text.layer_types),
        "vision": (vision.window_size, vision.fullatt_block_indexes, vision.tokens_per_second, vision.hidden_act),
        "positions": positions,
        "prompt": (said, loaded.processor.tokenizer.encode(said)),
        "ends": loaded.processor.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>", "<|video_pad|>"]),
        "pixels": (seen["pixel_values_videos"], seen["video_grid_thw"]),
    }


def differs(first: Any, second: Any) -> bool:
    """Whether two values that hold tensors are different."""
    if isinstance(first, torch.Tensor):
        return not torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() != second.keys() or any(differs(first[key], second[key]) for key in first)
    if isinstance(first, tuple):
        return any(map(differs, first, second))
    return bool(first != second)


def outcome(folder: Path, wanted: dict[str, Any]) -> tuple[str, str]:
    """What came of loading a folder, in a word, and in what words."""
    try:
        found = known(load(Model(path=str(folder), dtype="float32", device="cpu")))
    except TrltError as error:
        return "error", str(error)
    except Exception as error:  # what the count is about
        return "traceback", f"{type(error).__name__}: {error}"
    odd = [key for key in wanted if differs(wanted[key], found[key])]
    return ("silence", ", ".join(odd)) if odd else ("right", "")


def fuzz(model: Path, count: int, seed: int = 0) -> Iterator[tuple[str, int, str, str]]:
    """(damage, number, outcome, words) of so many damaged copies."""
    wanted = known(load(Model(path=str(model), dtype="float32", device="cpu")))
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        name = sorted(DAMAGES)[number % len(DAMAGES)]
        with tempfile.TemporaryDirectory() as place:
            folder = Path(shutil.copytree(model, Path(place) / "model"))
            DAMAGES[name](folder, rng)
            yield name, number, *outcome(folder, wanted)


if __name__ == "__main__":
    from trlt.commands._setup import quiet
    from trlt.engine.model import miniature_path

    quiet()
    table: Counter[tuple[str, str]] = Counter()
    for name, number, what, words in fuzz(miniature_path(), int(sys.argv[1])):
        table[name, what] += 1
        if what in ("silence", "traceback"):
            print(f"{number} {name}: {what}: {words}")  # noqa: T201
    for (name, what), found in sorted(table.items()):
        print(f"{name:30} {what:10} {found}")  # noqa: T201
    print(Counter(what for (_, what), found in table.items() for _ in range(found)))  # noqa: T201
