"""Texts that a recipe names by their files: read once, when the recipe is, so that a saved recipe holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trlt.errors import RecipeError

SUFFIXES = (".jinja", ".jinja2", ".j2", ".txt")
MOST_BYTES = 1 << 17


def read_texts(values: dict[str, Any], folder: Path | None, where: Mapping[str, str], file: str) -> None:
    """Puts the texts of `prompt.template`, `prompt.system` and `reward.judge.prompt` in the place of their files' paths.

    Paths are relative to the working folder, or else to the recipe's.

    Args:
        values: A recipe's, changed in place; whatever isn't text stays as it is.
        folder: The recipe's.
        where: What set a key, if not the recipe, for errors.
        file: The recipe, for errors.

    Raises:
        RecipeError: a file can't be read, or isn't UTF-8.
    """
    reward = values.get("reward")
    judge = reward.get("judge") if isinstance(reward, dict) else None
    if isinstance(judge, dict) and isinstance(text := judge.get("prompt"), str) and (path := _path(text, folder)):
        judge["prompt"] = _text(path, f"{where.get('reward.judge.prompt', file)}: reward.judge.prompt")
    prompt = values.get("prompt")
    if not isinstance(prompt, dict):
        return
    names = []
    for holder, key, dotted in list(_named(prompt)):
        path = _path(holder[key], folder)
        if path is not None:
            holder[key] = _text(path, f"{where.get(dotted, file)}: {dotted}")
            names.append(path.name)
    if names:
        prompt["name"] = ", ".join(dict.fromkeys(names))[:200]


def _named(prompt: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Every text that may name a file: where it stands, and its key."""
    template = prompt.get("template")
    if isinstance(template, dict):
        yield from ((template, key, f"prompt.template.{key}") for key, text in template.items() if isinstance(text, str))
    for key in ("template", "system"):
        if isinstance(prompt.get(key), str):
            yield prompt, key, f"prompt.{key}"


def _path(text: str, folder: Path | None) -> Path | None:
    """The file that a text names; None if it is a text itself."""
    if not text.strip() or len(text) > 1000 or "\n" in text or "{{" in text or "{%" in text:
        return None
    tried = [Path(text).expanduser(), *([folder / text] if folder else [])]
    there = [path for path in tried if path.is_file()]
    return there[0] if there else tried[0] if text.lower().endswith(SUFFIXES) else None


def _text(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise RecipeError(f"{where}: {path}: more than {MOST_BYTES:,} bytes; a template is a text of some lines")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise RecipeError(
            f"{where}: {path}: can't be read ({error.strerror}); give a path from the working folder or the recipe's, "
            "or the text itself"
        ) from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{where}: {path}: isn't UTF-8 text (byte {error.start}); save it as UTF-8") from None
