"""Estimates a training run before it starts: parameters, memory per GPU, and what to change if it doesn't fit.

Knows configurations and recipes; neither torch nor weights. Everything is computed, nothing is measured.
"""

from trlt.engine.families.published import PUBLISHED
from trlt.engine.families.shape import Architecture
from trlt.train.memory_plan.advice import advise
from trlt.train.memory_plan.architecture import find_architecture
from trlt.train.memory_plan.gpu_memory import Memory, estimate, vllm_least
from trlt.train.memory_plan.limits import Lowered, can_fit, least, limits_of, lower_limits, lowered
from trlt.train.memory_plan.lines import GB

__all__ = [
    "GB",
    "PUBLISHED",
    "Architecture",
    "Lowered",
    "Memory",
    "advise",
    "can_fit",
    "estimate",
    "find_architecture",
    "least",
    "limits_of",
    "lower_limits",
    "lowered",
    "vllm_least",
]
