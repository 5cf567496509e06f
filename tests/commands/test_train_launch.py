"""`trlt train` as several processes: started by itself, or by a launcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from test_train import RECIPE

from trlt.commands.launch import train_processes as _launch
from trlt.commands.launch.ranks import Rank
from trlt.commands.launch.train_processes import adopt, check_strategy, first_host, free_port, launch_together, set_strategy
from trlt.engine.families import family_named
from trlt.engine.model.tensors import blank
from trlt.engine.sharding import leave, shard
from trlt.errors import RecipeError, TrltError, UsageError

SLURM = {
    "SLURM_JOB_ID": "10004711",
    "SLURM_STEP_ID": "2",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "16",
    "SLURM_STEP_NODELIST": "gpu[003-004]",
    "SLURM_STEP_TASKS_PER_NODE": "8(x2)",
}


def test_srun_is_written_down_as_torch_reads_it():
    env = dict(SLURM)
    assert adopt(env) == Rank(9, 1, 16)
    found = {name: env[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    assert list(found.values()) == ["9", "1", "16", "8", "gpu003", "24713"]
    other = {**SLURM, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "MASTER_PORT": "29500", "MASTER_ADDR": "10.0.0.1"}
    adopt(other)
    assert (other["MASTER_ADDR"], other["MASTER_PORT"]) == ("10.0.0.1", "29500"), "what is given counts"


def test_a_launchers_process_starts_no_others():
    torchrun = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
    assert adopt(torchrun) == Rank(1, 1, 2) and "MASTER_ADDR" not in torchrun
    assert adopt({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}) == Rank(0, 0, 1), "one process of torchrun stays one"
    assert adopt({}) is None and adopt({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}) is None
    with pytest.raises(UsageError, match="SLURM_NTASKS=16, but this is the batch script itself"):
        adopt({k: v for k, v in SLURM.items() if k != "SLURM_STEP_ID"})


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("gpu[003-006,9],x1", "gpu003"),
        ("gpu7,gpu8", "gpu7"),
        ("a-b1.site", "a-b1.site"),
        ("r[1,3]n5", "r1n5"),
        ("n[12]", "n12"),
    ],
)
def test_the_first_host(nodes, host):
    assert first_host(nodes) == host


def test_accelerate_reads_the_recipes_strategy(monkeypatch):
    env: dict[str, str] = {}
    assert set_strategy(env, "fsdp2", 8) is None
    for name in [name for name in os.environ if name.startswith(("FSDP_", "ACCELERATE_"))]:
        monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    from accelerate import FullyShardedDataParallelPlugin

    plugin = FullyShardedDataParallelPlugin()
    assert env["ACCELERATE_USE_FSDP"] == "true" and plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert plugin.transformer_cls_names_to_wrap is None, "which layers there are is the model's own"
    assert plugin.cpu_ram_efficient_loading is False and "FULL" in str(plugin.state_dict_type)


def test_layers_that_the_model_has_not_are_refused(tiny_path, monkeypatch):
    """A file for Accelerate that was written for another family; Accelerate's own error has a traceback and no remedy."""
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")
    monkeypatch.setenv("FSDP_TRANSFORMER_CLS_TO_WRAP", "Qwen2_5_VLDecoderLayer,GPT2Block")
    told = "FSDP_TRANSFORMER_CLS_TO_WRAP: the model has no layer of class GPT2Block; name Qwen2_5_VLDecoderLayer,Qwen2"
    with pytest.raises(RecipeError, match=told):
        shard(blank(tiny_path), torch.float32)


def test_zero_and_what_a_launcher_has_chosen():
    env: dict[str, str] = {}
    assert set_strategy(env, "zero3", 2) is None
    assert env["ACCELERATE_USE_DEEPSPEED"] == "true" and env["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"
    chosen = {"ACCELERATE_USE_DEEPSPEED": "true"}
    assert set_strategy(chosen, "fsdp2", 2) == "ACCELERATE_USE_DEEPSPEED" and len(chosen) == 1
    for strategy, processes in (("ddp", 2), ("fsdp2", 1)):
        alone: dict[str, str] = {}
        assert set_strategy(alone, strategy, processes) is None and not alone


def test_deepspeed_that_is_missing(monkeypatch):
    monkeypatch.setattr(_launch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"train.launch.strategy: zero2 .*pip install 'trlt\[deepspeed\]'"):
        check_strategy("zero2", 2)
    check_strategy("zero2", 1)
    check_strategy("fsdp2", 2)


RANK = "import os, sys, time; rank = int(os.environ['RANK'])\n"


def test_one_that_fails_ends_all_and_is_named(tmp_path):
    code = RANK + "open(f'pid{rank}', 'w').write(str(os.getpid()))\n"
    code += "if rank: time.sleep(1); sys.exit('error: no such layer') if rank == 1 else None\ntime.sleep(600)"
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        with pytest.raises(TrltError, match="process 1 of 3 ended with exit code 1, so all were ended: error: no such layer"):
            launch_together([sys.executable, "-c", code], 3, "fsdp2")
    finally:
        os.chdir(here)
    for rank in range(3):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"pid{rank}").read_text()), 0)


def test_the_exit_code_of_the_process_that_failed_is_kept():
    with pytest.raises(TrltError, match="process 0 of 2 .* stands above") as caught:
        launch_together([sys.executable, "-c", RANK + "sys.exit(7 if not rank else time.sleep(600))"], 2, "ddp")
    assert caught.value.exit_code == 7


def test_processes_meet_at_a_port_of_their_own(tmp_path):
    code = RANK + "names = 'MASTER_ADDR MASTER_PORT WORLD_SIZE LOCAL_RANK ACCELERATE_USE_FSDP FSDP_VERSION'.split()\n"
    code += f"open(f'{tmp_path}/{{rank}}', 'w').write(' '.join(os.environ[n] for n in names))"
    launch_together([sys.executable, "-c", code], 2, "fsdp2")
    first, second = ((tmp_path / str(rank)).read_text().split() for rank in (0, 1))
    assert first[0] == "127.0.0.1" and first[2:] == ["2", "0", "true", "2"] and second[2:] == ["2", "1", "true", "2"]
    assert first[1] == second[1] and first[1] != "29500"
    assert 1024 < free_port() < 65536


def test_ctrl_c_ends_all(tmp_path):
    child = RANK + f"open(f'{tmp_path}/pid{{rank}}', 'w').write(str(os.getpid())); time.sleep(600)"
    code = "import sys; from trlt.commands.launch.train_processes import launch_together\n"
    code += f"launch_together([sys.executable, '-c', {child!r}], 2, 'ddp')"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, start_new_session=True)
    pids = [tmp_path / f"pid{rank}" for rank in (0, 1)]
    while not all(path.is_file() and path.read_text() for path in pids):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert b"Interrupted" in process.communicate()[1] and process.returncode
    for path in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text()), 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("model_type", ["qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"])
def test_two_processes_train_what_one_trains(trlt, tmp_path, family_path, clips_and_samples, model_type):
    path = family_path(family_named(model_type))
    text = RECIPE.format(model=path, videos=clips_and_samples.videos, data=clips_and_samples.samples)
    (tmp_path / "r.yaml").write_text(text)
    one = trlt("train", "r.yaml", "--set", "train.method=sft", "--out", "one", "--json")
    two = trlt("train", "r.yaml", "--set", "train.method=sft", "--set", "train.launch.processes=2", "--out", "two", "--json")
    assert one["steps"] == two["steps"] == 2
    for name, found in (("one", one), ("two", two)):  # of two processes, the one that started them writes the page
        assert found["page"] == f"{name}/report.html" and (tmp_path / name / "report.html").is_file()
    base = load_file(path / "model.safetensors")
    alone, together = (load_file(tmp_path / name / "model/model.safetensors") for name in ("one", "two"))
    assert max(float((together[name] - alone[name]).abs().max()) for name in base) < 1e-5
    assert max(float((base[name] - alone[name]).abs().max()) for name in base) > 1e-4
    losses = [json.loads(line)["loss"] for line in (tmp_path / "two/log.jsonl").read_text().splitlines()]
    assert len(losses) == 2


def test_the_processes_part_before_the_interpreter_ends(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    leave()
    assert not torch.distributed.is_initialized()
    leave()  # where no process was joined
