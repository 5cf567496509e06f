"""What a training run would take before it starts: parameters, memory of a GPU, and what to change when it doesn't fit.

Knows configurations and recipes; neither torch nor weights. Everything is computed, nothing is measured.
"""

from trlt.plan.advice import Change, advise
from trlt.plan.architecture import PUBLISHED, Architecture, find_architecture
from trlt.plan.lines import GB, Line
from trlt.plan.memory import Memory, estimate

__all__ = [
    "GB",
    "PUBLISHED",
    "Architecture",
    "Change",
    "Line",
    "Memory",
    "advise",
    "estimate",
    "find_architecture",
]
