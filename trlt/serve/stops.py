"""Texts before which a completion ends, found while it grows. Knows texts alone."""

from __future__ import annotations

from collections.abc import Sequence


def before_stop(text: str, stops: Sequence[str], *, whole: bool = False) -> tuple[str, bool]:
    """How much of a text stands before all stop texts, and whether one is in it.

    The text is read character by character, so the outcome doesn't depend on where its tokens end: the stop text that is
    complete first counts, and of several that end at once the longest.

    Args:
        text: So far.
        stops: The stop texts, none empty.
        whole: Nothing comes any more; else an end of the text with which a stop text may begin is held back.
    """
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    if found:
        return text[: min(found)[1]], True
    if whole:
        return text, False
    held = (size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size]))
    return text[: len(text) - max(held, default=0)], False
