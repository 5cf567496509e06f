"""Models by their id on the hub: in the local cache they are folders, and held to what folders are held to."""

from __future__ import annotations

from pathlib import Path

from trlt.engine.families import FAMILIES
from trlt.engine.model.config import CONFIG, check_config
from trlt.engine.model.files import check_files
from trlt.errors import ModelError

PATTERNS = ("*.json", "*.safetensors", "*.jinja", "vocab.txt", "merges.txt")
"""What a model is made of; pickles and code stay where they are."""


def check_on_hub(name: str) -> None:
    """Looks at what the cache holds of a hub id; what it lacks must be reachable.

    Raises:
        ModelError: it isn't of a family that trlt knows, its files are damaged, or some are neither cached nor reachable.
    """
    folder = cached(name)
    if folder is not None:
        check_config(folder / CONFIG)
        try:
            return check_files(folder)
        except ModelError as error:
            return _reach(name, f"is not whole in the local cache ({str(error).removeprefix('model.path: ')})")
    return _reach(name, "is not in the local cache")


def cached(name: str) -> Path | None:
    """The folder of a hub id in the local cache, or None; it may lack files."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, CONFIG)
    return Path(found).parent if isinstance(found, str) else None


def fetch(name: str) -> Path:
    """The folder of a hub id in the local cache, whole: what it lacks is downloaded.

    Raises:
        ModelError: it can't be.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    # Loaded as a folder and not by its name: the revision in the
    # cache, which a run's identity names, is the one that answers.
    folder = cached(name)
    if folder is not None:
        try:
            check_files(folder)
        except ModelError:
            folder = None
    if folder is None:
        try:
            folder = Path(snapshot_download(name, allow_patterns=list(PATTERNS)))
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
            raise _unreachable(name, "is not whole in the local cache", error) from None
    check_config(folder / CONFIG)
    check_files(folder)
    return folder


def _reach(name: str, why: str) -> None:
    """Ends where the hub can't be asked for a model."""
    import socket
    from urllib.parse import urlsplit

    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        if constants.HF_HUB_OFFLINE:
            raise OfflineModeIsEnabled
        # Asked first, because the hub's client would retry an unreachable host for half a minute.
        socket.create_connection((urlsplit(constants.ENDPOINT).hostname or "", 443), timeout=5).close()
        check_config(Path(hf_hub_download(name, CONFIG)))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise _unreachable(name, why, error) from None


def _unreachable(name: str, why: str, error: Exception) -> ModelError:
    hint = ""
    if not any(part in name.lower() for family in FAMILIES for part in family.hub_names):
        known = ", ".join(family.name for family in FAMILIES)
        hint = f"; its name is that of no family which trlt tunes ({known}), so look at its config.json first"
    return ModelError(
        f"model.path: {name} {why} and can't be fetched ({type(error).__name__}); download it where there is a network "
        f"(`hf download {name}`), give a local folder with --model, or try `--model miniature`{hint}"
    )
