"""The project without upper bounds of its dependencies, for `make test-newest`: what fails with it says what is coming.

`python tests/newest.py lift FOLDER` writes the project with its bounds lifted, to be installed from there; it needs no package.
`python tests/newest.py differ` prints which versions in its own environment aren't the tested ones.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("trlt", "README.md")
"""What an installation needs beside `pyproject.toml`."""


def read() -> str:
    """The text of `pyproject.toml`."""
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def requirements(project: Mapping[str, Any]) -> dict[str, list[str]]:
    """All requirements of a parsed `pyproject.toml`: of building, of running, and of each extra."""
    found = {"build": project["build-system"]["requires"], "run": project["project"]["dependencies"]}
    return found | project["project"]["optional-dependencies"]


def lifted(requirement: str) -> str:
    """A requirement with its lower bounds alone: `a[b]>=1,<2` -> `a[b]>=1`, `a==1` -> `a>=1`."""
    match = re.fullmatch(r"([\w.-]+(?:\[[^\]]*\])?)([^;]*)(.*)", requirement)
    assert match, requirement
    name, bounds, marker = match.groups()
    kept = [re.sub("==|~=", ">=", bound.strip()) for bound in bounds.split(",") if not bound.strip().startswith("<")]
    return name + ",".join(kept) + marker


def lifted_project(text: str) -> str:
    """The text of a `pyproject.toml` with the upper bounds of what it runs and is tested with lifted."""
    for name, some in requirements(tomllib.loads(text)).items():
        for requirement in some if name != "build" else []:
            text = text.replace(f'"{requirement}"', f'"{lifted(requirement)}"')
    return text


def lift(folder: Path) -> None:
    """Writes the project with its bounds lifted; the package itself is linked."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(lifted_project(read()), encoding="utf-8")
    for name in PARTS:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(ROOT / name)


def outside(some: Mapping[str, list[str]]) -> Iterator[str]:
    """A line for each requirement whose installed version lies outside of its bounds; one that isn't installed has none."""
    from packaging.requirements import Requirement

    for text in sorted({text for name, texts in some.items() if name != "build" for text in texts}):
        wanted = Requirement(text)
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            continue
        if not wanted.specifier.contains(there, prereleases=True):
            yield f"{wanted.name} {there}, tested with {wanted.specifier}"


def differ() -> list[str]:
    """What is installed besides the versions that `pyproject.toml` says."""
    return list(outside(requirements(tomllib.loads(read()))))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["lift", folder]:
            lift(Path(folder))
        case ["differ"]:
            sys.stdout.write("".join(f"{line}\n" for line in differ()) or "all versions are the tested ones\n")
        case _:
            sys.exit(__doc__)
