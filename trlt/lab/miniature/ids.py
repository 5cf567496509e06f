"""Which seed and which names a clip of the miniature has. Two clips of different use never share either."""

from __future__ import annotations

from string import ascii_letters, ascii_uppercase, digits
from typing import Literal, get_args

Use = Literal[
    "warmup",
    "train/charades",
    "train/didemo",
    "train/nextqa",
    "train/nextgqa",
    "bench/charades",
    "bench/activitynet",
    "bench/mvbench",
    "bench/nextgqa",
    "train/llava_video",
    "train/perceptiontest",
    "train/internvid",
    "train/vtg_it",
    "train/gvideollm",
    "bench/activitynet_rtl",
    "bench/tempcompass",
    "bench/videomme",
    "bench/mmvu",
    "bench/qvhighlights",
    "bench/tvgbench",
    "bench/videommmu",
    "bench/longvideobench",
    "bench/videoholmes",
    "bench/videomme_v2",
    "bench/mlvu",
    "bench/mlvu_test",
    "bench/lvbench",
    "bench/vsibench",
]
USES: tuple[Use, ...] = get_args(Use)

_CLIPS = 1 << 20  # clips of one use and seed
_USES = 16  # never changes, since it would move the seeds of all uses; as many more have negative seeds
_SCATTER = 3_202_034_522_624_059_733  # shares no factor with the counts of names below: different clips, different names


def scene_seed(use: Use, seed: int, index: int) -> int:
    """The seed of a clip's scene; different for any two of (use, seed, index).

    Args:
        use: What the clip is for.
        seed: The layout's or the warm-up's seed, not negative.
        index: The clip's number within its use, below 2**20.
    """
    if seed < 0 or not 0 <= index < _CLIPS:
        raise ValueError(f"seed {seed} and index {index} must be at least 0, and the index below {_CLIPS}")
    late, place = divmod(USES.index(use), _USES)
    number = (seed * _USES + place) * _CLIPS + index
    return -number - 1 if late else number


def _number(use: Use, index: int, names: int) -> int:
    """A scattered number below `names`, one for each clip."""
    return (USES.index(use) * _CLIPS + index + 1) * _SCATTER % names


def charades_id(use: Use, index: int) -> str:
    """Five capital letters or digits."""
    return _spell(_number(use, index, 36**5), ascii_uppercase + digits, 5)


def flickr_id(use: Use, index: int) -> str:
    """Ten digits, as videos of NExT-QA and DiDeMo have."""
    return str(2_000_000_000 + _number(use, index, 7_000_000_000))


def youtube_id(use: Use, index: int) -> str:
    """Eleven characters."""
    return _spell(_number(use, index, 64**11), ascii_letters + digits + "-_", 11)


def _spell(number: int, alphabet: str, length: int) -> str:
    text = ""
    for _ in range(length):
        number, rest = divmod(number, len(alphabet))
        text = alphabet[rest] + text
    return text
