"""Judges from a question's wording how it can be asked. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ASKS_AMONG = re.compile(
    r"\b(?:which|what|who|whom)(?: \w+){0,3}? (?:of|among|from|in) (?:the|these|those) "
    r"(?:\w+ ){0,2}?(?:following|options?|choices|answers?|statements?)\b"
    r"|\b(?:following|above|below|given|listed) (?:\w+ ){0,2}?"
    r"(?:options?|choices|answers?|statements?|descriptions?|sentences?)\b"
    r"|\bwhich (?:\w+ ){0,2}?(?:option|choice|description|caption|sentence|statement|title)s?\b"
    r"|\bof the following\b|\bamong the (?:options?|choices)\b|\bbest (?:describes|matches|summari[sz]es|option|choice)\b",
    re.IGNORECASE,
)
_REFERS_TO_OTHERS = re.compile(
    r"^(?:all|none|any|both|neither|either)(?: of)? (?:the |these |those )?"
    r"(?:above|options?|choices|answers?|others?|[a-e] and [a-e])\b"
    r"|^(?:both )?\(?[A-E]\)? (?:and|or|&) \(?[A-E]\)?\.?$",
    re.IGNORECASE,
)


def needs_options(question: str, options: Sequence[str]) -> bool:
    """Whether a question can't be answered without seeing its options.

    "Which of the following ..." and "which caption fits" ask about a list that an open prompt hides, and "all of the
    above" is an answer only beside the others. Such samples are flagged; see `prompt.asked_format` for how they are asked.
    """
    return _ASKS_AMONG.search(question) is not None or any(_REFERS_TO_OTHERS.search(option) for option in options)
