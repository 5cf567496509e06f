"""The generated part of `docs/data.md` about a user's own table: the names of columns that are recognized."""

from __future__ import annotations

from trlt.data.own import FAMILIES, SPELLINGS

WHAT = {
    "video": "path of the video",
    "question": "the question; for grounding, the event",
    "options": "answers to choose from",
    "answer": "the right one",
    "answer_from_0": "its place, counted from 0",
    "answer_from_1": "its place, counted from 1",
    "start": "seconds; a list for several spans",
    "end": "seconds",
    "spans": "start and end in one",
    "id": "name of the row",
    "source": "where it comes from",
    "clip": "part of the file that is asked about",
    "clip_start": "its start",
    "clip_end": "its end",
    "duration": "seconds of the video",
    "several": "true where the prompt is to ask for all spans, not for one",
    "numeric": "true where the answer is a number, of which a near one earns a part",
    "messages": "a chat: question and answer",
}


def columns() -> str:
    """Fields with the names of their columns, as a table."""
    rows = ["| field | what | names of its column (case, spaces and `_-.` don't matter) |", "|---|---|---|"]
    for field, names in SPELLINGS.items():
        said = ", ".join(f"`{name}`" for name in names)
        if field == "options":
            single = ", ".join(
                f"`{prefix}{'_' * (len(prefix) > 1)}{'0' if prefix == 'a' else 'a'}`" for prefix in FAMILIES if prefix
            )
            said += f"; or a column each, from A, 0 or 1 on: `A`, {single}, …"
        rows.append(f"| `{field}` | {WHAT[field]} | {said or 'only by `--map`'} |")
    return "\n".join(rows)
