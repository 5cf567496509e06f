"""The files of a model's folder, looked at without reading weights: are all there, whole, and what they should be?

Knows names, headers and JSON; nothing of what a model does with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trlt.errors import ModelError
from trlt.files.bounded_json import loads, read_object

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
OBJECTS = (
    *("generation_config.json", "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json"),
)
"""Small files that hold a JSON object; the library passes over some that don't, and takes values of its own."""
DTYPES = ("F32", "BF16", "F16")
"""What weights are published in; whole numbers are those of a model in 8 or 4 bits."""
POINTER = b"version https://git-lfs"
AGAIN = "download the model again"


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file."""

    file: Path
    key: str
    shape: tuple[int, ...]
    turned: bool = False
    """Whether the model holds its last two axes the other way round."""


def check_files(folder: Path) -> None:
    """Holds a folder's files to what they should be.

    Raises:
        ModelError: names the file, and what is wrong with it.
    """
    for name in OBJECTS:
        if (folder / name).is_file():
            object_in(folder / name)
    stored_tensors(folder)


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """All tensors of a folder's safetensors files, by their names, from the files' headers.

    Raises:
        ModelError: a file is missing, damaged, or holds something else than the index says.
    """
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"model.path: {folder} holds no *.safetensors file; other formats aren't loaded")
    index = folder / INDEX
    names, told = [SINGLE], None
    if index.is_file():
        told = _index(index)
        names = sorted(set(told.values()))
        if (folder / SINGLE).exists() and SINGLE not in names:
            raise ModelError(
                f"model.path: {folder} holds {SINGLE}, and {INDEX} that names other files; remove what isn't the model's"
            )
    found: dict[str, Stored] = {}
    for name in names:
        for key, shape in read_header(folder / name).items():
            if key in found:
                raise ModelError(f"model.path: {folder / name}: {key} stands in {found[key].file.name} too; {AGAIN}")
            found[key] = Stored(folder / name, key, shape)
    if told is not None:
        _hold_to_index(index, told, found)
    return found


def _index(path: Path) -> dict[str, str]:
    """Tensors' names to files', as an index tells them."""
    try:
        index = loads(path.read_bytes())
        told, _ = index["weight_map"], dict(index["metadata"])  # the library reads both
        names = sorted(set(told.values()))
        # An index comes from elsewhere, and mustn't lead out of its folder.
        odd = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"model.path: {path} doesn't say which file holds which weight; download it again") from None
    if odd or not names:
        raise ModelError(f"model.path: {path} names {(odd or ['nothing'])[0]!r}; only *.safetensors files beside it are loaded")
    return dict(told)


def _hold_to_index(index: Path, told: dict[str, str], found: dict[str, Stored]) -> None:
    for key, name in told.items():
        if key not in found or found[key].file.name != name:
            where = f"which is in {found[key].file.name}" if key in found else "which isn't there"
            raise ModelError(f"model.path: {index.parent / name} lacks {key}, {where}; download both it and {INDEX} again")
    for key in found.keys() - told.keys():
        raise ModelError(f"model.path: {found[key].file} holds {key}, of which {INDEX} says nothing; {AGAIN}")


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file's tensors; the library holds the header to the file's size.

    Raises:
        ModelError: it is missing, damaged, or holds numbers of another kind than weights are.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError(f"model.path: {path} is missing; {AGAIN}")
    try:
        with path.open("rb") as raw:
            if raw.read(len(POINTER)) == POINTER:
                raise ModelError(f"model.path: {path} is a pointer of Git LFS and not the weights; fetch them (`git lfs pull`)")
        with safe_open(path, framework="numpy") as weights:
            parts = {key: weights.get_slice(key) for key in weights.keys()}  # noqa: SIM118
            shapes = {key: tuple(part.get_shape()) for key, part in parts.items()}
            odd = [f"{key} is {part.get_dtype()}" for key, part in parts.items() if part.get_dtype() not in DTYPES]
    except SafetensorError:
        shapes, odd = {}, []
    if not shapes:
        raise ModelError(f"model.path: {path} is damaged or was cut off; download it again")
    if odd:
        raise ModelError(
            f"model.path: {path}: {odd[0]} ({len(odd)} such tensors), and weights are {', '.join(DTYPES)}; take a model that "
            "wasn't quantized"
        )
    return shapes


class _Named(ModelError):
    """An error of a file that names the recipe's key too."""

    def __init__(self, message: str) -> None:
        super().__init__(f"model.path: {message}")


def object_in(path: Path, *, finite: bool = True) -> dict[str, Any]:
    """The JSON object of a model's file; `finite` is that of `bounded_json.loads`.

    Raises:
        ModelError: it can't be read, or is none.
    """
    return read_object(path, remedy="download it again", error=_Named, finite=finite)
