"""What `docs/scaling-out.md` and its scripts show is what `trlt`, bash and Accelerate take."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
from paths import ROOT

from trlt.cli import app
from trlt.commands.launch.train_processes import strategy_environment
from trlt.recipe import load_recipe

DOC = ROOT / "docs/scaling-out.md"
SCRIPTS = sorted((ROOT / "docs/scripts").glob("*.sh"))
CONFIG = ROOT / "docs/scripts/accelerate-fsdp2.yaml"
VALUES = {"$recipe": "recipes/32k.yaml", "$data": "runs/32k/samples", "$out": "runs/32k/probe"}


def commands() -> list[str]:
    """Every line that starts trlt, with what launches it cut off and the scripts' variables filled in."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (*SCRIPTS, DOC)).replace("\\\n", " ")
    text = re.sub(r"\$\(\(.*?\)\)", "16", text)
    for name, value in VALUES.items():
        text = text.replace(name, value)
    found = [
        re.search(r"(?:^|[ -]m )(trlt (?:train|probe|select|eval) .*)|^(?:srun|env) .*?(trlt .*)", line)
        for line in text.splitlines()
    ]
    return [
        next(filter(None, match.groups())) for match in found if match and not match.string.startswith(("#", "`", "|", "-"))
    ]


def test_every_script_starts_trlt() -> None:
    shown = commands()
    assert len(SCRIPTS) == 3 and len(shown) >= 7 and {line.split()[1] for line in shown} == {"train", "probe", "select", "eval"}


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line: str) -> None:
    command = typer.main.get_command(app)
    name, *arguments = shlex.split(line)
    context = command.make_context(name, list(arguments))
    found = command.get_command(context, arguments[0])  # type: ignore[attr-defined]
    assert found is not None
    parsed = found.make_context(arguments[0], arguments[1:], parent=context)
    recipe = parsed.params.get("recipe")
    if isinstance(recipe, Path):
        load_recipe(ROOT / recipe, sets=parsed.params.get("sets") or ())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(script: Path) -> None:
    checked = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/bash\n") and "set -euo pipefail" in text


def test_tasks_of_a_node_are_its_gpus() -> None:
    for name in ("slurm-train.sh", "slurm-probe.sh"):
        text = (ROOT / "docs/scripts" / name).read_text(encoding="utf-8")
        tasks, gpus = (re.search(rf"--{key}=(\d+)", text) for key in ("ntasks-per-node", "gpus-per-node"))
        assert tasks and gpus and tasks[1] == gpus[1]
    train = load_recipe(ROOT / "recipes/32k.yaml").train
    assert train.prompts_per_step % (2 * 8 * train.prompts_per_pass) == 0, "the script's two nodes can share a step"


def test_accelerates_file_says_what_the_recipe_does() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(CONFIG))
    said = {key.removeprefix("fsdp_").upper(): str(value) for key, value in config.fsdp_config.items()}
    own = strategy_environment("fsdp2")
    assert own.pop("ACCELERATE_USE_FSDP") == "true" and str(config.distributed_type).endswith("FSDP")
    assert {f"FSDP_{key}": value.lower() for key, value in said.items()} == {key: value.lower() for key, value in own.items()}
    assert config.num_processes == 8 * config.num_machines


def test_links_lead_somewhere() -> None:
    for path in re.findall(r"\]\(([^)#:]+)\)", DOC.read_text(encoding="utf-8")):
        assert (DOC.parent / path).exists(), path
