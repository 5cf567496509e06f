"""A decoding process: takes one request after the other on its input, answers with a clip or a reason.

Started by `decoder_handle`, killed by it on a time limit. Imports numpy and PyAV only, so that it starts in a quarter of a
second.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import struct
import sys
import threading
from dataclasses import asdict, dataclass

from trlt.errors import VideoError
from trlt.errors.faults import unforeseen
from trlt.video.budget import Budget
from trlt.video.clip_cache import ClipCache
from trlt.video.clip_codec import pack
from trlt.video.geometry import Geometry

READY, CLIP, ERROR, SYSTEM, UNFORESEEN = b"R", b"C", b"E", b"S", b"U"
HEAD = struct.Struct("<cQ")
"""What an answer is, and how many bytes follow."""


@dataclass(frozen=True, slots=True)
class Config:
    """What stays the same for all requests of a process."""

    decoder: str
    """`module:function`, with the signature of `decode.load_clip`."""
    budget: Budget
    threads: int
    store: str | None
    store_bytes: int
    memory_bytes: int
    """What the process may allocate; files that want more are refused."""
    geometry: Geometry = Geometry()
    """Of the model that the clips are for."""

    def to_json(self) -> str:
        """As a command line argument."""
        return json.dumps(asdict(self))


def main() -> None:
    """Serves requests until the input ends."""
    # Whatever a library prints must not land among the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    values = json.loads(sys.argv[1])
    made = {"budget": Budget(**values["budget"]), "geometry": Geometry(**values["geometry"])}
    config = Config(**{**values, **made})
    module, _, name = config.decoder.partition(":")
    decoder = getattr(importlib.import_module(module), name)
    _limit_memory(config.memory_bytes)
    store = ClipCache(config.store, config.store_bytes) if config.store else None
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # By a thread of its own, so that the end of the parent is noticed
    # in the middle of a file, too: nothing is left running.
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    _answer(answers.fileno(), READY)
    while True:
        request = json.loads(requests.get())
        try:
            clip = decoder(
                request["path"],
                **asdict(config.budget),
                start=request["start"],
                end=request["end"],
                threads=config.threads,
                geometry=config.geometry,
            )
        except VideoError as error:
            reason = str(error)
        except MemoryError:
            reason = f"{request['path']}: decoding needs more than {config.memory_bytes / 1e9:g} GB; raise video.memory_gb"
        except OSError as error:
            # Whose fault it is, the parent decides: a full disk ends the run, a file that has gone doesn't.
            named = None if error.filename is None else os.fsdecode(error.filename)
            _answer(answers.fileno(), SYSTEM, json.dumps([error.errno, error.strerror, named]).encode())
            continue
        except Exception as error:  # of this file alone
            fault = unforeseen(error)
            _answer(answers.fileno(), UNFORESEEN, json.dumps([str(fault), fault.kind, fault.trace]).encode())
            continue
        else:
            if store is not None:
                # Before the answer: once the parent has its last one, it may end this process.
                store.put(request["key"], clip)
            _answer(answers.fileno(), CLIP, *pack(clip))
            continue
        _answer(answers.fileno(), ERROR, reason.encode("utf-8", "surrogateescape"))


def _limit_memory(size: int) -> None:
    """Lets allocations beyond `size` bytes fail, where the system can (Linux counts all private memory as data)."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    except (ImportError, AttributeError, ValueError, OSError):
        return


def _listen(requests: queue.SimpleQueue[bytes]) -> None:
    """Passes requests on; when the input ends the parent is gone, and so is this process, even in the middle of a file."""
    rest = b""
    # Not `sys.stdin`: its lock, held while waiting here, would keep a crashing interpreter from ending.
    while chunk := os.read(0, 1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            requests.put(line)
    os._exit(0)


def _answer(handle: int, kind: bytes, *parts: bytes | memoryview) -> None:
    for part in (HEAD.pack(kind, sum(len(part) for part in parts)), *parts):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(handle, rest) :]


if __name__ == "__main__":
    main()
