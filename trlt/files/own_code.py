"""A Python file of the user's, which a recipe or a flag names: loaded once, with checksums of what was run.

Only such a file is ever run: data, models and rows name none. Knows Python files; nothing of what their functions are for.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from trlt.errors import RecipeError, did_you_mean, shown
from trlt.errors.system import SYSTEMIC


@dataclass(frozen=True)
class OwnFile:
    """A file that was run, as a module."""

    given: Path
    """Its path as it was named, for messages."""
    path: Path
    """The same, absolute."""
    module: ModuleType
    files: Mapping[str, str]
    """SHA-256 of the file, and of its neighbours that it imports, by path from its folder; the file's own comes first."""

    def line(self, function: Callable[..., Any]) -> str:
        """Where one of its functions begins: file and line, or the file alone for what is no plain function."""
        code = getattr(function, "__code__", None)
        if code is None or code.co_filename != str(self.path):
            return str(self.given)
        return f"{self.given}:{code.co_firstlineno}"

    def own_functions(self) -> dict[str, Callable[..., Any]]:
        """The functions that it defines, by name, in their order; without those that begin with an underscore."""
        there = vars(self.module).items()
        return {
            name: one
            for name, one in there
            if not name.startswith("_") and callable(one) and getattr(one, "__module__", "") == self.module.__name__
            if not isinstance(one, type)
        }

    def function(self, name: str) -> Callable[..., Any]:
        """One of its functions, or of what it imports.

        Raises:
            RecipeError: there is none of that name; the nearest is suggested.
        """
        found = vars(self.module).get(name)
        if found is None:
            there = self.own_functions()
            known = did_you_mean(name, there) if there else "it defines none"
            raise RecipeError(f"{self.given}: has no function {shown(name)}; {known}")
        if not callable(found):
            raise RecipeError(f"{self.given}: {name} is no function, but {shown(found)}")
        return found  # type: ignore[no-any-return]


_LOADED: dict[Path, OwnFile] = {}


def load_file(given: Path) -> OwnFile:
    """Runs a Python file, unless this process has done so and nothing has changed since.

    Its folder is on the path while it is run, so that it may import its neighbours at its top; afterwards neither that folder
    nor the neighbours' names are left behind. Nothing is written beside it.

    Raises:
        RecipeError: it isn't there, is no Python, or raises; with file and line.
    """
    path = given.absolute()
    if path.suffix != ".py":
        raise RecipeError(f"{given}: expected a Python file (.py)")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise RecipeError(f"{given}: can't be read ({error.strerror}); paths are relative to the working directory") from None
    there = _LOADED.get(path)
    if there is None or any(_digest(path.parent / name) != known for name, known in there.files.items()):
        there = _LOADED[path] = _run(given, path, source)
    return there


def _run(given: Path, path: Path, source: bytes) -> OwnFile:
    digest = hashlib.sha256(source).hexdigest()
    # Under a name that no other module has; it stays known by it, as dataclasses and pickle look it up.
    unique = hashlib.sha256(str(path).encode("utf-8", "surrogateescape") + source).hexdigest()[:16]
    spec = spec_from_file_location(f"trlt_own_{unique}_{path.stem}", path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = module_from_spec(spec)
    sys.modules[module.__name__] = module
    with _neighbours(path.parent) as found:
        try:
            # These very bytes, of which the checksum was taken; no compiled copy is read or left.
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
        except SyntaxError as error:
            where = f"{error.filename or given}:{error.lineno}" if error.lineno else str(given)
            where = where.replace(str(path), str(given))
            raise RecipeError(f"{where}: not Python: {error.msg}") from None
        except (Exception, SystemExit) as error:  # of the user's file alone
            if isinstance(error, OSError) and error.errno in SYSTEMIC:
                raise
            raise RecipeError(
                f"{_place(error, given, path)}: {type(error).__name__}: {error}; the file is run when it is loaded"
            ) from error
    files = {path.name: digest} | {str(one.relative_to(path.parent)): _digest(one) for one in sorted(found)}
    return OwnFile(given, path, module, files)


@contextmanager
def _neighbours(folder: Path) -> Iterator[list[Path]]:
    """Lets modules of a folder be imported; gives the files of those that were, once it is left."""
    before, writes = set(sys.modules), sys.dont_write_bytecode
    found: list[Path] = []
    sys.path.insert(0, str(folder))
    # A compiled copy is told from a newer file by the second only.
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield found
    finally:
        sys.dont_write_bytecode = writes
        if str(folder) in sys.path:  # which the file may have changed itself
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if (file := _neighbour(name, folder)) and name.partition(".")[0] not in before:
                # Else another file's neighbour of the same name would be taken for this one.
                del sys.modules[name]
                found.append(file)


def _neighbour(name: str, folder: Path) -> Path | None:
    """The file of a module if it was found by its name in a folder; one in an environment below isn't meant."""
    file = getattr(sys.modules[name], "__file__", None)
    top = name.partition(".")[0]
    if file is None or not Path(file).is_relative_to(folder):
        return None
    return Path(file) if Path(file).relative_to(folder).parts[0] in (top, f"{top}.py") else None


def _place(error: BaseException, given: Path, path: Path) -> str:
    """The last line of the file that an exception went through."""
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{given}:{lines[-1]}" if lines else str(given)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
