"""What a chat template begins of a completion: reasoning models are given `<think>` and go on from there.

It is the end of the prompt for the model, and the beginning of the completion for whoever reads it. Knows texts alone; see
docs/decisions/opening.md.
"""

from __future__ import annotations

import re

_OPENING = re.compile(r"<think>\s*\Z")


def opening_of(chat: str) -> str:
    """The opening at the end of a rendered chat; empty where the completion begins by itself."""
    found = _OPENING.search(chat)
    return found[0] if found else ""


def without_opening(text: str, opening: str) -> str:
    """What is left to say of a completion after what the prompt has begun of it.

    Args:
        text: A whole completion, as it is read.
        opening: Of the prompt; white space after its tag may be another than the text's.

    Raises:
        ValueError: the text begins otherwise.
    """
    if not opening:
        return text
    tag = opening.rstrip()
    if not text.startswith(tag):
        raise ValueError(f"{text[:40]!r} doesn't begin with {tag!r}")
    # The prompt's own white space stands there already, and no merge of bytes reaches back into it.
    return text.removeprefix(tag).lstrip()
