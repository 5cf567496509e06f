"""What is installed from a wheel is the whole of it: built from tracked files, and used in a folder far from the repository."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

from trlt import __version__
from trlt.recipe import load_recipe

NAME = f"trlt-{__version__}"
DRIVER = """
import functools
import json
from pathlib import Path
from trlt.commands import demo as demos
from trlt.commands._output import Output
from trlt.lab.miniature import layout

shipped = Path("shipped")
shipped.mkdir()
text = (demos.HERE / "miniature.yaml").read_text()
for old, new in (("prompts_per_step: 24", "prompts_per_step: 2"), ("prompts_per_pass: 6", "prompts_per_pass: 2"),
                 ("max_steps: 56", "max_steps: 2")):
    assert old in text
    text = text.replace(old, new)
(shipped / "miniature.yaml").write_text(text)
demos.HERE = shipped
layout.write = functools.partial(layout.write, scale=0.02)
result = demos.demo(Path("out"), output=Output(False))
Path("returned.json").write_text(json.dumps({"stages": len(demos.STAGES), "result": result}))
"""
"""`trlt demo` with a fiftieth of its clips and two steps."""


def tracked(folder: str = ".") -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git repository")
    return [name for name in listed.stdout.split("\0") if name]


def pip(*args: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def wheel_of(source: Path, folder: Path) -> Path:
    """Built without a network, by the setuptools of this environment."""
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, source)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files, without what tests and builds have left beside them."""
    folder = tmp_path_factory.mktemp("copy") / "trlt"
    for name in tracked():
        if os.path.lexists(ROOT / name):  # perhaps just deleted
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def wheel(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(copy, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def archive(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive."""
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True)
    return folder / f"{NAME}.tar.gz"


def test_a_wheel_holds_the_package_its_data_and_the_license(wheel: Path) -> None:
    assert wheel.name == f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if not name.startswith(f"{NAME}.dist-info/")}
        license = opened.read(f"{NAME}.dist-info/licenses/LICENSE").decode()
        meta = opened.read(f"{NAME}.dist-info/METADATA").decode()
    assert held == {name for name in tracked("trlt") if (ROOT / name).is_file()}
    assert license == (ROOT / "LICENSE").read_text() and "License-Expression: Apache-2.0" in meta
    assert f"Version: {__version__}\n" in meta and "trlt/py.typed" in held


def test_a_source_archive_holds_what_is_tracked_and_makes_the_same_wheel(wheel: Path, archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as opened:
        held = {name.removeprefix(f"{NAME}/") for name in opened.getnames() if opened.getmember(name).isfile()}
        opened.extractall(tmp_path, filter="data")
    made = {name for name in held if name.startswith("trlt.egg-info/") or name in ("PKG-INFO", "setup.cfg")}
    wanted = {name for name in tracked() if (ROOT / name).is_file()}
    shipped = {name.removeprefix("trlt/recipe/shipped/") for name in wanted if name.startswith("trlt/recipe/shipped/")}
    assert (ROOT / "recipes").is_symlink()  # an archive holds what it leads to
    assert held - made == wanted | {f"recipes/{name}" for name in shipped}
    again = wheel_of(tmp_path / NAME, tmp_path / "again")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        assert [name for name in one.namelist() if one.read(name) != other.read(name)] == []


# -- what an installed user is told -----------------------------------------------------------------------------------


POINTERS = re.compile(r"\b(?:docs|recipes|tests)/\w|\b(?:README|CHANGELOG|AGENTS|CONTRIBUTING)\.md\b")
CARD = "README.md"
"""A model's card, which trlt writes."""


def told(tree: ast.Module) -> list[str]:
    """Texts of a module that are no docstrings: of a function, or of a name above."""
    bodies = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    silent = {id(one.value) for body in bodies for one in body if isinstance(one, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node.value for node in texts if id(node) not in silent]


def test_nothing_that_is_said_points_to_files_of_the_repository() -> None:
    found = [
        (str(path.relative_to(ROOT)), text)
        for path in sorted((ROOT / "trlt").rglob("*.py"))
        for text in told(ast.parse(path.read_text(encoding="utf-8")))
        if POINTERS.search(text) and text != CARD
    ]
    assert found == []


def test_texts_that_are_told_are_found() -> None:
    tree = ast.parse('"""no"""\nA = "yes"\n"""no"""\ndef f():\n    """no"""\n    raise E(f"see {docs/x} in")')
    assert told(tree) == ["yes", "see ", " in"]


# -- installed, far from the repository -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh environment that holds the wheel, and sees the libraries of this one but not its trlt."""
    folder = tmp_path_factory.mktemp("env") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin/python"
    pip("--python", python, "install", "--no-deps", "--no-index", "--no-compile", wheel)
    [packages] = folder.glob("lib/python*/site-packages")
    # Only now, so that pip replaces nothing there. Files .pth of that folder, the checkout's among them, aren't read.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(python: Path, folder: Path, *args: str) -> str:
    return ended(python, folder, *args).stdout


def ended(python: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([python, *args], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{args}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def test_the_wheel_is_what_is_imported(installed: Path, tmp_path: Path) -> None:
    code = (
        "import trlt, importlib.metadata as m; print(trlt.__file__, m.version('trlt'), m.distribution('trlt').locate_file(''))"
    )
    file, version, place = run(installed, tmp_path, "-c", code).split()
    assert Path(file).is_relative_to(installed.parents[1]) and Path(place).is_relative_to(installed.parents[1])
    assert version == __version__ == importlib.metadata.version("trlt")
    assert run(installed, tmp_path, str(installed.parent / "trlt"), "--version") == f"trlt {__version__}\n"


def test_pages_of_the_server_come_with_it(installed: Path, tmp_path: Path) -> None:
    """Routes read what they give when they are made."""
    code = "from trlt.serve.page import PageRoutes; print(*[route.path for route in PageRoutes(None).routes()])"
    assert {"/", "/page.js", "/page.css", "/icon.svg", "/base.css"} <= set(run(installed, tmp_path, "-c", code).split())


@pytest.mark.slow
def test_the_demo_runs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """All commands on a small layout, in processes of their own: a line per stage, four at the end, a log and a page.

    Then the report alone, the doctor, and recipes of the package by their names.
    """
    shown = ended(installed, tmp_path, "-c", DRIVER)
    out, returned = tmp_path / "out", json.loads((tmp_path / "returned.json").read_text())
    result = returned["result"]
    assert len(re.findall(r": done, \d+:\d\d$", shown.stderr, re.M)) == returned["stages"]
    log = (out / "demo.log").read_text()
    for command in ("prepare", "probe", "select", "eval", "train", "compare", "infer"):
        assert f"\ntrlt {command} " in log
    assert result["comparison"]["verdict"]["outcome"] == "unknown", "two steps, on few videos"
    done, told, page, following = shown.stdout.splitlines()
    chosen = result["selection"]
    assert re.match(rf"Done in \d+ s: .*answered {chosen['rows']} questions.*GRPO \(2 steps\) on {chosen['taken']} of", done)
    assert done.endswith(" on 8 benchmarks. Log: out/demo.log") and page.startswith("Page: out/report.html (")
    unknown = "Whether the tuned model is better than the base model can't be said"
    assert told.startswith("Verdict: ") and unknown in told
    assert following.endswith("trlt serve --model out/train/model --recipe out/miniature.yaml")
    assert unknown in log and "Where everything lies" in log
    text = (out / "report.html").read_text()
    for section in ("results", "training", "difficulty", "selection", "samples"):
        assert f'<section id="{section}"' in text
    assert '"name":"eval-base"' in text.replace('": "', '":"') and 'id="frames-0"' in text
    assert not (out / "train/report.html").exists()
    assert set(result["tuned"]["benchmarks"]) == set(load_recipe(Path("miniature")).eval.benchmarks)
    assert result["training"]["steps"] == 2 and chosen["taken"] > 0
    assert json.loads((out / "demo.json").read_text())["tuned"] == result["tuned"]
    run(installed, tmp_path, "-m", "trlt", "report", "out", "--out", "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000
    found = json.loads(run(installed, tmp_path, "-m", "trlt", "doctor", "--json"))
    assert found["ok"], found
    planned = run(installed, tmp_path, "-m", "trlt", "train", "miniature", "--dry-run", "--data", "out/train.jsonl", "--json")
    assert json.loads(planned)["recipe"]["name"] == "miniature", "a recipe of the package, by its name"
    listed = json.loads(run(installed, tmp_path, "-m", "trlt", "recipe", "list", "--json"))["recipes"]
    assert {"32k", "miniature"} <= {one["name"] for one in listed}
