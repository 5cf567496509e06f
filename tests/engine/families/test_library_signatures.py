"""What each family takes from the library by name: methods and their parameters, outputs, layers, the way of keyword arguments.

These break first with another version of the library; see docs/versions.md.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from trlt.engine.attention import causal_attention
from trlt.engine.families import FAMILIES
from trlt.engine.families.family import END, START, VIDEO
from trlt.engine.inputs import InputBuilder
from trlt.engine.linear_attention import LINEAR, Projected

TIMED = [family for family in FAMILIES if family.time_tokens]
"""Families that write the time of frames as text."""


def taken(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_methods_take_what_they_are_given(family, loaded):
    inner = loaded.model.model
    assert taken(type(inner).get_rope_index)[:3] == ["self", "input_ids", "mm_token_type_ids"], "given by place"
    assert {"video_grid_thw", "attention_mask"} <= set(taken(type(inner).get_rope_index))
    # Wrapped by the library: the signature of what it wraps is the one that counts.
    assert taken(type(inner).get_video_features)[:3] == ["self", "pixel_values_videos", "video_grid_thw"]
    language = inspect.signature(type(inner.language_model).forward).parameters
    assert {"inputs_embeds", "position_ids", "attention_mask", "use_cache"} <= language.keys()
    assert any(one.kind is inspect.Parameter.VAR_KEYWORD for one in language.values()), "`branches` goes by it"
    assert {"input_ids", "attention_mask", "position_ids", "pixel_values_videos", "video_grid_thw", "logits_to_keep"} <= set(
        taken(type(loaded.model).forward)
    )


def test_features_of_the_tower(family, loaded, shown):
    builder = InputBuilder(loaded.model, loaded.processor)
    one, other = builder.clip(shown()), builder.clip(shown(2, 1, 1))
    grid, width = torch.cat([one.grid, other.grid]), loaded.model.config.text_config.hidden_size
    with torch.no_grad():
        found = loaded.model.model.get_video_features(torch.cat([one.pixels, other.pixels]), grid)
        encoded = family.encode(loaded.model, torch.cat([one.pixels, other.pixels]), grid)
    assert [tuple(part.shape) for part in found.pooler_output] == [(one.tokens, width), (other.tokens, width)]
    deep = len(getattr(loaded.model.config.vision_config, "deepstack_visual_indexes", ()))
    assert [tuple(part.shape) for part in encoded] == [(clip.tokens, width * (1 + deep)) for clip in (one, other)]
    if not deep:
        return
    language = taken(type(loaded.model.model.language_model).forward)
    assert {"visual_pos_masks", "deepstack_visual_embeds"} <= set(language)
    assert [[tuple(part.shape) for part in layer] for layer in found.deepstack_features] == [
        [(one.tokens, width), (other.tokens, width)]
    ] * deep
    # Each at its own layer: without one of them, or with two exchanged, other states come out.
    prompt = builder.prompt("", "which?", one)
    ids, places = torch.cat([prompt.prefix, prompt.suffix])[None], prompt.positions[:, None]
    parts = encoded[0].chunk(1 + deep, dim=-1)
    exchanged = torch.cat([parts[0], *parts[:0:-1]], dim=-1)
    dropped = torch.cat([parts[0], *map(torch.zeros_like, parts[1:])], dim=-1)
    with torch.no_grad():
        states = [family.states(loaded.model, ids, places, some) for some in (encoded[0], exchanged, dropped)]
    assert all((states[0] - other).abs().max() > 1e-2 for other in states[1:])


def test_layers_are_named_as_they_are_looked_for(family, loaded):
    there = {type(module).__name__ for module in loaded.model.modules()}
    assert set(family.blocks) <= there
    language = loaded.model.model.language_model
    names = {name.rpartition(".")[2] for name, module in language.named_modules() if isinstance(module, torch.nn.Linear)}
    assert set(family.attention_layers) <= names
    assert loaded.model.model.visual is not None and loaded.model.lm_head.out_features >= len(loaded.processor.tokenizer)


class Spy:
    """Sees who asks for attention; causal, as without branches."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def attend(self, layer: int, query: Any, key: Any, value: Any, scale: float) -> Any:
        self.asked.append(("attend", layer))
        return causal_attention(query, key, value, scale)

    def mix(self, layer: Any, given: Projected) -> Any:
        self.asked.append(("mix", layer.index))
        return layer.advance(given)[0]


def test_branches_reach_every_layer_once_and_no_mask_is_made(family, loaded, shown):
    builder = InputBuilder(loaded.model, loaded.processor)
    clip = builder.clip(shown())
    prompt = builder.prompt("", "which?", clip)
    ids, places = torch.cat([prompt.prefix, prompt.suffix])[None], prompt.positions[:, None]
    language = loaded.model.model.language_model
    kinds = getattr(language.config, "layer_types", None) or ["full_attention"] * len(language.layers)
    with torch.no_grad():
        features = family.encode(loaded.model, clip.pixels, clip.grid)[0]
        plain = family.states(loaded.model, ids, places, features)
        family.attach(loaded.model)
        spy = Spy()
        found = family.states(loaded.model, ids, places, features, spy)
    assert spy.asked == [("mix" if kind == LINEAR else "attend", layer) for layer, kind in enumerate(kinds)]
    assert torch.allclose(found, plain, atol=1e-5)


def test_states_depend_on_what_branches_say(family, loaded, shown):
    """A library that drops `branches` on the way would attend causally, and nobody would see it."""
    builder = InputBuilder(loaded.model, loaded.processor)
    clip = builder.clip(shown())
    prompt = builder.prompt("", "which?", clip)
    ids, places = torch.cat([prompt.prefix, prompt.suffix])[None], prompt.positions[:, None]

    class Blind(Spy):
        def attend(self, layer: int, query: Any, key: Any, value: Any, scale: float) -> Any:
            return value.repeat_interleave(query.shape[1] // key.shape[1], 1)

    family.attach(loaded.model)
    with torch.no_grad():
        features = family.encode(loaded.model, clip.pixels, clip.grid)[0]
        one, other = (family.states(loaded.model, ids, places, features, some) for some in (Spy(), Blind()))
    assert (one - other).abs().max() > 1e-2


def by_hand(kinds: list[int], grids: list[tuple[int, int, int]]) -> torch.Tensor:
    """(3, T) positions by the published rule: each stretch goes on one past the largest position before it."""
    out, place, start = [], 0, 0
    left = list(grids)
    while place < len(kinds):
        end = place
        while end < len(kinds) and kinds[end] == kinds[place]:
            end += 1
        if kinds[place]:
            t, h, w = left.pop(0)
            block = torch.stack([axis.flatten() for axis in torch.meshgrid(*map(torch.arange, (t, h, w)), indexing="ij")])
        else:
            block = torch.arange(end - place).expand(3, -1)
        out.append(block + start)
        start, place = int(out[-1].max()) + 1, end
    return torch.cat(out, dim=1)


@pytest.mark.parametrize("frames", [2, 80])
def test_positions_by_the_librarys_rule_and_by_the_published_one(family, loaded, shown, frames):
    """The rules differ for a clip that is longer than wide: one patch of 2 x 3 tokens doesn't tell them apart, 40 do."""
    builder = InputBuilder(loaded.model, loaded.processor)
    clip = builder.clip(shown(frames, 2, 3, fps=1.0))
    prompt = builder.prompt("sys", "which first?", clip)
    ids = torch.cat([prompt.prefix, prompt.suffix])
    kinds = (ids == loaded.model.config.video_token_id).int() * 2
    steps = frames // 2
    grids = [(1, 2, 3)] * steps if family.time_tokens else [(steps, 2, 3)]
    published = by_hand(kinds.tolist(), grids)
    if family.model_types == ("qwen2_5_vl",):
        # Positions in time are seconds times `tokens_per_second`: 2 seconds a patch, 4 positions.
        video = kinds.bool()
        published[0, video] = published[0, video.nonzero()[0, 0]] + 4 * (torch.arange(steps).repeat_interleave(6))
        after = int(video.nonzero()[-1]) + 1
        published[:, after:] = published[:, :after].max() + 1 + torch.arange(len(ids) - after)
    assert torch.equal(prompt.positions, published)
    inner = loaded.model.model
    seconds = {"second_per_grid_ts": torch.tensor([2.0])} if family.model_types == ("qwen2_5_vl",) else {}
    library, _ = type(inner).get_rope_index(
        inner, ids[None], mm_token_type_ids=kinds[None], video_grid_thw=clip.grid, **seconds
    )
    follows = bool(family.time_tokens) or steps == 1
    # Where this fails after an update, the library's rule has changed: `trlt.engine.mrope` may be needed no more, or more.
    assert torch.equal(library[:, 0], published) is follows


@pytest.mark.parametrize("family", TIMED, ids=lambda family: family.name)
def test_where_a_processor_puts_times_and_marks(family, loaded):
    """The processor writes times between the marks of single patches, and keeps outer marks that a template has."""
    pixels = torch.zeros(5, 3, 32, 64, dtype=torch.uint8)
    told = {"fps": 4.0, "total_num_frames": 20, "frames_indices": [0, 2, 4, 6, 8]}
    patches = "".join(f"<{time} seconds>{START}{VIDEO * 2}{END}" for time in ("0.2", "1.2", "2.0"))
    for text in (VIDEO, f"{START}{VIDEO}{END}"):
        out = loaded.processor(
            text=[text],
            videos=[pixels],
            video_metadata=[told],
            do_resize=False,
            do_sample_frames=False,
            return_tensors="pt",
        )
        expected = loaded.processor.tokenizer(text.replace(VIDEO, patches), add_special_tokens=False)["input_ids"]
        assert out["input_ids"][0].tolist() == expected
        assert (out["mm_token_type_ids"][0] == 2).sum() == 6 and out["video_grid_thw"].tolist() == [[3, 2, 4]]


def test_linear_layers_have_what_is_forked() -> None:
    from transformers.models.qwen3_5 import modeling_qwen3_5 as library
    from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig

    config = Qwen3_5TextConfig(
        vocab_size=8, hidden_size=32, num_attention_heads=2, num_key_value_heads=1, head_dim=16, num_hidden_layers=4
    )
    with torch.device("meta"):
        layer = library.Qwen3_5GatedDeltaNet(config, 0)
    names = "A_log dt_bias in_proj_a in_proj_b in_proj_qkv in_proj_z norm out_proj conv1d conv_kernel_size activation layer_idx"
    assert all(hasattr(layer, name) for name in f"{names} key_dim value_dim head_k_dim head_v_dim".split())
    assert layer.activation == "silu" and layer.conv1d.bias is None
    assert taken(layer.forward)[0] == "hidden_states"
    for rule in (library.torch_chunk_gated_delta_rule, library.torch_recurrent_gated_delta_rule):
        assert taken(rule)[:3] == ["query", "key", "value"]
        assert {"g", "beta", "initial_state", "output_final_state", "use_qk_l2norm_in_kernel"} <= set(taken(rule))
    convolution = taken(library.causal_conv1d_fn)
    assert convolution[:3] == ["hidden_states", "weight", "bias"] and "activation" in convolution
