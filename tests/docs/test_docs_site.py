"""The site builds without a warning and without a network; what is generated in it is what the code says now."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from trlt.data.datasets import names
from trlt.recipe import Recipe

sys.path.insert(0, str(ROOT))
from docs.tools import pages as generated  # noqa: E402
from docs.tools.recipe_page import every_field, undescribed  # noqa: E402

DOCS = ROOT / "docs"
BUILDERS = ("sphinx", "myst_parser", "furo")


@pytest.mark.parametrize("path", generated.pages(), ids=lambda path: path.name)
def test_generated_pages_are_up_to_date(path: Path) -> None:
    text = generated.pages()[path]
    assert path.read_text(encoding="utf-8") == text, "stale: python -m docs.tools.pages"


def test_every_part_is_in_a_page() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in generated.pages())
    for name in generated.PARTS:
        assert text.count(f"<!-- made by docs.tools.pages: {name} -->") == 1


def test_every_field_of_a_recipe_is_there_with_its_meaning() -> None:
    assert not undescribed(), "write a docstring beneath the field"
    text = (DOCS / "recipe.md").read_text(encoding="utf-8")
    keys = [key for key, *_ in every_field()]
    assert {"name", "model.path", "train.sft.batch", "prepare.sources[].dataset", "eval.benchmarks.<name>.split"} <= set(keys)
    for key in keys:
        section, _, name = key.rpartition(".")
        part = re.search(rf"^##+ {re.escape(section)}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL) if section else None
        assert f"| `{name}` |" in (part[1] if part else text), key
    assert set(Recipe.model_fields) - {"name"} <= set(re.findall(r"^## (\w+)$", text, re.MULTILINE))


def test_every_data_set_has_its_section() -> None:
    for page, role in (("data.md", "train"), ("benchmarks.md", "bench")):
        text = (DOCS / page).read_text(encoding="utf-8")
        assert set(names(role)) <= set(re.findall(r"^### (\w+)$", text, re.MULTILINE))


def test_bounds_and_defaults_are_told() -> None:
    text = (DOCS / "recipe.md").read_text(encoding="utf-8")
    assert "| `group_size` | whole number, from 2 | `8` |" in text
    assert "| `delta_iou` | number, from 0, to 1 | `0.3` |" in text
    assert "| `method` | `grpo` or `sft` | `grpo` |" in text
    assert "| `dataset` | text | must be given |" in text


@pytest.mark.skipif(any(importlib.util.find_spec(name) is None for name in BUILDERS), reason="needs trlt[docs]")
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(tmp_path / "trees"), str(DOCS), str(site)]
    built = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file(), page
    first = (site / "index.html").read_text(encoding="utf-8")
    for page in (*DOCS.glob("*.md"), *DOCS.glob("decisions/*.md")):
        assert f'href="{"#" if page.stem == "index" else page.relative_to(DOCS).with_suffix(".html")}' in first, page
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="([^"]*)"|<link\b[^>]*\bhref="([^"]*)"', text)
        assert not [one for pair in loaded for one in pair if re.match(r"(?:https?:)?//", one)], path
    for path in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", path.read_text(encoding="utf-8")), path
    method = (site / "method.html").read_text(encoding="utf-8")
    assert method.count("<math") >= 25 and "<mfrac>" in method and "\\frac" not in method and "$" not in method
    assert not list(site.rglob("*.py*"))
