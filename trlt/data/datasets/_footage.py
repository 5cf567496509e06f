"""Where footage comes from, by the folders of a path: spelled as in the benchmarks' readers, so that leaks are found. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from trlt.data.datasets._common import didemo_key, youtube_key

YOUTUBE = frozenset(
    "activitynet activitynettvg anet youcook2 cosmo cosmocap hirest queryd internvid internvidvtime yttemporal howto100m "
    "qvhighlights hacs vtgitmr longvilavideos shot2story videomme lvbench videoholmes longvideobench vidchapters coin".split()
)
"""Names of data sets, without `-`, `_` and blanks, whose files are named by ids of YouTube."""
NEXT = frozenset("nextqa nextgqa nextgqatrain nextvideo".split())
"""Of those with NExT-QA's videos, whose files are named by VidOR's ids (Flickr's)."""
OTHERS = "perceptiontest clevrer scannetpp scannet arkitscenes tacos tempcompass mlvu".split()

_CHARADES = re.compile(r"([A-Z0-9]{5})(?=_|$)")
_CUT = re.compile(r"split_\d+")
_BOUNDS = re.compile(r"_\d\d:\d\d:\d\d[:.]\d+_\d\d:\d\d:\d\d[:.]\d+$")
"""Of InternVid's cuts: `<id>_00:00:39:000_00:01:24:700`."""


def inside(path: str) -> str:
    """A path below the video root: without what leads out of it, or to the annotators' own disk."""
    parts = path.strip().replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", "..") and not part.endswith(":"))


def footage_key(video: str, source: str, own: str) -> str:
    """The origin of a video's footage.

    Args:
        video: Path of the file.
        source: What the annotation names as its data set, maybe with folders; or empty.
        own: Name of the collection, for files whose origin nothing tells.
    """
    path = PurePosixPath(video)
    folders = {re.sub(r"[-_ ]", "", part).lower() for part in (*path.parts[:-1], *source.split("/"))}
    # YouCook2's files are cuts of a video, and only their folder has its id.
    name = _BOUNDS.sub("", path.parent.name if _CUT.fullmatch(path.stem) else path.stem)
    if "didemo" in folders:
        return didemo_key(path.name if path.stem == name else name)
    if name.startswith("ytb_") or folders & YOUTUBE:
        return youtube_key(name)
    if folders & NEXT:
        return f"flickr:{name}"
    for known in OTHERS:
        if known in folders:
            return f"{known}:{name}"
    if any(folder == "star" or folder.startswith("charades") for folder in folders):
        found = _CHARADES.match(name)
        return f"charades:{found[1] if found else name}"
    return f"{path.parts[0].lower() if len(path.parts) > 1 else own}:{name}"
