"""Starts pairs of processes that train together: forks of this one, so that all of them load the libraries once.

`forked_ranks.py jobs.json`, with jobs by their names: `code` that each of the two runs, its `arguments`, and variables of its
`environment`. Beside the file, a folder with a job's name gets what its processes said (`0.txt`, `1.txt`) and `codes.json`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LONGEST_S = 240
TRAIN = "from trlt.cli import main\nmain()\n"
"""Code of a command, whose words are the arguments."""


def run(root: Path, jobs: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str]) -> None:
    """Does jobs one after the other, each in a folder of `root`; by default, `code` is `TRAIN` and `environment` empty."""
    told = {name: {"code": TRAIN, "environment": {}} | job for name, job in jobs.items()}
    (root / "jobs.json").write_text(json.dumps(told))
    subprocess.run([sys.executable, __file__, str(root / "jobs.json")], env={**os.environ, **environment}, check=True)


def fork(job: dict[str, Any], rank: int, port: int, said: Path) -> int:
    """The process id of a rank. It leaves as any Python program does: by what its code raises, or at the end of it."""
    if child := os.fork():
        return child
    meeting = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update({**meeting, "RANK": str(rank), "LOCAL_RANK": str(rank), **job["environment"]})
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    sys.argv = ["-c", *job["arguments"]]
    exec(compile(job["code"], "<job>", "exec"), {"__name__": "__main__"})
    sys.exit()


def ended(children: list[int]) -> list[int]:
    """Exit codes, when all have ended; after a while they are ended."""
    codes, until = dict[int, int](), time.monotonic() + LONGEST_S
    while len(codes) < len(children):
        for child in set(children) - codes.keys():
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                codes[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                os.kill(child, 9)
        time.sleep(0.02)
    return [codes[child] for child in children]


def main() -> None:
    """See the module."""
    import trlt.train.grpo
    import trlt.train.sft  # noqa: F401
    from trlt.commands.launch.train_processes import free_port

    jobs = Path(sys.argv[1])
    for name, job in json.loads(jobs.read_text()).items():
        folder, port = jobs.parent / name, free_port()
        folder.mkdir()
        codes = ended([fork(job, rank, port, folder / f"{rank}.txt") for rank in (0, 1)])
        (folder / "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main()
