"""Whether this machine and what is installed on it can run trlt: one check after the other, each with its remedy.

Checks take facts and say what they mean; the facts are gathered beside them. No check ends another one: what can't even be
looked at is a fault of its own. Knows recipes only as numbers that it is given.
"""

from trlt.commands.doctor_checks._check import Check, attempt
from trlt.commands.doctor_checks.machine import (
    GB,
    Card,
    card_check,
    cards,
    cuda_check,
    disk_check,
    driver_cuda,
    files_check,
    memory_check,
    shared_memory_check,
    total_memory,
)
from trlt.commands.doctor_checks.software import (
    decoder_checks,
    installed_versions,
    library_checks,
    newest_tried,
    python_check,
    tried,
    tried_checks,
    trl_check,
)

__all__ = [
    "GB",
    "Card",
    "Check",
    "attempt",
    "card_check",
    "cards",
    "cuda_check",
    "decoder_checks",
    "disk_check",
    "driver_cuda",
    "files_check",
    "installed_versions",
    "library_checks",
    "memory_check",
    "newest_tried",
    "python_check",
    "shared_memory_check",
    "total_memory",
    "tried",
    "tried_checks",
    "trl_check",
]
