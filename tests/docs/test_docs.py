"""What the pages of `docs/` say is so: their Python runs, their recipes load, names are in the code, links lead somewhere."""

from __future__ import annotations

import ast
import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from paths import ROOT

from trlt.recipe import Recipe, load_recipe
from trlt.task.sample import Sample

sys.path.insert(0, str(ROOT))
from docs.tools.blocks import Block, blocks, pages  # noqa: E402

DOCS = ROOT / "docs"
LANGUAGES = {"sh", "python", "yaml", "json", "text", "math", ""}


def of(language: str) -> list[Block]:
    return [block for page in pages() for block in blocks(page, language)]


@cache
def definitions(path: Path) -> set[str]:
    """Names that a file defines, those inside classes as `Class.name`."""
    found: set[str] = set()

    def look(nodes: list[ast.stmt], prefix: str) -> None:
        for node in nodes:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    look(node.body, f"{node.name}.")
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(prefix + node.target.id)
            elif isinstance(node, ast.Assign):
                found.update(prefix + target.id for target in node.targets if isinstance(target, ast.Name))

    look(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


@cache
def messages() -> tuple[str, ...]:
    """Every text in the code, with `…` for what differs from case to case."""
    found = []
    for path in (ROOT / "trlt").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)


def test_blocks_are_of_known_languages() -> None:
    for page in pages():
        for block in blocks(page):
            assert block.language in LANGUAGES, f"{block.place}: {block.language!r} is neither checked nor marked as text"


@pytest.mark.parametrize("page", [page for page in pages() if any(blocks(page, "python"))], ids=lambda path: path.stem)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One page's blocks in their order, as one program; those with a title are files."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        if not block.title:
            exec(compile("\n" * (block.line - 1) + block.text, block.page, "exec"), names)


def test_python_of_three_pages_at_least_was_run() -> None:
    assert {"docs/getting-started.md", "docs/method.md", "docs/data.md"} <= {b.page for b in of("python") if not b.title}


@pytest.mark.parametrize("block", of("yaml"), ids=lambda block: block.place)
def test_recipes_load(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(block.text, encoding="utf-8")
    load_recipe(path)


def test_the_page_of_recipes_ends_with_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text([block for block in of("yaml") if block.page == "docs/recipe.md"][-1].text, encoding="utf-8")
    assert load_recipe(path) == Recipe()


@pytest.mark.parametrize("block", of("json"), ids=lambda block: block.place)
def test_json_is_json_and_samples_are_samples(block: Block) -> None:
    value = json.loads(block.text)
    if block.page in ("docs/data.md", "docs/benchmarks.md"):
        assert Sample.from_json(value).to_json() == value


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for path in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / path).exists(), f"{page.name}: {path}"


def test_the_method_names_what_is_in_the_code() -> None:
    text = (DOCS / "method.md").read_text(encoding="utf-8")
    named = re.findall(r"`(trlt/[\w/]+\.py)`:\s((?:`[\w.]+`(?:,\s)?)+)", text)
    assert len(named) >= 15
    for file, names in named:
        for name in re.findall(r"`([\w.]+)`", names):
            assert name in definitions(ROOT / file), f"method.md: {file}: {name}"


def test_the_tour_names_what_is_in_the_code() -> None:
    text = (DOCS / "code-tour.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)`(?: `(\w+)`)?", text)
    assert len(named) >= 40
    for file, name in named:
        assert (ROOT / "trlt" / file).is_file(), f"code-tour.md: {file}"
        assert not name or name in definitions(ROOT / "trlt" / file), f"code-tour.md: {file}: {name}"


def test_decisions_that_the_code_names_are_there() -> None:
    files = [
        path
        for folder in ("trlt", "tests", "bench", "recipes")
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".yaml")
    ]
    named = {name for path in files for name in re.findall(r"docs/decisions/([\w-]+)", path.read_text(encoding="utf-8"))}
    assert len(named) >= 8
    assert not {name for name in named if not (DOCS / "decisions" / f"{name}.md").is_file()}


def test_every_part_of_the_method_says_where_it_is() -> None:
    text = (DOCS / "method.md").read_text(encoding="utf-8")
    for section in text.split("\n## ")[1:]:
        assert "In the code: " in section, section.splitlines()[0]
    for equation in ("Eq. 1", "Eq. 2", "Eq. 3", "k3", r"\Delta_{\text{IoU}}"):
        assert equation in text


NO_KEYS = ("log.md", "results.md", "evidence.md", "choosing.md")
"""Pages with metrics, and keys that were, which look like keys."""


def test_keys_that_pages_name_are_in_recipes() -> None:
    def known(dotted: str) -> bool:
        kind: object = Recipe
        for part in dotted.split("."):
            sections = [one for one in (kind, *get_args(kind)) if hasattr(one, "model_fields")]  # also one that may be null
            fields = sections[0].model_fields if sections else {}
            if part not in fields:
                return False
            kind = fields[part].annotation
        return True

    sections = "|".join(Recipe.model_fields)
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for key in re.findall(rf"`((?:{sections})\.[a-z_.]+?)(?:: [^`]*)?`", text):
            if page.name not in NO_KEYS and not re.search(r"\.(?:py|md|csv|html|jsonl?|yaml)$", key):
                assert known(key), f"{page.name}: {key}"


SYMPTOMS = re.findall(r"^### `(.*)`$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_symptoms_are_messages_of_the_code(symptom: str) -> None:
    assert any(symptom in text for text in messages()), "no such message in trlt/"


def test_each_symptom_has_cause_and_remedy() -> None:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    parts = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert len(parts) >= 25 and len(SYMPTOMS) == len(parts)
    for part in parts:
        assert "**Cause.**" in part and "**Remedy.**" in part, part.splitlines()[0]


def test_exit_codes_are_those_of_the_tree() -> None:
    from trlt import errors
    from trlt.cli import INTERRUPTED

    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == codes | {INTERRUPTED}
