"""Linear attention of branches: what a layer carries on from a prefix is forked where branches begin.

A layer with the gated delta rule keeps no keys. Of all tokens so far it carries the last inputs of its short convolution, and
one matrix a head. Both can be copied for each branch, but not cut. Knows projected tokens, never prompts or videos; the rules
themselves are the library's. See docs/decisions/linear-layers.md.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

LINEAR = "linear_attention"
"""What a configuration's `layer_types` calls such a layer."""


class Carried(NamedTuple):
    """What one layer carries on from the tokens of R rows; never changed in place."""

    inputs: Tensor
    """(R, D, K - 1) the last inputs of the convolution over K tokens; zeros where there were fewer."""
    state: Tensor
    """(R, H, keys, values) float32."""

    def rows(self, index: Tensor) -> Carried:
        """Those of some rows, once for each time that a row is named."""
        return Carried(*(t.index_select(0, index) for t in self))

    def spread(self, size: int) -> Carried:
        """That of the one row, seen by as many."""
        return Carried(*(t.expand(size, *t.shape[1:]) for t in self))


States = Mapping[int, Carried]
"""By index of the layer; without linear layers, none."""


class Projected(NamedTuple):
    """R rows of T tokens as a layer has projected them, before its convolution."""

    mixed: Tensor
    """(R, T, D) queries, keys and values side by side."""
    decay: Tensor
    """(R, T, H) float32 logarithm of what remains of the state."""
    rate: Tensor
    """(R, T, H) share of a key's old value that is replaced."""


class LinearLayer(Protocol):
    """A layer as branches see it."""

    index: int

    def advance(
        self, given: Projected, before: Carried | None = None, lengths: Tensor | None = None, *, steps: bool = False
    ) -> tuple[Tensor, Carried]:
        """See `ForkedLayer.advance`."""


class MixingBranches(Protocol):
    """The second method of `trlt.engine.attention.Branches`, which models with linear layers need."""

    def mix(self, layer: LinearLayer, given: Projected) -> Tensor:
        """What a layer reads from its state at every token, (R, T, H, values)."""


class ForkedLayer:
    """A linear layer's `forward` that takes `branches=`; without it, the library's.

    An object and no function, so that it is copied and pickled with its model.

    Args:
        layer: A `GatedDeltaNet` of the library.
    """

    def __init__(self, layer: Any) -> None:
        self._layer, self._plain = layer, layer.forward
        # By name: modules can't be pickled. Taken now, since wrappers change a layer's class.
        self._library = type(layer).__module__

    @property
    def index(self) -> int:
        """Which layer of the model."""
        return int(self._layer.layer_idx)

    def __call__(self, hidden_states: Tensor, *args: Any, branches: Any = None, **kwargs: Any) -> Tensor:
        """(R, T, d) of hidden states (R, T, d); the library's arguments count only where there are no branches."""
        if branches is None:
            return self._plain(hidden_states, *args, **kwargs)  # type: ignore[no-any-return]
        refuse_without_mix(branches)
        layer = self._layer
        rows, length, _ = hidden_states.shape
        # In float32, as the library does: in float16 the decay could be infinite.
        decay = -layer.A_log.float().exp() * softplus(layer.in_proj_a(hidden_states).float() + layer.dt_bias)
        given = Projected(layer.in_proj_qkv(hidden_states), decay, layer.in_proj_b(hidden_states).sigmoid())
        out = branches.mix(self, given).reshape(-1, layer.head_v_dim)
        gate = layer.in_proj_z(hidden_states).reshape(-1, layer.head_v_dim)
        return layer.out_proj(layer.norm(out, gate).view(rows, length, -1))  # type: ignore[no-any-return]

    def advance(
        self, given: Projected, before: Carried | None = None, lengths: Tensor | None = None, *, steps: bool = False
    ) -> tuple[Tensor, Carried]:
        """Runs convolution and rule over R rows.

        Args:
            given: (R, T, ...), padded on the right.
            before: What the rows carry on from the tokens before; None where there are none.
            lengths: (R,) true lengths; None without padding.
            steps: By the recurrent rule, one token after another, instead of chunks of 64 to which fewer are filled up. Its
                kernel has no backward pass.

        Returns:
            (R, T, H, values), and what is carried on from each row's last true token.
        """
        layer, library = self._layer, importlib.import_module(self._library)
        mixed, decay, rate = given
        past = layer.conv_kernel_size - 1
        mixed = mixed.transpose(1, 2)
        left = mixed.new_zeros(*mixed.shape[:2], past) if before is None else before.inputs
        whole = torch.cat([left, mixed], dim=-1)
        if lengths is None:
            # A copy: a view would hold on to all inputs.
            last = whole[..., whole.shape[-1] - past :].clone()
        else:
            ends = lengths[:, None] + torch.arange(past, device=whole.device)
            last = whole.gather(2, ends[:, None].expand(-1, whole.shape[1], -1))
            # Nothing decays and nothing is replaced: padding leaves the state as it is.
            padding = (torch.arange(mixed.shape[-1], device=whole.device) >= lengths[:, None])[..., None]
            decay, rate = decay.masked_fill(padding, 0), rate.masked_fill(padding, 0)
        weight, bias = layer.conv1d.weight.squeeze(1), layer.conv1d.bias
        mixed = library.causal_conv1d_fn(whole, weight, bias, activation=layer.activation)[..., past:].transpose(1, 2)
        query, key, value = mixed.split([layer.key_dim, layer.key_dim, layer.value_dim], dim=-1)
        rule = library.torch_recurrent_gated_delta_rule if steps else library.torch_chunk_gated_delta_rule
        # The rules make everything float32; autocast would round their products to BF16 again, those of one rule only.
        with torch.autocast(mixed.device.type, enabled=False):
            out, state = rule(
                query.unflatten(-1, (-1, layer.head_k_dim)),
                key.unflatten(-1, (-1, layer.head_k_dim)),
                value.unflatten(-1, (-1, layer.head_v_dim)),
                g=decay,
                beta=rate,
                initial_state=None if before is None else before.state,
                output_final_state=True,
                use_qk_l2norm_in_kernel=True,
            )
        return out, Carried(last, state)


def fork_linear_layers(language_model: Any) -> None:
    """Makes the linear layers of a language model take `branches=`; a second call changes nothing.

    Raises:
        TypeError: a linear layer that isn't one with the gated delta rule.
    """
    kinds = getattr(language_model.config, "layer_types", None) or ()
    for kind, layer in zip(kinds, language_model.layers, strict=False):
        if kind != LINEAR:
            continue
        linear: Any = getattr(layer, "linear_attn", None)
        if not hasattr(linear, "in_proj_qkv"):
            raise TypeError(f"{type(layer).__name__}: its {LINEAR} isn't one that can be forked")
        if not isinstance(linear.forward, ForkedLayer):
            linear.forward = ForkedLayer(linear)


def require_forked(language_model: Any, branches: object) -> None:
    """Ends a pass in which linear layers would take all branches for one sequence.

    Raises:
        TypeError: they don't take branches (`fork_linear_layers`), or these have no `mix`.
    """
    kinds = getattr(language_model.config, "layer_types", None) or ()
    if LINEAR not in kinds:
        return
    refuse_without_mix(branches)
    for kind, layer in zip(kinds, language_model.layers, strict=False):
        if kind == LINEAR and not isinstance(layer.linear_attn.forward, ForkedLayer):
            raise TypeError(f"{type(layer.linear_attn).__name__} takes no branches yet: `use_branches` comes first")


def refuse_without_mix(branches: object) -> None:
    """Ends a pass of a model with linear layers whose branches know nothing of these: states would leak from one to the next.

    Raises:
        TypeError: there is no `mix`.
    """
    if not hasattr(branches, "mix"):
        raise TypeError(f"{type(branches).__name__} has no `mix`: linear layers would take all branches for one sequence")
