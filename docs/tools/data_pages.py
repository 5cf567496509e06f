"""The generated parts of `docs/data.md` and `docs/benchmarks.md`: what each data set's module says about itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from types import ModuleType

from trlt.data.datasets import Example, load, names
from trlt.data.download import fetch_of

SHOWN = 900
"""Characters of an invented file that are shown."""
_LABEL = re.compile(r"^([A-Z][a-z]+(?: [a-z]+)?): ", re.MULTILINE)


def sources_overview() -> str:
    """The training sources as a table."""
    rows = ["| name | data set | task | training split | paper's count |", "|---|---|---|---|---|"]
    for name in names("train"):
        module = load(name)
        paper = getattr(module, "PAPER_COUNT", None)
        count = f"{paper:,}" if paper is not None else "not used"
        rows.append(f"| [`{name}`](#{name}) | {module.TITLE} | {module.TASK} | {module.TRAIN_SPLIT} | {count} |")
    return "\n".join(rows)


def sources() -> str:
    """A section for each training source."""
    return "\n\n".join(_section(name, load(name).TRAIN_SPLIT) for name in names("train"))


def benchmarks_overview() -> str:
    """The benchmarks as a table."""
    rows = ["| name | benchmark | task | test split | metrics |", "|---|---|---|---|---|"]
    for name in names("bench"):
        module = load(name)
        metrics = ", ".join(f"`{metric}`" for metric in _metrics(module))
        rows.append(f"| [`{name}`](#{name}) | {module.TITLE} | {module.TASK} | {module.TEST_SPLIT} | {metrics} |")
    return "\n".join(rows)


def benchmarks() -> str:
    """A section for each benchmark."""
    return "\n\n".join(_section(name, load(name).TEST_SPLIT) for name in names("bench"))


def _metrics(module: ModuleType) -> Sequence[str]:
    """Names of the paper's metrics of a benchmark, from its own example."""
    from trlt.data.datasets import Item, gold_text
    from trlt.evaluate.summary import summary
    from trlt.recipe import Recipe

    texts = [(sample, gold_text(sample)) for sample in module.EXAMPLE.samples]
    items = [Item(sample, text, Recipe().form("eval").read(sample, text)) for sample, text in texts]
    name = module.__name__.rpartition(".")[2]
    return [key for key in summary(name, items)["paper"] if not key.startswith("acc_")]


def _section(name: str, main: str) -> str:
    module = load(name)
    return "\n\n".join([f"### {name}", *_described(module), _files(module, main), *_example(module.EXAMPLE)])


def _described(module: ModuleType) -> Iterator[str]:
    """The docstring, a paragraph for each of its labels."""
    head, _, body = (module.__doc__ or "").strip().partition("\n\n")
    yield f"**{module.TITLE}.** {' '.join(head.split())}"
    for paragraph in _LABEL.sub(r"\n\n**\1.** ", body).split("\n\n"):
        if paragraph.strip():
            yield paragraph.strip()


def _files(module: ModuleType, main: str) -> str:
    optional = getattr(module, "OPTIONAL", ())
    rows = ["| split | files |", "|---|---|"]
    for split, files in module.FILES.items():
        listed = ", ".join(f"`{file}`{' (may be missing)' if file in optional else ''}" for file in files)
        rows.append(f"| {split}{' (the default)' if split == main else ''} | {listed} |")
    return "\n".join([*rows, "", f"Available from {module.WHERE}.", "", _fetched(module)])


def _fetched(module: ModuleType) -> str:
    """What `trlt download` does, and what is left to do."""
    name = module.__name__.rpartition(".")[2]
    found = fetch_of(name)
    told = []
    if found.files:
        hosts = ", ".join(dict.fromkeys(remote.url.split("/")[2] for remote in found.files))
        checked = sum(bool(remote.digest) for remote in found.files)
        told.append(
            f"`trlt download {name}` fetches {'it' if len(found.files) == 1 else f'{len(found.files)} files'} from {hosts}; "
            f"checksums that trlt knows: {checked} of {len(found.files)}."
        )
    if found.videos:
        gigabytes = sum(remote.size or 0 for remote in found.videos) / 1e9
        told.append(f"With `--videos`, the videos, too ({gigabytes:.1f} GB).")
    if found.by_hand:
        told.append("By hand:\n\n" + "\n".join(f"- {step.format(data='data')}" for step in found.by_hand))
    return " ".join(told)


def _example(example: Example) -> Iterator[str]:
    yield "An invented example, and the sample made from its first record:"
    for file, text in example.files.items():
        cut = text.rstrip("\n") if len(text) <= SHOWN else text[:SHOWN] + " …"
        yield f"`{file}`\n\n```text\n{cut}\n```"
    yield f"```json\n{json.dumps(example.samples[0].to_json(), indent=2, ensure_ascii=False)}\n```"
