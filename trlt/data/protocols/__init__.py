"""The protocols of other harnesses: how they ask a benchmark's questions and read the answers, as data.

Each harness is one file with a table by benchmark; facts, with the revision that they were read at. See docs/protocols.md.
"""

from trlt.data.protocols import lmms_eval, official, vlmevalkit
from trlt.data.protocols._described import describe
from trlt.data.protocols._protocol import Budget, Protocol
from trlt.errors import UsageError

__all__ = ["NAMES", "PAPER", "Budget", "Protocol", "describe", "find_protocol", "protocols_of"]

PAPER = "paper"
"""The protocol of trlt itself, which the others stand beside."""
_TABLES = {"official": official.PROTOCOLS, "lmms-eval": lmms_eval.PROTOCOLS, "vlmevalkit": vlmevalkit.PROTOCOLS}
NAMES = (PAPER, *_TABLES)


def protocols_of(bench: str) -> dict[str, Protocol]:
    """The protocols known for a benchmark, besides the paper's, by name."""
    return {name: table[bench] for name, table in _TABLES.items() if bench in table}


def find_protocol(name: str, benches: list[str], *, asked: bool) -> dict[str, Protocol]:
    """The protocol of each benchmark; none for `paper`.

    Args:
        name: One of `NAMES`.
        benches: Names of benchmarks.
        asked: Whether a model will be asked; without, outputs are only read.

    Raises:
        UsageError: there is none for a benchmark; names all such benchmarks, and what is known.
    """
    if name == PAPER:
        return {}
    table, faults = _TABLES[name], []
    for bench in benches:
        if bench not in table:
            faults.append(f"no {name} protocol is known for {bench}; known: {', '.join([PAPER, *protocols_of(bench)])}")
        elif asked and table[bench].template is None:
            why = table[bench].unknown
            faults.append(f"{name}'s prompt for {bench} can't be asked ({why}); score its outputs with --predictions")
    if faults:
        raise UsageError("--protocol: " + "\n  ".join(faults))
    return {bench: table[bench] for bench in benches}
