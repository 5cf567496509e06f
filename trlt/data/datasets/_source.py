"""From a data set's name and a folder to its samples: finds the official files, opens them, calls the reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from trlt.data.datasets._common import Purpose, Reading
from trlt.data.datasets._files import parse_file
from trlt.data.datasets._modules import dataset_file, dataset_name, has_role, load, names
from trlt.errors import DataError, UsageError, did_you_mean


def read_source(
    dataset: str | ModuleType,
    annotations: Path,
    split: str | None = None,
    *,
    allow_test: bool = False,
    purpose: Purpose = "train",
) -> Reading:
    """Samples of a data set.

    Args:
        dataset: Its name, as in `names()`, or its module.
        annotations: Folder that holds the official files under their own names (or in one subfolder), or the main
            annotation file; the others are beside it.
        split: None infers it from the name of a given file, else uses the data set's train or test split.
        allow_test: Allow reading a test split as training data.
        purpose: `train` or `bench`.

    Raises:
        UsageError: an unknown data set or split, or a test split to train on.
        DataError: a file is missing or isn't what it should be; names what was wanted and what was found.
    """
    module, name = load(dataset), dataset_name(dataset)
    if not has_role(module, purpose):
        kind = "training source" if purpose == "train" else "benchmark"
        if dataset_file(module):
            lacks = "TRAIN_SPLIT" if purpose == "train" else "TEST_SPLIT, values, official and metrics"
            raise UsageError(f"{module.__file__}: is no {kind}: it has no {lacks}")
        raise UsageError(f"{name} is no {kind}; choose one of: {', '.join(names(purpose))}")
    split = split or _split_of(module, annotations) or (module.TRAIN_SPLIT if purpose == "train" else module.TEST_SPLIT)
    if split not in module.FILES:
        raise UsageError(f"{name}: unknown split {split!r}; {did_you_mean(split, module.FILES)}")
    held_out = (getattr(module, "TEST_SPLIT", None), *getattr(module, "HELD_OUT", ()))
    if purpose == "train" and split in held_out and not allow_test:
        raise UsageError(
            f"{name}: {split!r} is its test split, and training on it spoils the benchmark; "
            f"take {module.TRAIN_SPLIT!r}, or allow it with --allow-test"
        )
    paths = _find(name, module, annotations, split)
    streamed = getattr(module, "STREAMED", ())
    files = {file: parse_file(path, streamed=file in streamed) for file, path in paths.items()}
    reading: Reading = module.read(files, split, purpose)
    where = ", ".join(str(path) for path in paths.values())
    if not reading.samples:
        why = "; ".join(f"{count} {reason} (as {reading.examples[reason][0]})" for reason, count in reading.dropped.items())
        raise DataError(f"{where}: no usable record of {reading.read}{': ' + why if why else ''}; is this the official file?")
    return replace(reading, files=tuple(paths.values()))


def _split_of(module: ModuleType, annotations: Path) -> str | None:
    """The only split that a file of this name belongs to."""
    found = [split for split, files in module.FILES.items() if annotations.name in files]
    return found[0] if len(found) == 1 else None


def _find(name: str, module: ModuleType, annotations: Path, split: str) -> dict[str, Path]:
    wanted: tuple[str, ...] = module.FILES[split]
    optional: tuple[str, ...] = getattr(module, "OPTIONAL", ())
    if not annotations.exists():
        raise DataError(f"{annotations}: no such file or folder; {name} needs {_listed(wanted, optional)}")
    given: Mapping[str, Path] = {}
    folder = annotations
    if annotations.is_file():
        folder = annotations.parent
        given = _given(name, module, annotations, split)
    paths = {file: path for file in wanted if (path := given.get(file) or _lookup(folder, file))}
    missing = [file for file in wanted if file not in paths and file not in optional]
    if missing or not paths:
        entries = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
        found = ", ".join(entries[:12]) + (f" and {len(entries) - 12} more" if len(entries) > 12 else "")
        fetched = {remote.path.rpartition("/")[2] for remote in module.FETCH.files} if hasattr(module, "FETCH") else set()
        raise DataError(
            f"{folder}: {name} ({split}) wants {', '.join(missing) or 'one at least of ' + ', '.join(wanted)}; "
            f"found {found or 'an empty folder'}" + (f"; `trlt download {name}` fetches it" if fetched & set(wanted) else "")
        )
    return paths


def _given(name: str, module: ModuleType, file: Path, split: str) -> dict[str, Path]:
    """The official name that a file stands for."""
    wanted: tuple[str, ...] = module.FILES[split]
    if file.name in wanted:
        return {file.name: file}
    other = next((s for s, files in module.FILES.items() if file.name in files), None)
    if other:
        raise UsageError(f"{file}: belongs to {name}'s split {other!r}, not to {split!r}; give {wanted[0]}, or that split")
    main = wanted[0]
    if main in getattr(module, "OPTIONAL", ()) or file.suffix != Path(main).suffix:
        raise DataError(f"{file}: {name} ({split}) wants {', '.join(wanted)}; give the folder that holds them")
    return {main: file}


def _lookup(folder: Path, file: str) -> Path | None:
    """A file in a folder, or in one of its subfolders: downloads often add one level."""
    if (folder / file).is_file():
        return folder / file
    below = sorted(path for path in folder.glob(f"*/{file}") if path.is_file())
    if len(below) > 1:
        raise DataError(f"{folder}: {file} is there more than once ({', '.join(map(str, below))}); give the one's folder")
    return below[0] if below else None


def _listed(wanted: tuple[str, ...], optional: tuple[str, ...]) -> str:
    required = [file for file in wanted if file not in optional]
    return ", ".join(required) if required else "at least one of " + ", ".join(wanted)
