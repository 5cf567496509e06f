"""`trlt train` that is interrupted: what is saved, what is said of it, and that the same command goes on from there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_train import RECIPE
from transformers import TrainerControl, TrainerState, TrainingArguments
from typer.testing import CliRunner

from trlt.cli import app
from trlt.errors import ResumeError
from trlt.errors.interruption import Interruption
from trlt.files import read_log
from trlt.train.checkpoints import require_states, seal
from trlt.train.completion_log import read_completions
from trlt.train.graceful_stop import Leave

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def command(tmp_path_factory, tiny_path, clips_and_samples):
    """`command("sft", "run")`: a training of 5 steps, of which every second is saved anyway."""
    recipe = tmp_path_factory.mktemp("recipe") / "r.yaml"
    recipe.write_text(RECIPE.format(model=tiny_path, videos=clips_and_samples.videos, data=clips_and_samples.samples))
    sets = [word for one in ("max_steps=5", "save_steps=2") for word in ("--set", f"train.{one}")]
    return lambda method, out: ["train", str(recipe), *sets, "--set", f"train.method={method}", "--out", str(out)]


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """The run that nobody disturbs: `whole("sft")`."""

    @cache
    def make(method):
        folder = tmp_path_factory.mktemp("whole") / method
        assert CliRunner().invoke(app, command(method, folder)).exit_code == 0
        return folder

    return make


@pytest.fixture
def interrupt(monkeypatch):
    """`interrupt("sft", 2, SIGINT)` sends signals once, in the midst of the step after so many; gives what ends that."""
    from trlt.train.grpo import VideoGRPOTrainer
    from trlt.train.sft import SftTrainer

    def at(method, done, *signals):
        kind = {"grpo": VideoGRPOTrainer, "sft": SftTrainer}[method]
        honest, left = kind.training_step, list(signals)

        def step(self, *args, **kwargs):
            found = honest(self, *args, **kwargs)
            if self.state.global_step == done:
                while left:
                    os.kill(os.getpid(), left.pop(0))
            return found

        monkeypatch.setattr(kind, "training_step", step)
        return lambda: monkeypatch.setattr(kind, "training_step", honest)

    return at


def noted(run: Path) -> tuple[list[int], list[int]]:
    """Steps in the log, and steps whose completions are kept."""
    kept = (run / "completions").is_dir() and read_completions(run).to_pandas()["step"].unique().tolist()
    return [row["step"] for row in read_log(run / "log.jsonl")], sorted(kept or [])


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model/model.safetensors")


@pytest.mark.parametrize(
    ("method", "signals", "saved", "said"),
    [
        ("sft", [signal.SIGINT], 4, "step 4 saved; "),
        ("sft", [signal.SIGTERM, signal.SIGTERM], 4, "step 4 saved; "),
        ("sft", [signal.SIGINT, signal.SIGINT], 2, "step 2 saved, 1 later one is lost; "),
        ("grpo", [signal.SIGINT], 4, "step 4 saved; "),
        ("grpo", [signal.SIGTERM, signal.SIGINT], 2, "step 2 saved, 1 later one is lost; "),
    ],
)
def test_what_is_saved_is_said_and_the_same_command_goes_on(
    trlt, command, whole, interrupt, tmp_path, method, signals, saved, said
):
    undisturbed = whole(method)
    mend = interrupt(method, 3, *signals)
    left = CliRunner().invoke(app, command(method, "run"))
    assert left.exit_code == 128 + signals[-1], left.output
    assert left.stderr.splitlines()[-1] == f"interrupted: {said}the same command goes on from there"
    steps = [*range(1, saved + 1)]
    assert noted(tmp_path / "run") == (steps, steps if method == "grpo" else [])
    newest = max((tmp_path / "run/checkpoints").glob("checkpoint-*/complete")).parent.name
    assert newest == f"checkpoint-{saved}" and not (tmp_path / "run/model").exists()
    mend()
    again = CliRunner().invoke(app, command(method, "run"))
    assert again.exit_code == 0 and f"train: goes on from step {saved}\n" in again.stderr
    assert noted(tmp_path / "run") == noted(undisturbed)
    resumed = weights(tmp_path / "run")
    assert all(torch.equal(value, resumed[name]) for name, value in weights(undisturbed).items())


def test_before_the_first_step_nothing_is_waited_for(trlt, command, monkeypatch, tmp_path):
    from trlt.train.trainer import TrainingData

    monkeypatch.setattr(TrainingData, "faults", lambda self: os.kill(os.getpid(), signal.SIGTERM))
    left = CliRunner().invoke(app, command("sft", "run"))
    assert left.exit_code == 143
    assert left.stderr.splitlines()[-1] == "interrupted: no step was saved; the same command starts anew"
    assert not re.search("finished and saved first|goes on from step", left.stderr)


def test_states_of_processes_that_shared_the_weights_are_named(trlt, command, whole, tmp_path):
    """As FSDP2 writes them; one process asked for `optimizer.pt`, "or was removed meanwhile"."""
    run = shutil.copytree(whole("sft"), tmp_path / "run")
    shutil.rmtree(run / "model")
    (run / "result.json").unlink()
    for checkpoint in (run / "checkpoints").iterdir():
        (checkpoint / "optimizer.pt").rename(checkpoint / "optimizer.bin")
        seal(checkpoint)
    said = trlt(*command("sft", run), code=7)
    assert "its optimizer's states were written with train.launch.strategy: fsdp2 and several processes" in said
    for sharing in ("plain", "deepspeed"):
        with pytest.raises(ResumeError, match="go on so, or start anew with --fresh"):
            require_states(run / "checkpoints", sharing)
    require_states(run / "checkpoints", "fsdp")
    require_states(tmp_path / "nothing yet", "plain")


def test_the_step_that_is_promised_is_the_one_that_is_saved():
    """Between two steps, the one that was over was promised, and the next one saved."""
    args, state, control = TrainingArguments(output_dir="."), TrainerState(max_steps=2), TrainerControl()
    with Interruption() as interruption:
        leave = Leave(interruption)
        promised = []
        for _ in range(2):
            leave.on_step_begin(args, state, control)
            promised.append(interruption.finishes)
            state.global_step += 1
            leave.on_step_end(args, state, control)
            promised.append(interruption.finishes)
        leave.on_train_end(args, state, control)
        assert interruption.finishes is None
    steps = [int(re.search(r"step (\d+) is finished and saved first", text)[1]) for text in promised]
    assert steps == [1, 2, 2, 2] and not control.should_training_stop


CTRL_C_AT_TORCH = """
import sys

class CtrlC:
    tries = 0

    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            self.tries += 1
            if self.tries > 1:
                raise ImportError("torch can only be initialized once per process")
            {raises}

sys.meta_path.insert(0, CtrlC())
from trlt.cli import main
main()
"""


@pytest.mark.parametrize(
    ("raises", "said"),
    [
        ("raise KeyboardInterrupt", "no step was saved; the same command starts anew"),
        (  # as compiled modules do
            "raise ImportError('initialization failed') from KeyboardInterrupt()",
            "the same command goes on from whatever was saved, or starts anew",
        ),
    ],
)
def test_ctrl_c_while_torch_is_imported(command, tmp_path, raises, said):
    """What was said afterwards imported it once more, which failed: a traceback, and exit code 1."""
    code = CTRL_C_AT_TORCH.format(raises=raises)
    done = subprocess.run(
        [sys.executable, "-c", code, *command("sft", tmp_path / "run")], capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1] == f"interrupted: {said}"
