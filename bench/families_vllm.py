"""What vLLM itself makes of a family's small model, for `bench.families`: its prompt's tokens and its log-probabilities."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench import common
from bench.vllm import TOP_P, Peer
from trlt.engine.families import Family
from trlt.engine.forest import Engine
from trlt.engine.shared_prefix import Group, collate, forward
from trlt.video.clip import Clip

COMPLETIONS, LENGTH = 4, 12


@dataclass(frozen=True)
class VllmResult:
    """One prompt of vLLM's, and what it has drawn."""

    words: str
    """In a few words, for a table."""
    version: str | None = None
    prompt: bool | None = None
    """Whether vLLM's token ids are the engine's."""
    logp_max_diff: float | None = None
    """Of what vLLM has drawn, between it and the trainer's pass."""


def against_vllm(family: Family, folder: Path, engine: Engine, clip: Clip, user: str, args: argparse.Namespace) -> VllmResult:
    """Completions that vLLM draws with the model of a folder, scored by the trainer's pass; where no vLLM is named, none."""
    python = os.environ.get("TRLT_VLLM_PYTHON")
    if not python:
        return VllmResult("not run")
    settings = argparse.Namespace(threads=args.threads or torch.get_num_threads(), n=COMPLETIONS, tokens=512, text=100)
    settings.length, settings.dtype, settings.seed, settings.eager = LENGTH, "float32", args.seed, True
    try:
        peer = Peer(python, folder, settings)
        try:
            return _drawn(peer, family, engine, clip, user)
        finally:
            peer.close()
    except SystemExit as ended:
        return VllmResult(f"refused: {last_words(str(ended))}")


def last_words(log: str) -> str:
    """The last line of a log that says something, without the process's name before it."""
    lines = [re.sub(r"^\[\w+\]:", "", line).strip() for line in log.splitlines()]
    return [line for line in lines if line][-1]


def _drawn(peer: Peer, family: Family, engine: Engine, clip: Clip, user: str) -> VllmResult:
    inputs = engine.builder.clip(clip)
    prompt = engine.builder.prompt(common.SYSTEM, user, inputs)
    tokenizer = engine.builder._tokenizer
    head = prompt.prefix.tolist()[: -len(family.video_ids(tokenizer, inputs))]
    # The placeholder stands for the video, whose tokens vLLM writes itself.
    short = [*head, *tokenizer(family.placeholder, add_special_tokens=False)["input_ids"], *prompt.suffix.tolist()]
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, np.ascontiguousarray(clip.frames.transpose(0, 2, 3, 1)))
        file.flush()
        asked = {"frames": file.name, "times": family.told_vllm(clip, engine.model.config)._asdict(), "ids": short}
        asked |= {"n": COMPLETIONS, "length": LENGTH}
        answer = peer.ask(asked | {"top_p": TOP_P, "banned": engine.banned.nonzero()[:, 0].tolist()})
    same = answer["prompt"] == [*prompt.prefix.tolist(), *prompt.suffix.tolist()]
    group = Group(inputs, prompt, tuple(map(tuple, answer["completions"])))
    with torch.no_grad():
        scored = forward(engine.model, collate([group])).logps.tolist()
    apart = [abs(a - b) for row, told in zip(scored, answer["logps"], strict=True) for a, b in zip(row, told, strict=False)]
    words = f"prompt {'equal' if same else 'DIFFERS'}, log-probabilities {max(apart):.1e} apart"
    return VllmResult(words, peer.setup["vllm"], same, max(apart))
