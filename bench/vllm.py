"""Samples of one prompt about a clip: the engine against vLLM itself, which runs in its own environment.

vLLM's Python is named by TRLT_VLLM_PYTHON, or is that of `.venv-vllm`, which `make test-vllm` makes. Both sides start from
decoded frames and end with token ids and their log-probabilities: patches, vision tower, prefill and decoding are timed on
both, HTTP and encoded pictures on neither. Both draw at temperature 1 and top-p 0.99, with vision and end marks banned, so that
all completions have the same length. Each repeat has a clip of its own, which no cache knows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the folder above holds the package `bench`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import common  # isort: skip  (first: it quietens the libraries)

import numpy as np
import torch

from trlt.engine.families import family_of
from trlt.engine.forest import Completion, Engine, PromptRequest, Tree
from trlt.engine.inputs import PromptInputs
from trlt.engine.model import load, miniature_path
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, attach, collate, forward
from trlt.recipe import Model
from trlt.video.clip import Clip

TOP_P = 0.99
ROOT = Path(__file__).resolve().parents[1]


def arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument(
        "--model", default="miniature", choices=("miniature", "3b", "7b"), help="3b, 7b: few layers of that shape"
    )
    made.add_argument("--layers", type=int, default=2, help="depth of the language model of 3b and 7b")
    made.add_argument("--tokens", type=int, default=2048, help="video tokens of the clip")
    made.add_argument("--text", type=int, default=100, help="text tokens of the prompt, about")
    made.add_argument("-n", type=int, default=8, help="completions of the prompt")
    made.add_argument("--length", type=int, default=128, help="new tokens of each completion")
    made.add_argument("--repeats", type=int, default=3, help="timed runs of each side")
    made.add_argument("--device", default="cpu", help="cpu or cuda; for both sides")
    made.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of both sides")
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of each side")
    made.add_argument("--eager", action="store_true", help="vLLM compiles nothing")
    made.add_argument("--profile", action="store_true", help="end with where the engine's time goes")
    made.add_argument("--engine-alone", action="store_true", help="without vLLM")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--json", action="store_true", help="end with one line of JSON")
    return made.parse_args()


class Peer:
    """vLLM in a process of its own Python; see `vllm_side`."""

    def __init__(self, python: str, folder: Path, args: argparse.Namespace) -> None:
        # All threads: on the CPU vLLM would keep a core for a server's own work.
        env = os.environ | {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(args.threads)}
        env |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "VLLM_HOST_IP": "127.0.0.1"}
        env.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        self.log = tempfile.NamedTemporaryFile("w", prefix="trlt-vllm-", suffix=".log")  # noqa: SIM115  (closed with the process)
        self._process = subprocess.Popen(
            [python, str(ROOT / "bench" / "vllm_side.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=env,
        )
        length = args.tokens + args.text + args.length + 512
        llm = {
            "model": str(folder),
            "dtype": args.dtype,
            "seed": args.seed,
            "max_model_len": length,
            "max_num_seqs": max(args.n, 8),
            # A clip goes in whole, as trlt has it in its rollouts.
            "max_num_batched_tokens": max(length, 8192),
            "limit_mm_per_prompt": {"image": 0, "video": 1},
            "generation_config": "vllm",
            "gpu_memory_utilization": 0.3,
            # It would start with a video of 16,384 tokens, for minutes on the CPU.
            "skip_mm_profiling": True,
            "enforce_eager": args.eager,
        }
        try:
            self.setup = self.ask({"llm": llm})
        except BaseException:
            self.close()
            raise

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"vLLM ended; its log:\n{Path(self.log.name).read_text(encoding='utf-8')[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self.log.close()


class Sides:
    """The engine, and what vLLM is told to do the same."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        loaded = load(Model(path=str(folder), dtype=args.dtype, device=args.device))
        attach(loaded.model)
        self.model, self.engine, self._args = loaded.model, Engine(loaded.model, loaded.processor), args
        self.engine.banned[self.engine.builder.end_tokens] = True
        self.banned: list[int] = self.engine.banned.nonzero()[:, 0].tolist()
        self.user = common.question(self.engine.builder, args.text, args.seed)

    def mine(self, clip: Clip, length: int) -> list[Completion]:
        request = PromptRequest("bench", common.SYSTEM, self.user, self._args.n)
        [[completions]] = self.engine.generate([Tree(clip, (request,))], Sampling(1.0, TOP_P, length, self._args.seed))
        return completions

    def prompt(self, clip: Clip) -> tuple[Any, PromptInputs]:
        inputs = self.engine.builder.clip(clip)
        return inputs, self.engine.builder.prompt(common.SYSTEM, self.user, inputs)

    def theirs(self, peer: Peer, clip: Clip, length: int) -> dict[str, Any]:
        _, prompt = self.prompt(clip)
        ids = [*prompt.prefix.tolist(), *prompt.suffix.tolist()]
        video = self.model.config.video_token_id
        # One token stands for the video, which vLLM expands to as many as the clip has.
        short = [token for place, token in enumerate(ids) if token != video or ids[place - 1] != video]
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            np.save(file, np.ascontiguousarray(clip.frames.transpose(0, 2, 3, 1)))
            file.flush()
            asked = {
                "frames": file.name,
                "times": family_of(self.model).told_vllm(clip, self.model.config)._asdict(),
                "ids": short,
                "n": self._args.n,
                "length": length,
            }
            answer = peer.ask(asked | {"top_p": TOP_P, "banned": self.banned})
        assert answer["prompt"] == ids, f"vLLM's prompt has {len(answer['prompt'])} tokens, other than the engine's {len(ids)}"
        return answer

    @torch.no_grad()
    def gaps(self, clip: Clip, answer: dict[str, Any]) -> list[float]:
        """How far log-probabilities that vLLM tells lie from those that the trainer's pass finds, token by token."""
        inputs, prompt = self.prompt(clip)
        group = Group(inputs, prompt, tuple(tuple(tokens) for tokens in answer["completions"][:2]))
        scored = forward(self.model, collate([group]).to(self.engine.device)).logps.tolist()
        return [abs(a - b) for row, told in zip(scored, answer["logps"], strict=False) for a, b in zip(row, told, strict=True)]


def written(args: argparse.Namespace, folder: Path) -> Path:
    """A folder with the model."""
    if args.model == "miniature":
        return miniature_path("miniature")
    from tests.real_shapes import published

    published.LAYERS = args.layers
    return published.write(args.model, folder, getattr(torch, args.dtype), seed=args.seed)


def profile(sides: Sides, clip: Clip, length: int) -> str:
    """The operations that the engine spends most of its time in."""
    on_gpu = sides.engine.device.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.profiler.profile(activities=kinds) as seen:
        sides.mine(clip, length)
    by = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    table: str = seen.key_averages().table(sort_by=by, row_limit=15, max_name_column_width=48)
    return table


@dataclass
class Measured:
    """Seconds of each side's runs, and how far they lie apart."""

    engine_s: list[float] = field(default_factory=list)
    vllm_s: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    """Of log-probabilities, token by token."""
    settled: int = 0


def measure(sides: Sides, peer: Peer | None, clips: list[Clip], length: int) -> Measured:
    """Both sides in turn, about one clip after another."""
    found = Measured()
    before = sides.engine.settled
    for clip in clips:
        took, mine = common.timed(partial(sides.mine, clip, length))
        found.engine_s.append(took)
        lengths = {len(one.tokens) for one in mine}
        if peer:
            answer = sides.theirs(peer, clip, length)
            found.vllm_s.append(answer["seconds"])
            lengths |= {len(tokens) for tokens in answer["completions"]}
            found.gaps += sides.gaps(clip, answer)
        assert lengths == {length}, f"completions of unequal length: {sorted(lengths)}"
    found.settled = sides.engine.settled - before
    return found


def metrics(args: argparse.Namespace, sides: Sides, found: Measured) -> dict[str, Any]:
    """What both sides took, by name."""
    engine_s = statistics.median(found.engine_s)
    made: dict[str, Any] = {"engine_s": engine_s, "engine_samples_per_s": args.n / engine_s, "exact": sides.engine.exact}
    made |= {"settled": found.settled, "parameters": common.parameters(sides.model)}
    if found.vllm_s:
        vllm_s = statistics.median(found.vllm_s)
        made |= {"vllm_s": vllm_s, "vllm_samples_per_s": args.n / vllm_s, "speedup": vllm_s / engine_s}
        made |= {"logp_max_diff": max(found.gaps), "logp_mean_diff": statistics.mean(found.gaps)}
    return made


def show(args: argparse.Namespace, found: Measured, made: dict[str, Any], setup: dict[str, Any]) -> None:
    """The figures in words, and how both sides are set up."""
    print(f"{args.n} completions of {args.length} tokens after a clip of {args.tokens} tokens and about {args.text} of text,")
    print(f"{args.model}: {made['parameters'] / 1e6:.1f}M weights in {args.dtype} on {args.device}:")
    print(f"  engine   {common.summary(found.engine_s)}   {made['engine_samples_per_s']:.2f} samples/s")
    print(f"           torch {torch.__version__}, {torch.get_num_threads()} threads, one tree of {args.n} branches")
    if made["exact"]:
        print(f"           draws settled alone: {found.settled} of {args.repeats * args.n * args.length}")
    if not setup:
        return
    print(f"  vLLM     {common.summary(found.vllm_s)}   {made['vllm_samples_per_s']:.2f} samples/s")
    compiled = "nothing compiled" if setup["eager"] else "compiled"
    prefixes = "with" if setup["prefix_caching"] else "without"
    prefills = "in chunks" if setup["chunked_prefill"] else "whole"
    print(f"           vLLM {setup['vllm']}, torch {setup['torch']}, {setup['threads']} threads, {setup['dtype']}, {compiled},")
    print(f"           {prefixes} a cache of prefixes, prefills {prefills}, up to {setup['batched_tokens']} tokens a pass")
    print(f"  the engine is {made['speedup']:.2f} times as fast")
    print(
        f"  agreement: log-probabilities differ by at most {made['logp_max_diff']:.2e}, and {made['logp_mean_diff']:.2e} on "
        f"average, over {len(found.gaps)} tokens of vLLM's"
    )


def main() -> None:
    args = arguments()
    common.prepare(args)
    python = os.environ.get("TRLT_VLLM_PYTHON") or str(ROOT / ".venv-vllm" / "bin" / "python")
    if not args.engine_alone and not Path(python).exists():
        raise SystemExit(f"{python} isn't there: `make test-vllm` installs vLLM; or name another Python as TRLT_VLLM_PYTHON")
    with tempfile.TemporaryDirectory() as folder:
        model = written(args, Path(folder) / "model")
        sides = Sides(model, args)
        peer = None if args.engine_alone else Peer(python, model, args)
        try:
            first, *clips = (common.noise_clip(args.tokens, args.seed + repeat) for repeat in range(args.repeats + 1))
            measure(sides, peer, [first], min(8, args.length))  # warms up
            found = measure(sides, peer, clips, args.length)
        finally:
            if peer:
                peer.close()
    setup = peer.setup if peer else {}
    made = metrics(args, sides, found)
    show(args, found, made, setup)
    if args.profile:
        print(profile(sides, first, args.length))
    common.finish(args, made | ({"peer": setup} if setup else {}))


if __name__ == "__main__":
    main()
