"""Ways in which files go bad, each decided by a generator of chance."""

from collections.abc import Callable
from random import Random

Damage = Callable[[bytes, Random], bytes]


def flip_few(data: bytes, rng: Random) -> bytes:
    return _flipped(data, rng, rng.randint(1, 4), len(data))


def flip_many(data: bytes, rng: Random) -> bytes:
    return _flipped(data, rng, len(data) // 50, len(data))


def wrong_header(data: bytes, rng: Random) -> bytes:
    return _flipped(data, rng, rng.randint(1, 16), min(512, len(data)))


def wrong_index(data: bytes, rng: Random) -> bytes:
    """Bytes of mp4's tables, or of whatever stands at the end of other containers."""
    start = max(0, data.rfind(b"moov"))
    tail = bytearray(data[start:])
    return data[:start] + _flipped(bytes(tail), rng, rng.randint(1, 24), len(tail))


def cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(1, len(data))]


def hole(data: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(data))
    size = rng.randint(1, len(data) // 3)
    return data[:start] + bytes(min(size, len(data) - start)) + data[start + size :]


def splice(data: bytes, rng: Random) -> bytes:
    """A piece of the file once more, somewhere else."""
    start, place = rng.randrange(len(data)), rng.randrange(len(data))
    piece = data[start : start + rng.randint(1, len(data) // 2)]
    return data[:place] + piece + data[place + (len(piece) if rng.random() < 0.5 else 0) :]


def headless(data: bytes, rng: Random) -> bytes:
    return data[rng.randint(1, max(1, len(data) // 2)) :]


KINDS: tuple[Damage, ...] = (flip_few, flip_many, wrong_header, wrong_index, cut, hole, splice, headless)

NOT_VIDEOS: dict[str, bytes] = {
    "empty": b"",
    "text": b"a line of text\n" * 50,
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "noise": Random(0).randbytes(4096),
    "zeros": bytes(4096),
}


def _flipped(data: bytes, rng: Random, count: int, within: int) -> bytes:
    changed = bytearray(data)
    for _ in range(max(1, count)):
        changed[rng.randrange(within)] = rng.randrange(256)
    return bytes(changed)
