"""Checks of the machine: GPUs and their driver, disk, memory, limits of the system. Sizes are bytes, a GB is 10^9."""

from __future__ import annotations

import ctypes
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from trlt.commands.doctor_checks._check import Check
from trlt.recipe import advice

GB = 10**9
BF16 = (8, 0)
"""Least compute capability with BF16 arithmetic."""
LEAST_MEMORY = 8 * GB
LEAST_FILES = 1024
LEAST_SHARED = GB
"""Of shared memory, where several GPUs exchange through it; containers start with 64 MB."""
CPU_ONLY = "only the miniature is usable on a CPU; run trlt where there is a GPU"


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as torch sees it."""

    name: str
    memory: int
    """Bytes."""
    capability: tuple[int, int]


def driver_cuda() -> str | None:
    """The newest CUDA that the driver knows, as `12.8`; None without a driver."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(number)) or not number.value:
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def cards() -> list[Card]:
    """The GPUs of this machine."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(Card(properties.name, properties.total_memory, (properties.major, properties.minor)))
    return found


def cuda_check(torch_version: str, built: str | None, driver: str | None, *, available: bool) -> Check:
    """Whether the build of torch and the driver go together.

    Args:
        torch_version: `torch.__version__`.
        built: The CUDA that torch was built for; None for a CPU build.
        driver: As `driver_cuda` gives it.
        available: Whether torch can use a GPU.
    """
    torch = f"torch {torch_version}" + (f" for CUDA {built}" if built else "" if available else " for CPU")
    if available:
        return Check("CUDA", "ok", f"{torch}, driver for CUDA {driver}" if driver else torch)
    if driver is None:
        return Check("CUDA", "warning", f"{torch}; no GPU driver here", CPU_ONLY)
    found = f"{torch}, driver for CUDA {driver}"
    if built is None:
        return Check("CUDA", "fault", f"{found}: torch can't use the GPU", f"install torch built for CUDA {driver} or older")
    if int(built.partition(".")[0]) > int(driver.partition(".")[0]):
        remedy = f"update the driver, or install torch built for CUDA {driver} or older"
        return Check("CUDA", "fault", f"{found}: the driver is too old", remedy)
    return Check("CUDA", "fault", f"{found}: torch sees no GPU", "look at `nvidia-smi` and CUDA_VISIBLE_DEVICES")


def card_check(index: int, card: Card) -> Check:
    """What a GPU can do."""
    name, found = f"GPU {index}", f"{card.name}, {card.memory / GB:.1f} GB"
    if card.capability < BF16:
        return Check(name, "warning", f"{found}, no BF16", advice("--set model.dtype=float32, which takes twice the memory,"))
    return Check(name, "ok", f"{found}, BF16")


def disk_check(store: str | None, store_gb: float, held: int = 0) -> Check:
    """Whether the disk has room for the frame store.

    Args:
        store: Its folder; None where the recipe names none.
        store_gb: Its bound.
        held: Bytes that are in it already.
    """
    place = Path(store or ".").absolute()
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    free, due = shutil.disk_usage(there).free, store_gb * GB - held
    found = f"{free / GB:.0f} GB free at {store or 'this folder'}"
    if store is not None and not os.access(there, os.W_OK):
        return Check("disk", "fault", f"{there} can't be written to", "set video.store to another folder")
    if free >= due:
        room = f"the frame store may take {due / GB:.0f} more" if store else f"room for a frame store of {store_gb:g} GB"
        return Check("disk", "ok", f"{found}; {room}")
    if store is None:
        remedy = "set video.store on a larger disk, or lower video.store_gb"
        return Check("disk", "warning", f"{found}, less than video.store_gb ({store_gb:g})", remedy)
    remedy = f"move video.store, or --set video.store_gb={max(1, int((free + held) / GB * 0.9))}"
    return Check(
        "disk", "fault", f"{found}; the frame store may take {due / GB:.0f} more (video.store_gb {store_gb:g})", remedy
    )


def total_memory() -> int:
    """Bytes of the machine's memory, or of the container's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError):  # no limit, which is spelled `max`
            continue
    return total


def memory_check(total: int, needed: int = 0) -> Check:
    """Whether the machine's memory suffices.

    Args:
        total: As `total_memory` gives it.
        needed: What a plan's processes take while they read the weights.
    """
    found = f"{total / GB:.0f} GB"
    if total < needed:
        remedy = "fewer processes (train.launch.processes), or a machine with more memory"
        return Check("memory", "fault", f"{found}; loading the weights takes {needed / GB:.0f}", remedy)
    if total < LEAST_MEMORY:
        return Check(
            "memory", "warning", f"{found}; below {LEAST_MEMORY / GB:g} processes may be killed", "--set video.workers=1"
        )
    return Check("memory", "ok", f"{found}; loading the weights takes {needed / GB:.0f}" if needed else found)


def files_check(soft: int) -> Check:
    """Whether a process may open enough files; `soft` below 0 is no limit."""
    if 0 <= soft < LEAST_FILES:
        return Check("open files", "warning", f"at most {soft}", f"ulimit -n {64 * LEAST_FILES} before trlt")
    return Check("open files", "ok", "no limit" if soft < 0 else f"at most {soft}")


def shared_memory_check(total: int | None, gpus: int) -> Check:
    """Whether /dev/shm is large enough for GPUs that exchange through it.

    Args:
        total: Bytes of it; None where there is none.
        gpus: Of this machine.
    """
    found = "no /dev/shm" if total is None else f"{total / GB:.2g} GB"
    if gpus > 1 and (total or 0) < LEAST_SHARED:
        return Check("shared memory", "warning", f"{found}, for {gpus} GPUs", "start the container with --shm-size=8g")
    return Check("shared memory", "ok", found)
