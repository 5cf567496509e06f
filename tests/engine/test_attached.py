"""What trlt puts on a model (trees, published positions) hides nothing, and is copied, pickled and saved with the model."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys

import pytest
import torch

from trlt.engine.model import load, save, with_adapters
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.recipe import Lora, Model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def inputs(tiny, noise_clip):
    """A clip that is longer than its text, as the processor makes it; `second_per_grid_ts` as its documentation says."""
    text = "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>what is shown<|im_end|>\n<|im_start|>assistant\n"
    frames = torch.from_numpy(noise_clip(frames=8).frames)
    made = tiny.processor(text=[text], videos=[frames], do_resize=False, do_sample_frames=False, return_tensors="pt")
    made["second_per_grid_ts"] = torch.tensor([20.0])
    return made


@pytest.fixture
def batch(tiny, noise_clip):
    from trlt.engine.inputs import InputBuilder

    builder = InputBuilder(tiny.model, tiny.processor)
    clip = builder.clip(noise_clip(frames=6))
    return collate([Group(clip, builder.prompt("sys", "what is shown", clip), ((5, 6, 7, 8), (9, 10)))])


def greedy(model, inputs):
    return model.generate(**inputs, do_sample=False, max_new_tokens=12, min_new_tokens=12).tolist()


def places(tiny, inputs):
    """Positions, since the model that is made has the library's rule."""
    named = {key: inputs[key] for key in ("input_ids", "mm_token_type_ids", "video_grid_thw", "second_per_grid_ts")}
    return tiny.model.model.get_rope_index(**named)[0]


def with_noise(model):
    """The model with other weights, so that it can be told from the one that it was copied from."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 0.02)
    return model


@pytest.mark.parametrize("within", ["itself", "adapters"])
def test_the_librarys_generate_takes_videos(tiny, inputs, within):
    expected = greedy(tiny.model, inputs)
    blind = {key: value for key, value in inputs.items() if key in ("input_ids", "attention_mask")}
    assert expected != greedy(tiny.model, blind), "the video counts"
    attach(tiny.model)
    model = with_adapters(tiny.model, Lora(rank=4) if within == "adapters" else None)
    assert greedy(model, inputs) == expected
    with pytest.raises(ValueError, match="pixel_valeus_videos"):
        model.generate(**inputs, pixel_valeus_videos=1)


def test_signatures_say_all_that_is_taken(tiny):
    from transformers import Qwen2_5_VLForConditionalGeneration as Library

    attach(tiny.model)
    theirs = inspect.signature(Library.forward).parameters
    ours = inspect.signature(tiny.model.forward).parameters
    assert [*ours] == [*[name for name in theirs if name not in ("self", "kwargs")], "tree", "temperature", "kwargs"]
    assert all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())
    published = inspect.signature(tiny.model.model.get_rope_index)
    assert published == inspect.signature(Library(tiny.model.config).model.get_rope_index)


def test_a_second_call_changes_nothing(tiny):
    attach(tiny.model)
    once = tiny.model.forward
    attach(tiny.model)
    assert tiny.model.forward is once


def test_a_copy_runs_its_own_weights(tiny, inputs, batch):
    attach(tiny.model)
    twin = with_noise(copy.deepcopy(tiny.model))
    positions = twin.model.get_rope_index
    assert positions is not tiny.model.model.get_rope_index and positions._library.__self__ is twin.model
    plain = load(Model(path=tiny.path, dtype="float32", device="cpu")).model
    mine = tiny.model(tree=batch).logps, tiny.model(**inputs).logits
    assert torch.equal(mine[1], plain(**inputs).logits)
    with_noise(plain)
    theirs = twin(tree=batch).logps, twin(**inputs).logits
    assert torch.equal(theirs[1], plain(**inputs).logits) and not torch.allclose(theirs[1], mine[1], atol=1e-2)
    attach(plain)
    assert torch.equal(theirs[0], plain(tree=batch).logps) and not torch.allclose(theirs[0], mine[0], atol=1e-2)


READ = """
import pickle, sys
model, inputs, batch = pickle.load(open(sys.argv[1], "rb"))
found = model(**inputs).logits.detach(), model(tree=batch).logps.detach()
pickle.dump(found, open(sys.argv[2], "wb"))
"""


def test_a_pickle_works_in_another_process(tiny, inputs, batch, tmp_path):
    attach(tiny.model)
    (tmp_path / "model").write_bytes(pickle.dumps((tiny.model, dict(inputs), batch)))
    subprocess.run([sys.executable, "-c", READ, tmp_path / "model", tmp_path / "found"], check=True)
    logits, logps = pickle.loads((tmp_path / "found").read_bytes())
    assert torch.allclose(logits, tiny.model(**inputs).logits, atol=1e-5, rtol=0)
    assert torch.allclose(logps, tiny.model(tree=batch).logps, atol=1e-5, rtol=0)


def test_another_model_can_be_made_of_its_configuration(tiny, inputs):
    from transformers import Qwen2_5_VLForConditionalGeneration as Library

    attach(tiny.model)
    made = Library(tiny.model.config).eval()
    made.load_state_dict(tiny.model.state_dict())
    expected = (
        load(Model(path=tiny.path, dtype="float32", device="cpu")).model(**inputs, position_ids=places(tiny, inputs)).logits
    )
    assert torch.equal(made(**inputs, position_ids=places(tiny, inputs)).logits, expected)


def test_it_is_saved_as_it_was(tiny, tmp_path, inputs):
    from transformers import Qwen2_5_VLForConditionalGeneration as Library

    save(Library.from_pretrained(tiny.path, dtype="float32"), tiny.processor, tmp_path / "library")
    attach(tiny.model)
    greedy(tiny.model, inputs)  # which leaves states of its own
    save(tiny.model, tiny.processor, tmp_path / "ours")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "library" / name).read_bytes(), name
    assert "trlt" not in json.dumps(json.loads((tmp_path / "ours/config.json").read_text()))
