"""What BF16 rounding makes of log-probabilities on either side of a parity check, and what faults make of them.

    python -m bench.parity_noise --kind 3b --layers 2 --seeds 0 1 2 --faults --out noise.jsonl
    python -m bench.parity_noise --table noise.jsonl

Models in the published shapes with random weights (`tests/real_shapes`) about clips of noise, or the miniature about its own.
Each line of the file is a case: a model, a clip, a prompt, a temperature, and what two sides differ by over the first
completion's tokens, times the temperature. Faults are put into one side alone. See `docs/decisions/parity-tolerances.md`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.common import prepare
from bench.parity_cases import Case, Shown

PROMPTS = (
    ("", "What moves?\nA. the dog\nB. the cat\nC. nothing"),
    (
        "You answer questions about a video.",
        "Event: a person opens the door\nGive its start and end in seconds with one decimal",
    ),
    ("", "Think first, then answer. " * 20 + "Who came in before the lamp went out, and when?"),
)
RATES = (2.0, 0.5, 1.0)
"""Frames a second of the clips, by turns; at 2 a dropped rate changes nothing."""
TEMPERATURES = (1.0, 0.7, 1.3)


def main() -> None:
    args = _parser().parse_args()
    if args.table:
        print_table([json.loads(line) for path in args.table for line in path.read_text().splitlines()])
        return
    prepare(args)
    with args.out.open("a", encoding="utf-8") as out:
        for line in cases(args):
            out.write(json.dumps(line) + "\n")
            out.flush()


def cases(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Noise of each case, and of the first draw its faults."""
    import torch

    for seed in args.seeds:
        master, processor, shown = _trained(args, seed) if args.kind == "miniature" else _random(args, seed)
        for precision in args.precision:
            model = _held(master, torch.bfloat16 if precision == "bfloat16" else torch.float32)
            where = {name: getattr(args, name) for name in ("kind", "layers", "biases")}
            where |= {"seed": seed, "precision": precision}
            for c, one in enumerate(shown):
                for draw in range(args.draws):
                    case = Case(model, processor, precision, one, draw)
                    for name, apart in case.look(master, args.faults and not draw):
                        about = {
                            "case": c,
                            "video": one.clip.tokens,
                            "temperature": one.temperature,
                            "draw": draw,
                            "what": name,
                        }
                        yield {**where, **about, "apart": [round(value, 6) for value in apart]}


def _random(args: argparse.Namespace, seed: int) -> tuple[Any, Any, list[Shown]]:
    """A model in the published shape, about clips of noise."""
    import torch
    from transformers import AutoProcessor

    from bench.common import noise_clip
    from tests.real_shapes import published

    with tempfile.TemporaryDirectory() as folder:
        written = published.write(args.kind, Path(folder), torch.bfloat16)
        processor = AutoProcessor.from_pretrained(written, trust_remote_code=False)  # type: ignore[no-untyped-call]
    honest = published.LAYERS, published.QUERY_BIAS, published.KEY_BIAS
    published.LAYERS = args.layers
    published.QUERY_BIAS, published.KEY_BIAS = (bias * args.biases for bias in honest[1:])
    master = published.build(published.SHAPES[args.kind], processor.tokenizer, seed)
    published.LAYERS, published.QUERY_BIAS, published.KEY_BIAS = honest
    shown = []
    for c, (tokens, (system, user)) in enumerate((t, p) for t in args.video for p in PROMPTS):
        rate, temperature = RATES[(c + seed) % 3], TEMPERATURES[(c // 3 + seed) % 3]
        clip = noise_clip(tokens, seed * 100 + c)
        slow = type(clip).of(clip.frames, clip.times * 2 / rate, sample_fps=rate, duration=clip.duration * 2 / rate)
        shown.append(Shown(slow, system, user, temperature))
    return master, processor, shown


def _trained(args: argparse.Namespace, seed: int) -> tuple[Any, Any, list[Shown]]:
    """The miniature, about clips and questions as it was trained on: small, but its answers depend on what it sees."""
    from trlt.engine.model import load
    from trlt.lab.miniature import warmup
    from trlt.recipe import Model, Video
    from trlt.task.prompt import build
    from trlt.task.sample import read_samples
    from trlt.video.workers import ClipLoader

    loaded = load(Model(path="miniature", dtype="float32", device="cpu"))
    shown = []
    with tempfile.TemporaryDirectory() as folder, ClipLoader(Video(fps=1.0, max_tokens=args.video[0], workers=0)) as loader:
        written = warmup.write(Path(folder), 8, seed=100 + seed, questions_per_clip=1)
        for c, sample in enumerate(read_samples(written.samples)):
            words = build(sample, think=bool(c % 2), answer_format="letter")
            shown.append(Shown(loader.load(written.videos / sample.video), words.system, words.user, TEMPERATURES[c % 3]))
    return loaded.model, loaded.processor, shown


def _held(master: Any, dtype: Any) -> Any:
    import copy

    from trlt.engine.mrope import follow_published_positions

    model = copy.deepcopy(master).to(dtype).eval()
    follow_published_positions(model)
    return model


def print_table(lines: Iterable[dict[str, Any]]) -> None:
    """Of each comparison: over cases, the mean difference of a token and the largest."""
    groups: dict[tuple[str, str], list[list[float]]] = {}
    for line in lines:
        shape = "" if line["kind"] == "miniature" else f", {line['layers']} layers, biases x{line['biases']:g}"
        groups.setdefault((f"{line['kind']}{shape}, {line['precision']}", line["what"]), []).append(line["apart"])
    print("| model | what | cases | tokens | mean difference: median, least to most | largest: median, least to most |")
    print("|---|---|---|---|---|---|")
    for (model, what), some in sorted(groups.items()):
        sides = [statistics.fmean(one) for one in some], [max(one) for one in some]
        mean, largest = (f"{statistics.median(side):.2g}, {min(side):.2g} to {max(side):.2g}" for side in sides)
        print(f"| {model} | {what} | {len(some)} | {sum(map(len, some)):,} | {mean} | {largest} |")


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--kind", default="3b", choices=("3b", "7b", "miniature"))
    made.add_argument("--layers", type=int, default=2, help="depth of the language model")
    made.add_argument("--biases", type=float, default=1.0, help="factor on the biases of queries and keys")
    made.add_argument("--seeds", type=int, nargs="+", default=[0])
    made.add_argument("--video", type=int, nargs="+", default=[256], help="video tokens of the clips")
    made.add_argument("--precision", nargs="+", default=["bfloat16", "autocast"], choices=("bfloat16", "autocast", "float32"))
    made.add_argument("--draws", type=int, default=1, help="of each prompt")
    made.add_argument("--faults", action="store_true", help="measure them, too")
    made.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    made.add_argument("--out", type=Path, default=Path("parity-noise.jsonl"))
    made.add_argument("--table", type=Path, nargs="+", help="files whose table is printed; nothing is measured")
    return made


if __name__ == "__main__":
    main()
