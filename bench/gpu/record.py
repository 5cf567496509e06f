"""The file of results, written anew after every part; and on what they were measured."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import torch
import transformers

from bench.gpu.bench import Out

FOLDER = Path(__file__).resolve().parents[1] / "results"


class Record:
    """What was found so far, and the file that holds it."""

    def __init__(self, path: Path, head: Out, *, keep: bool) -> None:
        self._path, self._head = path, head
        known = json.loads(path.read_text(encoding="utf-8"))["parts"] if keep and path.is_file() else {}
        self.parts: dict[str, Out] = known

    def save(self) -> None:
        """Writes the whole file, or leaves the old one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        torn = self._path.with_suffix(".partial")
        torn.write_text(json.dumps(self._head | {"parts": self.parts}, indent=1) + "\n", encoding="utf-8")
        torn.replace(self._path)


def card(device: torch.device) -> str:
    """Name of the device for a file: `nvidia-h200`."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def hardware(device: torch.device) -> Out:
    """Of the machine, and the versions that count."""
    found: Out = {
        "date": date.today().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if device.type == "cuda":
        properties: Any = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": properties.name,
            "gpu_bytes": properties.total_memory,
            "cuda": torch.version.cuda,
            "driver": _driver(),
        }
    return found


def _driver() -> str | None:
    """None where nvidia-smi isn't there."""
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return told.splitlines()[0].strip() if told.strip() else None
