"""HTML from Python values: everything except `Markup` is escaped. Knows tags; nothing of their content."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from trlt import __version__

_VOID = {"meta", "input", "br"}
_SURROGATE = re.compile("[\ud800-\udfff]")


class Markup(str):
    """A text that is HTML already."""

    __slots__ = ()


def escape(text: str) -> Markup:
    """A text as HTML, in an element or in a quoted attribute; half a surrogate pair becomes the replacement character."""
    return Markup(html.escape(_SURROGATE.sub("\ufffd", text).replace("\0", "\ufffd")))


def join(parts: Iterable[str]) -> Markup:
    """The parts one after the other; those that aren't `Markup` are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def element(name: str, *children: str, **attributes: str | float | bool | None) -> Markup:
    """An element; `class_` gives `class`, and `aria_label` gives `aria-label`.

    Args:
        name: Of the tag.
        children: Texts, which are escaped, and `Markup`.
        attributes: True has no value; None and False are left out.
    """
    given = ""
    for key, value in attributes.items():
        if value is not None and value is not False:
            given += f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1, caption: str | None = None) -> Markup:
    """A table that scrolls separately on a narrow page; the first cell of a row is its header.

    Args:
        head: Names of the columns.
        rows: Cells, as many as names.
        text_columns: Number of leading text columns; the others are numbers, aligned right.
        caption: Title of the table.
    """
    kinds = [None if place < text_columns else "number" for place in range(len(head))]
    titles = [element("th", name, scope="col", class_=kind) for name, kind in zip(head, kinds, strict=True)]
    body = []
    for row in rows:
        first, *rest = row
        cells = [element("th", first, scope="row")]
        cells += [element("td", cell, class_=kind) for cell, kind in zip(rest, kinds[1:], strict=True)]
        body.append(element("tr", *cells))
    above = [element("caption", caption)] if caption else []
    grid = element("table", *above, element("thead", element("tr", *titles)), element("tbody", *body))
    return element("div", grid, class_="scroll", tabindex="0", role="region", aria_label=caption or ", ".join(head))


def data_block(id: str, value: Any) -> Markup:
    """A JSON block that the script reads; its content can't end it or begin another.

    Args:
        id: Of the element.
        value: JSON values, without NaN and infinities.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c")
    text = _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return Markup(f'<script type="application/json" id="{escape(id)}">{text}</script>\n')


def head(title: str, style: str, script: str = "") -> Markup:
    """A page from its start to the opening of its body; it loads nothing, and only its own style and script apply.

    Args:
        title: Of the window.
        style: CSS.
        script: The exact content of its `<script>`; without one, no script runs.
    """
    rules = ["default-src 'none'", f"style-src {_hash(style)}", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    if script:
        rules.insert(2, f"script-src {_hash(script)}")
    parts = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content="; ".join(rules)),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name_="color-scheme", content="light dark"),
        element("meta", name_="referrer", content="no-referrer"),
        element("title", title),
        Markup(f"<style>{style}</style>"),
    ]
    return join([Markup('<!doctype html>\n<html lang="en">'), element("head", *parts), Markup("<body>\n")])


def footer() -> Markup:
    """The end of a page."""
    return element("footer", element("p", f"Made by trlt {__version__}."))


def inline(name: str) -> str:
    """One of the page's own files, `page.css` or `page.js`, as the content of its element."""
    text = (Path(__file__).parent / name).read_text(encoding="utf-8").strip()
    assert "</" not in text.replace("</text", ""), f"{name}: would end its element"
    return text


def _hash(text: str) -> str:
    """A Content-Security-Policy source that allows exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
