"""`trlt prepare` at the size of the paper's pool: all nine sources, video checks from the cached scan.

    python -m bench.prepare            490,896 invented samples; about 2 GB of disk while it runs
    python -m bench.prepare --scale 0.01 --json

The corpus is written first (not timed): annotation in the official layouts, an empty file for each video, and a scan that
holds a verdict for each. Then the real command runs in a process of its own, whose time and peak memory are the metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.corpus import PAPER, Made, write
from trlt.video.decode import VERSION


def touch(root: Path, made: dict[str, Made]) -> int:
    """An empty file for each video, and the scan that has a verdict on each; returns how many."""
    count = 0
    with (root / "scan.jsonl").open("w") as scan:
        for name, source in made.items():
            for video, seconds in source.videos.items():
                path = root / name / "videos" / video
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                stat = path.stat()
                row = {"path": str(path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "duration_s": seconds}
                scan.write(json.dumps(row | {"error": None, "warnings": [], "loader": VERSION}) + "\n")
                count += 1
    return count


def recipe(root: Path) -> Path:
    """All nine sources."""
    lines = ["name: corpus", "prepare:", "  sources:"]
    for name in PAPER:
        lines.append(f"    - {{dataset: {name}, annotations: {root / name}, videos: {root / name / 'videos'}}}")
    path = root / "corpus.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def timed(command: list[str], root: Path) -> tuple[float, float, dict[str, Any]]:
    """(seconds, peak MiB, result) of one command in a process of its own."""
    began = time.perf_counter()
    with (root / "result.json").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, cwd=root)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"the command ended with status {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss / 1024, json.loads((root / "result.json").read_text())


def check(result: dict[str, Any], made: dict[str, Made]) -> None:
    """The counts are those that the corpus was made with: what is fast and wrong is of no use."""
    for entry in result["sources"]:
        source = made[entry["dataset"]]
        dropped = sum(entry["dropped"].values())
        if entry["read"] != source.samples or dropped != source.faulty or entry["missing_videos"]:
            raise SystemExit(f"{entry['dataset']}: {source.samples} made, {source.faulty} faulty, but: {entry}")


def main() -> None:
    """Makes the corpus, runs the command, prints the metrics."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the paper's counts")
    parser.add_argument("--folder", type=Path, help="where the corpus goes; default: a temporary folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        root = Path(name)
        made = write(root, args.scale, args.seed)
        files = touch(root, made)
        size = sum(path.stat().st_size for path in root.glob("*/**/*.json")) + sum(
            p.stat().st_size for p in root.glob("*/*.txt")
        )
        out = ["--out", str(root / "pool"), "--scan", str(root / "scan.jsonl"), "--json"]
        seconds, peak, result = timed([sys.executable, "-m", "trlt", "prepare", str(recipe(root)), *out], root)
        check(result, made)
    samples = sum(source.samples for source in made.values())
    print(f"{samples:,} records of {len(made)} sources, {size / 1e6:,.0f} MB of annotation, {files:,} videos")
    print(
        f"prepared: {result['samples']:,} samples in {seconds:.1f} s ({samples / seconds:,.0f} a second), peak {peak:,.0f} MiB"
    )
    if args.json:
        metrics = {"records": samples, "samples": result["samples"], "videos": files, "annotation_mb": round(size / 1e6, 1)}
        print(json.dumps(metrics | {"seconds": round(seconds, 2), "peak_mb": round(peak, 1), "scale": args.scale}))


if __name__ == "__main__":
    main()
