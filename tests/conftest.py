"""Shared fixtures: a random tiny model, and clips made of noise."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

# No test is about time: a busy machine must not fail one.
settings.register_profile("trlt", deadline=None)
settings.load_profile("trlt")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tests run in one process a core: two threads in each would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    # A shell's background jobs ignore Ctrl-C, and would hand that on to the processes that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Test processes take whole files, so that what a file's tests share is made once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # the order is the one below
    return LoadFileScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Among several test processes, files with the most slow tests come first: none waits for another one at the end."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


CORPUS = [
    "You answer questions about a video.",
    "Question: what moves left\nA. the red circle\nB. the blue square",
    "Event: a green triangle is shown\nGive the event's start and end in seconds with one decimal",
    "<think> red circle 1.0 to 3.5 moves left . </think> <observe> 12.0 to 20.5 </observe> <answer> B </answer>",
] * 3


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random 1.1M-parameter Qwen2.5-VL."""
    from trlt.engine.model import save
    from trlt.lab.miniature.tiny import build

    folder = tmp_path_factory.mktemp("tiny")
    save(*build(CORPUS, seed=3), folder)
    return folder


@pytest.fixture(scope="session")
def family_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Path]:
    """Folders of a random tiny model of a family: `family_path(family)`; made once for all test processes.

    As published: with the marks around a video in the chat template, which loading takes out where they don't belong.
    """
    from trlt.engine.model import save
    from trlt.lab.miniature.tiny import CHAT_TEMPLATE, train_tokenizer

    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent

    def get(family: Any) -> Path:
        folder = shared / f"family-{family.name}"
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                tokenizer = train_tokenizer(CORPUS)
                if family.model_types[0].startswith("qwen3"):
                    tokenizer.add_tokens(["<think>", "</think>"])  # as published: tokens, but not special ones
                model, processor = family.tiny(tokenizer, CHAT_TEMPLATE, seed=3)
                processor.chat_template = CHAT_TEMPLATE
                partial = folder.with_suffix(".partial")
                save(model, processor, partial)
                partial.rename(folder)
        return folder

    return get


@pytest.fixture
def tiny(tiny_path: Path) -> Any:
    """The random model, loaded afresh in float32 on the CPU."""
    from trlt.engine.model import load
    from trlt.recipe import Model

    return load(Model(path=str(tiny_path), dtype="float32", device="cpu"))


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folders of models in the published layout: `published("3b", "bfloat16")`; made once for all test processes."""
    import torch
    from real_shapes import published, qwen3_vl

    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent

    def get(kind: str, dtype: str) -> Path:
        folder = shared / f"published-{kind}-{dtype}"
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                partial = folder.with_suffix(".partial")
                rig = qwen3_vl if kind in qwen3_vl.SHAPES else published
                rig.write(kind, partial, getattr(torch, dtype))
                partial.rename(folder)
        return folder

    return get


@pytest.fixture
def noise_clip() -> Any:
    """Makes a clip of random frames: `noise_clip(frames=8, side=56, seed=0, fps=2.0)`."""
    from trlt.video.clip import Clip

    def make(frames: int = 8, side: int = 56, seed: int = 0, fps: float = 2.0) -> Clip:
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, (frames, 3, side, side), dtype=np.uint8)
        return Clip.of(pixels, np.arange(frames) / fps, sample_fps=fps, duration=frames / fps)

    return make


@pytest.fixture(scope="session")
def clips_and_samples(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A handful of rendered clips with questions of all three tasks: (samples.jsonl, folder of videos)."""
    from trlt.lab.miniature import warmup

    return warmup.write(tmp_path_factory.mktemp("clips"), 16, seed=1)


@pytest.fixture
def training_data(tiny: Any, clips_and_samples: Any) -> Any:
    """Those samples as training material for the random model, decoded in the main process."""
    from trlt.engine.inputs import InputBuilder
    from trlt.recipe import Video
    from trlt.task.sample import read_samples
    from trlt.train.trainer import TrainingData
    from trlt.video.resolve import VideoIndex
    from trlt.video.workers import ClipLoader

    loader = ClipLoader(Video(max_tokens=32, workers=0))
    videos = VideoIndex(clips_and_samples.videos)
    return TrainingData(read_samples(clips_and_samples.samples), videos, loader, InputBuilder(tiny.model, tiny.processor))


@pytest.fixture
def fake() -> Any:
    """Starts small servers of a video model: `fake("--kind", "sglang")`."""
    from served import Fake

    started: list[Fake] = []

    def start(*args: str, env: dict[str, str] | None = None) -> Fake:
        started.append(Fake(*args, env=env))
        return started[-1]

    yield start
    for one in started:
        one.end()
