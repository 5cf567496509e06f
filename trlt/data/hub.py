"""Files of data sets on the hub, through the hub's own client, which goes on where it was cut off."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from trlt.data.datasets import HUB
from trlt.errors import DataError, TrltError
from trlt.files.download import check_room, file_digests

STAGE = ".hub"
"""Folder beside the file's, in which the client keeps what it has fetched so far."""
_ADDRESS = re.compile(re.escape(HUB) + r"datasets/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)")


def is_on_hub(url: str) -> bool:
    """Whether an address is one of the hub's."""
    return url.startswith(HUB)


def from_hub(url: str, path: Path, *, most_bytes: int, digest: str = "") -> dict[str, Any]:
    """Puts a file of a data set on the hub in place.

    Args:
        url: As `trlt.data.datasets._fetch.hub` makes it.
        path: Where it goes.
        most_bytes: Largest size.
        digest: What it must have, if that is known.

    Returns:
        `revision`, the commit; `sha256`; `verified`: `sha256` or `git` by `digest`, else `hub`, by what the hub tells.

    Raises:
        DataError: another file than the digest's.
        TrltError: unreachable, refused, too large, or no room for it.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    told = _ADDRESS.fullmatch(url)
    assert told is not None, url
    dataset, revision, inside = told.groups()
    stage = path.parent / STAGE
    try:
        found = get_hf_file_metadata(hf_hub_url(dataset, inside, repo_type="dataset", revision=revision))
        size = most_bytes + 1 if found.size is None else found.size  # a file of no size could be of any
        if size > most_bytes:
            raise TrltError(
                f"{url}: {size / 1e6:,.0f} MB, more than the {most_bytes / 1e6:,.0f} MB that are expected; not fetched"
            )
        stage.mkdir(parents=True, exist_ok=True)
        check_room(stage, size)
        commit = found.commit_hash or revision
        got = Path(hf_hub_download(dataset, inside, repo_type="dataset", revision=commit, local_dir=stage))
    except OfflineModeIsEnabled:
        raise TrltError(f"{url}: HF_HUB_OFFLINE is set; unset it, or run the command where there is a network") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        why = "it wants an account or its terms accepted: do that on its page, then `hf auth login`"
        if status not in (401, 403):
            why = "the file isn't there any more" if status == 404 else "try again later"
        raise TrltError(f"{url}: the hub refuses it (HTTP {status}); {why}") from None
    except (LocalEntryNotFoundError, HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:  # a disk's
            raise
        raise TrltError(
            f"{url}: can't be fetched ({type(error).__name__}); the same command goes on from what is there where there is a "
            "network"
        ) from None
    digests = file_digests(got)
    etag = found.etag or ""
    by_hub = {64: f"sha256:{etag}", 40: f"git:{etag}"}.get(len(etag), "")
    for wanted in filter(None, (digest, by_hub)):
        if wanted not in digests:
            shutil.rmtree(stage)
            raise DataError(f"{url}: not the file that is known: {digests[0]} instead of {wanted}; it isn't kept")
    path.parent.mkdir(parents=True, exist_ok=True)
    got.replace(path)
    shutil.rmtree(stage)
    verified = digest.partition(":")[0] or ("hub" if by_hub else None)
    return {"revision": commit, "sha256": digests[0].removeprefix("sha256:"), "verified": verified}
