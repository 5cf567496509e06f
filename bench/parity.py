"""Do our frames equal the family's? Files of many kinds, each with several settings, against qwen-vl-utils on its decoders.

python -m bench.parity [--real FOLDER] [--files FOLDER] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench.clips import make
from bench.readers import Read, Setting, available, difference, ours, theirs
from trlt.errors import VideoError

TOLERANCE = 2.0
"""Of 255, at the 99.9th percentile: what the contract allows."""
QUICK = {"preset": "ultrafast", "crf": "30"}
MADE: tuple[tuple[str, tuple[int, int], int, Fraction, int], ...] = (
    ("23.976fps_3s.mp4", (320, 240), 72, Fraction(24000, 1001), 1),
    ("29.97fps_60s.mp4", (426, 240), 300, Fraction(30000, 1001), 6),
    ("60fps_3s.mp4", (640, 360), 180, Fraction(60), 1),
    ("12.5fps_odd.mp4", (322, 178), 100, Fraction(25, 2), 1),
    ("30fps_tall.mp4", (136, 600), 90, Fraction(30), 1),
    ("30fps_small.mp4", (64, 48), 90, Fraction(30), 1),
    ("30fps_10min.mp4", (320, 180), 300, Fraction(30), 60),
    ("30fps_1h.mp4", (256, 144), 300, Fraction(30), 360),
    ("1frame.mp4", (128, 96), 1, Fraction(30), 1),
    ("2frames.mp4", (128, 96), 2, Fraction(30), 1),
    ("3frames.mp4", (128, 96), 3, Fraction(30), 1),
)
SETTINGS = (
    Setting(),
    Setting(max_tokens=4096, fps=4.0),
    Setting(max_tokens=128, max_frames=16),
    Setting(fps=1.0, min_frames=8),
)
BOUNDED = (Setting(start=0.51, end=1.99), Setting(fps=8.0, max_frames=32, start=1.03, end=2.77))


def cases(real: Path | None, folder: Path) -> Iterator[tuple[Path, Setting]]:
    """Files with the settings that make sense for them."""
    files = sorted(real.iterdir()) if real else []
    for name, size, frames, rate, times in MADE:
        files.append(make(folder / name, size, frames, rate, times=times, options=QUICK))
    for path in files:
        few = "frame" in path.name
        for setting in SETTINGS[:1] if few else SETTINGS:
            yield path, setting
        if path.name.startswith(("23", "29", "60", "yoga", "nasa", "30fps_10")):
            yield from ((path, setting) for setting in BOUNDED)


def compare(path: Path, setting: Setting, peer: str) -> dict[str, Any]:
    """One row of the table."""
    row: dict[str, Any] = {"file": path.name, "setting": str(setting), "peer": peer}
    try:
        a: Read | None = ours(path, setting)
    except VideoError as error:
        a, row["ours"] = None, str(error).partition(": ")[2]
    try:
        b: Read | None = theirs(path, setting, peer)
    except Exception as error:  # whatever a peer raises is its answer
        b, row["theirs"] = None, f"{type(error).__name__}: {str(error).splitlines()[0][:60] if str(error) else ''}"
    if a is None or b is None:
        row["verdict"] = "both refuse" if a is None and b is None else f"only {'theirs' if a is None else 'ours'} reads it"
        return row
    row |= {
        "frames": len(a.indices),
        "indices": a.indices == b.indices,
        "size": a.frames.shape == b.frames.shape,
        "tokens": a.tokens == b.tokens,
        "seconds_per_grid": abs(a.seconds_per_grid - b.seconds_per_grid) < 1e-6,
    }
    exact = all(row[key] for key in ("indices", "size", "tokens", "seconds_per_grid"))
    if a.frames.shape == b.frames.shape:
        row["p999"], row["mean"] = difference(a.frames, b.frames)
    row["verdict"] = "equal" if exact and row["p999"] <= TOLERANCE else "DIFFERS"
    return row


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder of real videos")
    parser.add_argument("--files", type=Path, default=Path(tempfile.gettempdir()) / "trlt-bench", help="keeps the made videos")
    parser.add_argument("--only", default="", help="files whose names contain this")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args()
    peers = available()
    print(f"peers: {', '.join(peers) or 'none is installed'}\n")
    print("| file | setting | peer | frames | indices | size, tokens | s a grid | p99.9 | mean | |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows = []
    yes = {True: "=", False: "≠", None: ""}
    for path, setting in cases(args.real, args.files):
        if args.only not in path.name:
            continue
        for peer in peers:
            row = compare(path, setting, peer)
            rows.append(row)
            same = row.get("size") and row.get("tokens") if "size" in row else None
            cells = [row["file"], row["setting"], peer, row.get("frames", ""), yes[row.get("indices")], yes[same]]
            cells += [yes[row.get("seconds_per_grid")], f"{row['p999']:.1f}" if "p999" in row else ""]
            cells += [f"{row['mean']:.3f}" if "mean" in row else "", row["verdict"]]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in sorted({row["verdict"] for row in rows})}
    combinations = len({(row["file"], row["setting"]) for row in rows})
    print(f"\n{combinations} combinations of file and setting: {counts}")
    if args.json:
        print(json.dumps({"combinations": combinations, **counts, "rows": rows}))


if __name__ == "__main__":
    main()
