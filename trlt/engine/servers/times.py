"""Whether a server's prompts state the times of a video, for families that write them into their text.

Knows texts alone; nothing of requests.
"""

from __future__ import annotations

import re
from itertools import zip_longest

from trlt.engine.families.family import END, START
from trlt.engine.marks import VISION_TOKENS
from trlt.engine.servers.template import WRITE

STAMPS: tuple[tuple[float, ...], ...] = (
    (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5),
    (0.04, 0.31, 4.6, 11.9, 12.0, 57.8, 60.2, 1039.5),
)
"""Seconds of the frames that a server is shown twice: at a constant rate, and at none."""
UNTOLD = (
    "doesn't tell its prompts (`return_token_ids`, /detokenize), so it can't be proved that they state the times of frames; "
    "ask vLLM 0.31 or later itself, and not through a program that takes them out"
)
_TIME = re.compile(r"<([0-9.]+) seconds>")


def fault(prompt: str, video: str, outer: bool, family: str, model: str) -> str | None:
    """What is wrong with a prompt, and the remedy; None where nothing is.

    Args:
        prompt: Its text, special tokens included.
        video: What its video must have become.
        outer: Whether marks belong around all of it, too.
        family: Name of the model's family.
        model: Folder or hub id of the model.
    """
    before, found, after = prompt.partition(video)
    if found:
        has = before.endswith(START) and after.startswith(END)
        rest = before.removesuffix(START) + after.removeprefix(END) if has else before + after
        if not any(mark in rest for mark in VISION_TOKENS):
            return None if has == outer else _other_marks(outer, family, model)
    stated, due = _TIME.findall(prompt), _TIME.findall(video)
    for place, (theirs, ours) in enumerate(zip_longest(stated, due)):
        if theirs != ours:
            return (
                f"the {len(due)} pairs of frames of a clip stand at {', '.join(due)} s, and its prompt has "
                f"{theirs or 'none'} for number {place + 1}: every time in its answers would be wrong; take vLLM 0.31 or later"
            )
    return (
        f"its prompts hold videos in another form than {family} was trained with; take vLLM 0.31 or later, with transformers "
        "5.10 or later"
    )


def _other_marks(outer: bool, family: str, model: str) -> str:
    said = "writes no vision marks" if outer else "writes vision marks"
    trained = "with" if outer else "without"
    return (
        f"its chat template {said} around a whole video, and these weights of {family} were trained {trained} them: every "
        f"answer would be to another prompt; start vLLM with --chat-template template.jinja, which this writes:\n  "
        f"{WRITE.replace('MODEL', model)}"
    )
