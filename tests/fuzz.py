"""Broken files for every command that reads some without a model: `python -m tests.fuzz --n 500 --seed 1`.

A case takes a good file (samples, rows, a manifest, a recipe, results, official annotation), spoils it in a place or two, and
runs a command that reads it. It is clean when that ends with a result or with an error of trlt's own, within bounds of time and
memory. Each case depends on its seed and number alone; `--only SEED:NUMBER` shows one again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from report import made_runs  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from trlt.cli import app  # noqa: E402
from trlt.data.datasets import load, names  # noqa: E402
from trlt.errors import TrltError  # noqa: E402
from trlt.rollout.rows_file import CHECKSUM, encode  # noqa: E402

MOST_S, MOST_KB = 5.0, 1 << 20
RAW = "raw"
ODD_NUMBERS = ["1e999", "-1e999", "NaN", "-0", "1" * 5000, "1" * 21, "0.1e-400", "9" * 19, "1E400"]
ODD_TEXTS = [
    "",
    " ",
    "\ud800",
    "\x00",
    "a\nb",
    "é",
    "\u2028",
    "x" * 1000,
    "../..",
    "/etc/passwd",
    "http://[",
    "nan",
    "<b>",
    "=1+1",
    "🙂",
]
ODD_VALUES: list[Callable[[random.Random], Any]] = [
    lambda rng: rng.choice([None, True, False, 0, -1, 1, 0.5, 10**18, [], {}, [[]], {"": None}, [None], [0, 0]]),
    lambda rng: rng.choice(ODD_TEXTS),
    lambda rng: RAW + str(rng.randrange(len(ODD_NUMBERS))),
    lambda rng: RAW + rng.choice(["deep", "deeper"]),
    lambda rng: "y" * rng.choice([300, 5000, 1_000_000]),
]


# -- spoiling ---------------------------------------------------------------------------------------------------------


def raw_json(value: Any, **given: Any) -> str:
    """JSON, with what no JSON writer would write."""
    text = json.dumps(value, **given)
    for number in range(len(ODD_NUMBERS)):
        text = text.replace(f'"{RAW}{number}"', ODD_NUMBERS[number])
    return text.replace(f'"{RAW}deeper"', "[" * 50_000).replace(f'"{RAW}deep"', "[" * 80 + "]" * 80)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with a key of it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield value, key
        yield from places(one)


def spoil_value(value: Any, rng: random.Random) -> Any:
    """A JSON value with another value, a lost key, or a key of another name somewhere in it."""
    found = list(places(value))
    if not found or rng.random() < 0.03:
        return rng.choice(ODD_VALUES)(rng)
    holder, key = rng.choice(found)
    how = rng.random()
    if how < 0.65:
        holder[key] = rng.choice(ODD_VALUES)(rng)
    elif how < 0.8:
        del holder[key]
    elif isinstance(holder, dict):
        holder[rng.choice(ODD_TEXTS)] = holder.pop(key) if how < 0.9 else holder[key]
    else:
        holder.extend([holder[key]] * rng.choice([1, 3]))
    return value


def spoil_json(data: bytes, rng: random.Random) -> bytes:
    return raw_json(spoil_value(json.loads(data), rng), ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def spoil_jsonl(data: bytes, rng: random.Random) -> bytes:
    """One line is spoilt; a row gets the checksum of what it holds then, so that its values are read."""
    lines = data.splitlines()
    place = rng.randrange(len(lines))
    try:
        value = json.loads(lines[place])
    except ValueError:
        return spoil_bytes(data, rng)
    sealed = isinstance(value, dict) and value.pop(CHECKSUM, None) is not None
    value = spoil_value(value, rng)
    lines[place] = raw_json(value).encode()
    if sealed and isinstance(value, dict) and RAW.encode() not in json.dumps(value).encode():
        lines[place] = encode(value).rstrip(b"\n")
    if rng.random() < 0.1:
        lines.insert(place, lines[place])
    return b"\n".join(lines) + b"\n"


def spoil_text(data: bytes, rng: random.Random) -> bytes:
    """A word, number or sign of a text file (YAML, CSV, TXT) becomes another."""
    text = data.decode("utf-8", "replace")
    words = list(re.finditer(r"[\w.]+|[^\w\s]|\n", text))
    if not words:
        return data
    word = rng.choice(words)
    new = rng.choice(["", '"', ",", ":", "- ", "&a ", "*a", "!!int ", "#", "[", "{", "##", "\t", *ODD_TEXTS, *ODD_NUMBERS])
    return (text[: word.start()] + new + text[word.end() :]).encode("utf-8", "surrogatepass")


def spoil_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bytes are lost, doubled, changed or of another encoding."""
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice([1, 1, 8, 200]))
    text = data.decode("utf-8", "replace")
    return rng.choice(
        [
            lambda: data[:at],
            lambda: data[:at] + data[end:],
            lambda: data[:end] + data[at:],
            lambda: data[:at] + rng.choice([b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xe9", b"\r", b"\n", b'"']) + data[at:],
            lambda: data[:at] + bytes(byte ^ 1 << rng.randrange(8) for byte in data[at:end]) + data[end:],
            lambda: b"\xef\xbb\xbf" + data,
            lambda: text.encode("utf-16"),
            lambda: text.encode("latin-1", "replace"),
            lambda: b"",
            lambda: rng.randbytes(200),
        ]
    )()


def spoil(path: Path, rng: random.Random) -> None:
    """Spoils a file after its kind; now and then, a folder stands in its place, or nothing."""
    data, kind = path.read_bytes(), path.suffix
    how = rng.random()
    if how < 0.03:
        path.unlink()
        if how < 0.015:
            path.mkdir()
        return
    after_kind = {".json": spoil_json, ".jsonl": spoil_jsonl}.get(kind, spoil_text)
    for _ in range(rng.choice([1, 1, 2])):
        change = spoil_bytes if how < 0.25 or kind == ".parquet" else after_kind
        try:
            data = change(data, rng)
        except (ValueError, IndexError, RecursionError):  # it was spoilt beyond its kind already
            data = spoil_bytes(data, rng)
    path.write_bytes(data)


# -- what is spoilt, and who reads it ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A good file, and a command that reads it; both below the root."""

    file: str
    command: tuple[str, ...]


def material(root: Path) -> list[Target]:
    """Writes good files of every kind; gives what may be spoilt."""
    runs = made_runs.everything(root)
    samples = json.loads((root / "samples.jsonl").read_text().splitlines()[0])["id"]
    probe_a, probe_b, base, tuned = (str(runs / name) for name in ("probe-a", "probe-b", "eval-base", "eval-tuned"))
    recipe = root / "recipe.yaml"
    recipe.write_text(
        "name: x\nmodel: {path: miniature, dtype: float32}\nvideo:\n  max_tokens: 64\n  fps: 2\nprobe: {n: 4}\nselect:\n"
        f"  easy: 4\n  hard: 0\ntrain:\n  data: {root}/samples.jsonl\n  max_steps: 2\n  sft: {{batch: 4}}\n"
    )
    out = str(root / "out")
    select = ("select", "--probe", probe_a, "--recipe", str(recipe), "--out", f"{out}/t.jsonl")
    show = ("probe", "show", samples, "--probe", probe_a)
    compare = ("compare", base, tuned, "--out", f"{out}/c.json")
    report = ("report", str(runs), "--out", f"{out}/r.html", "--frames-mb", "0")
    shift = ("probe", "compare", probe_a, probe_b)
    dry = ("train", str(recipe), "--dry-run", "--data", str(root / "samples.jsonl"))
    predictions = str(runs / "eval-tuned.predictions.jsonl")
    evaluate = (
        "eval",
        "-b",
        "charades",
        "--annotations",
        str(runs / "bench"),
        "--predictions",
        predictions,
        "--out",
        f"{out}/e",
    )
    again = (*evaluate[:-1], base)
    lengths = root / "annotated"
    lengths.mkdir()
    (lengths / "charades_sta_train.txt").write_text("".join(f"v{n} 0.0 1.0##a cat\n" for n in range(4)))
    (lengths / "Charades_v1_train.csv").write_text("id,length\n" + "".join(f"v{n},2.0\n" for n in range(4)))
    videos = ("--videos", str(root / "videos"))
    scan = ("prepare", "charades", "--annotations", str(lengths), *videos, "--scan", str(root / "scan.jsonl"))
    scan = (*scan, "--out", f"{out}/s.jsonl")
    check = ("video", "check", str(root / "samples.jsonl"), *videos, "--out", str(root / "checked.jsonl"))
    for command in (scan, check):
        assert CliRunner().invoke(app, list(command)).exit_code == 0
    found = [
        *(Target("samples.jsonl", one) for one in (select, show, shift, dry, report)),
        Target("samples.jsonl", ("export", str(root / "samples.jsonl"), "--format", "trl", "--out", f"{out}/x.jsonl")),
        Target("samples.jsonl", ("video", "check", str(root / "samples.jsonl"), "--videos", str(root / "videos"), "--json")),
        *(Target("recipe.yaml", one) for one in (select, dry)),
        *(Target("runs/probe-a/rows/probe.jsonl", one) for one in (select, show, shift, report)),
        *(Target("runs/probe-a/manifest.json", one) for one in (select, show, shift, report)),
        *(Target("runs/probe-a/recipe.yaml", one) for one in (show, shift, report)),
        *(Target("runs/eval-base/results.json", one) for one in (compare, report, report)),
        *(Target("runs/eval-base/manifest.json", one) for one in (compare, report, again)),
        *(Target("runs/eval-base/items/charades.parquet", one) for one in (compare, report)),
        *(Target("runs/eval-base/rows/charades.jsonl", one) for one in (report, again)),
        *(Target("runs/eval-base/results.json", one) for one in (again,)),
        *(Target(f"runs/train/{name}", report) for name in ("log.jsonl", "result.json", "manifest.json", "recipe.yaml")),
        *(Target(f"runs/train.{name}", report) for name in ("report.json", "manifest.json", "jsonl")),
        *(Target(f"{name}.jsonl", command) for name, command in (("scan", scan), ("checked", check))),
        Target("runs/eval-tuned.predictions.jsonl", evaluate),
        Target("runs/eval-tuned.predictions.jsonl", (*evaluate, "--lmms-eval", "--json")),
        *(Target(f"runs/bench/{name}", evaluate) for name in ("charades_sta_test.txt", "Charades_v1_test.csv")),
    ]
    for name in sorted({*names("bench"), *names("train")}):
        example = getattr(load(name), "EXAMPLE", None)
        if example is None:
            continue
        folder = root / "official" / name
        folder.mkdir(parents=True)
        for file, text in example.files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8")
            flags = ("--split", example.split, "--allow-test", "--out", f"{out}/p.jsonl", "--annotations", str(folder))
            found.append(Target(f"official/{name}/{file}", ("prepare", name, *flags)))
            if example.purpose == "bench":
                asked = ("eval", "-b", name, "--samples", "--split", example.split, "--out", f"{out}/q")
                found.append(Target(f"official/{name}/{file}", (*asked, "--annotations", str(folder))))
    return found


# -- running ----------------------------------------------------------------------------------------------------------


@contextmanager
def within(seconds: float) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fault(command: tuple[str, ...]) -> str | None:
    """Runs a command; what isn't clean about its end."""
    with within(4 * MOST_S):
        began = time.monotonic()
        result = CliRunner().invoke(app, list(command))
        seconds = time.monotonic() - began
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        frames = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
        return f"{type(error).__name__} at {' < '.join(reversed(frames[-3:]))}: {str(error)[:200]}"
    if result.exit_code and "error: " not in result.stderr and "Usage:" not in result.stderr:
        return f"exit code {result.exit_code} without a word"
    if "Traceback" in result.output or len(result.stderr) > 100_000:
        return "a traceback, or a message without end"
    return f"{seconds:.1f} s" if seconds > MOST_S else None


def run(root: Path, count: int, seed: int, tell: Callable[[str], None], first: int = 0) -> Counter[str]:
    """Runs cases, and gives how often each thing was wrong."""
    targets, faults = material(root), Counter[str]()
    for command in {target.command[0]: target.command for target in targets}.values():  # libraries load with the first
        CliRunner().invoke(app, list(command))
    for number in range(first, first + count):
        rng = random.Random(f"{seed}:{number}")
        target = rng.choice(targets)
        path = root / target.file
        good, before = path.read_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kept = {one: one.read_bytes() for one in (root / "runs/eval-base").rglob("*") if one.is_file()}
        try:
            spoil(path, rng)
            wrong = fault(target.command)
            if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MOST_KB:
                wrong = wrong or "more than 1 GB"
        except (TimeoutError, TrltError) as error:
            wrong = f"{type(error).__name__}: {error}"
        finally:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            shutil.rmtree(root / "out", ignore_errors=True)
            for one, data in kept.items():
                one.write_bytes(data)
            path.write_bytes(good)
        if wrong:
            faults[f"{' '.join(target.command[:2])[:40]} {target.file}: {wrong}"] += 1
            tell(f"{seed}:{number} {target.command[0]} {target.file}: {wrong}")
    return faults


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="SEED:NUMBER of one case")
    given = parser.parse_args()
    seed, first, count = given.seed, 0, given.n
    if given.only:
        seed, first = map(int, given.only.split(":"))
        count = 1
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        faults = run(Path(folder), count, seed, say, first)
        say(f"{count - sum(faults.values())} of {count} cases clean, in {time.monotonic() - began:.0f} s")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
