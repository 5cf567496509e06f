"""How fast are clips had? The loader against qwen-vl-utils on torchcodec and on decord, and a second read from the frame store.

    python -m bench.video [--real FOLDER] [--files FOLDER] [--repeats 3] [--json]

Each reader runs in a process of its own, which first reads another file, so that imports don't count; sides take turns. Peak
memory is that process's largest resident size.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench.clips import make
from bench.readers import Read, Setting, available, difference, ours, theirs

OURS = "trlt"
MADE: tuple[tuple[str, str, tuple[int, int], int, int, int], ...] = (
    ("60 s, 720p", "720p_60s.mp4", (1280, 720), 450, 4, 768),
    ("60 s, 1080p", "1080p_60s.mp4", (1920, 1080), 450, 4, 768),
    ("10 min, 360p", "360p_10min.mp4", (640, 360), 900, 20, 768),
    ("1 h, 360p", "360p_1h.mp4", (640, 360), 900, 120, 768),
    ("1 h, 360p, sparse", "360p_1h.mp4", (640, 360), 900, 120, 64),
)
"""Case, file, size, encoded frames, how often they are repeated, and most frames to sample."""


def once(side: str, path: Path, most: int) -> Read:
    """One reading of at most `most` frames by one side."""
    setting = Setting(max_frames=most)
    return ours(path, setting) if side == OURS else theirs(path, setting, side)


def child(side: str, path: Path, most: int, warm: Path, frames: Path | None) -> None:
    """Runs in a process of its own: prints seconds and peak memory, and writes the frames where they are wanted."""
    import numpy as np

    once(side, warm, most)
    began = time.perf_counter()
    read = once(side, path, most)
    seconds = time.perf_counter() - began
    # Not `getrusage`: its peak is the larger of this program's and of the process that started it.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    if frames:
        np.save(frames, np.rint(read.frames).astype(np.uint8), allow_pickle=False)
    print(json.dumps({"seconds": seconds, "mib": peak, "frames": len(read.indices)}))


def measure(side: str, path: Path, most: int, warm: Path, frames: Path | None = None) -> dict[str, Any]:
    """One reading in a process of its own.

    Raises:
        RuntimeError: it failed; the last line says why.
    """
    words = [sys.executable, "-m", "bench.video", "--child", side, str(path), str(most), str(warm)]
    if frames:
        words.append(str(frames))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no words"])[-1][:90])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(name: str, path: Path, most: int, warm: Path, peers: list[str], repeats: int, folder: Path) -> dict[str, Any]:
    """One row: median seconds and peak memory of every side, and how far the frames lie apart."""
    import numpy as np

    row: dict[str, Any] = {"case": name}
    times: dict[str, list[float]] = {}
    for turn in range(repeats):
        for side in (OURS, *peers):
            if isinstance(row.get(side), str):
                continue
            kept = folder / f"{side}.npy" if turn == 0 else None
            try:
                result = measure(side, path, most, warm, kept)
            except RuntimeError as error:
                row[side] = f"fails: {error}"
                continue
            times.setdefault(side, []).append(result["seconds"])
            row["frames"] = result["frames"]
            row[side] = {"seconds": statistics.median(times[side]), "least": min(times[side]), "mib": result["mib"]}
    for side in peers:
        if isinstance(row.get(side), dict) and isinstance(row.get(OURS), dict):
            a, b = (np.load(folder / f"{s}.npy", allow_pickle=False) for s in (OURS, side))
            row[side]["p999"] = difference(a, b)[0] if a.shape == b.shape else None
    fastest = [row[side]["seconds"] for side in peers if isinstance(row.get(side), dict)]
    if fastest and isinstance(row.get(OURS), dict):
        row["speedup"] = min(fastest) / row[OURS]["seconds"]
    return row


def store_ratio(path: Path, folder: Path, repeats: int) -> dict[str, float]:
    """Seconds to decode a clip and to read it from the frame store, in this process."""
    from trlt.recipe import Video
    from trlt.video.workers import ClipLoader

    def timed(work: Callable[[], Any]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    with ClipLoader(Video(workers=0)) as plain, ClipLoader(Video(workers=0, store=str(folder / "store"))) as stored:
        stored.load(path)
        decode = statistics.median(timed(lambda: plain.load(path)) for _ in range(repeats))
        read = statistics.median(timed(lambda: stored.load(path)) for _ in range(max(5, repeats)))
    return {"decode_s": decode, "read_s": read, "ratio": decode / read}


def _cell(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    gap = ""
    if "p999" in value:
        gap = ", other frames" if value["p999"] is None else f", p99.9 {value['p999']:.0f}"
    return f"{value['seconds']:.2f} s, {value['mib']:,.0f} MiB{gap}"


def main() -> None:
    """Prints a row a case."""
    if sys.argv[1:2] == ["--child"]:
        side, path, most, warm, *rest = sys.argv[2:]
        child(side, Path(path), int(most), Path(warm), Path(rest[0]) if rest else None)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder of real videos")
    parser.add_argument("--files", type=Path, default=Path(tempfile.gettempdir()) / "trlt-bench", help="keeps the made videos")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="cases whose names contain this")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args()
    peers = available()
    cases: list[tuple[str, Path, int]] = []
    for name, file, size, frames, times, most in MADE:
        if args.only in name:
            cases.append((name, make(args.files / file, size, frames, Fraction(30), times=times), most))
    warm = make(args.files / "warm.mp4", (128, 96), 30, Fraction(30))
    if args.real:
        cases += [(path.name, path, 768) for path in sorted(args.real.iterdir()) if args.only in path.name]
    print(f"{os.cpu_count()} cores; {Setting()}; peers: {', '.join(peers) or 'none is installed'}\n")
    print(f"| case | frames | {OURS} | {' | '.join(peers)} | against the faster peer | second read, frame store |")
    print("|" + "---|" * (5 + len(peers)))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, path, most in cases:
            row = compare(name, path, most, warm, peers, args.repeats, Path(scratch))
            row["store"] = store_ratio(path, Path(scratch), 1 if row.get("frames", 0) > 200 else args.repeats)
            rows.append(row)
            sides = " | ".join(_cell(row.get(side)) for side in (OURS, *peers))
            speedup = f"{row['speedup']:.2f}x" if "speedup" in row else ""
            store = row["store"]
            again = f"{store['read_s'] * 1000:.1f} ms, {store['ratio']:.0f}x"
            print(f"| {name} | {row.get('frames')} | {sides} | {speedup} | {again} |", flush=True)
    if args.json:
        print(json.dumps({"cores": os.cpu_count(), "repeats": args.repeats, "rows": rows}))


if __name__ == "__main__":
    main()
