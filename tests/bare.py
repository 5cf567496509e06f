"""Python where torch, transformers and what these need are all that is installed, as on a machine rented for an hour."""

from __future__ import annotations

import os
import subprocess
import sys

from paths import ROOT

MISSING = (
    "accelerate av datasets matplotlib pandas peft PIL pyarrow pydantic qwen_vl_utils rich ruamel scipy torchvision trl typer"
).split()
"""Of this environment's packages; PyYAML stays, which transformers needs."""
HIDE = f"""
import importlib.machinery
find = importlib.machinery.PathFinder.find_spec
hidden = lambda name, *rest: None if name.partition(".")[0] in {MISSING!r} else find(name, *rest)
importlib.machinery.PathFinder.find_spec = staticmethod(hidden)
"""


def python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs code there, in the repository's root."""
    return subprocess.run(
        [sys.executable, "-c", HIDE + code, *args],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
