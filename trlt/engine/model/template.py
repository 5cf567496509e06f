"""Chat templates are programs from elsewhere: each is tried out in a process that is killed, before it runs in this one.

Jinja's sandbox keeps a template from the system, and bounds a single `range`; nothing bounds loops in loops, or a text that
doubles. Limits by signals would work in the main thread alone. What this doesn't see is a template that waits for certain words
in a question before it loops.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from trlt.engine.families import THINKING, chat
from trlt.errors import ModelError

SCRIPT = Path(__file__).with_name("_render.py")
WAIT_S = 60
"""However busy the machine is; the processor's time is bounded by the process itself."""
MOST = 20_000
"""Characters that a template may add to a chat; that of a real model adds some hundred."""
SYSTEM = "You answer questions about a video."
QUESTIONS = ("Question: what moves left\nA. the red circle\nB. the blue square", " ".join(["When does a dog jump?"] * 200))


@lru_cache(maxsize=16)
def try_out(template: str, special: tuple[tuple[str, str], ...], video: str, where: str) -> tuple[str, ...]:
    """What a template makes of a few chats; of each thrice, if it has a say in whether reasoning is asked for.

    Args:
        template: In Jinja's language.
        special: Names and texts of the tokenizer's special tokens, which templates may use.
        video: What it has to write for a video.
        where: Whose it is, for errors.

    Raises:
        ModelError: it doesn't end, takes too much, fails, or doesn't say what it was given.
    """
    thinks = (None, True, False) if THINKING in template else (None,)
    asked = [(system, question, think) for system in ("", SYSTEM) for question in QUESTIONS for think in thinks]
    most = MOST + max(len(system) + len(question) for system, question, _ in asked)
    chats = [
        {"messages": chat(system, question), **({} if think is None else {THINKING: think})}
        for system, question, think in asked
    ]
    request = json.dumps({"template": template, "given": dict(special), "chats": chats, "most": most})
    try:
        done = subprocess.run([sys.executable, str(SCRIPT)], input=request, capture_output=True, text=True, timeout=WAIT_S)
        answer = json.loads(done.stdout) if done.returncode == 0 else {"error": _how_it_ended(done)}
    except subprocess.TimeoutExpired:
        answer = {"error": f"it didn't end within {WAIT_S} s"}
    if "error" in answer:
        raise ModelError(f"{where}: the chat template can't be used ({answer['error']}); download it again")
    for text, (system, question, _) in zip(answer["texts"], asked, strict=True):
        if len(text) > most:
            raise ModelError(f"{where}: the chat template makes more than {MOST:,} characters of its own; download it again")
        if text.count(video) != 1 or system not in text or question not in text.partition(video)[2]:
            raise ModelError(
                f"{where}: the chat template doesn't show {video} once, and then the question, whole; download it again"
            )
    return tuple(answer["texts"])


def _how_it_ended(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"it was ended (signal {-done.returncode}), as it took more processor time or memory than any real one does"
    return done.stderr.strip().rpartition("\n")[2][:300]
