"""`trlt train push`: a run's model goes to a hub; nothing else of the run does."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Annotated, Any

import typer

from trlt import __version__
from trlt.commands._output import Output
from trlt.errors import ModelError, TrltError, UsageError
from trlt.report.answers import visible
from trlt.report.model_card import NAME

SUFFIXES = (".safetensors", ".json", ".jinja", ".txt")
"""Of the files that make up a model; `README.md` goes with them. Pickles such as `training_args.bin` stay."""
SHOWN = 200
"""Characters of what a hub says."""


def push(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `trlt train`, or of a merged model.")],
    repo_id: Annotated[str, typer.Argument(help="Repository on the hub: owner/name.")],
    *,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; without, the repository is private.")] = False,
    output: Output,
) -> dict[str, Any]:
    """Uploads the model of a run with its card; see `trlt train push --help`.

    Raises:
        UsageError: a repository's name that can't be, no token, or a public repository without `public`.
        ModelError: no model there.
        TrltError: the hub can't be reached, or refuses.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
    )
    from huggingface_hub.utils import disable_progress_bars, validate_repo_id  # type: ignore[attr-defined]

    folder, files = model_files(run)
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"{repo_id!r}: is no name of a repository ({error}); give `owner/name`") from None
    if not get_token():
        raise UsageError("no token of the hub: run `hf auth login`, or set HF_TOKEN to one that may write")
    if output.json_mode:
        disable_progress_bars()
    size = sum(file.stat().st_size for file in files)
    api = HfApi()
    try:
        made = api.create_repo(repo_id, private=not public, exist_ok=True)
        private = bool(api.repo_info(made.repo_id).private)
        if not private and not public:
            raise UsageError(f"{made.repo_id}: is there already and public; give --public if that is meant, or another name")
        output.note(
            f"train push: {len(files)} files, {size / 1e9:.2f} GB, to {'private' if private else 'public'} {made.repo_id}"
        )
        commit = api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            allow_patterns=[glob.escape(file.name) for file in files],
            commit_message=f"A model tuned with trlt {__version__}",
        )
    except HfHubHTTPError as error:
        raise TrltError(
            f"{repo_id}: the hub refuses ({visible(str(error), SHOWN)}); is the owner right, and may the token write there?"
        ) from None
    except (HTTPError, OSError) as error:
        why = f"{type(error).__name__}: {visible(str(error), SHOWN)}"
        raise TrltError(f"{repo_id}: the hub can't be reached ({why}); run the same command where there is a network") from None
    if not (folder / NAME).is_file():
        output.note(f"train push: {folder} holds no {NAME}, so the repository has no card")
    output.show(f"Uploaded: {commit.commit_url}")
    return {
        "repo": made.repo_id,
        "url": str(commit.commit_url),
        "private": private,
        "files": [file.name for file in files],
        "bytes": size,
    }


def model_files(run: Path) -> tuple[Path, list[Path]]:
    """The folder of a run's model, and what is uploaded of it by name.

    Raises:
        ModelError: there is no folder, or no weights as safetensors in it.
    """
    folder = run / "model" if (run / "model").is_dir() else run
    if not folder.is_dir():
        raise ModelError(f"{run}: no such folder; give the one of a finished `trlt train` run")
    # A link may lead to anything.
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.is_symlink()]
    chosen = [file for file in files if (file.suffix in SUFFIXES and not file.name.startswith(".")) or file.name == NAME]
    if not any(file.suffix == ".safetensors" for file in chosen):
        raise ModelError(f"{folder}: holds no *.safetensors file, so no model; give the folder of a finished `trlt train` run")
    if not (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder}: holds no config.json, so no model; give the folder of a finished `trlt train` run")
    return folder, chosen
