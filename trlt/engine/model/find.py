"""Which model a name stands for: a folder, an adapter's folder, a training run's, a hub id, or a model that ships with trlt.

Looks at names and small files, and never at weights' values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from trlt.engine.model.adapter import ADAPTER, check_adapter, named_base
from trlt.engine.model.config import CONFIG, check_config
from trlt.engine.model.files import check_files
from trlt.errors import ModelError
from trlt.files.bounded_json import read_object

MINIATURE, PLAIN = "miniature", "miniature-plain"
"""Stand for the models that ship with trlt: one that knows clips of every difficulty, and one that knows plain ones alone."""
SHIPPED = {MINIATURE: "model", PLAIN: "plain"}
"""Their names to their folders."""
MANIFEST = "manifest.json"
MADE = (("model", CONFIG), ("adapter", ADAPTER))
"""What a training leaves in its folder, and the file that tells it; the model of a run with adapters holds them already."""
MOST_ADAPTERS = 16
"""On top of each other; more are names that lead in a circle."""


@dataclass(frozen=True)
class WeightsLocation:
    """Where a model's weights are."""

    base: str
    """Folder or hub id of a whole model."""
    adapters: tuple[Path, ...] = ()
    """Folders of what is added to it, in this order."""


def miniature_path(name: str = MINIATURE) -> Path:
    """The folder of a model that ships with trlt."""
    return Path(str(resources.files("trlt.lab.miniature"))) / SHIPPED[name]


def locate(name: str, base: str | None = None) -> str:
    """The folder or hub id behind a name, checked without loading any weights; of an adapter its own folder.

    Args:
        name: A folder, a hub id, or `miniature`.
        base: Of an adapter, in place of the one that it names.

    Raises:
        ModelError: the folder isn't a model of a known family or an adapter of one, or the hub id is neither cached nor
            reachable.
    """
    found = find(name)
    place = resolve(found, base)
    try:
        _check(place.base)
    except ModelError as error:
        raise (_base_fault(place.adapters[0], error) if place.adapters and not base else error) from None
    return found


def resolve(located: str, base: str | None = None) -> WeightsLocation:
    """What a located model is made of: itself, or of an adapter's folder the adapters and their base; `base` as for `locate`.

    Raises:
        ModelError: an adapter that can't be used, or whose base isn't there; names the file, the field and the value.
    """
    adapters: list[Path] = []
    while _is_adapter(Path(located)):
        folder = Path(located)
        config = check_adapter(folder)
        if len(adapters) == MOST_ADAPTERS:
            raise ModelError(f"model.path: {adapters[0]}: its bases are adapters that lead in a circle, by way of {folder}")
        adapters.append(folder)
        located = find(base) if base else _find_base(folder, named_base(folder, config))
        base = None
    return WeightsLocation(located, tuple(reversed(adapters)))


def _find_base(folder: Path, name: str) -> str:
    """The folder or hub id of an adapter's base, by the name that it gives.

    A relative path is looked for where the command runs, as PEFT does, and beside the adapter.

    Raises:
        ModelError: it isn't there, or both places hold one.
    """
    here, beside = Path(name).expanduser(), folder / name
    if name not in SHIPPED and not here.is_absolute() and beside.exists():
        # An error and no preference: which model answers must not depend on the folder that a command runs in.
        if here.exists() and not here.samefile(beside):
            raise ModelError(
                f"model.path: {folder / ADAPTER}: base_model_name_or_path: {name!r} is there twice: {here.resolve()} and "
                f"{beside.resolve()}; write the one that is meant, as a full path"
            )
        name = str(beside)
    try:
        return find(name)
    except ModelError as error:
        raise _base_fault(folder, error) from None


def _base_fault(folder: Path, error: ModelError) -> ModelError:
    """What is wrong with the base that an adapter names."""
    return ModelError(
        f"model.path: {folder / ADAPTER}: base_model_name_or_path: {str(error).removeprefix('model.path: ')}; write there "
        "where it is; to `trlt train merge` another place is given with --base"
    )


def _check(base: str) -> None:
    """Looks at the files of a whole model."""
    if Path(base).is_dir():
        check_config(Path(base) / CONFIG)
        check_files(Path(base))
    else:
        from trlt.engine.model.hub import check_on_hub

        check_on_hub(base)


def _is_adapter(folder: Path) -> bool:
    """A folder that holds an adapter alone: one with a whole model beside it is that model."""
    return (folder / ADAPTER).is_file() and not (folder / CONFIG).exists()


def find(name: str) -> str:
    """The folder that a name stands for, a run's model in place of the run; or a hub id. Looks into no file of a model.

    Raises:
        ModelError: neither, or a run without a model.
    """
    if name in SHIPPED:
        return str(miniature_path(name))
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:  # `~somebody`
        raise ModelError(f"model.path: {name!r}: {error}; write the whole path") from None
    if path.exists():
        return str(_in_run(path))
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"model.path: {name!r} is neither a folder nor a hub id; `--model {MINIATURE}` needs no download")
    return name


def _in_run(folder: Path) -> Path:
    """The model in a training's folder, or in a folder with one training among other runs; else the folder itself."""
    if (folder / CONFIG).exists() or (folder / ADAPTER).exists() or not folder.is_dir():
        return folder
    if (folder / MANIFEST).is_file():
        if made := _made(folder):
            return made
        kind = read_object(folder / MANIFEST, remedy="give a model's folder", error=ModelError).get("kind", "train")
        if kind == "train":
            raise ModelError(f"model.path: {folder} is a run that has no model yet; wait for its end, or go on with it")
        raise ModelError(f"model.path: {folder} is a run of `trlt {kind}`, which makes no model; give that of `trlt train`")
    runs = [path for path in sorted(folder.iterdir()) if (path / MANIFEST).is_file()]
    found = [made for run in runs if (made := _made(run))]
    if len(found) > 1:
        raise ModelError(f"model.path: {folder} holds {len(found)} models: {_listed(found)}; name one of them")
    if runs and not found:
        raise ModelError(f"model.path: {folder} holds runs, and none of them has a model yet: {_listed(runs)}")
    return found[0] if found else folder


def _made(run: Path) -> Path | None:
    return next((run / name for name, file in MADE if (run / name / file).is_file()), None)


def _listed(paths: Sequence[Path], most: int = 4) -> str:
    return ", ".join(map(str, paths[:most])) + (", ..." if len(paths) > most else "")


def full_name(located: str) -> str:
    """What an adapter calls its base, so that it finds it from anywhere: a folder's whole path, or the hub id."""
    return str(Path(located).resolve()) if Path(located).exists() else located


def folder_of(located: str) -> Path:
    """The folder with the config.json, the tokenizer and the whole weights of a located model; downloads a hub id's.

    Raises:
        ModelError: it isn't found or available.
    """
    base = resolve(located).base
    if Path(base).is_dir():
        return Path(base)
    from trlt.engine.model.hub import fetch

    return fetch(base)
