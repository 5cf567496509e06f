"""The chat template by which the engine makes prompts, as a file for a server: `python -m trlt.engine.servers.template`.

Of Qwen3-VL and Qwen3.5 it isn't the one that is published beside the weights: that writes vision marks around a whole video,
which the weights have never seen (docs/decisions/outer-marks.md).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

WRITE = "python -m trlt.engine.servers.template MODEL template.jinja"
"""Command that writes it; MODEL as in `model.path`."""


def template_of(processor: Any) -> str:
    """The template of a loaded processor."""
    found = processor.chat_template
    return str(found["default"] if isinstance(found, dict) else found)


def main() -> None:
    """Writes a model's template to a file."""
    from trlt.engine.model import load_processor, locate
    from trlt.errors import TrltError

    if len(sys.argv) != 3:
        sys.exit(f"usage: {WRITE}")
    _, model, file = sys.argv
    try:
        Path(file).write_text(template_of(load_processor(locate(model))), encoding="utf-8")
    except (TrltError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
