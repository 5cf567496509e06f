"""The order of samples, and what stands in a run's folder after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import SequentialSampler
from transformers import TrainerControl, TrainerState, TrainingArguments

from trlt.engine.sharding import WholeCopy, most_calls
from trlt.errors import DataError, RecipeError, VideoError
from trlt.files import read_log
from trlt.recipe import load_recipe
from trlt.train.checkpoints import latest_checkpoint
from trlt.train.samplers import PaddedSampler, PrefetchSampler
from trlt.train.sharded_loading import skeleton
from trlt.train.trainer import ResumableTrainer, RunCallback
from trlt.train.unreadable_videos import BrokenSamples, read_broken


@pytest.mark.parametrize(("rank", "processes", "every"), [(0, 1, 1), (0, 2, 1), (1, 2, 1), (0, 1, 3), (1, 2, 2)])
def test_each_process_announces_its_own_rows_before_they_are_wanted(rank: int, processes: int, every: int) -> None:
    announced: list[int] = []
    rows, count = 4, 48
    order = PrefetchSampler(SequentialSampler(range(count)), announced.extend, rows, every=every, process=(rank, processes))
    assert len(order) == count
    batch = rows * processes
    own = [row for row in range(count) if row // rows % processes == rank and row // batch % every == 0]
    for wanted, row in enumerate(order):
        assert row == wanted, "the order stays"
        if row in own:
            assert row in announced
            ahead = sum(a > row for a in announced)
            assert ahead <= rows, "no more than one turn ahead"
            assert ahead or row + batch * every > own[-1], "something is on its way while the model works"
    assert announced == own


def test_a_second_pass_announces_again() -> None:
    announced: list[int] = []
    order = PrefetchSampler(SequentialSampler(range(6)), announced.extend, 2)
    assert list(order) == list(order) == list(range(6))
    assert announced == [*range(6)] * 2


@pytest.mark.parametrize("rows", [1, 6, 8])
def test_the_last_batch_is_filled_up(rows: int) -> None:
    order = PaddedSampler(SequentialSampler(range(rows)), rows, 4)
    assert list(order) == list(range(len(order))) and len(order) == -(-rows // 4) * 4


def watch(folder: Path, step: int, keep: int = 2) -> tuple[RunCallback, TrainingArguments, TrainerState]:
    state = TrainerState(global_step=step, is_world_process_zero=True)
    return (
        RunCallback(folder, keep=keep, limit=64),
        TrainingArguments(output_dir=str(folder / "checkpoints"), use_cpu=True),
        state,
    )


def test_older_checkpoints_go_once_the_newer_one_counts(tmp_path: Path) -> None:
    for step in (2, 4, 10):
        (tmp_path / "checkpoints" / f"checkpoint-{step}").mkdir(parents=True)
        callback, args, state = watch(tmp_path, step)
        callback.on_save(args, state, TrainerControl())
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"checkpoint-4", "checkpoint-10"}
    assert latest_checkpoint(tmp_path / "checkpoints") == tmp_path / "checkpoints" / "checkpoint-10"


def test_what_a_kill_left_behind_the_checkpoint_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "checkpoint-6").mkdir(parents=True)
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 4}\n{"step": 5}\n{"st')
    faults = [("a", 0), ("b", 3), ("a", 4), ("c", 5)]
    lines = [json.dumps({"id": id, "error": f"{id} at {step}", "step": step}) for id, step in faults]
    (tmp_path / "broken.jsonl").write_text("\n".join(lines) + '\n{"id"')
    callback, args, state = watch(tmp_path, 4)
    callback.on_train_begin(args, state, TrainerControl())
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1}, {"step": 4}]
    assert read_broken(tmp_path) == {"a": "a at 0", "b": "b at 3"}
    assert not list((tmp_path / "checkpoints").iterdir()), "half a checkpoint is no use"


def test_too_many_broken_samples_are_an_error_across_processes(tmp_path: Path, training_data: Any) -> None:
    samples = training_data.samples
    one, other = BrokenSamples(tmp_path, 16, 0.125), BrokenSamples(tmp_path, 16, 0.125)
    one.add(samples[0], VideoError("a.mp4: torn"), 0)
    one.add(samples[0], VideoError("a.mp4: torn"), 3)
    other.add(samples[1], VideoError("b.mp4: torn"), 0)
    with pytest.raises(DataError, match=r"3 of 16 .*max_broken \(0.125\)[^$]*a.mp4[^$]*b.mp4[^$]*c.mp4[^$]*broken.jsonl"):
        one.add(samples[2], VideoError("c.mp4: torn"), 1)
    assert list(read_broken(tmp_path)) == [sample.id for sample in samples[:3]]


def test_a_copy_borrows_the_weights_and_gives_them_back(tiny: Any) -> None:
    whole = WholeCopy(skeleton(tiny.path, torch.bfloat16, "cpu"), torch.bfloat16)
    with torch.no_grad():
        next(tiny.model.parameters()).add_(1.0)
    with whole.filled(tiny.model) as copy:
        weights = dict(copy.named_parameters())
        assert weights.keys() == dict(tiny.model.named_parameters()).keys()
        assert all(torch.equal(weights[name], w.bfloat16()) for name, w in tiny.model.named_parameters())
        assert copy.lm_head.weight is not tiny.model.lm_head.weight
        assert copy.lm_head.weight.data_ptr() == copy.get_input_embeddings().weight.data_ptr(), "tied weights are held once"
    assert all(weight.is_meta for weight in copy.parameters())


def test_zero3_with_adapters_is_refused_before_any_work() -> None:
    with pytest.raises(RecipeError, match=r"train.launch.strategy \(zero3\).*train.lora.*take fsdp2"):
        load_recipe(None, sets=["train.launch.strategy=zero3", "train.lora={}"])
    assert load_recipe(None, sets=["train.launch.strategy=zero3"]).train.launch.strategy == "zero3"


def test_gradients_are_summed_up_in_float32() -> None:
    class Trainer:
        def create_accelerator_and_postprocess(self) -> None:
            state = SimpleNamespace(deepspeed_plugin=SimpleNamespace(deepspeed_config={"communication_data_type": "bf16"}))
            self.accelerator = SimpleNamespace(state=state)

    class Ours(ResumableTrainer, Trainer):
        pass

    trainer = Ours()
    trainer.create_accelerator_and_postprocess()
    config = trainer.accelerator.state.deepspeed_plugin.deepspeed_config
    assert config["data_types"] == {"grad_accum_dtype": "fp32"}
    assert config["communication_data_type"] == "bf16", "what a configuration file says counts"


@pytest.mark.parametrize("fsdp", [False, True])
def test_slices_of_gradients_are_shared_out_after_each_pass(monkeypatch: pytest.MonkeyPatch, fsdp: bool) -> None:
    """Else FSDP2 keeps those of all weights, whole, in each process until a step's last pass."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", str(fsdp).lower())
    seen = []

    class Trainer:
        args = TrainingArguments(use_cpu=True)

        def create_accelerator_and_postprocess(self) -> None:
            seen.append(self.args.accelerator_config.gradient_accumulation_kwargs)
            self.accelerator = SimpleNamespace(state=SimpleNamespace())

    class Ours(ResumableTrainer, Trainer):
        pass

    Ours().create_accelerator_and_postprocess()
    assert seen == [{"sync_each_batch": True} if fsdp else None]


def test_a_layer_that_each_process_holds_is_called_as_often_as_it_has_to_be() -> None:
    assert most_calls(torch.nn.Linear(2, 2), 3) == 3
