"""The house: what lies in `trlt`, in the order in which rooms may import, and what may be loaded when.

A module imports only from its own room and those before it, whether at its top or within a function; and no two modules need
each other when they are imported.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bare
import pytest
from paths import ROOT

PACKAGE = ROOT / "trlt"
FOUNDATIONS = "errors files stats".split()
ROOMS = "task recipe video data engine rollout select train evaluate report serve lab commands".split()
ORDER = [*FOUNDATIONS, *ROOMS, "cli"]
HEAVY = {"torch", "torchvision", "transformers", "trl", "peft", "accelerate", "pandas", "pyarrow", "av", "matplotlib", "scipy"}
LIGHT = "errors files stats task recipe data.datasets select train.step_notes commands cli".split()
"""Rooms and modules that load nothing heavy at their top."""


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


def within(name: str, places: list[str]) -> bool:
    """Whether a module is one of these or lies in one of them."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def needed(name: str) -> set[str]:
    """The modules of `trlt` that one names when it is imported, without the packages on the way to them."""
    found = {target.removeprefix("trlt.") for statement in at_import(MODULES[name]) for target in imported(name, statement)}
    known = found & set(MODULES) - {name}
    return {target for target in known if not any(other.startswith(f"{target}.") for other in known)}


def test_the_rooms_are_what_lies_in_the_package() -> None:
    assert {name.partition(".")[0] for name in MODULES} - {"", "__main__"} == set(ORDER)
    assert len(ROOMS) == 13


@pytest.mark.parametrize("name", [name for name in MODULES if name and name != "__main__"])
def test_modules_import_only_from_rooms_before_theirs(name: str) -> None:
    place = ORDER.index(name.partition(".")[0])
    for target in imported(name, MODULES[name]):
        package, _, inner = target.partition(".")
        room = inner.partition(".")[0]
        if package == "trlt" and room in ORDER:
            assert ORDER.index(room) <= place, f"trlt.{name} imports {target}, whose room comes after its own"


def test_no_modules_need_each_other() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in sorted(needed(name)):
                visit(target, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", [name for name in MODULES if not name or within(name, LIGHT)])
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


@pytest.mark.parametrize("name", ["recipe", "task.reward", "task.score", "stats.intervals", "cli"])
def test_starting_loads_nothing_heavy(name: str) -> None:
    assert not loaded_by(f"trlt.{name}") & (HEAVY | {"numpy"})


@pytest.mark.parametrize(
    "name", ["select", "task.prompt", "task.score", "task.grade", "train.step_notes", "engine.families", "train.memory_plan"]
)
def test_pure_modules_load_nothing_heavy(name: str) -> None:
    assert not loaded_by(f"trlt.{name}") & HEAVY


def test_engine_and_shared_prefix_need_torch_and_transformers_alone() -> None:
    done = bare.python("import sys, trlt.engine.forest, trlt.engine.shared_prefix; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not {name.partition(".")[0] for name in done.stdout.split()} & set(bare.MISSING)


# -- private names ----------------------------------------------------------------------------------------------------

LIBRARIES = {
    "_generate_and_score_completions": "TRL's method, which the trainer overrides; tests look at what it returns",
    "_prepare_inputs": "TRL's method, which the trainer overrides; a benchmark gives it prepared groups",
    "_attn_implementation": "Transformers' choice of attention in a model's configuration",
}
"""Names with an underscore that tests may replace, since a library gave them: see `test_library_names.py`."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def room(name: str) -> str:
    """The command line and its commands are one."""
    top = name.partition(".")[0]
    return "commands" if top == "cli" else top


def made_in(tree: ast.AST) -> set[str]:
    """Private names that a tree defines: functions, classes, variables, attributes of `self`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return {name for name in found if is_private(name)}


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


PRIVATE = {name: made_in(tree) for name, tree in MODULES.items()}


def classes() -> dict[str, ast.ClassDef]:
    """Full names to all classes of the package."""
    return {
        f"trlt.{name}.{node.name}": node
        for name, tree in MODULES.items()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


def bases(name: str, made: ast.ClassDef) -> Iterator[str]:
    """Full names of a class's bases, as its module imports them."""
    places = {target.rpartition(".")[2]: target for target in imported(name, MODULES[name])}
    for base in map(ast.unparse, made.bases):
        first, _, rest = base.partition(".")
        yield f"{places.get(first, f'trlt.{name}.{first}')}{'.' * bool(rest)}{rest}"


@pytest.mark.parametrize("name", MODULES)
def test_no_room_imports_a_private_name_of_another(name: str) -> None:
    for target in imported(name, MODULES[name]):
        package, *parts = target.split(".")
        if package == "trlt" and parts and room(parts[0]) != room(name):
            assert not any(map(is_private, parts)), f"trlt.{name} imports {target}; give it a public name, or move it"


def test_no_room_reaches_for_a_private_name_of_another() -> None:
    """Neither on an object nor, in a subclass, on itself."""
    faults, every = [], classes()
    elsewhere = {where: {n for name in MODULES if room(name) != where for n in PRIVATE[name]} for where in map(room, MODULES)}
    own = {where: {n for name in MODULES if room(name) == where for n in PRIVATE[name]} for where in map(room, MODULES)}
    for name, tree in MODULES.items():
        reached = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and not is_self(n.value)}
        faults += [f"trlt.{name}: {attr}" for attr in reached & elsewhere[room(name)] - own[room(name)]]
    for full, made in every.items():
        todo, above = [full], set[str]()
        while todo:
            place = todo.pop()
            module = place.rpartition(".")[0].removeprefix("trlt.")
            todo += [base for base in bases(module, every[place]) if base in every]
            if room(module) != room(full.removeprefix("trlt.")):
                above |= made_in(every[place])
        used = made_in(made) | {n.attr for n in ast.walk(made) if isinstance(n, ast.Attribute) and is_self(n.value)}
        faults += [f"{full}: {attr} of a class that it inherits from" for attr in used & above]
    assert not faults, "offer an argument, a hook or a returned value instead"


def replaced(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines, and names of what a test replaces there: by `setattr` or a patch, by assignment, or in a subclass."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "setattr",
            "delattr",
            "object",
            "patch",
        ):
            for one in node.args[:2]:
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    yield node.lineno, one.value.rpartition(".")[2]
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)) and not is_self(node.value):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ClassDef) and node.bases:
            yield from ((one.lineno, one.name) for one in node.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)))


def test_no_test_or_benchmark_replaces_a_private_name() -> None:
    ours = set().union(*PRIVATE.values()) - set(LIBRARIES)
    faults = []
    for path in sorted(path for folder in ("tests", "bench") for path in (PACKAGE.parent / folder).rglob("*.py")):
        for line, name in replaced(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if is_private(name) and name in ours:
                faults.append(f"{path.name}, line {line}: {name}")
    assert not faults, "pass a stand-in, use a hook, or replace what is public"


@pytest.mark.parametrize(
    "text",
    [
        "monkeypatch.setattr(thing, '_x', 1)",
        "monkeypatch.setattr('trlt.thing._x', 1)",
        "mock.patch('trlt.thing._x')",
        "patch.object(thing, '_x')",
        "thing._x = 1",
        "class A(B):\n def _x(self): ...",
    ],
)
def test_replaced_names_are_seen(text: str) -> None:
    assert [name for _, name in replaced(ast.parse(text)) if is_private(name)] == ["_x"]
