"""Writes the generated pages and parts of pages: `python -m docs.tools.pages`, from the repository's root."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from docs.tools import data_pages, evidence_page, families_page, own_page, ready_page, versions_page
from docs.tools.recipe_page import recipe_page

DOCS = Path(__file__).resolve().parents[1]
PARTS: Mapping[str, Callable[[], str]] = {
    "own columns": own_page.columns,
    "sources overview": data_pages.sources_overview,
    "sources": data_pages.sources,
    "benchmarks overview": data_pages.benchmarks_overview,
    "benchmarks": data_pages.benchmarks,
    "claims": evidence_page.claims,
    "verdicts": evidence_page.verdicts,
    "follow up claims": partial(evidence_page.claims, evidence_page.FOLLOW_UP),
    "follow up verdicts": partial(evidence_page.verdicts, evidence_page.FOLLOW_UP),
    "other questions": evidence_page.other_questions,
    "main verdicts": evidence_page.main_verdicts,
    "choosing claims": partial(evidence_page.claims, evidence_page.CHOOSING),
    "choosing verdicts": evidence_page.choices,
    "families": families_page.families,
    "sizes of families": families_page.sizes,
    "memory of families": families_page.memory,
    "ready recipes": ready_page.table,
    "versions": versions_page.matrix,
}
"""Name of a part, as its marks in a page have it -> what makes it."""
_PART = re.compile(r"(<!-- made by docs\.tools\.pages: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """The pages that hold something generated, each with the text that it should have."""
    found = {DOCS / "recipe.md": recipe_page()}
    for name in ("data.md", "benchmarks.md", "choosing.md", "evidence.md", "families.md", "ready-recipes.md", "versions.md"):
        text = (DOCS / name).read_text(encoding="utf-8")
        found[(DOCS / name).resolve()] = _PART.sub(lambda match: f"{match[1]}\n{PARTS[match[2]]()}\n\n{match[3]}", text)
    return found


def main() -> None:
    """Writes those that have changed."""
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(DOCS.parent)}: written\n")


if __name__ == "__main__":
    main()
