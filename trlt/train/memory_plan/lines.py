"""What the formulas of memory share: a line of the plan, and constants.

Bytes throughout; a GB is 10^9 bytes, so that 80 GB is below what an 80 GB card reports (about 85). Symbols: P parameters, T
those that are trained, A those of adapters, N processes, d width, f width of the MLP (with experts, of those that a token
takes, together), a heads x head size, k KV heads x head size, V vocabulary, B prompts a pass, G completions a prompt, L tokens
of a prompt with its video and its times, C tokens of a completion; v and m width and MLP of the vision tower. `c` is the size
of a computed number (2 in BF16, else 4), `s` that of the residual stream: 4 where float32 weights are computed with under
autocast (one process, DDP), `c` where a pass sees BF16 weights (FSDP2, ZeRO, adapters on a BF16 base).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GB = 10**9
CHUNK_BYTES = 10**9
"""What the logits may take that are held at once: `trlt.engine.shared_prefix.CHUNK_BYTES`, which a test holds this to."""
PER_LOGIT = 16
"""Bytes that are counted for each of these: `trlt.engine.shared_prefix.PER_LOGIT`."""
PREFILL_TOKENS = 65_536
"""Most video tokens that the engine prefills by one pass: `trlt.engine.forest.PREFILL_TOKENS`."""
COPIES = 2
"""States of a completion that linear layers hold: `trlt.engine.request_queue.COPIES`."""
CHUNK = 64
"""Tokens that the gated delta rule takes at once."""
DRAWN = 2**24
"""Numbers that are drawn from at once: `trlt.engine.sampling.AT_ONCE`."""
CONTEXT = 2 * GB
"""What is assumed for the CUDA context, NCCL's buffers and the kernels' work space."""
FRAGMENTS = 0.1
"""Share of the rest that the allocator is assumed to lose between its blocks."""
IN_4_BITS = 0.5 + 0.127 / 8
"""Bytes of a number in NF4 with twice quantised scales: 4 bits and 0.127 bits of scales (QLoRA, arXiv 2305.14314)."""
BUCKET = 500_000_000
"""Numbers in DeepSpeed's bucket of gradients, its default; there are two."""
LIVE = 1_000_000_000
"""Parameters that ZeRO-3 keeps gathered at most, its default."""

When = Literal["held", "pass", "rollout"]


@dataclass(frozen=True, slots=True)
class MemoryLine:
    """One part of the memory."""

    when: When
    """`held` all the time; in each forward and backward `pass`; during a `rollout`."""
    name: str
    size: int
    """Bytes."""
    formula: str
    """How it was computed, in the symbols of the module."""
