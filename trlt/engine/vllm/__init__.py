"""Rollouts from vLLM in place of the engine (`train.rollouts: vllm`), each training process with a vLLM process of its own.

`host` is what runs there, `process` the handle of it, `weight_transfer` what it is sent after each step, and `sampler` what the
trainer asks. `train.vllm_parity` refuses to train where vLLM doesn't see or score what the trainer does.
"""

from __future__ import annotations

from trlt.engine.vllm.sampler import VllmSampler

__all__ = ["VllmSampler"]
