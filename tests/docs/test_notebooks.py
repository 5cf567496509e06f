"""Notebooks of the documentation: every cell runs, on a machine without a GPU; and what they do on one fits it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from trlt.recipe import load_recipe
from trlt.train.run_plan import plan

FOLDER = ROOT / "docs/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 600


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def code(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == "code"]


def constants(path: Path) -> dict[str, str]:
    """Texts that cells give a name to."""
    nodes = [node for source in code(path) for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return {ast.unparse(node.targets[0]): node.value.value for node in nodes if isinstance(node.value, ast.Constant)}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_one_and_holds_no_outputs(path: Path) -> None:
    made = read(path)
    assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
    for cell in made["cells"]:
        assert cell["cell_type"] in ("markdown", "code") and isinstance(cell["source"], list)
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    assert f"notebooks/{path.name}" in index, "linked from the first page"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_the_free_gpu_is_given_fits_it(dtype: str, tmp_path: Path) -> None:
    """15 GB, also in the precision of a GPU without BF16; by the plan, not by a GPU."""
    texts = constants(FOLDER / "free-gpu.ipynb")
    (tmp_path / "free.yaml").write_text(texts["ON_GPU"].replace("DTYPE", dtype), encoding="utf-8")
    recipe = load_recipe(tmp_path / "free.yaml")
    memory = plan(recipe, 1, Path(), [], None)["memory"]
    assert memory["gpu_gb"] == 15 and memory["fits"] is True and memory["headroom_gb"] >= 2
    other = load_recipe(tmp_path / "free.yaml", sets=["train.lora.quantize=null", "model.path=Qwen/Qwen2.5-VL-7B-Instruct"])
    assert plan(other, 1, Path(), [], None)["memory"]["fits"] is False, "so the plan can fail"


FORKED = """
import os, subprocess, sys
from trlt import __main__ as program
import trlt.train.grpo

plain = subprocess.run

def run(command, **options):
    if command[1:3] != ["-m", "trlt"]:
        return plain(command, **options)
    sys.stdout.flush()
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        done = subprocess.CompletedProcess(command, code)
        if options.get("check"):
            done.check_returncode()
        return done
    sys.argv, sys.modules["__main__"] = ["trlt", *command[3:]], program
    program.main()
    sys.exit()

subprocess.run = run

"""
"""Before the cells: commands are processes of their own still, but forks of one that has loaded the libraries."""


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_cell_runs_without_a_gpu(path: Path, tmp_path: Path) -> None:
    (tmp_path / "cells.py").write_text(FORKED + "\n\n".join(code(path)), encoding="utf-8")
    env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "cells.py"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.stdout.count("$ trlt ") == 11
    assert (tmp_path / "runs/free/train/model").is_dir() and (tmp_path / "report.html").stat().st_size > 10_000
