"""Adapters on each family's layers, and on experts: trained, saved, added on load, merged, and on their way to vLLM."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from trlt.commands._output import Output
from trlt.commands.merge import merge
from trlt.engine.families import FAMILIES
from trlt.engine.model import fit_adapters, load, save_adapter, with_adapters
from trlt.engine.vllm.weight_transfer import whole_weights
from trlt.errors import RecipeError
from trlt.recipe import Lora, Model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
MIXTURES = [family for family in FAMILIES if family.experts]


def random_adapters(loaded: Any) -> Any:
    """Adapters of rank 3 on all that can have some, whose B isn't 0, as after some steps."""
    model = with_adapters(loaded.model, Lora(rank=3, alpha=6, targets="all"), seed=1)
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if ".lora_B." in name:
            weight.data.normal_(0, 0.1)
    return model


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(20)[None] + 5).logits


def test_an_adapter_is_added_on_load_as_it_is_merged_and_sent(family, loaded, family_path, tmp_path):
    path = str(family_path(family))
    base = logits(loaded.model)
    model = random_adapters(loaded)
    said = logits(model)
    assert (said - base).abs().max() > 0.1, "adapters that change something"
    sent = {name: value.clone() for name, value in whole_weights(model.get_base_model())}
    save_adapter(model, path, tmp_path / "adapter")
    merge(tmp_path / "adapter", out=tmp_path / "merged", output=Output(json_mode=True))

    added, merged = (
        load(Model(path=str(tmp_path / name), dtype="float32", device="cpu")).model for name in ("adapter", "merged")
    )
    assert (logits(added) - said).abs().max() < 1e-4
    theirs = dict(merged.named_parameters())
    assert all(torch.equal(weight, theirs[name]) for name, weight in added.named_parameters())
    # By PEFT: the same adapters merged in place.
    whole = model.merge_and_unload(safe_merge=True)
    assert all(torch.equal(weight, theirs[name]) for name, weight in whole.named_parameters())
    # What vLLM is sent is what the merged folder holds. Qwen2-VL and 2.5-VL: under the names that vLLM knows as well.
    stored = {_module(name): value for name, value in load_file(tmp_path / "merged" / "model.safetensors").items()}
    sent = {_module(name): value for name, value in sent.items()}
    assert sent.keys() == stored.keys() and all(torch.equal(value, stored[name]) for name, value in sent.items())


def _module(name: str) -> str:
    """vLLM 0.32 drops these prefixes (`hf_to_vllm_mapper` of `Qwen2VLForConditionalGeneration`)."""
    return name.removeprefix("model.").removeprefix("language_model.")


def test_adapters_begin_as_their_base_and_get_gradients(family, loaded):
    """Also where each layer is computed again for its gradients."""
    base = logits(loaded.model)
    model = with_adapters(loaded.model, Lora(rank=3, targets="all"), seed=1)
    assert torch.equal(logits(model), base)
    model.train()
    ids, found = torch.arange(20)[None] + 5, []
    for again in (False, True):
        if again:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        model.zero_grad()
        model(input_ids=ids).logits.logsumexp(-1).sum().backward()
        found.append({name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad})
    assert not any("visual" in name for name in found[0])
    for name, grad in found[0].items():
        # B begins at 0, so that A has no gradient yet.
        assert (".lora_B." in name) == bool(grad.abs().max() > 0), name
        assert torch.equal(grad, found[1][name]), name
    # Of experts, one within the other.
    mlp = ("experts", "experts.base_layer") if family.experts else family.mlp_layers
    for layer in family.attention_layers + mlp:
        assert any(f".{layer}.lora_B." in name for name in found[0]), layer


def test_experts_get_adapters_where_they_are_asked_for_alone():
    for family in FAMILIES:
        assert fit_adapters(Lora(), family).targets == ("attention" if family.experts else "all")
        assert fit_adapters(Lora(targets="all"), family).targets == "all"


@pytest.mark.parametrize("family", MIXTURES, ids=lambda family: family.name)
def test_what_experts_cannot_have_is_refused(family):
    with pytest.raises(RecipeError, match=r"train.lora.quantize: nf4 .* experts of Qwen3-VL-MoE.* train.lora.quantize: null"):
        fit_adapters(Lora(quantize="nf4"), family)
    with pytest.raises(RecipeError, match=r"train.lora.dropout: .*targets: all.*, not 0.1; set train.lora.dropout: 0 or"):
        fit_adapters(Lora(dropout=0.1, targets="all"), family)
    assert fit_adapters(Lora(dropout=0.1), family).dropout == 0.1, "those of attention can"
