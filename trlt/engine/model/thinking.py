"""Whether a model can be asked for answers without reasoning: not where its chat template begins each with `<think>`."""

from __future__ import annotations

from pathlib import Path

from trlt.engine.families import chat
from trlt.engine.model.config import CONFIG, read_config
from trlt.engine.model.processor import load_processor
from trlt.engine.model.which import published_family
from trlt.engine.opening import opening_of
from trlt.errors import ModelError

TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
"""Files that may hold a chat template."""
OTHERWISE = "or take a model that answers without (of Qwen3-VL, one named Instruct)"


def refuse_begun_reasoning(folder: Path, asked: str, remedy: str) -> None:
    """Ends where completions would begin with reasoning that isn't asked for; none of them would be well formed.

    Reads no weights, and the processor only where a template may write the tag.

    Args:
        folder: Of the whole model.
        asked: What asks for answers without reasoning, with its key: for the message.
        remedy: What to do about it.

    Raises:
        ModelError: the chat template begins every completion; or the processor can't be loaded.
    """
    files = [folder / name for name in TEMPLATES if (folder / name).is_file()]
    # JSON's writers may escape the angle brackets.
    if not any(b"think" in file.read_bytes() for file in files):
        return
    processor, family = load_processor(str(folder)), read_config(folder / CONFIG)[1]
    opening = opening_of(family.chat(processor, chat("", "?"), False))
    if opening:
        raise ModelError(
            f"model.path: {folder}: its chat template begins every answer with {opening.strip()}, whether reasoning is asked "
            f"for or not, and {asked}; {remedy}, {OTHERWISE}"
        )


def refuse_reasoning_name(name: str, asked: str, remedy: str) -> None:
    """The same by a published name, for a model whose files aren't here: those named Thinking have such a template.

    Raises:
        ModelError: it has that name.
    """
    if published_family(name) is not None and "thinking" in name.rpartition("/")[2].lower():
        raise ModelError(
            f"model.path: {name!r}: models of this name begin every answer with <think>, whether reasoning is asked for or "
            f"not, and {asked}; {remedy}, {OTHERWISE}"
        )
