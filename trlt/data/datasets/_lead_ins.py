"""The reading that several official scripts share: known lead-ins are taken out, then the first capital is the answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence


def first_capital(text: str, lead_ins: Sequence[str], letters: str) -> str | None:
    """The first of some letters, anywhere in a text: "Because …" has a B.

    Args:
        text: What a model said.
        lead_ins: Phrases that are taken out first, in this order, wherever they stand.
        letters: Those that can be answers.
    """
    for phrase in lead_ins:
        text = text.replace(phrase, "")
    found = re.search(f"[{letters}]", text)
    return found[0] if found else None
