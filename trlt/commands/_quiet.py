"""Advice of libraries that no command needs to pass on. Imports none of them."""

from __future__ import annotations

import logging

BITS = "bitsandbytes.backends.cpu.ops"
"""bitsandbytes' logger: PEFT imports bitsandbytes wherever it is installed."""
KERNELS = "Failed to load CPU gemm_4bit_forward from kernels-community"
"""Advises a package that only fused 4-bit kernels on the CPU need, which `trlt` has no use for."""


def drop_advice() -> None:
    """Drops that one line from the log; everything else from bitsandbytes is kept."""
    logging.getLogger(BITS).addFilter(_other)


def _other(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(KERNELS)
