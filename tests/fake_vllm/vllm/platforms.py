"""vLLM's word for what it computes on."""

from __future__ import annotations


class CpuPlatform:
    @staticmethod
    def is_cpu() -> bool:
        return True


current_platform = CpuPlatform()
