"""The container, the workflow and what they start: as the project has it, pinned, and without rights that they don't need."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from paths import ROOT
from ruamel.yaml import YAML
from typer.testing import CliRunner

from trlt.cli import app

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


# -- the container ----------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: (word, rest), with continued lines as one."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def all_of(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def test_every_image_is_pinned_and_its_python_is_one_that_the_project_takes() -> None:
    [version] = [rest.partition("=")[2] for rest in all_of("ARG") if rest.startswith("PYTHON=")]
    assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", version)
    assert SpecifierSet(PROJECT["requires-python"]).contains(version.partition("-")[0])
    images = [rest.split()[0] for rest in all_of("FROM")]
    assert images == ["python:${PYTHON}"] * 2


def test_it_runs_without_rights_and_holds_no_secrets() -> None:
    words = [word for word, _ in instructions()]
    last = max(index for index, word in enumerate(words) if word == "USER")
    assert all_of("USER") == ["trlt"] and "RUN" not in words[last:] and "COPY" not in words[last:]
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"(?i)token|secret|password|api_key|\bADD\b|curl|wget", text) and "COPY . " not in text


def ignored(name: str) -> bool:
    """Whether a path stays out of the builder's context: the last pattern that fits decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            parts = name.split("/")
            if fnmatch.fnmatch(parts[0], pattern) or (line.startswith("**/") and pattern in parts):
                out = not line.startswith("!")
    return out


def test_the_context_is_what_the_wheel_is_made_of() -> None:
    copied = [source for rest in all_of("COPY") for source in rest.split()[:-1]]
    assert copied == ["pyproject.toml", "README.md", "LICENSE", "trlt"]
    for name in copied:
        assert (ROOT / name).exists() and not ignored(name)
    for name in (".git", "runs", "data", ".venv", ".env", "tests", "docs", "trlt/cli/__pycache__"):
        assert ignored(name)


@pytest.mark.parametrize("extras", ["serve,qlora", "serve"])
def test_its_requirements_are_those_of_the_project(tmp_path: Path, extras: str) -> None:
    """By its own command, run here."""
    [command] = [rest for rest in all_of("RUN") if rest.startswith("python -c")]
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    env = os.environ | {"EXTRAS": extras, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, check=True)
    wanted = PROJECT["dependencies"] + [one for e in extras.split(",") for one in PROJECT["optional-dependencies"][e]]
    assert (tmp_path / "requirements.txt").read_text().split("\n") == [*wanted, ""]


def test_its_commands_are_bash_and_trlts() -> None:
    for command in all_of("RUN"):
        said = subprocess.run(["bash", "-n"], input=re.sub(r"^--mount=\S+", "", command), text=True, capture_output=True)
        assert said.returncode == 0, said.stderr
    assert all_of("ENTRYPOINT") == ['["trlt"]'] and all_of("CMD") == ['["--help"]']
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0
    shown = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("#   docker run")]
    assert shown and all(CliRunner().invoke(app, [shlex.split(line)[-1], "--help"]).exit_code == 0 for line in shown)


# -- the workflow -----------------------------------------------------------------------------------------------------


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def steps(flow: Any) -> list[dict[str, Any]]:
    return [step for job in flow["jobs"].values() for step in job["steps"]]


def test_the_workflow_runs_the_two_commands_of_the_readme() -> None:
    [path] = WORKFLOWS
    runs = [step["run"] for step in steps(read(path)) if "run" in step]
    assert runs == ["make test", "make demo"]
    readme, make = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for command in runs:
        assert f"`{command}`" in readme and re.search(rf"^{command.split()[1]}:", make, re.MULTILINE)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_few_rights_limits_of_time_and_pinned_actions(path: Path) -> None:
    flow = read(path)
    assert flow["permissions"] == {"contents": "read"}
    assert not re.search(r"secrets\.|pull_request_target|\$\{\{ github\.(?:event|head_ref)", path.read_text())
    for job in flow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 120 and re.search(r"-\d\d\.\d\d$", job["runs-on"])
    for step in steps(flow):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", step["uses"])
    versions = flow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(version) for version in versions)
    setups = [step["with"] for step in steps(flow) if step.get("uses", "").startswith("actions/setup-python")]
    assert len(setups) == len(flow["jobs"]) and all((ROOT / one["cache-dependency-path"]).is_file() for one in setups)


def test_files_that_the_workflow_keeps_are_those_that_the_demo_writes() -> None:
    demo = (ROOT / "trlt/commands/demo.py").read_text()
    [kept] = [step["with"]["path"].split() for step in steps(read(WORKFLOWS[0])) if "upload" in step.get("uses", "")]
    assert kept and all(f'"{Path(one).name}"' in demo and one.startswith("runs/demo/") for one in kept)
