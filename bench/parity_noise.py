"""What BF16 rounding makes of log-probabilities on either side of a parity check, and what faults make of them.

    python -m bench.parity_noise --kind 3b --layers 2 --seeds 0 1 2 --faults --out noise.jsonl
    python -m bench.parity_noise --table noise.jsonl

Models in the published shapes with random weights (`tests/real_shapes`) about clips of noise, or the miniature about its own. Each
line of the file is a case: a model, a clip, a prompt, a temperature, and what two sides differ by over the first completion's
tokens, times the temperature. Faults are put into one side alone. See `docs/decisions/parity-tolerances.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bench.common import prepare

PROMPTS = (
    ("", "What moves?\nA. the dog\nB. the cat\nC. nothing"),
    (
        "You answer questions about a video.",
        "Event: a person opens the door\nGive its start and end in seconds with one decimal",
    ),
    ("", "Think first, then answer. " * 20 + "Who came in before the lamp went out, and when?"),
)
TOKENS, COMPLETIONS = 32, 2
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


class Shown(NamedTuple):
    """A clip and a prompt about it."""

    clip: Any
    system: str
    user: str
    temperature: float


def cases(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Noise of each case, and of the first draw its faults."""
    import torch

    for seed in args.seeds:
        master, processor, shown = _trained(args, seed) if args.kind == "miniature" else _random(args, seed)
        for precision in args.precision:
            model = _held(master, torch.bfloat16 if precision == "bfloat16" else torch.float32)
            where = {name: getattr(args, name) for name in ("kind", "layers", "sharp", "biases")}
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
        processor = AutoProcessor.from_pretrained(written)  # type: ignore[no-untyped-call]
    honest = published.LAYERS, published.QUERY_BIAS, published.KEY_BIAS
    published.LAYERS = args.layers
    published.QUERY_BIAS, published.KEY_BIAS = (bias * args.biases for bias in honest[1:])
    master = published.build(published.SHAPES[args.kind], processor.tokenizer, seed)
    published.LAYERS, published.QUERY_BIAS, published.KEY_BIAS = honest
    master.model.language_model.norm.weight.data.mul_(args.sharp)
    shown = []
    for c, (tokens, (system, user)) in enumerate((t, p) for t in args.video for p in PROMPTS):
        rate, temperature = RATES[(c + seed) % 3], TEMPERATURES[(c // 3 + seed) % 3]
        clip = noise_clip(tokens, seed * 100 + c)
        slow = type(clip).of(clip.frames, clip.times * 2 / rate, sample_fps=rate, duration=clip.duration * 2 / rate)
        shown.append(Shown(slow, system, user, temperature))
    return master, processor, shown


def _trained(args: argparse.Namespace, seed: int) -> tuple[Any, Any, list[Shown]]:
    """The miniature, about clips and questions as it was trained on: small, but its answers depend on what it sees."""
    from trlt.miniature import warmup
    from trlt.model import load
    from trlt.prompt import build
    from trlt.recipe import Model, Video
    from trlt.sample import read_samples
    from trlt.video.workers import ClipLoader

    loaded = load(Model(path="miniature", dtype="float32", device="cpu"))
    shown = []
    with tempfile.TemporaryDirectory() as folder, ClipLoader(Video(fps=1.0, max_tokens=args.video[0], workers=0)) as loader:
        written = warmup.write(Path(folder), 8, seed=100 + seed, questions_per_clip=1)
        for c, sample in enumerate(read_samples(written.samples)):
            words = build(sample, think=bool(c % 2), answer_format="letter")
            shown.append(Shown(loader.load(written.videos / sample.video), *words, TEMPERATURES[c % 3]))
    return loaded.model, loaded.processor, shown


class Case:
    """One prompt of a clip."""

    def __init__(self, model: Any, processor: Any, precision: str, shown: Shown, seed: int) -> None:
        from trlt.engine.forest import Engine
        from trlt.engine.sampling import Sampling

        self.model, self.processor = model, processor
        self.clip, system, user, self.temperature = shown
        self.words = (system, user)
        self.engine = Engine(model, processor, exact=precision == "float32")
        self.sampling = Sampling(self.temperature, 0.99, TOKENS, seed)
        self._autocast = precision == "autocast"

    def look(self, master: Any, faults: bool) -> Iterator[tuple[str, list[float]]]:
        """Each comparison's name and differences."""
        import torch

        with torch.no_grad(), self._computing():
            tokens, own, drawn = self._draw()
            library, trainer = self._library(tokens), self._trainer(tokens)
            yield "engine, library", self._apart(own, library)
            yield "engine, library, at temperature 1", (drawn.scored.logps - self._library(tokens, 1.0)).abs().tolist()
            yield "engine, trainer", self._apart(own, trainer)
            yield "trainer, library", self._apart(trainer, library)
            if faults:
                for name, logps in self._faults(tokens, master):
                    yield f"fault: {name}", self._apart(logps, library)

    def _computing(self) -> contextlib.AbstractContextManager[Any]:
        import torch

        return torch.autocast("cpu", dtype=torch.bfloat16) if self._autocast else contextlib.nullcontext()

    def _apart(self, one: Any, other: Any) -> list[float]:
        return ((one - other).abs() * self.temperature).tolist()

    def _draw(self) -> tuple[Sequence[int], Any, Any]:
        import torch

        from trlt.engine.first import FirstClip
        from trlt.engine.forest import Request, Tree

        told: list[Any] = []
        self.engine.first = FirstClip(told.append)
        [[completions]] = self.engine.generate([Tree(self.clip, (Request("a", *self.words, COMPLETIONS),))], self.sampling)
        count = len(told[0].tokens)
        return told[0].tokens, torch.tensor(completions[0].logps[:count]), told[0]

    def _library(self, tokens: Sequence[int], temperature: float | None = None) -> Any:
        from trlt.engine.library import score

        at = self.temperature if temperature is None else temperature
        return score(self.model, self.processor, self.clip, *self.words, tokens, at).logps

    def _trainer(self, tokens: Sequence[int], temperature: float | None = None, **changes: Callable[[Any], Any]) -> Any:
        """Log-probabilities of the shared prefix's pass; `changes` are made to the clip's inputs or the prompt's."""
        from trlt.shared_prefix import Group, collate, forward

        clip = self.engine.builder.clip(self.clip)
        clip = replace(clip, **{name: change(getattr(clip, name)) for name, change in changes.items() if hasattr(clip, name)})
        prompt = self.engine.builder.prompt(*self.words, clip)
        if "positions" in changes:
            prompt = replace(prompt, positions=changes["positions"](prompt))
        tree = collate([Group(clip, prompt, (tuple(tokens),))])
        return forward(self.model, tree, temperature=temperature or self.temperature).logps[0]

    def _faults(self, tokens: Sequence[int], master: Any) -> Iterator[tuple[str, Any]]:
        if self.clip.sample_fps != 2:
            yield "the rate is dropped", self._trainer(tokens, seconds_per_grid=lambda _: 1.0)
        yield "text placed by the library's rule", self._trainer(tokens, positions=self._by_the_library)
        yield "frames normalised with 0.5 and 0.5", self._trainer(tokens, pixels=_other_mean)
        yield "frames 1% brighter", self._trainer(tokens, pixels=lambda p: p * 1.01)
        yield "temperature 10% higher", self._trainer(tokens, self.temperature * 1.1)
        yield "temperature 30% lower", self._trainer(tokens, self.temperature * 0.7)
        for name, change in (("one update at 1e-6", 1e-6), ("one update at 1e-5", 1e-5), ("one update at 1e-3", 1e-3)):
            with _changed(self.model, _stale(master, change)):
                yield f"a layer's weights are stale by {name}", self._trainer(tokens)
        with _changed(self.model, lambda name, weight: weight * 0 if name == "mlp.down_proj.weight" else weight):
            yield "a layer's MLP is left out", self._trainer(tokens)
        with _patched("trlt.engine.attention", "_scores", lambda honest: lambda *a: honest(*a).bfloat16().float()):
            yield from self._drawn_with("attention scores rounded to BF16", tokens)
        with _patched("trlt.engine.cohort", "branch_attention", _without_own):
            yield from self._drawn_with("completions don't see their clip", tokens)

    def _drawn_with(self, name: str, tokens: Sequence[int]) -> Iterator[tuple[str, Any]]:
        """The engine's log-probabilities of the same tokens, where what it does to draw them is faulty."""
        import torch

        from trlt.engine import forest

        honest, rest = forest.draw, iter(tokens)

        def forced(logits: Any, uniform: Any, sampling: Any, banned: Any) -> Any:
            found, token = honest(logits, uniform, sampling, banned), next(rest, tokens[-1])
            logps = (logits.float() / sampling.temperature).log_softmax(-1)[:, token]
            return found._replace(tokens=torch.full_like(found.tokens, token), logps=logps)

        with _patched("trlt.engine.forest", "draw", lambda _: forced):
            _, logps, _ = self._draw()
        yield name, logps[: len(tokens)]

    def _by_the_library(self, prompt: Any) -> Any:
        """The text behind the video goes on after the larger of its height and width."""
        _, rows, columns = self.clip.grid
        moved, end = prompt.positions.clone(), len(prompt.prefix) - 1
        start = int(moved[0, end - self.clip.tokens])
        moved[:, end:] += start + max(rows, columns) // 2 - int(moved[0, end])
        return moved


def _other_mean(pixels: Any) -> Any:
    """From the published mean and deviation of each channel to 0.5 and 0.5."""
    import torch

    from tests.real_shapes.published import PREPROCESSOR

    mean, deviation = (torch.tensor(PREPROCESSOR[key])[:, None] for key in ("image_mean", "image_std"))
    return ((pixels.view(len(pixels), 3, -1) * deviation + mean - 0.5) / 0.5).reshape(pixels.shape)


def _without_own(honest: Any) -> Any:
    def attend(query: Any, key: Any, value: Any, levels: Any, layer: int, scale: float) -> Any:
        return honest(query, key, value, levels[1:] if len(levels) == 2 else levels, layer, scale)

    return attend


@contextlib.contextmanager
def _patched(module: str, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    from importlib import import_module

    place = import_module(module)
    honest = getattr(place, name)
    setattr(place, name, change(honest))
    try:
        yield
    finally:
        setattr(place, name, honest)


def _stale(master: Any, rate: float) -> Callable[[str, Any], Any]:
    """Weights as they were before an AdamW step, which moves each by about the learning rate."""
    import torch

    generator = torch.Generator().manual_seed(0)
    truth = dict(master.model.language_model.layers[0].named_parameters())
    return lambda name, _: truth[name] + rate * (torch.randint(0, 2, truth[name].shape, generator=generator) * 2 - 1)


@contextlib.contextmanager
def _changed(model: Any, change: Callable[[str, Any], Any]) -> Iterator[None]:
    """The first layer with other weights for a while."""
    import torch

    layer = model.model.language_model.layers[0]
    kept = {name: weight.detach().clone() for name, weight in layer.named_parameters()}
    for name, weight in layer.named_parameters():
        weight.data.copy_(change(name, weight.detach()))
    torch.clear_autocast_cache()  # it holds the weights in BF16 as they were
    try:
        yield
    finally:
        for name, weight in layer.named_parameters():
            weight.data.copy_(kept[name])
        torch.clear_autocast_cache()


def _held(master: Any, dtype: Any) -> Any:
    import copy

    from trlt.positions import follow_published_positions

    model = copy.deepcopy(master).to(dtype).eval()
    follow_published_positions(model)
    return model


def print_table(lines: Iterable[dict[str, Any]]) -> None:
    """Of each comparison: over cases, the mean and the largest difference of a token."""
    groups: dict[tuple[str, str], list[list[float]]] = {}
    for line in lines:
        model = f"{line['kind']}, {line['layers']} layers, x{line['sharp']:g}, biases x{line.get('biases', 1.0):g}, {line['precision']}"
        groups.setdefault((line["what"], model), []).append(line["apart"])
    print("| what | model | cases | tokens | mean: median | mean: least to most | largest: median | largest: least to most |")
    print("|---|---|---|---|---|---|---|---|")
    for (what, model), some in sorted(groups.items()):
        means, largest = [statistics.fmean(one) for one in some], [max(one) for one in some]
        print(
            f"| {what} | {model} | {len(some)} | {sum(map(len, some))} | {statistics.median(means):.2g} | "
            f"{min(means):.2g} to {max(means):.2g} | {statistics.median(largest):.2g} | {min(largest):.2g} to {max(largest):.2g} |"
        )


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--kind", default="3b", choices=("3b", "7b", "miniature"))
    made.add_argument("--layers", type=int, default=2, help="depth of the language model")
    made.add_argument("--sharp", type=float, default=1.0, help="factor on the logits")
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
