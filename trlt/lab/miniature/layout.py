"""Writes the whole miniature into a folder: videos and annotations, where and as the official data sets have them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from trlt.files import open_atomic, write_text_atomic
from trlt.lab.miniature import benchmarks, newer_choices, newer_spans, official, sources
from trlt.lab.miniature.ids import USES
from trlt.lab.miniature.mvbench import mvbench
from trlt.lab.miniature.official import Part, WorldOptions
from trlt.lab.miniature.render import write_frames, write_video
from trlt.lab.miniature.world import Scene

VERSION = 4
"""Rises with every change of what is written, so that an old folder is written anew."""

Progress = Callable[[int, int], None]
"""Is told how many clips of how many are written."""

_STAMP = "layout.json"
_WORKERS = 2


class DatasetPaths(NamedTuple):
    """Where a data set's official files lie."""

    annotations: Path
    videos: Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of a written miniature lies."""

    root: Path
    train: Mapping[str, DatasetPaths]
    """Training source -> its folders."""
    bench: Mapping[str, DatasetPaths]
    """Benchmark -> its folders."""


def parts(
    *, seed: int = 0, scale: float = 1.0, bench_scale: float | None = None, graded: bool = False, newer: bool = False
) -> dict[str, Part]:
    """Folder (`train/charades`, ...) -> its annotation and scenes; see `write`."""
    world = WorldOptions(seed, graded)

    def n(clips: int) -> int:
        return max(2, round(clips * scale))

    def b(clips: int) -> int:
        return max(2, round(clips * (scale if bench_scale is None else bench_scale)))

    return {
        "train/charades": official.charades("train", n(240), world),
        "train/didemo": official.didemo(n(120), world),
        "train/nextqa": official.nextqa(n(240), world),
        "train/nextgqa": official.nextgqa("val", n(120), world),
        "bench/charades": official.charades("test", b(200), world),
        "bench/activitynet": official.activitynet(b(120), world),
        "bench/mvbench": mvbench(b(18), world),
        "bench/nextgqa": official.nextgqa("test", b(200), world),
        "train/llava_video": sources.llava_video(n(40), world),
        "train/perceptiontest": sources.perceptiontest(n(24), world),
        "train/internvid": sources.internvid(n(32), world),
        "train/vtg_it": sources.vtg_it(n(24), world),
        "train/gvideollm": sources.gvideollm(n(24), world),
        "bench/activitynet_rtl": benchmarks.activitynet_rtl(b(48), world),
        "bench/tempcompass": benchmarks.tempcompass(b(30), world),
        "bench/videomme": benchmarks.videomme(b(20), world),
        "bench/mmvu": benchmarks.mmvu(b(60), world),
    } | (_newer(world, b) if newer else {})


def _newer(world: WorldOptions, b: Callable[[int], int]) -> dict[str, Part]:
    """The benchmarks that the demo doesn't ask."""
    return {
        "bench/timelens_charades": newer_spans.timelens("charades", b(200), world),
        "bench/timelens_activitynet": newer_spans.timelens("activitynet", b(120), world),
        "bench/timelens_qvhighlights": newer_spans.timelens("qvhighlights", b(60), world),
        "bench/qvhighlights": newer_spans.qvhighlights(b(60), world),
        "bench/tvgbench": newer_spans.tvgbench(b(60), world),
        "bench/videommmu": newer_choices.videommmu(b(40), world),
        "bench/longvideobench": newer_choices.longvideobench(b(40), world),
        "bench/videoholmes": newer_choices.videoholmes(b(40), world),
        "bench/videomme_v2": newer_choices.videomme_v2(b(40), world),
        "bench/mlvu": newer_choices.mlvu(b(56), world),
        "bench/mlvu_test": newer_choices.mlvu_test(b(54), world),
        "bench/lvbench": newer_choices.lvbench(b(40), world),
        "bench/vsibench": newer_choices.vsibench(b(40), world),
    }


def write(
    root: Path,
    *,
    seed: int = 0,
    scale: float = 1.0,
    bench_scale: float | None = None,
    graded: bool = False,
    newer: bool = False,
    progress: Progress | None = None,
) -> Layout:
    """Writes the miniature, or what is missing of it: killed at any moment, the same call goes on.

    Args:
        root: A folder of its own; made when it doesn't exist.
        seed: Another seed gives other scenes and questions, and replaces those that are there.
        scale: 1 gives 864 clips to train on and about 860 to be tested on.
        bench_scale: The same for the clips to be tested on; None takes `scale`.
        graded: Clips of every difficulty, from plain to hardly visible; see `script.make_scene`.
        newer: With thirteen more benchmarks, which the demo doesn't ask.
        progress: Called after each clip that had to be written.
    """
    made = parts(seed=seed, scale=scale, bench_scale=bench_scale, graded=graded, newer=newer)
    videos = {root / key / "videos" / path: scene for key, part in made.items() for path, scene in part.videos.items()}
    scales = {"scale": float(scale), "bench_scale": float(scale if bench_scale is None else bench_scale)}
    stamp = json.dumps({"version": VERSION, "seed": seed, **scales, "graded": graded})
    marker = root / _STAMP
    if not marker.is_file() or marker.read_text(encoding="utf-8") != stamp:
        marker.unlink(missing_ok=True)
        for path in videos:  # of another seed or version, under the same name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        write_text_atomic(marker, stamp)
    for key, part in made.items():
        for name, content in part.annotations.items():
            _write_annotation(root / key / "annotations" / name, content)
        for name, content in part.beside.items():
            _write_annotation(root / key / "videos" / name, content)
    render_all(((path, scene) for path, scene in videos.items() if not path.exists()), progress)
    return layout(root)


def _write_annotation(path: Path, content: str | bytes) -> None:
    """Replaces a file's content in one step."""
    with open_atomic(path, "w" if isinstance(content, str) else "wb") as out:
        out.write(content)


def layout(root: Path) -> Layout:
    """The paths of a miniature below `root`, written or not."""

    def places(group: str) -> dict[str, DatasetPaths]:
        names = [use.removeprefix(group) for use in USES if use.startswith(group)]
        return {name: DatasetPaths(root / group / name / "annotations", root / group / name / "videos") for name in names}

    bench = places("bench/")
    for part in newer_spans.TIMELENS:  # asks about another benchmark's videos
        name = f"timelens_{part}"
        bench[name] = DatasetPaths(root / "bench" / name / "annotations", bench[part].videos)
    return Layout(root, places("train/"), bench)


def render_all(videos: Iterable[tuple[Path, Scene]], progress: Progress | None = None) -> None:
    """Writes each scene to its path, several at a time; a path without a suffix becomes a folder of frames."""
    # Threads suffice: drawing and encoding leave the interpreter's lock for most of their time.
    with ThreadPoolExecutor(_WORKERS) as pool:
        jobs = [pool.submit(write_video if path.suffix else write_frames, scene, path) for path, scene in videos]
        if progress and jobs:
            progress(0, len(jobs))
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                if progress:
                    progress(done, len(jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
