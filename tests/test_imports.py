"""The list of modules is the import order: a module imports only from those above it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bare
import pytest
from paths import ROOT

PACKAGE = ROOT / "trlt"
ORDER = (
    "errors stats interruption web pace disk faults reading forms files mistakes "
    "sample answer score reward recipe video datasets prompt grade exchange "
    "selection probing comparison positions sharding model loading engine rollout preparation tree_mask shared_prefix broken "
    "checkpoints order groups completions difficulty noted health arguments training leaving parity vllm_rollouts "
    "group_rollouts step_figures correction grpo grpo_run sft plan run_plan merge_adapter report "
    "asking usage card serve miniature doctor reproduce commands cli"
).split()
HEAVY = {"torch", "torchvision", "transformers", "trl", "peft", "accelerate", "pandas", "pyarrow", "av", "matplotlib", "scipy"}
LIGHT = "stats answer score reward prompt selection sample recipe errors datasets noted cli commands".split()


def modules() -> dict[str, ast.Module]:
    """Dotted name below `trlt` to its syntax tree."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


MODULES = modules()


def imported(name: str, tree: ast.AST) -> Iterator[str]:
    """Absolute names that a tree imports, wherever in it."""
    package = (PACKAGE / Path(*name.split("."))).is_dir()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = ["trlt", *name.split(".")]
                base = ".".join([*parts[: len(parts) - node.level + package], *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported: not functions' bodies, not `if TYPE_CHECKING`."""
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        statement = todo.pop()
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            todo += statement.orelse
            continue
        inner = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt)]
        handlers = [s for child in ast.iter_child_nodes(statement) if isinstance(child, ast.ExceptHandler) for s in child.body]
        if inner or handlers:
            todo += inner + handlers
        else:
            yield statement


def test_every_module_has_its_place() -> None:
    assert {name.partition(".")[0] for name in MODULES} - {"", "__main__"} <= set(ORDER)


@pytest.mark.parametrize("name", [name for name in MODULES if name and name != "__main__"])
def test_modules_import_only_from_above(name: str) -> None:
    place = ORDER.index(name.partition(".")[0])
    for target in imported(name, MODULES[name]):
        package, _, inner = target.partition(".")
        below = inner.partition(".")[0]
        if package == "trlt" and below in ORDER:
            assert ORDER.index(below) <= place, f"trlt.{name} imports {target}, which stands below it"


@pytest.mark.parametrize("name", [name for name in MODULES if name.partition(".")[0] in ["", *LIGHT]])
def test_light_modules_load_nothing_heavy(name: str) -> None:
    for statement in at_import(MODULES[name]):
        heavy = {target.partition(".")[0] for target in imported(name, statement)} & HEAVY
        assert not heavy, f"trlt.{name}, line {statement.lineno}: imports {heavy} at module level; move it into the function"


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", cwd=PACKAGE.parent, check=True
    )
    return set(run.stdout.split())


@pytest.mark.parametrize("name", [name for name in ("recipe", "reward", "score", "stats", "cli") if name in MODULES])
def test_starting_loads_nothing_heavy(name: str) -> None:
    assert not loaded_by(f"trlt.{name}") & (HEAVY | {"numpy"})


@pytest.mark.parametrize("name", [name for name in ("selection", "prompt", "score", "noted") if name in MODULES])
def test_pure_modules_load_nothing_heavy(name: str) -> None:
    assert not loaded_by(f"trlt.{name}") & HEAVY


def test_engine_and_shared_prefix_need_torch_and_transformers_alone() -> None:
    done = bare.python("import sys, trlt.engine.forest, trlt.shared_prefix; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not {name.partition(".")[0] for name in done.stdout.split()} & set(bare.MISSING)
