"""Tries trlt with other versions of the libraries that it leans on, and notes what was run: `docs/versions.md` shows the notes.

`python tests/versions.py make FOLDER transformers==5.24.0 ...` makes an environment that has the packages of this one, but for
those that are named. `FOLDER/bin/python tests/versions.py record` runs the tests that such versions can break, and writes their
outcome into `trlt/commands/doctor_checks/versions.json`, in place of an older one with the same versions.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "trlt/commands/doctor_checks/versions.json"
LIBRARIES = ("transformers", "trl", "accelerate", "peft", "torch")
"""Whose names, signatures and defaults are leaned on."""
FAMILIES = "tests/engine/families/"
PARTS: dict[str, tuple[str, ...]] = {
    "names": ("tests/test_library_names.py", "tests/train/test_trl_fit.py", f"{FAMILIES}test_library_signatures.py"),
    "settings": ("tests/train/test_arguments.py",),
    "families": tuple(f"{FAMILIES}test_family_{name}.py" for name in ("ids", "passes", "positions", "prompts")),
    "engine": tuple(f"tests/engine/test_{name}.py" for name in ("attached", "features", "forest", "mrope", "windows")),
    "shared prefix": ("tests/train/test_shared_prefix.py",),
    "loss and gradients": ("tests/train/test_golden.py", "tests/train/test_gradients.py"),
    "loading and saving": (f"{FAMILIES}test_family_files.py", "tests/train/test_checkpoints.py"),
}
"""What is run -> where it stands; of slow tests none."""


def make(folder: Path, requirements: Sequence[str]) -> None:
    """An environment with this one's packages behind its own.

    Args:
        folder: Of the environment; must not exist.
        requirements: What differs, as pip takes it; what these need themselves is not installed.
    """
    if folder.exists():
        sys.exit(f"{folder}: is there already")
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    own = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True).strip()
    # Read after the environment's own packages, which thereby come first.
    (Path(own) / "zz_behind.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-compile"]
    subprocess.run([*pip, *requirements], check=True)


def run() -> dict[str, dict[str, int]]:
    """Of each part, how many tests passed, failed and were skipped."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", f"--junitxml={report}"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        paths = [path for some in PARTS.values() for path in some]
        subprocess.run([*command, *paths], cwd=ROOT, env=environment, check=False)
        return counts(report.read_text(encoding="utf-8"))


def counts(report: str) -> dict[str, dict[str, int]]:
    """The same from pytest's report as XML."""
    part_of = {path.removesuffix(".py").replace("/", "."): part for part, paths in PARTS.items() for path in paths}
    found = {part: {"passed": 0, "failed": 0, "skipped": 0} for part in PARTS}
    for case in ElementTree.fromstring(report).iter("testcase"):
        outcomes = {child.tag for child in case}
        # A file that can't even be imported has no class, and its path as its name.
        name = case.get("classname") or str(case.get("name"))
        part = next((part for module, part in part_of.items() if f"{name}.".startswith(f"{module}.")), None)
        if part is None:  # pytest's own words about an interruption
            continue
        failed = bool(outcomes & {"failure", "error"})
        found[part]["failed" if failed else "skipped" if "skipped" in outcomes else "passed"] += 1
    return found


def record() -> None:
    """Runs all parts and notes the outcome."""
    entry: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        # A build of torch for one device or another is the same version.
        "versions": {name: version(name).partition("+")[0] for name in LIBRARIES},
        "parts": run(),
    }
    before = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else []
    RECORD.write_text(written(before, entry), encoding="utf-8")


def written(before: Sequence[dict[str, Any]], entry: dict[str, Any]) -> str:
    """The file's text with an entry added, or put in place of one with the same versions; a line each, by versions."""
    from packaging.version import Version

    kept = [one for one in before if one["versions"] != entry["versions"]]
    entries = sorted([*kept, entry], key=lambda one: [Version(one["versions"][name]) for name in LIBRARIES])
    return "[\n" + ",\n".join(json.dumps(one) for one in entries) + "\n]\n"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder, *requirements] if requirements:
            make(Path(folder), requirements)
        case ["record"]:
            record()
        case _:
            sys.exit(__doc__)
