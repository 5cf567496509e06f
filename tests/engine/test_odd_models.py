"""Folders that aren't damaged but odd: configurations, vocabularies, templates and caches that don't belong together."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fuzz_models
import pytest
import torch
from real_shapes import published as rig
from safetensors.torch import load_file, save_file

from trlt.engine.families import FAMILIES
from trlt.engine.model import check_config, load, locate
from trlt.engine.model.template import MOST, try_out
from trlt.errors import ModelError
from trlt.recipe import Model

VIDEO = FAMILIES[0].placeholder
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def folder(tiny_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_path, tmp_path / "model"))


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def opened(folder: Path) -> Any:
    return load(Model(path=str(folder), dtype="float32", device="cpu"))


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert all(word in str(error.value) for word in (str(folder), *words)), error.value


# -- config.json ------------------------------------------------------------------------------------------------------


def put(section: str, key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    def go(config: dict[str, Any]) -> None:
        inner = config[section] if section else config
        if value is None:
            del inner[key]
        else:
            inner[key] = value

    return go


CONFIGS = [
    (put("", "model_type", "llama"), "says model_type 'llama'; trlt tunes qwen2_5_vl (Qwen2.5-VL)"),
    (put("", "vision_config", None), "vision_config: missing; download config.json again"),
    (put("", "text_config", 7), "text_config: an object is expected, not 7"),
    (put("text_config", "hidden_size", "128"), "text_config.hidden_size: a whole number above 0 is expected, not '128'"),
    (put("text_config", "num_hidden_layers", 0), "text_config.num_hidden_layers: a whole number above 0 is expected, not 0"),
    (put("text_config", "vocab_size", True), "text_config.vocab_size: a whole number above 0 is expected, not True"),
    (
        put("text_config", "num_attention_heads", 3),
        "text_config.hidden_size: a multiple of text_config.num_attention_h",
    ),
    (put("text_config", "num_key_value_heads", 3), "text_config.num_attention_heads: a multiple of text_config.num_key_value"),
    (put("text_config", "rms_norm_eps", None), "text_config.rms_norm_eps: missing"),
    (put("text_config", "rope_parameters", None), "text_config.rope_scaling: missing"),
    (
        put("text_config", "rope_parameters", {"mrope_section": [4, 6, 7], "rope_theta": 1e4}),
        "text_config.rope_parameters.mrope_section: numbers that add up to 16 are expected, half of a head's 32, not [4, 6, 7]",
    ),
    (put("text_config", "rope_parameters", {"mrope_section": [4, 6, 6]}), "text_config.rope_theta: missing"),
    (put("text_config", "layer_types", ["full_attention"]), "config.json: the library can't make a model by it"),
    (put("vision_config", "tokens_per_second", None), "vision_config.tokens_per_second: missing"),
    (put("vision_config", "fullatt_block_indexes", [2]), "vision_config.fullatt_block_indexes: a list of blocks, from 0 to 1"),
    (put("vision_config", "out_hidden_size", 64), "vision_config.out_hidden_size: text_config.hidden_size (128) is expected"),
    (
        put("vision_config", "window_size", 100),
        "vision_config.window_size: a multiple of vision_config.patch_size x spatial",
    ),
    (put("", "video_token_id", 10**6), "video_token_id: a token's number below text_config.vocab_size"),
    (put("", "video_token_id", 3), "video_token_id: 3, and <|video_pad|> is token"),
    (
        put("", "quantization_config", {"quant_method": "awq"}),
        "quantization_config: weights that aren't quantized are expected",
    ),
    (put("", "dtype", "float8"), "dtype: one of float32, bfloat16, float16 is expected, not 'float8'"),
]


@pytest.mark.parametrize(("change", "words"), CONFIGS, ids=range(len(CONFIGS)))
def test_a_configuration_is_held_to_itself(folder, change, words):
    edit(folder / "config.json", change)
    refused(folder, "config.json", words)


def test_both_layouts_are_known(tmp_path):
    """The published one, that of transformers 4.5x, which has the language model's keys twice, and that of 5."""
    flat = rig._config(rig.SHAPES["3b"], torch.bfloat16)
    path = tmp_path / "config.json"
    both = flat | {
        "text_config": {key: flat[key] for key in flat if key != "vision_config"} | {"model_type": "qwen2_5_vl_text"}
    }
    for config in (flat, both):
        path.write_text(json.dumps(config))
        assert check_config(path)["vision_config"]["depth"] == rig.DEPTH
    edit(path, put("text_config", "hidden_size", None))
    with pytest.raises(ModelError, match=r"text_config.hidden_size: missing"):
        check_config(path)
    path.write_text(json.dumps(flat))
    edit(path, put("", "hidden_size", None))
    with pytest.raises(ModelError, match=r"config.json: hidden_size: missing"):
        check_config(path)


# -- files of weights -------------------------------------------------------------------------------------------------


def test_a_head_of_its_own_that_is_said_to_be_tied(folder):
    path = folder / "model.safetensors"
    held = load_file(path)
    twin = held["model.embed_tokens.weight"].clone()
    save_file(held | {"lm_head.weight": twin}, path, {"format": "pt"})
    opened(folder)  # the same weight twice
    twin[0, 0] += 1
    save_file(held | {"lm_head.weight": twin}, path, {"format": "pt"})
    refused(folder, "lm_head.weight isn't model.embed_tokens.weight", "tie_word_embeddings: true")


def test_shards_hold_what_the_index_says(folder):
    held = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(held)
    parts = {"a.safetensors": names[:9], "b.safetensors": names[9:]}

    def write(index: dict[str, str]) -> None:
        for file, keys in parts.items():
            save_file({key: held[key] for key in keys}, folder / file, {"format": "pt"})
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))

    right = {key: file for file, keys in parts.items() for key in keys}
    write(right)
    opened(folder)
    write(right | {names[0]: "b.safetensors"})
    refused(folder, f"b.safetensors lacks {names[0]}, which is in a.safetensors")
    write({key: file for key, file in right.items() if key != names[0]})
    refused(folder, f"a.safetensors holds {names[0]}, of which model.safetensors.index.json says nothing")
    parts["b.safetensors"] = names[8:]
    write(right)
    refused(folder, f"b.safetensors: {names[8]} stands in a.safetensors too")


def test_other_numbers_and_pointers_are_named(folder):
    path = folder / "model.safetensors"
    held = load_file(path)
    name = "model.layers.0.mlp.up_proj.weight"
    save_file(held | {name: held[name].to(torch.int8)}, path, {"format": "pt"})
    refused(folder, f"{name} is I8 (1 such tensors), and weights are F32, BF16, F16")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n")
    refused(folder, "is a pointer of Git LFS and not the weights")


@pytest.mark.parametrize("name", ["generation_config.json", "processor_config.json", "tokenizer_config.json"])
def test_broken_json_is_named_by_its_file(folder, name):
    (folder / name).write_text('{"a": 1,}')
    refused(folder, f"{name}: not JSON")
    (folder / name).write_text("[]")
    refused(folder, f"{name}: expected a JSON object, got list")


def test_a_folder_that_doesnt_say_how_frames_become_patches(folder):
    """What the library says of it was cut off in the midst of a word."""
    (folder / "processor_config.json").unlink()
    refused(folder, "holds no processor_config.json (or video_preprocessor_config.json or preprocessor_config.json)", "again")


def test_a_reason_of_the_library_is_told_in_full(folder):
    (folder / "generation_config.json").write_text('{"cache_implementation": "nonsense"}')
    refused(
        folder, "generation_config.json: Invalid `cache_implementation` (nonsense). Choose one of: ", "'quantized', 'paged')"
    )


# -- words and pictures -----------------------------------------------------------------------------------------------


def test_a_vocabulary_that_is_larger_than_the_model(folder):
    def more(value: dict[str, Any]) -> None:
        last = max(one["id"] for one in value["added_tokens"])
        extra = value["added_tokens"][0] | {"special": False}
        value["added_tokens"] += [extra | {"id": last + 1 + place, "content": f"<{place}>"} for place in range(70)]

    edit(folder / "tokenizer.json", more)
    refused(folder, "tokenizer.json", "is token", "vocab_size in config.json")


@pytest.mark.parametrize("mark", ["<|video_pad|>", "<|vision_start|>", "<|im_end|>"])
def test_marks_that_a_tokenizer_lacks(folder, mark):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        path = folder / name
        path.write_text(path.read_text().replace(mark, mark.replace("_", "-")))
    refused(folder, f"{mark} is no token of its own")


def test_a_vocabulary_with_a_gap(folder):
    """An id that no text has would be drawn, since trlt takes tokens to be numbered without gaps."""

    def move(value: dict[str, Any]) -> None:
        words = value["model"]["vocab"]
        unmerged = next(word for word in sorted(words, key=words.__getitem__, reverse=True) if len(word) == 1)
        words[unmerged] = words[sorted(words)[5]]

    edit(folder / "tokenizer.json", move)
    refused(folder, "aren't numbered from 0 to")


def test_pictures_are_scaled_as_published(folder):
    path = folder / "processor_config.json"
    kept = path.read_text()
    for key, value in (("image_mean", [0.5, 0.5, 0.5]), ("rescale_factor", 1), ("do_normalize", False), ("patch_size", 16)):
        edit(path, put("video_processor", key, value))
        refused(folder, f"the processor's {key} is")
        path.write_text(kept)


# -- chat templates ---------------------------------------------------------------------------------------------------

SHOWS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}"
    "{{ '" + VIDEO + "' if part.type == 'video' else part.text }}{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
TEMPLATES = {
    "a loop": ("{% for i in range(10**9) %}{% endfor %}", "OverflowError: Range too big"),
    "a text that doubles": (
        "{% set x = namespace(t='ab') %}{% for i in range(60) %}{% set x.t = x.t ~ x.t %}{% endfor %}",
        "the chat template can't be used (MemoryError",
    ),
    "a wide text": ("{{ '%1000000d' % 1 }}", f"makes more than {MOST:,} characters of its own"),
    "no end": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
    "an escape": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
    "a torn one": ("{% if", "TemplateSyntaxError"),
    "no question": ("{{ messages[-1].role }}" + VIDEO, "and then the question, whole"),
    "two videos": (SHOWS.replace("{{ '", "{{ '" + VIDEO), "doesn't show <|vision_start|><|video_pad|><|vision_end|> once"),
    "an unknown mark": (SHOWS.replace("<|im_start|>", "<|im_begin|>"), "writes <|im_begin|>, which is no token"),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_chat_template_that_does_harm_is_ended(folder, name):
    template, words = TEMPLATES[name]
    (folder / "chat_template.jinja").write_text(template)
    began = time.process_time()
    refused(folder, "the chat template", words)
    assert time.process_time() - began < 5, "none of it ran in this process"


def test_a_template_is_ended_in_a_thread_too(folder):
    loops = "{% for i in range(9**5) %}{% for j in range(9**5) %}{% endfor %}{% endfor %}"
    (folder / "chat_template.jinja").write_text(loops)
    found: list[Exception] = []

    def go() -> None:
        try:
            opened(folder)
        except ModelError as error:
            found.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    assert "it was ended (signal" in str(found[0])


def test_templates_of_real_models_pass():
    from trl import chat_templates  # noqa: F401

    special = (("eos_token", "<|im_end|>"), ("pad_token", "<|endoftext|>"))
    texts = try_out(rig.chat_template(), special, VIDEO, "published")
    assert len(texts) == 4 and all(text.endswith("<|im_start|>assistant\n") for text in texts)
    marked = "{% generation %}" + SHOWS + "{% endgeneration %}{% break %}"
    assert try_out("{% for i in [1] %}" + marked + "{% endfor %}", special, VIDEO, "marked")[0].count(VIDEO) == 1


# -- the cache of the hub -----------------------------------------------------------------------------------------------

CACHED = """
import sys
from trlt.engine.model import load, locate
from trlt.errors import ModelError
from trlt.recipe import Model
try:
    print(locate("some/model"), len(load(Model(path="some/model", dtype="float32", device="cpu")).model.state_dict()))
except ModelError as error:
    print(error)
"""


def test_a_cached_hub_id_is_held_to_what_a_folder_is(tiny_path, tmp_path):
    """`HF_HOME` is read when the library is imported, so each look is a process of its own."""
    repository = tmp_path / "hub/models--some--model"
    snapshot = repository / "snapshots/abc123"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("abc123")
    shutil.copytree(tiny_path, snapshot)

    def said() -> str:
        environment = {
            "HF_HOME": str(tmp_path),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": ":".join(sys.path),
        }
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CACHED], capture_output=True, text=True, env=environment, check=True
        )
        return done.stdout

    assert said().startswith("some/model 8")
    weights = snapshot / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    assert f"some/model is not whole in the local cache ({weights} is damaged or was cut off" in said()
    weights.unlink()
    (snapshot / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"a": "pytorch_model.bin"}}')
    (snapshot / "other.safetensors").write_bytes(whole)
    assert "index.json names 'pytorch_model.bin'; only *.safetensors files beside it" in said()
    (snapshot / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"a": "model-1.safetensors"}}')
    assert f"({snapshot / 'model-1.safetensors'} is missing; download the model again) and can't be fetched" in said()


# -- all at once --------------------------------------------------------------------------------------------------------


def test_no_damage_ends_in_a_traceback_or_in_silence(tiny_path):
    """A few of each; `python -m tests.fuzz_models 360` does it by hundreds."""
    found = list(fuzz_models.fuzz(tiny_path, 3 * len(fuzz_models.DAMAGES)))
    assert [one for one in found if one[2] not in ("error", "right")] == []
    assert sum(one[2] == "error" for one in found) > 20


def test_the_count_of_damages_sees_silence_and_tracebacks(tiny_path, tmp_path, monkeypatch):
    wanted = fuzz_models.known(opened(tiny_path))
    folder = Path(shutil.copytree(tiny_path, tmp_path / "model"))
    held = load_file(folder / "model.safetensors")
    held["model.norm.weight"][0] *= 1.01
    save_file(held, folder / "model.safetensors", {"format": "pt"})
    assert fuzz_models.outcome(folder, wanted) == ("silence", "weights")
    assert fuzz_models.outcome(tiny_path, wanted) == ("right", "")
    monkeypatch.setattr("fuzz_models.load", lambda settings: [][0])
    assert fuzz_models.outcome(folder, wanted)[0] == "traceback"
    assert locate(str(folder)) == str(folder)
