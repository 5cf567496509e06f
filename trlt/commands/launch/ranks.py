"""Which of several processes this one is, and starting several: for commands whose work is shared through the run's folder.

Knows environments, processes and devices; nothing of what the processes do. The ranks never talk to each other: they need a
launcher only to be started, so that `accelerate launch`, `torchrun` and `srun` all do, and torch.distributed isn't used.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Self

from trlt.commands._output import Output
from trlt.errors import UsageError

LAUNCHER = "TRLT_LAUNCHER"
"""Names the process that started a rank, where that is trlt itself."""
TOLD = "TRLT_TOLD"
"""File descriptor on which a rank tells the trlt process that started it of completions: a byte each."""
TICK_S = 0.25
"""Seconds between looks at the processes that were started."""
END_S = 30.0
"""Seconds that processes have to end after an interrupt."""
SHOWN_LINES = 20
"""Most lines that are shown of what a process that failed said last."""


@dataclass(frozen=True, slots=True)
class Rank:
    """One of several processes that do the same."""

    place: int
    """From 0, over all machines; 0 shows the results."""
    local: int
    """From 0, on this machine."""
    world: int
    """Processes in all."""
    launcher: int | None = None
    """Id of the trlt process that started this one, and shows the results in its stead."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended."""

    code: int
    """Exit code, or the negative number of the signal that ended it."""
    out: str
    """What it wrote to stdout."""
    err: str
    """What it wrote to stderr."""

    @property
    def how(self) -> str:
        """How it ended, in words."""
        return f"exit code {self.code}" if self.code >= 0 else f"signal {signal.Signals(-self.code).name}"

    @property
    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        return "\n".join(self.err.strip().splitlines()[-SHOWN_LINES:])


def find_rank(env: Mapping[str, str]) -> Rank | None:
    """The rank that a launcher gave this process; None where it runs alone.

    Reads what `torchrun` and `accelerate launch` set (RANK, LOCAL_RANK, WORLD_SIZE), then what `srun` sets (SLURM_PROCID,
    SLURM_LOCALID, SLURM_NTASKS).

    Raises:
        UsageError: a variable that is no number.
    """
    for place, local, world in (("RANK", "LOCAL_RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS")):
        if place in env and world in env:
            of = _number(env, world)
            launcher = _number(env, LAUNCHER) if LAUNCHER in env else None
            return Rank(_number(env, place), _number(env, local) if local in env else 0, of, launcher) if of > 1 else None
    return None


def count_processes(asked: int, rank: Rank | None, device: str) -> int:
    """How many processes to start: as many as were asked for, else one per local GPU.

    Args:
        asked: 0 leaves it to this function.
        rank: Of this process: one that was started as one of several starts no more by itself.
        device: The recipe's; with anything but `auto`, it is one process.

    Returns:
        1 where this process does the work itself.
    """
    if asked or rank or device != "auto":
        return asked or 1
    import torch

    return max(1, torch.cuda.device_count())


def rank_device(rank: Rank | None, device: str) -> str:
    """The device of a rank: with `auto` or `cuda`, the GPU of its local number.

    A launcher may show each process its own GPU only, or start more processes than there are GPUs.
    """
    if rank is None or device not in ("auto", "cuda"):
        return device
    import torch

    count = torch.cuda.device_count()
    if not count:
        return device
    torch.cuda.set_device(rank.local % count)
    return f"cuda:{rank.local % count}"


def audible(output: Output, rank: Rank | None) -> Output:
    """Where a rank's words go: one that neither is the first nor has trlt for its launcher shows and returns nothing.

    What trlt started itself, for its result alone, shows no progress: the launcher does.
    """
    if rank and rank.launcher is not None and output.json_mode:
        return Output(json_mode=True)
    if rank is None or rank.launcher is not None or not rank.place:
        return output
    output.json_mode = False  # so that the command prints no object
    return Output(json_mode=True)


def follow_launcher(rank: Rank | None, how: signal.Signals = signal.SIGINT) -> None:
    """Interrupts this process when the trlt process that started it is gone, so that a kill leaves nothing behind."""
    if rank is None or rank.launcher is None:
        return
    launcher = rank.launcher
    # In a job that a shell put in the background, interrupts are ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1)
        os.kill(os.getpid(), how)

    threading.Thread(target=watch, name="trlt-launcher", daemon=True).start()


def python_command(*arguments: str) -> list[str]:
    """The command line of trlt itself."""
    return [sys.executable, "-m", "trlt", *arguments]


class Ears:
    """Hears of the completions of processes that this one starts, before their rows are there; a context manager."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)
        self._heard = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        os.close(self._read)
        os.close(self.write)

    def count(self) -> int:
        """Completions so far."""
        with contextlib.suppress(BlockingIOError):  # all is read
            while heard := os.read(self._read, 1 << 16):
                self._heard += len(heard)
        return self._heard


def teller(env: Mapping[str, str]) -> Callable[[int], None] | None:
    """What tells `Ears` how many completions have just ended; None where nobody listens."""
    if TOLD not in env:
        return None
    descriptor = _number(env, TOLD)

    def tell(count: int) -> None:
        with contextlib.suppress(OSError):  # the launcher is gone, which `follow_launcher` sees
            os.write(descriptor, bytes(count))

    return tell


def launch(
    command: Sequence[str],
    count: int,
    rank: Rank | None,
    tick: Callable[[], None],
    fatal: int | None = None,
    ears: Ears | None = None,
) -> list[Ended]:
    """Starts a command several times, as ranks, and waits until the last has ended.

    After an error here, or Ctrl-C, the processes are interrupted, and killed if they don't end.

    Args:
        command: What to run; the ranks are told apart by their environment.
        count: How many.
        rank: Of this process, where a launcher started it: its processes are then some of all.
        tick: Called while they run.
        fatal: An exit code that ends the others, too.
        ears: Hear of their completions.
    """
    with contextlib.ExitStack() as stack:
        processes: list[subprocess.Popen[bytes]] = []
        said: list[tuple[IO[bytes], IO[bytes]]] = []
        try:
            for local in range(count):
                said.append((stack.enter_context(tempfile.TemporaryFile()), stack.enter_context(tempfile.TemporaryFile())))
                out, err = said[-1]
                env = environment(local, count, rank) | ({TOLD: str(ears.write)} if ears else {})
                # In a session of their own, so that Ctrl-C reaches them once: from here.
                processes.append(
                    subprocess.Popen(
                        command,
                        env=env,
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=err,
                        pass_fds=(ears.write,) if ears else (),
                        start_new_session=True,
                    )
                )
            while None in (codes := [process.poll() for process in processes]):
                if fatal is not None and fatal in codes:
                    end(processes)
                    break
                tick()
                time.sleep(TICK_S)
        except BaseException:
            end(processes)
            raise
        return [
            Ended(process.returncode, read_back(out), read_back(err))
            for process, (out, err) in zip(processes, said, strict=True)
        ]


def failures(ended: Sequence[Ended]) -> list[str]:
    """A text about each process that failed, with the last lines that it wrote; the same lines only once."""
    told: set[str] = set()
    found = []
    for place, one in enumerate(ended):
        if one.code:
            words = "" if one.last_words in {"", *told} else f": {one.last_words}"
            told.add(one.last_words)
            found.append(f"process {place} of {len(ended)} ended with {one.how}{words}")
    return found


def environment(local: int, count: int, rank: Rank | None) -> dict[str, str]:
    """The environment of one of `count` processes that this one starts; `rank` is its own."""
    first, world = (rank.place * count, rank.world * count) if rank else (0, count)
    own = {"RANK": first + local, "LOCAL_RANK": local, "WORLD_SIZE": world, LAUNCHER: os.getpid()}
    # As many threads in each process as there are cores would wait for one another.
    threads = {"OMP_NUM_THREADS": max(1, (os.cpu_count() or 1) // count)} if "OMP_NUM_THREADS" not in os.environ else {}
    return {**os.environ, **{key: str(value) for key, value in {**own, **threads}.items()}}


def end(processes: Sequence[subprocess.Popen[bytes]], how: signal.Signals = signal.SIGINT, seconds: float = END_S) -> None:
    """Asks processes to end, and kills those that haven't within `seconds`."""
    try:
        for process in processes:
            process.send_signal(how)  # none to one that has ended
        deadline = time.monotonic() + seconds
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    finally:  # also after a second Ctrl-C
        for process in processes:
            process.kill()
            process.wait()


def read_back(file: IO[bytes]) -> str:
    """What was written to a temporary file."""
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _number(env: Mapping[str, str], name: str) -> int:
    try:
        return int(env[name])
    except ValueError:
        raise UsageError(f"{name}={env[name]!r}: not a number; start the ranks with a launcher, or unset it") from None
