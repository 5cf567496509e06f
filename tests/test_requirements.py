"""A fresh install takes the versions that were tested: every dependency has bounds, and what is installed lies within them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import newest
import pytest
import versions
from packaging.requirements import Requirement
from packaging.version import Version
from paths import ROOT

TEXT = newest.read()
LISTS = newest.requirements(tomllib.loads(TEXT))
RECORD = json.loads(versions.RECORD.read_text(encoding="utf-8"))
ALL = sorted({text for texts in LISTS.values() for text in texts})
BY_MINOR = set(
    "av bitsandbytes deepspeed matplotlib mypy numpy peft pydantic pytest safetensors scipy sphinx tokenizers torch "
    "torchvision".split()
)
"""Whose minor versions change numbers, private interfaces that are leaned on, or what the checks find fault with."""


def bounds(requirement: Requirement) -> tuple[Version, Version]:
    """The lower bound, and the upper one that isn't in any more."""
    found = {clause.operator: Version(clause.version) for clause in requirement.specifier}
    if "==" in found:
        [exact] = found.values()
        return exact, exact
    assert found.keys() == {">=", "<"}, f"{requirement}: give a lower bound by >= and an upper one by <"
    return found[">="], found["<"]


@pytest.mark.parametrize("text", ALL)
def test_every_dependency_has_bounds_within_which_nothing_changes(text: str) -> None:
    requirement = Requirement(text)
    lower, upper = bounds(requirement)
    if lower == upper:
        return
    if requirement.name.lower() in BY_MINOR or upper.major == 0:
        # bitsandbytes is tested with two minor versions (docs/decisions/four-bits.md).
        minors = 2 if requirement.name == "bitsandbytes" else 1
        assert (upper.major, upper.minor) == (lower.major, lower.minor + minors), text
    elif requirement.name != "setuptools":  # which builds alone, and not what runs
        assert upper.major == lower.major + 1 or (upper.major == lower.major and upper.minor > lower.minor), text


@pytest.mark.parametrize("name", versions.LIBRARIES)
def test_the_oldest_version_was_tried_and_the_installed_one(name: str) -> None:
    """Noted by `tests/versions.py`, for libraries whose insides are leaned on."""
    [requirement] = [Requirement(text) for text in LISTS["run"] if Requirement(text).name == name]
    lower, _ = bounds(requirement)
    tried = {Version(entry["versions"][name]) for entry in RECORD}
    assert min(tried).release[:2] == lower.release[:2], f"{name}: tried with {sorted(map(str, tried))}"
    assert all(requirement.specifier.contains(one) for one in tried)
    assert Version(version(name).partition("+")[0]) in tried, f"{name}: run `python tests/versions.py record`"


def test_nothing_that_was_tried_failed() -> None:
    for entry in RECORD:
        assert entry["parts"].keys() == versions.PARTS.keys(), f"{entry['versions']}: run `python tests/versions.py record`"
        for part, found in entry["parts"].items():
            assert found["failed"] == 0, f"{entry['versions']}: {part}: {found}"
        assert entry["parts"]["names"]["passed"] > 0 and entry["parts"]["settings"]["passed"] > 0


def test_a_dependency_has_the_same_bounds_wherever_it_stands() -> None:
    names = [Requirement(text).name for text in ALL]
    assert len(names) == len(set(names)), sorted(names)


def test_what_is_installed_lies_within_the_bounds() -> None:
    assert newest.differ() == [], "other versions than the tested ones; `make test` installs those"


def test_every_library_that_is_imported_is_declared() -> None:
    """Else the version of another's dependency decides."""
    declared = {Requirement(text).name.lower() for name, texts in LISTS.items() if name != "build" for text in texts}
    provides = packages_distributions()
    used: dict[str, str] = {}
    for path in sorted((ROOT / "trlt").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            used |= {name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names}
    # Imported by SGLang itself, in its own environment.
    assert used.pop("sglang").startswith("trlt/engine/servers/for_sglang/")
    libraries = {name: path for name, path in used.items() if name not in sys.stdlib_module_names | {"trlt"}}
    assert {"torch", "datasets", "huggingface_hub"} <= libraries.keys()
    for name, path in libraries.items():
        distributions = {one.lower().replace("_", "-") for one in provides.get(name, [name])}
        assert distributions & declared, f"{path}: {name}: comes from {distributions}, which pyproject.toml doesn't name"


def test_lifting_keeps_lower_bounds() -> None:
    assert newest.lifted("torch>=2.15,<2.16") == "torch>=2.15"
    assert newest.lifted("ray[data,x]>=2.60,<2.64") == "ray[data,x]>=2.60"
    assert newest.lifted("qwen-vl-utils==0.0.14") == "qwen-vl-utils>=0.0.14"
    assert newest.lifted("a~=1.2") == "a>=1.2" and newest.lifted("a<2, >=1") == "a>=1" and newest.lifted("a<=2") == "a"
    assert newest.lifted("a>=1,!=1.3,<2; python_version < '3.13'") == "a>=1,!=1.3; python_version < '3.13'"


def test_the_lifted_project_differs_in_upper_bounds_alone(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-S", ROOT / "tests/newest.py", "lift", tmp_path / "p"], check=True)  # -S: no packages
    lifted = tomllib.loads((tmp_path / "p/pyproject.toml").read_text())
    plain = tomllib.loads(TEXT)
    assert newest.requirements(lifted)["build"] == LISTS["build"]
    for name, texts in LISTS.items():
        if name == "build":
            continue
        for ours, theirs in zip(texts, newest.requirements(lifted)[name], strict=True):
            before, after = Requirement(ours), Requirement(theirs)
            assert (before.name, before.extras) == (after.name, after.extras)
            [clause] = after.specifier
            assert clause.operator == ">=" and Version(clause.version) == bounds(before)[0]
            assert after.specifier.contains("9999")
    for project in (plain, lifted):
        del project["project"]["dependencies"], project["project"]["optional-dependencies"]
    assert plain == lifted
    assert (tmp_path / "p/trlt/__init__.py").is_file()


def test_versions_outside_of_their_bounds_are_named() -> None:
    some = {"run": ["torch>=2,<2.1", "numpy>=1", "no-such-package>=1,<2"], "build": ["setuptools<1"]}
    assert list(newest.outside(some)) == [f"torch {version('torch')}, tested with <2.1,>=2"]
