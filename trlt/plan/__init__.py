"""What a training run would take before it starts: parameters, memory of a GPU, and what to change when it doesn't fit.

Knows configurations and recipes; neither torch nor weights. Everything is computed, nothing is measured.
"""

from trlt.plan.advice import advise
from trlt.plan.architecture import PUBLISHED, Architecture, find_architecture
from trlt.plan.lines import GB
from trlt.plan.memory import Memory, estimate

__all__ = [
    "GB",
    "PUBLISHED",
    "Architecture",
    "Memory",
    "advise",
    "estimate",
    "find_architecture",
]
