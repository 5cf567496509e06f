"""Sphinx's configuration: the site from the pages of this folder, by `make docs`.

Nothing in the site is loaded from elsewhere, so that it opens from disk and without a network: fonts are the system's, and
formulas become MathML while it is built. Pages are plain Markdown, as code hosts show it; the navigation is defined here.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

project = "trlt"
html_title = "trlt"
extensions = ["myst_parser"]
exclude_patterns = ["tools"]
smartquotes = False
nitpicky = True
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
html_static_path: list[str] = []
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
NAVIGATION: dict[str, list[str]] = {
    "Start": ["getting-started", "tune-on-my-videos", "score-my-outputs", "reproduce-the-paper"],
    "Guides": ["own-rewards", "own-prompts", "serve", "scaling-out", "families", "adding-a-dataset", "troubleshooting"],
    "Learning": ["choosing", "rewards", "algorithms", "selection-rules", "online-selection"],
    "Reference": ["ready-recipes", "recipe", "data", "benchmarks", "leakage", "protocols", "results"],
    "Background": ["method", "code-tour", "guarantees", "versions", "evidence", "decisions/index", "log"],
}
"""Caption -> pages, in their order. The pages of decisions are a folded group below their index, in its order."""


def setup(app: Any) -> None:
    """Adds the navigation to the first page and to that of the decisions, and the renderer of formulas."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    app.connect("source-read", _navigate)


def _navigate(app: Any, name: str, source: list[str]) -> None:
    if name == "index":
        for caption, listed in NAVIGATION.items():
            source[0] += _toctree(listed, f":caption: {caption}\n")
    elif name == "decisions/index":
        source[0] += _toctree([f"{title} <{page}>" for title, page in re.findall(r"\[(.+?)\]\(([\w-]+)\.md\)", source[0])])


def _toctree(listed: list[str], options: str = "") -> str:
    return f"\n```{{toctree}}\n:hidden:\n{options}\n" + "\n".join(listed) + "\n```\n"


def _inline(writer: Any, node: Any) -> None:
    _write(writer, node, block=False)


def _block(writer: Any, node: Any) -> None:
    _write(writer, node, block=True)


def _write(writer: Any, node: Any, *, block: bool) -> None:
    formula = tex2mathml(node.astext(), as_block=block)
    writer.body.append(f'<div style="overflow-x: auto; padding: 0.5em 0">{formula}</div>' if block else formula)
    raise nodes.SkipNode
