"""Small videos and samples about them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from trlt.task.sample import Sample, Span


def write_clip(path: Path, seconds: float = 3.0, seed: int = 0, side: int = 56) -> Path:
    """A square H.264 video of coloured blocks, 8 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for _ in range(round(8 * seconds)):
            blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            picture = np.kron(blocks, np.ones((side // 4, side // 4, 1), np.uint8))
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def choice(id: str, video: str, question: str = "what moves left", **fields: object) -> Sample:
    """A multi-choice sample whose answer is the second option."""
    return Sample(
        **{
            **dict(id=id, source="made", split="train", task="multi_choice", video=video, question=question),
            **dict(options=("red circle", "blue square", "green triangle"), answer="blue square", answer_index=1, duration=3.0),
            **fields,
        }
    )


def event(id: str, video: str, **fields: object) -> Sample:
    """A grounding sample about the seconds 1 to 2."""
    return Sample(
        **{
            **dict(id=id, source="made", split="train", task="grounding", video=video, question="a green triangle is shown"),
            **dict(spans=(Span(1.0, 2.0),), duration=3.0),
            **fields,
        }
    )


def pool(root: Path, clips: int = 3) -> list[Sample]:
    """Writes videos, and gives two or three samples about each; the last video is broken, one more is missing."""
    samples = []
    for k in range(clips):
        name = f"folder/clip_{k:03}.mp4"
        write_clip(root / name, seconds=2 + k, seed=k)
        samples += [choice(f"c{k}", name, duration=2.0 + k), event(f"e{k}", name, duration=2.0 + k)]
    samples.append(event("bounded", "folder/clip_002.mp4", clip=Span(1.0, 3.5), duration=2.5))
    (root / "broken.mp4").write_bytes(b"no video at all")
    return [*samples, choice("b", "broken.mp4"), choice("m", "absent_clip.mp4")]
