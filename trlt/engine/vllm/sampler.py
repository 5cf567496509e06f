"""What the trainer asks in place of its engine: the same trees in, the same completions out, drawn by vLLM.

Knows clips, prompts and token ids; never answers or rewards. Prompts are built by the engine's own builder and frames come from
trlt's loader, so that vLLM is left to encode, prefill and draw.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trlt.engine.families import family_of
from trlt.engine.forest import Completion, Engine, Tree
from trlt.engine.memory import token_bytes
from trlt.engine.model import folder_of
from trlt.engine.mrope import RULE
from trlt.engine.sampling import Sampling
from trlt.engine.vllm.environment import least_transformers, refuse_library_positions, vllm_python
from trlt.engine.vllm.limits import BATCHED_TOKENS, most_tokens, per_prompt
from trlt.engine.vllm.process import HostProcess
from trlt.engine.vllm.together import together
from trlt.engine.vllm.weight_transfer import hand_over
from trlt.errors import ModelError
from trlt.recipe import Recipe, advice
from trlt.task.prompt import Prompt
from trlt.video.clip import Clip

BLOCK = 128
"""Most tokens of a block of vLLM's cache."""


@dataclass(frozen=True)
class Explained:
    """A completion with what led to it, for comparison."""

    prompt: tuple[int, ...]
    """Token ids as vLLM took them, the video's included."""
    positions: list[list[int]] | None
    """(3, T) as vLLM placed them; None where it wasn't seen to."""
    tokens: tuple[int, ...]
    logps: tuple[float, ...]
    """Log-probability of each token at `temperature`, over the whole vocabulary."""
    temperature: float = 1.0


class VllmSampler:
    """Completions from a vLLM process, whose weights come from here: it starts with none that mean anything.

    Args:
        engine: Of the policy: its builder makes the prompts, and what it never draws isn't drawn here.
        path: The model's folder or hub id: its config, tokenizer and processor.
        recipe: The resolved recipe.
        words: Of all samples; they bound a prompt's length.
        log: Gets what vLLM writes.

    Raises:
        ModelError: vLLM can't be started or can't run the model.
        TrltError: that of another training process can't.
    """

    def __init__(self, engine: Engine, path: str, recipe: Recipe, words: Sequence[Prompt], log: Path) -> None:
        config = engine.model.config
        refuse_library_positions(path, getattr(config, RULE, None), advice("take train.rollouts: engine"))
        self._builder, self._dtype = engine.builder, getattr(torch, recipe.model.dtype)
        self._banned = frozenset(engine.builder.suppressed(config.text_config.vocab_size).nonzero()[:, 0].tolist())
        self._ends = frozenset(engine.builder.end_tokens)
        self._family, self._config = family_of(engine.model), config
        self._tells = recipe.train.corrects != "none"
        settings = recipe.train.vllm
        length = most_tokens(recipe.video, words, self._family) + recipe.train.max_new_tokens
        length = min(length, config.text_config.max_position_embeddings)
        on_gpu = engine.device.type == "cuda"
        told = {
            "llm": {
                "model": str(folder_of(path)),
                "dtype": recipe.model.dtype,
                # Random weights: one that doesn't arrive can't go unnoticed by the check before the first step.
                "load_format": "dummy",
                "seed": recipe.train.seed,
                "max_model_len": length,
                "max_num_seqs": recipe.train.max_sequences,
                "max_num_batched_tokens": max(length, BATCHED_TOKENS),
                "limit_mm_per_prompt": per_prompt(recipe.video, self._family),
                # Not the processed ones: these are of the nucleus without banned tokens, so
                # every ratio would be 1 or less (docs/decisions/vllm-rollouts.md).
                "logprobs_mode": "raw_logprobs",
                # Not the model's own file, which asks for a repetition penalty of 1.05.
                "generation_config": "vllm",
                "gpu_memory_utilization": settings.memory,
                "enable_sleep_mode": settings.sleep and on_gpu,
            },
            # Of so many sequences that are as long as they may be, in whole blocks.
            "cache": token_bytes(config.text_config, self._dtype) * recipe.train.max_sequences * (length + BLOCK),
            "sleep": settings.sleep and on_gpu,
            "transformers": least_transformers(self._family),
            "banned": sorted(self._banned),
            "ends": sorted(self._ends),
        }
        if on_gpu:
            # To another process, blocks that torch keeps for later use are taken memory.
            torch.cuda.empty_cache()
        self._host = _start(vllm_python(settings.python), told, engine.device, log)
        self._on_gpu = on_gpu

    def close(self) -> None:
        """Ends vLLM's process."""
        self._host.close()

    @contextlib.contextmanager
    def awake(self, model: Any) -> Iterator[None]:
        """Lends vLLM its share of the memory, and the weights that `model` has now; all processes must come here together."""
        if self._on_gpu:
            torch.cuda.empty_cache()
        hand_over(model, self._dtype, self._load)
        with together():
            try:
                yield
            finally:
                # Also after an error: whoever goes on needs the memory. What has failed can't be asked any more.
                if self._host.runs:
                    self._host.ask({"do": "sleep"})

    def _load(self, folder: Path) -> None:
        self._host.ask({"do": "load", "folder": str(folder)})

    def generate(self, trees: Sequence[Tree], sampling: Sampling, *, max_sequences: int = 256) -> list[list[list[Completion]]]:
        """Completions by tree, request and branch, as `Engine.generate` gives them; log-probabilities only where they count.

        Each prompt's draws have a seed of their own, but the last bits of what they are drawn from depend on what else vLLM
        computes at the time: the same step may give other completions.

        Args:
            trees: Of frames, not of features.
            sampling: How tokens are drawn.
            max_sequences: Was told to vLLM at its start.

        Raises:
            ModelError: vLLM failed, or drew a token that it was told not to.
        """
        asked = [(place, request) for place, tree in enumerate(trees) for request in tree.requests]
        prompts = [
            {
                "clip": place,
                "ids": self._prompt(Prompt(request.system, request.user, request.think)),
                "n": request.n,
                "seed": _seed(sampling.seed, request.key, request.system, request.user),
            }
            for place, request in asked
        ]
        if not prompts:
            return [[] for _ in trees]
        clips = [_clip(tree) for tree in trees]
        answer = self._ask(clips, prompts, sampling.temperature, sampling.top_p, sampling, logps=self._tells)
        results: list[list[list[Completion]]] = [[] for _ in trees]
        for (place, request), one in zip(asked, answer["answers"], strict=True):
            told = one["logps"] if self._tells else [()] * len(one["completions"])
            opening = self._builder.opening(request.system, request.user, request.think)
            results[place].append([self._completion(*some, opening) for some in zip(one["completions"], told, strict=True)])
        return results

    def explain(self, clip: Clip, words: Prompt, sampling: Sampling) -> list[Explained]:
        """Two completions with all that can be compared: the likeliest, and one that is drawn at the temperature.

        Raises:
            ModelError: vLLM failed.
        """
        found = []
        # The likeliest completion alone would be a weak test: a confident model hardly reacts to a wrong input.
        for temperature in (0.0, sampling.temperature):
            prompt = {"clip": 0, "ids": self._prompt(words), "n": 1, "seed": sampling.seed}
            answer = self._ask([clip], [prompt], temperature, 1.0, sampling, logps=True, explain=True)
            [one], positions = answer["answers"], answer["positions"]
            [tokens], [logps] = one["completions"], one["logps"]
            # For its refusal of banned tokens.
            self._completion(tokens, logps)
            places = positions[0] if positions else None
            found.append(Explained(tuple(one["prompt"]), places, tuple(tokens), tuple(logps), temperature or 1.0))
        return found

    def _ask(
        self,
        clips: Sequence[Clip],
        prompts: Sequence[dict[str, Any]],
        temperature: float,
        top_p: float,
        sampling: Sampling,
        *,
        logps: bool,
        explain: bool = False,
    ) -> dict[str, Any]:
        frames = [np.ascontiguousarray(clip.frames.transpose(0, 2, 3, 1)) for clip in clips]
        message = {
            "do": "generate",
            "clips": [
                {"shape": list(some.shape), **self._family.told_vllm(clip, self._config)._asdict()}
                for some, clip in zip(frames, clips, strict=True)
            ],
            "prompts": list(prompts),
            "sampling": {"temperature": temperature, "top_p": top_p, "max_tokens": sampling.max_new_tokens},
            "logps": logps,
            "explain": explain,
        }
        return self._host.ask(message, *(some.reshape(-1).data for some in frames))

    def _prompt(self, words: Prompt) -> list[int]:
        """Token ids with one video token, which vLLM expands to all that the clip becomes."""
        return self._builder.unexpanded(words.system, words.user, think=words.think)

    def _completion(self, tokens: Sequence[int], logps: Sequence[float], opening: str = "") -> Completion:
        if drawn := self._banned.intersection(tokens):
            raise ModelError(
                f"vLLM drew token {min(drawn)}, which it was told never to draw; take another version of vLLM, or "
                f"{advice('train.rollouts: engine')}"
            )
        finished = bool(tokens) and tokens[-1] in self._ends
        text = opening + self._builder.decode(list(tokens[:-1] if finished else tokens))
        return Completion(text, tuple(tokens), finished, tuple(logps))


def _start(python: str, told: dict[str, Any], device: torch.device, log: Path) -> HostProcess:
    """A process of vLLM, once all training processes have theirs."""
    with contextlib.ExitStack() as unless_all_start:
        with together():
            started = HostProcess(python, told, device, log)
            unless_all_start.callback(started.close)
        unless_all_start.pop_all()
    return started


def _clip(tree: Tree) -> Clip:
    if not isinstance(tree.clip, Clip):
        raise TypeError("vLLM is asked with frames, not with what a tower made of them")
    return tree.clip


def _seed(seed: int, *key: str) -> int:
    """A seed of 48 bits that depends on these alone; the completions of a prompt count up from it."""
    return int.from_bytes(hashlib.sha256("\0".join([str(seed), *key]).encode("utf-8", "surrogatepass")).digest()[:6], "little")
