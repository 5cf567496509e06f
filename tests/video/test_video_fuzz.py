"""Several hundred damaged files through the decoding processes: frames or a reason, never a crash, a hang or a leak.

`pytest -s` shows how the files ended.
"""

from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from coded import make
from damage import KINDS, NOT_VIDEOS
from processes import children, peak_bytes

from trlt.recipe import Video
from trlt.video.workers import ClipLoader, ClipRequest

EACH = 8
MEMORY_GB = 1.5
SOURCES = {
    "a.mp4": {"codec": "libx264", "options": {"g": "12"}},
    "b.mp4": {"codec": "libx264", "container": {"movflags": "faststart"}},
    "c.mkv": {"codec": "libx265", "options": {"log-level": "none"}},
    "d.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}},
    "e.avi": {"codec": "mpeg4"},
    "f.gif": {"codec": "gif", "pixels": "rgb8"},
    "g.ts": {"codec": "libx264"},
    "h.mov": {"codec": "mjpeg", "pixels": "yuvj420p"},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("damaged")
    made = []
    for source, settings in SOURCES.items():
        data = make(folder / source, 40, 10, **settings).read_bytes()  # type: ignore[arg-type]
        for damage in KINDS:
            for number in range(EACH):
                path = folder / f"{damage.__name__}-{number}-{source}"
                path.write_bytes(damage(data, Random(path.name)))
                made.append(path)
        for what, content in NOT_VIDEOS.items():
            path = folder / f"{what}-0-{source}"
            path.write_bytes(content)
            made.append(path)
    return made


def test_damaged_files(files: list[Path]) -> None:
    assert len(files) >= 500
    ends: Counter[tuple[str, str]] = Counter()
    before, peak = children(), 0
    settings = Video(max_tokens=64, workers=2, timeout_s=30, memory_gb=MEMORY_GB)
    with ClipLoader(settings) as loader:
        for loaded in loader.map(map(ClipRequest, files)):
            peak = max(peak, peak_bytes(children() - before))
            name = loaded.request.path.name
            kind = name.partition("-")[0]
            if loaded.clip is None:
                assert name in str(loaded.error), "the error names the file"
                assert "decoding process" not in str(loaded.error), f"it ended the process: {loaded.error}"
                assert "not decoded in" not in str(loaded.error), f"it hangs: {loaded.error}"
                ends[kind, "reason"] += 1
                continue
            clip = loaded.clip
            assert kind not in NOT_VIDEOS
            assert len(clip.times) == len(clip.frames) >= 2 and len(clip.times) % 2 == 0
            assert (np.diff(clip.times) >= 0).all() and clip.duration > 0 and np.isfinite(clip.times).all()
            assert clip.tokens <= 4 * 64, "the budget holds whatever the header says"
            ends[kind, "warning" if clip.warnings else "frames"] += 1
    assert children() <= before, "no process is left"
    assert peak > 1e7
    assert peak < (MEMORY_GB + 0.5) * 1e9, f"{peak / 1e9:.2f} GB"
    assert ends["flip_few", "frames"] > ends["flip_few", "reason"], "small damage doesn't cost the file"
    print(f"\n{len(files)} files; peak memory of a decoding process {peak / 2**20:.0f} MiB")  # noqa: T201
    for kind in sorted({kind for kind, _ in ends}):
        print(f"{kind:14}", {end: ends[kind, end] for end in ("frames", "warning", "reason")})  # noqa: T201
