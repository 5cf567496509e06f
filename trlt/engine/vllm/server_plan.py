"""What vLLM servers of a recipe's model are started with, found out and checked before anything starts."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from trlt.engine.families import Family, family_named
from trlt.engine.memory import token_bytes
from trlt.engine.model import CONFIG, check_config, folder_of, load_processor, locate, refuse_other_pixels, resolve
from trlt.engine.mrope import RULE
from trlt.engine.servers.template import template_of
from trlt.engine.vllm.environment import (
    FoundVllm,
    find_vllm,
    refuse_library_positions,
    refuse_old_transformers,
    standing_alone,
    visible_gpus,
)
from trlt.engine.vllm.limits import BATCHED_TOKENS, most_tokens, per_prompt
from trlt.errors import ModelError, UsageError, counted
from trlt.recipe import Model, Video
from trlt.task.prompt import Prompt

SERVED = "trlt"
"""The model's name at the servers."""
GPU_SHARE = 0.9
"""Of a GPU's memory; the rest is for what else is on it, and for what vLLM doesn't count."""
SEQUENCES = 256
"""Completions that one server draws at once, at most."""
CPU_SEQUENCES = 8
"""Sequences of full length that the cache of a server on the CPU holds."""
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """Some servers of one model."""

    vllm: FoundVllm
    folder: Path
    """Of the model's config.json, tokenizer and weights."""
    family: Family
    dtype: str
    gpus: tuple[str | None, ...]
    """The GPU of each server, as CUDA_VISIBLE_DEVICES names it; None: the CPU."""
    length: int
    """Tokens of the longest prompt with its answer."""
    cache_gib: int
    """Memory for keys and values of a server on the CPU."""
    per_prompt: Mapping[str, Any]
    """See `limits.per_prompt`."""
    template: str | None = None
    """By which they render chats, as the engine does; None: by the folder's own."""

    @property
    def batched(self) -> int:
        """Tokens that are computed at once: a clip must fit in whole."""
        return max(self.length, BATCHED_TOKENS)

    @property
    def on_cpu(self) -> bool:
        """They compute on the CPU."""
        return self.gpus[0] is None

    @property
    def words(self) -> str:
        """What is started and what it takes, in one line."""
        count = len(self.gpus)
        if self.on_cpu:
            shared = "" if count == 1 else ", which they share"
            where = f"on the CPU{shared}, with {self.cache_gib} GiB {'each ' if count > 1 else ''}for keys and values"
        else:
            each = "each on a GPU of its own" if count > 1 else "on a GPU"
            where = f"{each} ({', '.join(map(str, self.gpus))}) with {GPU_SHARE:.0%} of its memory"
        return (
            f"vLLM {self.vllm.version}: {counted(count, 'server')} {where}; at most {self.length:,} tokens a prompt with its "
            f"answer, {self.batched:,} at once, {SEQUENCES} completions at once"
        )

    def command(self, port: int, template: Path | None = None) -> list[str]:
        """The command line of a server.

        Args:
            port: That it listens on.
            template: File that holds `template`.
        """
        told = {
            "model": self.folder,
            "served-model-name": SERVED,
            # Nobody else's: it listens to this machine alone.
            "host": "127.0.0.1",
            "port": port,
            "dtype": self.dtype,
            "max-model-len": self.length,
            "max-num-batched-tokens": self.batched,
            "max-num-seqs": SEQUENCES,
            "limit-mm-per-prompt": json.dumps(self.per_prompt),
            # Not the model's own file, which asks for a repetition penalty of 1.05.
            "generation-config": "vllm",
            "max-logprobs": 20,
        }
        flags = [
            # The frames' rate, and that they are taken as they are, comes with each request.
            "--trust-request-mm-kwargs",
            # A line a request, for each of a hundred thousand.
            "--disable-uvicorn-access-log",
        ]
        if self.on_cpu:
            # Compiling takes minutes there and gains little; and where prompts are cut into chunks, seeds end 0.32.
            flags += ["--enforce-eager", "--no-enable-chunked-prefill"]
        else:
            told["gpu-memory-utilization"] = GPU_SHARE
        if template is not None:
            told["chat-template"] = template
        pairs = [text for name, value in told.items() for text in (f"--{name}", str(value))]
        return [self.vllm.python, "-m", "vllm.entrypoints.openai.api_server", *pairs, *flags]

    def environment(self, place: int, key: str) -> dict[str, str]:
        """Of one server's process: its GPU alone, and the key that its clients need, which no other place holds."""
        env = standing_alone()
        env["VLLM_API_KEY"] = key
        gpu = self.gpus[place]
        env["CUDA_VISIBLE_DEVICES"] = gpu or ""
        if gpu is None:
            env.setdefault("VLLM_CPU_KVCACHE_SPACE", str(self.cache_gib))
        # Its parts talk to each other, and to nobody else: not to a hub (the files are here), nor to its makers.
        env |= {"VLLM_HOST_IP": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
        for name in ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "NO_COLOR"):
            env.setdefault(name, "1")
        return env

    def describe(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "name": "vLLM",
            "version": self.vllm.version,
            "servers": len(self.gpus),
            "device": "cpu" if self.on_cpu else "gpu",
            "max_model_len": self.length,
            "max_num_batched_tokens": self.batched,
        }


def plan_servers(
    model: Model, video: Video, prompts: Sequence[Prompt], max_new_tokens: int, *, count: int, python: str | None
) -> ServerPlan:
    """What to start, once all that can be known before is known to fit. Downloads a hub id's weights.

    Args:
        model: The recipe's.
        video: Its budget bounds a prompt's length, and so do the longest of `prompts` and `max_new_tokens`.
        prompts: All that will be asked.
        max_new_tokens: Of one answer.
        count: Servers; 0: one a GPU, or one on the CPU.
        python: The recipe's `train.vllm.python`.

    Raises:
        UsageError: more servers than GPUs.
        ModelError: no vLLM, one that is too old, or a model that it would answer for otherwise than trlt does.
    """
    found = find_vllm(python)
    folder = _served_folder(model.path)
    gpus = _gpus(model.device, count, found)
    config = check_config(folder / CONFIG)
    family = family_named(config["model_type"])
    assert family is not None, "its config.json was just held to its keys"
    refuse_old_transformers(found, family)
    text = config.get("text_config", config)
    length = min(most_tokens(video, prompts, family) + max_new_tokens, text["max_position_embeddings"])
    # Its template and pixels are held to what the engine takes: vLLM takes whatever the files say.
    processor = load_processor(str(folder))
    # vLLM from 0.31 on gives videos to the tower by the numbers for pictures.
    refuse_other_pixels(processor.image_processor, family, folder, "vLLM normalizes videos as pictures, and for these")
    cache = CPU_SEQUENCES * length * token_bytes(SimpleNamespace(**text), getattr(torch, model.dtype))
    limits = per_prompt(video, family)
    # In the files of published models it has another form (`Family.adapt_processor`).
    template = template_of(processor) if family.time_in == "text" else None
    return ServerPlan(found, folder, family, model.dtype, gpus, length, math.ceil(cache / GIB), limits, template)


def _served_folder(name: str) -> Path:
    """The folder of a model that vLLM answers for as the engine does.

    Raises:
        ModelError: an adapter, or weights trained with the library's positions.
    """
    located = locate(name)
    place = resolve(located)
    if place.adapters:
        raise ModelError(
            f"--vllm: {place.adapters[0]} is an adapter, and servers are started with whole weights: `trlt train merge` adds "
            "it to its base's, once"
        )
    folder = folder_of(located)
    refuse_library_positions(name, check_config(folder / CONFIG).get(RULE), "leave out --vllm")
    return folder


def _gpus(device: str, count: int, found: FoundVllm) -> tuple[str | None, ...]:
    """The GPU of each server, as CUDA_VISIBLE_DEVICES names it; None: the CPU.

    Raises:
        UsageError: more servers than GPUs, or on the CPU than cores.
        ModelError: the recipe names a GPU, and there is none, or vLLM can't use it.
    """
    wanted = device.startswith("cuda")
    if wanted and found.on_cpu:
        raise ModelError(f"model.device: {device}, and vLLM {found.version} in {found.python} computes on the CPU alone")
    seen = 0 if device == "cpu" or found.on_cpu else torch.cuda.device_count()
    if wanted and not seen:
        raise ModelError(f"model.device: {device} was asked for, but torch sees no GPU; use --set model.device=cpu")
    if not seen:
        if count > (cores := os.cpu_count() or 1):
            raise UsageError(f"--vllm {count}: on the CPU servers share its {cores} cores; one is mostly the fastest")
        return (None,) * (count or 1)
    names = visible_gpus()[:seen] or [str(index) for index in range(seen)]
    if ":" in device:
        names = names[int(device.partition(":")[2]) :][:1]
    if count > len(names):
        raise UsageError(
            f"--vllm {count}: each server takes a GPU, and there {'is' if len(names) == 1 else 'are'} {len(names)}"
        )
    return tuple(names[: count or len(names)])
