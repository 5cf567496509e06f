"""Reads a data set of a hub, row by row over the network: `hf://org/name`, `hf://org/name:split`, `hf://org/name/config:split`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from trlt.data.own.rows import Row
from trlt.data.own.tables import SCHEME, Table
from trlt.errors import DataError, shown

_UNREADABLE = "`datasets` can't read its files as one table: download a file of it, and name that"
_OFFLINE = "give a file that is on this machine, or try again with a network"


def is_hub(data: str) -> bool:
    """Whether data are named by a hub's address."""
    return data.startswith(SCHEME)


def hub_parts(data: str) -> tuple[str, str | None, str]:
    """Name, configuration and split of an address.

    Raises:
        DataError: it is none.
    """
    name, colon, split = data.removeprefix(SCHEME).removeprefix("datasets/").partition(":")
    parts = name.strip("/").split("/")
    if len(parts) not in (2, 3) or not all(parts) or (colon and not split):
        raise DataError(f"{data}: expected hf://org/name, hf://org/name:split or hf://org/name/config:split")
    return "/".join(parts[:2]), parts[2] if len(parts) == 3 else None, split or "train"


def table_stem(data: str) -> str:
    """A name for what is made of a table, after its file or data set."""
    if not is_hub(data):
        return Path(data).stem
    name, config, split = hub_parts(data)
    return "-".join(part for part in (name.rpartition("/")[2], config, split if split != "train" else None) if part)


def read_hub(data: str) -> Table:
    """The rows of a data set; videos in its cells stay undecoded.

    Raises:
        DataError: it is missing or gated, has no such split, or can't be reached.
    """
    import datasets
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    name, config, split = hub_parts(data)
    try:
        found = datasets.load_dataset(name, config, split=split, streaming=True).decode(False)
        rows = [Row(f"{data}: row {number}", number, dict(values)) for number, values in enumerate(found, 1)]
    except DatasetNotFoundError as error:
        gated = "gated" in str(error)
        remedy = (
            "ask for access on its page, then `hf auth login`"
            if gated
            else "look at the name; for a private one, `hf auth login`"
        )
        raise DataError(f"{data}: {_first(error)}; {remedy}") from None
    except DatasetsError as error:
        raise DataError(f"{data}: {_first(error)}; {_UNREADABLE}") from None
    except OSError as error:
        raise DataError(f"{data}: {_first(error)}; {_OFFLINE}") from None
    except ValueError as error:
        named = re.search("split|config", str(error), re.IGNORECASE)
        remedy = f"name split and configuration as hf://{name}/CONFIG:SPLIT" if named else _UNREADABLE
        raise DataError(f"{data}: {_first(error)}; {remedy}") from None
    if not rows:
        raise DataError(f"{data}: the split {shown(split)} holds no rows")
    return Table(rows)


def _first(error: Exception) -> Any:
    """What an error says, in a line."""
    return " ".join(str(error).split())[:500].rstrip(".") or type(error).__name__
