"""The command line, and questions about clips of many rates, sizes and lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from commands.conftest import trlt  # noqa: F401  (fixture)
from made_clips import choice, event
from real_cases import CLIPS
from real_server import RealServer

from trlt.task.sample import Sample, Span, write_samples


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("TRLT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Iterator[Callable[..., RealServer]]:
    """Starts servers that end with the module: `start(dtype="bfloat16")`."""
    started: list[RealServer] = []

    def go(**settings) -> RealServer:
        started.append(RealServer(tmp_path_factory.mktemp("vllm"), **settings))
        return started[-1]

    yield go
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def questions(tmp_path_factory) -> Path:
    """Samples of all three tasks about each of `CLIPS`, in a folder with their videos."""
    folder, samples = tmp_path_factory.mktemp("questions"), list[Sample]()
    for k, (frames, rate, height, width) in enumerate(CLIPS):
        name = f"{k}.mp4"
        _write(folder / name, frames, rate, height, width, seed=k)
        told = {"duration": frames / rate, "options": ("red circle", "blue square", "green triangle")}
        half = (Span(0.0, frames / rate / 2),)
        samples.append(choice(f"choice {k}", name, **told))
        samples.append(event(f"event {k}", name, spans=half, duration=frames / rate))
        samples.append(choice(f"both {k}", name, question="what turns blue", task="grounded_qa", spans=half, **told))
    write_samples(folder / "questions.jsonl", samples)
    return folder / "questions.jsonl"


def _write(path: Path, frames: int, rate: float, height: int, width: int, seed: int) -> None:
    """A video of colored blocks at that very rate."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(100))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for _ in range(frames):
            blocks = rng.integers(0, 256, (height // 14, width // 14, 3), dtype=np.uint8)
            picture = np.kron(blocks, np.ones((14, 14, 1), np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
