"""A run's folder: the resolved recipe and a manifest beside the rows, and the refusal to resume with anything else.

Knows files and checksums; nothing of samples.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trlt import __version__
from trlt.errors import ResumeError, UsageError
from trlt.files import create_text, file_digest, to_json, write_json
from trlt.files.forms import ManifestForm, read_form
from trlt.recipe import Recipe, dump_recipe, load_recipe, save_recipe, tells_apart
from trlt.rollout.changed_model import changed_model
from trlt.rollout.changed_parts import changed_parts
from trlt.rollout.shared.leases import at_work, remove
from trlt.rollout.shared.work_files import work_folder

_ANEW = "where it's not a manifest any more, delete it, or start anew with --fresh"
LIBRARIES = ("torch", "transformers", "numpy", "av")
FOLDERS = ("eval", "train")
"""Kinds of runs that write more than rows: always folders, whatever their name."""
HASHED_BYTES = 1 << 30
"""Weights up to this size are identified by content, larger ones by size and time: reading them twice takes minutes."""

ASKED_BY = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja"),
    *("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"),
)
"""Files of a model's folder, as transformers names them, that decide which tokens and frames its weights are given."""


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Paths of a run's files: in a folder, or beside a given file of rows."""

    out: Path
    """A folder, or a .jsonl file."""

    @property
    def is_file(self) -> bool:
        """Whether rows are the file itself: a name in .jsonl, unless it is a folder's."""
        return self.out.suffix == ".jsonl" and not self.out.is_dir()

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self._beside("recipe.yaml")

    @property
    def manifest(self) -> Path:
        """Versions, checksums, protocol and seeds."""
        return self._beside("manifest.json")

    @property
    def picture(self) -> Path:
        """Plot of the difficulty of probed samples."""
        return self._beside("difficulty.png")

    @property
    def replies(self) -> Path:
        """Folder of what a judge of the reward has replied."""
        return self._beside("judge")

    def server_log(self, number: int) -> Path:
        """What a server wrote that the run started."""
        return self._beside(f"vllm-{number}.log")

    def rows(self, name: str) -> Path:
        """The rows of one data set."""
        return self.out if self.is_file else self.out / "rows" / f"{name}.jsonl"

    def read_manifest(self) -> dict[str, Any] | None:
        """The manifest, or None if there is none.

        Raises:
            DataError: it is damaged.
        """
        return read_form(self.manifest, ManifestForm, _ANEW) if self.manifest.exists() else None

    def write_manifest(self, values: Mapping[str, Any]) -> None:
        """Replaces the manifest."""
        write_json(self.manifest, values)

    def note(self, **values: Any) -> None:
        """Adds findings about the run to the manifest; a resumed run keeps them until they are updated."""
        self.write_manifest({**(self.read_manifest() or {}), **values})

    def _beside(self, name: str) -> Path:
        return self.out.with_suffix(f".{name}") if self.is_file else self.out / name


def open_run(
    out: Path,
    kind: str,
    recipe: Recipe,
    *,
    model: Mapping[str, Any],
    inputs: Mapping[str, Mapping[str, Any]],
    protocol: Mapping[str, Any],
    sampler: Mapping[str, Any] | None = None,
    fresh: bool = False,
) -> RunFiles:
    """Opens a new run, or the existing one if it is the same. Several processes that open one all agree or fail.

    Args:
        out: Folder, or .jsonl file of rows.
        kind: Of the run, as `recipe.effects` knows it.
        recipe: As resolved.
        model: Identity of the model (`model_identity`).
        inputs: Checksums by name of the input; inputs may be added to a run, but existing ones must not change.
        protocol: The protocol behind the metrics.
        sampler: What drew the model's answers in place of the engine; its `name` must not change.
        fresh: Discard existing rows.

    Raises:
        ResumeError: the existing run has another recipe, model or input; names the keys that differ. Or processes are at work
            on rows to be discarded.
        DataError: a manifest that can't be read.
        UsageError: a file is where the folder should be.
    """
    run = RunFiles(out)
    if kind in FOLDERS:
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out}: is a file, and `trlt {kind}` writes a folder; give another --out")
        out.mkdir(parents=True, exist_ok=True)  # from now on a name in .jsonl is a folder's, too
    if fresh:
        _forget(run)
    old = run.read_manifest()
    if old is None and any(path.exists() for path in (*_rows_there(run), *_works_there(run))):
        raise ResumeError(f"{out}: there are rows, but no {run.manifest.name} that tells whose; give another --out, or --fresh")
    values = {
        "schema": 1,
        "kind": kind,
        "created": now(),
        **environment(),
        "prompt": recipe.prompt.words().version,
        "protocol": dict(protocol),
        "model": dict(model),
        "inputs": {name: dict(given) for name, given in sorted(inputs.items())},
    }
    if sampler is not None:
        values["sampler"] = dict(sampler)
    if parts := recipe.reward.identity(phases=kind == "train"):
        values["reward"] = parts
    # Whoever is the first to put a file there decides whose run it is; then the others see it, and compare.
    create_text(run.recipe, dump_recipe(recipe))
    found = tells_apart(kind, load_recipe(run.recipe), recipe)
    if old is None and not found and not create_text(run.manifest, to_json(values)):
        old = run.read_manifest()
    if old is not None:
        found = _other(old, values) + found
    if found:
        listed = "\n  ".join(found)
        raise ResumeError(
            f"{out}: belongs to another run; give another --out, or --fresh to start anew. What differs:\n  {listed}"
        )
    if old is not None:
        values["created"] = old.get("created") or values["created"]
        if "parity" in old:
            values["parity"] = old["parity"]
        values["inputs"] = dict(sorted({**old.get("inputs", {}), **values["inputs"]}.items()))
        run.write_manifest(values)
    save_recipe(run.recipe, recipe)
    return run


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment() -> dict[str, Any]:
    """Versions and hardware, for manifests; loads no library."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    torch = sys.modules.get("torch")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch else []
    hardware = {"machine": platform.machine(), "system": platform.system(), "gpus": devices}
    return {"trlt": __version__, "python": platform.python_version(), "versions": found, "hardware": hardware}


def model_identity(located: str) -> dict[str, Any]:
    """The identity of a model: checksums of a folder and of files beside weights, or a hub id with its revision.

    For an adapter's folder, that of its base, with the adapter's own checksum.

    Args:
        located: As `trlt.engine.model.locate` gives it.
    """
    from trlt.engine.model import resolve

    place = resolve(located)
    found = _whole_identity(place.base)
    if place.adapters:
        digest = hashlib.sha256("".join(map(_adapter_digest, place.adapters)).encode())
        found |= {"name": Path(located).name, "adapter": digest.hexdigest()}
    return found


def _adapter_digest(folder: Path) -> str:
    """Checksum of an adapter: its weights and settings, but not the path of its base."""
    from trlt.engine.model import check_adapter

    config = {key: value for key, value in check_adapter(folder).items() if key != "base_model_name_or_path"}
    weights = file_digest(folder / "adapter_model.safetensors")
    return hashlib.sha256(f"{json.dumps(config, sort_keys=True)} {weights}".encode()).hexdigest()


def _whole_identity(located: str) -> dict[str, Any]:
    """The identity of a whole model."""
    folder = Path(located)
    if not folder.is_dir():
        from trlt.engine.model.hub import cached

        snapshot = cached(located)
        return {"hub": located, "revision": snapshot.name if snapshot else None}
    weights = sorted(folder.glob("*.safetensors"))
    small = sum(path.stat().st_size for path in weights) <= HASHED_BYTES
    digest = hashlib.sha256(file_digest(folder / "config.json").encode())
    for path in weights:
        stat = path.stat()
        digest.update(
            f"{path.name}\0{file_digest(path) if small else (stat.st_size, stat.st_mtime_ns)}\0".encode(
                "utf-8", "surrogateescape"
            )
        )
    asked_by = {path.relative_to(folder).as_posix(): file_digest(path) for name in ASKED_BY for path in folder.glob(name)}
    return {"name": folder.name, "sha256": digest.hexdigest(), "files": dict(sorted(asked_by.items()))}


def _changed(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Keys in which inputs differ; `path` may change, since files get moved."""
    keys = [key for key in sorted(old.keys() | new.keys()) if key not in ("path", "name", "videos", "files", "dataset")]
    return [f"{what}.{key}: {old.get(key)!r} -> {new.get(key)!r}" for key in keys if old.get(key) != new.get(key)]


def _other(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Differences between two manifests' runs, except for the recipe."""
    found = [f"{key}: {old.get(key)!r} -> {new[key]!r}" for key in ("kind", "prompt") if old.get(key) != new[key]]
    found += changed_model(old.get("model", {}), new["model"])
    drawn = [_drawn_by(one) for one in (old, new)]
    if drawn[0] != drawn[1]:
        found.append(f"what draws the answers: {drawn[0]} -> {drawn[1]}")
    found += changed_parts(old.get("reward", []), new.get("reward", []))
    for name in sorted(new["inputs"].keys() & old.get("inputs", {}).keys()):
        found += _changed_input(name, old["inputs"][name], new["inputs"][name])
    return found


def _drawn_by(values: Mapping[str, Any]) -> str:
    """What draws a run's answers, by its manifest."""
    if values.get("sampler"):
        return str(values["sampler"]["name"])
    return "a server" if "served" in values.get("model", {}) else "trlt's engine"


def _changed_input(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Differences between inputs; for sample files, and for a benchmark's own files, in words instead of checksums."""
    if "samples" not in new:
        files, files_now = old.get("files", {}), new.get("files", {})
        edited = [file for file in files if file in files_now and files[file] != files_now[file]]
        return [f"{name}: {file} was changed" for file in edited] + _changed(f"inputs.{name}", old, new)
    if old.get("sha256") == new.get("sha256"):
        return _changed(f"inputs.{name}", old, new)
    # What was given, rather than what was made of it.
    before, now_there = (Path(str(next(iter(one.get("files") or ()), one.get("path", "")))).name for one in (old, new))
    counts = (
        f" ({old.get('samples'):,} before, {new['samples']:,} now)" if old.get("samples") not in (None, new["samples"]) else ""
    )
    told = f"the samples in {now_there} changed" if before == now_there else f"other samples: {before} -> {now_there}"
    rest = [{key: value for key, value in one.items() if key not in ("sha256", "samples")} for one in (old, new)]
    return [told + counts, *_changed(f"inputs.{name}", *rest)]


def _rows_there(run: RunFiles) -> list[Path]:
    """Files of rows."""
    if run.is_file:
        return [run.out]
    return sorted((run.out / "rows").glob("*.jsonl"))


def _works_there(run: RunFiles) -> list[Path]:
    """Folders in which processes share the rows, or did when they were killed."""
    if run.is_file:
        return [path for path in [work_folder(run.out)] if path.is_dir()]
    return sorted((run.out / "rows").glob(".*.work"))


def _forget(run: RunFiles) -> None:
    """Removes rows, recipe and manifest, and nothing else in the folder."""
    there, works = _rows_there(run), _works_there(run)
    for work in works:
        if busy := at_work(work):
            raise ResumeError(f"{run.out}: {len(busy)} processes are at work on it ({', '.join(busy)}); end them, then --fresh")
    for work in works:
        remove(work)
    made = [f"results.{kind}" for kind in ("json", "md", "tex")]
    made += ["report.html", "items/*.parquet", "samples/*.jsonl", "lmms_eval/*.json*"]
    results = [] if run.is_file else [path for name in made for path in run.out.glob(name)]
    for path in (run.manifest, *there, run.recipe, run.picture, *results):
        path.unlink(missing_ok=True)


def videos_root(root: str | None, data: Path) -> Path:
    """The folder that the paths in a file of samples are relative to.

    The recipe's (or flag's) comes first, then the one that `trlt prepare` or `trlt select` noted beside the file, then
    the file's own folder.
    """
    if root is not None:
        return Path(root)
    noted = (RunFiles(data).read_manifest() or {}).get("videos")
    return Path(noted) if isinstance(noted, str) else data.parent
