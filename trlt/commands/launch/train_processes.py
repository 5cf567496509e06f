"""How `trlt train` becomes several processes that train together: started here, by `torchrun`, `accelerate launch` or `srun`.

Knows environments and processes. What is in the environment when Accelerate is imported decides how weights are shared, so all
of this comes before it. Unlike the ranks of `ranks.launch`, these need each other: when one fails, none goes on.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import MutableMapping, Sequence
from typing import IO

from trlt.commands.launch.ranks import TICK_S, Ended, Rank, end, environment, find_rank, read_back
from trlt.errors import Interrupted, RecipeError, TrltError, UsageError
from trlt.errors.interruption import Interruption

OTHERS_S = 5.0
"""Seconds that the others have to end when one of the processes has failed."""
LEFT = (130, 143, -signal.SIGINT, -signal.SIGTERM)
"""How a process ends that was interrupted."""
CHOSEN = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")
"""Variables by which a launcher says how weights are shared."""
PORTS = (20_000, 10_000)
"""First port, and how many, from which the processes of a Slurm job choose the same one by the job's number."""


def strategy_environment(strategy: str) -> dict[str, str]:
    """What Accelerate 1.15 reads instead of a configuration file, for `train.launch.strategy`.

    Which layers FSDP gathers one at a time isn't said: `trlt.engine.sharding.shard` asks the model's family.
    """
    if strategy == "fsdp2":
        return {
            "ACCELERATE_USE_FSDP": "true",
            "FSDP_VERSION": "2",
            "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
            "FSDP_RESHARD_AFTER_FORWARD": "true",
            "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
            "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
        }
    if strategy in ("zero2", "zero3"):
        gather = {"ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true"} if strategy == "zero3" else {}
        return {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": strategy[-1], **gather}
    return {}


def check_strategy(strategy: str, processes: int) -> None:
    """Whether the strategy's library is there.

    Raises:
        RecipeError: it isn't.
    """
    if processes > 1 and strategy in ("zero2", "zero3") and importlib.util.find_spec("deepspeed") is None:
        raise RecipeError(
            f"train.launch.strategy: {strategy} is DeepSpeed's, which isn't installed; `pip install 'trlt[deepspeed]'`, or "
            "take fsdp2, which needs nothing more"
        )


def set_strategy(env: MutableMapping[str, str], strategy: str, processes: int) -> str | None:
    """Lets Accelerate share the weights as the recipe says, unless the launcher has said how.

    Returns:
        The variable by which the launcher has chosen; None where the recipe's strategy counts.
    """
    if processes == 1:
        return None
    if chosen := next((name for name in CHOSEN if env.get(name, "false").lower() == "true"), None):
        return chosen
    for name, value in strategy_environment(strategy).items():
        env.setdefault(name, value)
    return None


def adopt(env: MutableMapping[str, str]) -> Rank | None:
    """This process's rank, where it was started as one of several that train together; else None.

    `srun` says who is who in variables of its own; they are written down in `env` as torch reads them. Where no address is
    given, the processes meet on the job's first node, at a port that its number decides.

    Raises:
        UsageError: variables that can't be used, or a batch script that has tasks but no `srun`.
    """
    rank = find_rank(env)
    if "RANK" in env:
        return rank or Rank(0, 0, 1)
    if rank is None:
        return None
    if "SLURM_STEP_ID" not in env:
        raise UsageError(
            f"SLURM_NTASKS={env['SLURM_NTASKS']}, but this is the batch script itself, not one of its tasks: start it by "
            "`srun`, or `unset SLURM_NTASKS` to let `trlt train` start a process a GPU"
        )
    nodes = env.get("SLURM_STEP_NODELIST") or env.get("SLURM_JOB_NODELIST") or "127.0.0.1"
    number = int(re.sub(r"\D", "", env.get("SLURM_JOB_ID", "")) or 0) + int(re.sub(r"\D", "", env["SLURM_STEP_ID"]) or 0)
    found = {"RANK": rank.place, "LOCAL_RANK": rank.local, "WORLD_SIZE": rank.world}
    env.update({name: str(value) for name, value in found.items()})
    env.setdefault("MASTER_ADDR", first_host(nodes))
    env.setdefault("MASTER_PORT", str(PORTS[0] + number % PORTS[1]))
    if each := re.match(r"\d+", env.get("SLURM_STEP_TASKS_PER_NODE", "")):
        env.setdefault("LOCAL_WORLD_SIZE", each.group())
    return rank


def first_host(nodes: str) -> str:
    """The first of Slurm's list of nodes: `gpu[003-006,9],cpu1` -> `gpu003`."""
    found = re.match(r"([^\[,]+)(?:\[([^\],-]+)[^\]]*\]([^,\[]*))?", nodes)
    if not found:
        raise UsageError(f"SLURM_JOB_NODELIST={nodes!r}: no list of nodes; set MASTER_ADDR to the host of the first process")
    return "".join(part or "" for part in found.groups())


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch_together(command: Sequence[str], count: int, strategy: str) -> None:
    """Runs a command as `count` processes of this machine that train together, and waits for them.

    The first one's words are shown as they come. Ctrl-C and SIGTERM are passed on as SIGTERM, on which they finish what
    they can, however long that takes; after a second Ctrl-C, and when one fails, all are ended.

    Raises:
        Interrupted: all have ended because of a signal.
        TrltError: one of them failed; says which, how, and its last words.
    """
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "LOCAL_WORLD_SIZE": str(count)}
    with contextlib.ExitStack() as stack:
        told = stack.enter_context(Interruption())
        told.finishes = ""
        processes: list[subprocess.Popen[bytes]] = []
        said: list[IO[bytes]] = []
        try:
            for local in range(count):
                env = {**environment(local, count, None), **meeting}
                set_strategy(env, strategy, count)
                said.append(stack.enter_context(tempfile.TemporaryFile()))
                out = None if local == 0 else said[local]
                # In a session of their own, so that Ctrl-C reaches them once: from here.
                processes.append(
                    subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
                )
            passed = False
            while any(process.poll() is None for process in processes):
                if told.heard and not passed:
                    passed = True
                    for process in processes:
                        process.send_signal(signal.SIGTERM)
                if any(process.poll() not in (None, 0, *(LEFT if passed else ())) for process in processes):
                    break
                time.sleep(TICK_S)
        except BaseException:
            end(processes, signal.SIGINT, OTHERS_S)
            raise
        if told.heard and all(process.poll() in (0, *LEFT) for process in processes):
            raise Interrupted(told.heard)
        failed = [place for place, process in enumerate(processes) if process.poll()]
        if not failed:
            return
        place = failed[0]
        code = processes[place].returncode
        end(processes, signal.SIGTERM, OTHERS_S)
        raise _failure(place, count, Ended(code, "", read_back(said[place])))


def _failure(place: int, count: int, ended: Ended) -> TrltError:
    """What is said about the process that failed; the error keeps its exit code."""
    words = ended.last_words or "what it said stands above"
    error = TrltError(f"train: process {place} of {count} ended with {ended.how}, so all were ended: {words}")
    error.exit_code = ended.code if ended.code > 0 else TrltError.exit_code
    return error
