"""Renders chats by a template within limits: a process of its own, started by `trlt.engine.model.template`, that may be killed.

Imports jinja2 and the standard library alone, so that it starts at once.
"""

from __future__ import annotations

import json
import sys
from typing import Any

# This script's folder isn't a place to import from.
del sys.path[0]

from jinja2 import nodes  # noqa: E402
from jinja2.exceptions import TemplateError  # noqa: E402
from jinja2.ext import Extension, loopcontrols  # noqa: E402
from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: E402

SECONDS, BYTES = 3, 1 << 29
"""Of the processor and of memory; a template of real models takes milliseconds, and a few MB."""


class _Generation(Extension):
    """`{% generation %}`, by which templates mark what an assistant says: here a block like any other."""

    tags = {"generation"}  # noqa: RUF012  # jinja2's interface

    def parse(self, parser: Any) -> Any:
        """The block's inside."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _limit() -> None:
    """Has the system end this process where it takes more than its share, where the system can."""
    try:
        import resource

        # Time of the processor, since on a busy machine a sound template may have to wait.
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
        resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    except (ImportError, AttributeError, ValueError, OSError):
        return


def render(template: str, given: dict[str, Any], chats: list[Any], most: int) -> list[str]:
    """The text of each chat, of its messages and what else it gives the template; a longer one is cut after `most` characters.

    The environment is that which Transformers renders in: the same sandbox, functions and blocks.
    """
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals.update(raise_exception=_refuse, strftime_now=lambda form: form)
    compiled = environment.from_string(template)
    texts = []
    for one in chats:
        text = ""
        # Part by part: a text that doubles is cut off before it fills the memory.
        for part in compiled.generate(tools=None, documents=None, add_generation_prompt=True, **given, **one):
            text += part
            if len(text) > most:
                break
        texts.append(text[: most + 1])
    return texts


def main() -> None:
    """Reads a request, answers with the texts or with what the template has done wrong."""
    asked = json.load(sys.stdin)
    _limit()
    try:
        answer: dict[str, Any] = {"texts": render(**asked)}
    # The boundary of a process: whatever a template does is told to the other side.
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"[:300]}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
