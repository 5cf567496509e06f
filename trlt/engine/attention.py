"""Attention of branches over shared prefixes: a prefix's keys and values are stored once, however many branches read them.

Knows query, key and value tensors; never tokens, prompts or videos.

A row of the batch is one branch: it attends causally to its own keys and fully to the keys of the nodes above it (its
clip, its prompt). Without `branches` among the keyword arguments the registered function is plain SDPA attention, so a model
may keep it permanently; gradient checkpointing then recomputes a layer with the same arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from trlt.engine.linear_attention import fork_linear_layers

NAME = "trlt_branches"


@dataclass(frozen=True)
class Level:
    """Nodes that rows hang from: N nodes of up to L keys, over R rows."""

    keys: Mapping[int, Tensor]
    """By layer (N, H_kv, L, D), padded on the right; linear layers have none."""
    values: Mapping[int, Tensor]
    hidden: Tensor | None
    """(N, L) True where a key is padding; None without padding."""
    rows: Tensor
    """(N, C) index of each node's rows, padded with any row."""
    slots: Tensor
    """(R,) position of each row in the flattened `rows`."""
    nodes: Tensor
    """(R,) each row's node."""
    even: bool = False
    """Whether every node has the same number of rows, node after node."""


class Branches(Protocol):
    """What a forward pass passes to the attention of each layer; linear layers need a `mix` besides (`MixingBranches`)."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Output (R, H, T, D) for queries (R, H, T, D) and new keys and values (R, H_kv, T, D)."""


def branch_attention(query: Tensor, key: Tensor, value: Tensor, levels: Sequence[Level], layer: int, scale: float) -> Tensor:
    """Attention of R rows to their own keys (causal, aligned at the end) and to all keys of their nodes.

    Args:
        query: (R, H, T, D), the last T positions of each row.
        key: (R, H_kv, S, D) with S >= T, each row's own keys so far, these T included.
        value: Like `key`.
        levels: The nodes above, outermost first.
        layer: Which layer's keys of the levels to read.
        scale: Factor on the scores.

    Returns:
        (R, H, T, D).
    """
    if query.shape[2] == 1:
        # A decoding step reads the keys of a node once for all its rows. Longer steps gather
        # them for each row, one layer at a time, so that SDPA's kernels can be used.
        return _step(query, key, value, levels, layer, scale)
    rows, heads, length, _ = query.shape
    groups = heads // key.shape[1]
    # Queries are the last positions of their row: the diagonal ends in the lower right corner.
    own = torch.ones(length, key.shape[2], dtype=torch.bool, device=query.device).tril(key.shape[2] - length)
    keys, values, seen = [], [], []
    for level in levels:
        keys.append(_for_rows(level, level.keys[layer], groups))
        values.append(_for_rows(level, level.values[layer], groups))
        width = keys[-1].shape[2]
        visible = own.new_ones(rows, width) if level.hidden is None else ~level.hidden[level.nodes]
        seen.append(visible[:, None, None, :].expand(rows, 1, length, width))
    mask = torch.cat([*seen, own.expand(rows, 1, length, -1)], dim=-1)
    # Heads are repeated by hand: with a mask, `enable_gqa` takes the slow math kernel on every device.
    full_key = torch.cat([*keys, key.repeat_interleave(groups, 1)], dim=2)
    full_value = torch.cat([*values, value.repeat_interleave(groups, 1)], dim=2)
    return scaled_dot_product_attention(query, full_key, full_value, attn_mask=mask, scale=scale)


def _for_rows(level: Level, states: Tensor, groups: int) -> Tensor:
    """(R, H, L, D): each row's node's keys or values (N, H_kv, L, D), repeated for its query heads."""
    nodes, kv_heads, length, dim = states.shape
    each = level.rows.shape[1]
    if level.even:
        # A view until the keys are joined: no copy here, and a sum instead of scattered adds on the way back.
        shared = states[:, None, :, None].expand(nodes, each, kv_heads, groups, length, dim)
        return shared.reshape(nodes * each, kv_heads * groups, length, dim)
    return states.index_select(0, level.nodes).repeat_interleave(groups, 1)


def causal_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Plain causal attention, (R, H, T, D) from keys and values (R, H_kv, T, D); padding is on the right."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return scaled_dot_product_attention(query, key, value, is_causal=query.shape[2] > 1, scale=scale)


def _step(query: Tensor, key: Tensor, value: Tensor, levels: Sequence[Level], layer: int, scale: float) -> Tensor:
    """One new position per row: each level is read by one product per node, whatever its number of rows.

    Levels are attended to one by one and joined by their softmax's denominators, so that scores over a long level are neither
    joined with others nor put in the order of the rows: only (R, H, D) is.
    """
    rows, heads, _, dim = query.shape
    kv_heads = key.shape[1]
    # Query heads that share a key head stand together, and read it in one product.
    q = query.view(rows, kv_heads, heads // kv_heads, dim)
    # Autocast would round the float32 scores to BF16 before the softmax (docs/decisions/forest-engine.md).
    with torch.autocast(query.device.type, enabled=False):
        # Our own products: the operators of SDPA that give a log-sum-exp to join parts
        # by are private, and FlexAttention has to be compiled for each shape.
        parts = [_read(q, key, value, scale)]
        parts += [_read_level(q, level, level.keys[layer], level.values[layer], scale) for level in levels]
    # One softmax over all keys: each part's sums are brought to the highest score of all, so that no exponential overflows.
    highest = torch.stack([part.highest for part in parts]).amax(dim=0)
    factors = [(part.highest - highest).exp() for part in parts]
    total = sum(factor * part.total for factor, part in zip(factors, parts, strict=True))
    out = sum(factor / total * part.output for factor, part in zip(factors, parts, strict=True))
    return out.to(value.dtype).reshape(rows, heads, 1, dim)  # type: ignore[union-attr]


class _PartialAttention(NamedTuple):
    """Attention to some of the keys, to be combined with others; float32, (..., queries, 1 or D)."""

    highest: Tensor
    """Score."""
    total: Tensor
    """Sum of exp(score - highest)."""
    output: Tensor
    """Sum of exp(score - highest) times the value."""


def _read(q: Tensor, key: Tensor, value: Tensor, scale: float, hidden: Tensor | None = None) -> _PartialAttention:
    """Queries (B, H_kv, Q, D) over keys and values (B, H_kv, L, D); `hidden` (B, L) keys are left out."""
    scores = _scores(q, key, scale)
    if hidden is not None:
        scores = scores.masked_fill_(hidden[:, None, None, :], torch.finfo(scores.dtype).min)
    highest = scores.amax(dim=-1, keepdim=True)
    # In place: float32 scores over all keys of a clip are the widest tensors of a step.
    weights = scores.sub_(highest).exp_()
    # Weights are at most 1, so BF16 costs them one part in 512; a score in the
    # hundreds that is rounded before `exp` is off by a factor of up to e^0.5.
    return _PartialAttention(highest, weights.sum(dim=-1, keepdim=True), _product(weights.to(value.dtype), value))


def _scores(q: Tensor, key: Tensor, scale: float) -> Tensor:
    """(B, H_kv, Q, L) float32.

    Published models have key biases that take scores into the hundreds, where neighbors in BF16 are 1 apart: neither the
    scores nor the scaled queries may be rounded to it before the softmax.
    """
    if q.dtype == torch.float32:
        # In float32 it is safe to scale the queries, which are far fewer than the scores.
        return (q * scale) @ key.transpose(2, 3)
    return _product(q, key.transpose(2, 3)).mul_(scale)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """(B, H, M, N) float32 from (B, H, M, K) and (B, H, K, N): products of BF16 numbers, added up and kept in float32."""
    if left.dtype == torch.float32:
        return left @ right
    if left.is_cuda:  # without float32 copies of the operands; the CPU's has no such output
        out = torch.bmm(left.flatten(0, 1), right.flatten(0, 1), out_dtype=torch.float32)
        return out.view(*left.shape[:3], right.shape[3])
    return left.float() @ right.float()


def _read_level(q: Tensor, level: Level, keys: Tensor, values: Tensor, scale: float) -> _PartialAttention:
    """Queries (R, H_kv, groups, D) over each row's node."""
    rows, kv_heads, groups, dim = q.shape
    nodes, width = level.rows.shape
    # A node's rows become queries of one product, so that its keys are read once (docs/decisions/forest-engine.md).
    each = q if level.even else q[level.rows.reshape(-1)]
    each = each.view(nodes, width, kv_heads, groups, dim).transpose(1, 2).reshape(nodes, kv_heads, width * groups, dim)
    read = _read(each, keys, values, scale, level.hidden)
    parts = (
        t.view(nodes, kv_heads, width, groups, -1).transpose(1, 2).reshape(nodes * width, kv_heads, groups, -1) for t in read
    )
    return _PartialAttention(*parts) if level.even else _PartialAttention(*(t[level.slots] for t in parts))


def _attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    branches: Branches | None = kwargs.pop("branches", None)
    if branches is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    if torch.is_autocast_enabled(query.device.type):
        # As SDPA does under autocast, where rotary embeddings make queries and keys float32; it halves the cached keys, too.
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    out = branches.attend(int(module.layer_idx), query, key, value, float(kwargs["scaling"]))  # type: ignore[arg-type]
    return out.transpose(1, 2), None


# Here and not in `use_branches`: a model that was pickled with its configuration needs them too.
AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def use_branches(model: Any) -> None:
    """Makes a language model take `branches=`; without it, it stays plain SDPA."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    fork_linear_layers(base.model.language_model)
    base.model.language_model.config._attn_implementation = NAME
