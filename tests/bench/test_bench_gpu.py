"""The benchmark for a GPU runs on the CPU where torch and transformers are all that is installed, and its sides agree there."""

from __future__ import annotations

import importlib
import json
import math
import time

import bare
import pytest
import torch

from trlt.engine import tree_mask
from trlt.train.memory_plan import PUBLISHED

pytestmark = pytest.mark.slow
RUN = "import runpy, sys; sys.argv[0] = 'bench.gpu'; runpy.run_module('bench.gpu', run_name='__main__')"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(bare.ROOT)
    return lambda name: importlib.import_module(f"bench.gpu.{name}")


@pytest.fixture(scope="module")
def float32(tmp_path_factory):
    folder = tmp_path_factory.mktemp("float32")
    done = bare.python(RUN, "--tiny", "--out", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "gpu-cpu-tiny.json"


@pytest.fixture(scope="module")
def parts(float32):
    return json.loads(float32.read_text())["parts"]


def test_all_parts_are_done(float32, parts):
    found = json.loads(float32.read_text())
    assert list(parts) == [
        "tiny/parity/float32",
        *(f"tiny/grpo/{groups}/{side}" for groups in (1, 2) for side in ("blocks", "full")),
        "tiny/gradients",
        "tiny/rollouts/8",
        "tiny/vision",
    ]
    assert not [name for name, part in parts.items() if {"error", "skipped", "out_of_memory"} & part.keys()]
    assert {"date", "torch", "transformers", "cores", "dtype", "minutes", "size", "models"} <= found.keys()
    assert found["models"]["tiny"]["parameters"] > 500_000


def test_sides_agree_in_float32(parts):
    """With scores of attention in the hundreds: rounding is a hundred times what it is in other tests."""
    parity = parts["tiny/parity/float32"]
    assert parity["tokens"] == 2 * 8 * 3 and -20 < parity["mean_logp"] < -0.5
    assert parity["differences"].keys() == {"engine/blocks", "engine/library", "blocks/library", "full/blocks"}
    for gap in [*parity["differences"].values(), parts["tiny/rollouts/8"]["difference"]]:
        assert 0 <= gap["mean"] < 1e-5 and gap["mean"] <= gap["largest"] < 1e-4
    shared = parts["tiny/gradients"]
    assert shared["reference"] == "full/float32" and shared["blocks/float32"].keys() == {"largest", "mean", "gradients"}
    assert 0 < shared["blocks/float32"]["gradients"] < 5e-5 and shared["blocks/float32"]["largest"] < 5e-5
    assert 0 <= parts["tiny/vision"]["difference"] < 1e-5


def test_metrics_of_passes_and_rollouts(parts):
    for groups in (1, 2):
        for side in ("blocks", "full"):
            part = parts[f"tiny/grpo/{groups}/{side}"]
            assert (part["groups"], part["side"], part["new_tokens"]) == (groups, side, 6)
            assert part["prompt_tokens"] == 2 * 8 * 12 // 4 + 8 + 5  # video, question, marks
            assert sorted(part["all_seconds"])[1] == part["seconds"] > 0 and part["first_s"] > 0
            assert part["peak_bytes"] is None
    part = parts["tiny/rollouts/8"]
    assert part["rows"] == 8 and part["notices"] == []
    for side in ("engine", "library"):
        assert part[side]["prefill"]["seconds"] > 0 and len(part[side]["rounds"]) == 2
        for metrics in part[side]["rounds"]:
            assert metrics["tokens_per_s"] == pytest.approx(8 * 6 / metrics["seconds"])


def test_bf16_is_held_to_float32(tmp_path):
    done = bare.python(RUN, "--tiny", "--dtype", "bfloat16", "--out", str(tmp_path), "--only", "tiny/parity", "tiny/gradients")
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "gpu-cpu-tiny.json").read_text())["parts"]
    for precision in ("bfloat16", "autocast"):
        errors = parts[f"tiny/parity/{precision}"]["errors"]
        assert errors.keys() == {"engine", "blocks", "full", "library"}
        assert all(1e-3 < gap["mean"] < gap["largest"] < 1.5 for gap in errors.values())
    assert "errors" not in parts["tiny/parity/float32"]
    gradients = parts["tiny/gradients"]
    assert gradients["blocks/float32"]["gradients"] < 5e-5
    assert all(1e-3 < gradients[f"{side}/autocast"]["gradients"] < 0.3 for side in ("blocks", "full"))


def test_a_file_becomes_tables(float32, module, tmp_path):
    text = module("table").tables(float32)
    assert [line for line in text.splitlines() if line.startswith("###")] == [
        "### Log-probabilities, mean (largest)",
        "### One group against a reference",
        "### GRPO, forward and backward",
        "### Rollouts",
        "### Vision tower",
    ]
    found = json.loads(float32.read_text())
    for name, part in found["parts"].items():
        for metrics in [part] if "groups" in part else part["engine"]["rounds"] if "rows" in part else []:
            metrics |= {"peak_bytes": 2**30, "reserved_bytes": 3 * 2**29}
        if name == "tiny/grpo/2/full":
            del part["seconds"]
            part["out_of_memory"] = True
    found["parts"]["tiny/gradients"] = {"error": "Traceback\nValueError: x\n"}
    other = tmp_path / "other.json"
    other.write_text(json.dumps(found))
    text = module("table").tables(other)
    assert "| tiny/gradients | ValueError: x |" in text and "| tiny/grpo/2/full | out of memory |" in text
    memory = text.partition("### Memory of tensors")[2]
    assert memory.count("| 1.0 GiB |") == 5 and memory.count("| 1.5 GiB |") == 5


def test_plans_are_of_what_was_measured(float32, module):
    """Weights and gradients in float32 and more; twice the groups, twice the pass; the sampling copy has no gradients."""
    found = json.loads(float32.read_text())

    def planned(name, **other):
        return module("table").planned(name, found["parts"][name] | other, found, 48)

    held = 8 * found["models"]["tiny"]["parameters"]
    passes = [planned("tiny/grpo/1/blocks", groups=groups) - held for groups in (1, 2, 4)]
    assert passes[0] > 0 and passes[2] - passes[1] == pytest.approx(2 * (passes[1] - passes[0]), rel=0.01)
    assert planned("tiny/grpo/1/full") > planned("tiny/grpo/1/blocks")
    assert planned("tiny/rollouts/8") > held / 2


@pytest.mark.parametrize(("name", "size"), [("3b", "3B"), ("7b", "7B")])
def test_shapes_are_the_published_ones(module, name, size):
    models = module("models")
    shape, model = models.SHAPES[name], models.build(models.SHAPES[name], torch.device("meta"))
    published = PUBLISHED[f"Qwen2.5-VL-{size}"]
    assert sum(weight.numel() for weight in model.parameters()) == published.parameters
    assert (shape.layers, shape.heads, shape.kv_heads) == (published.layers, published.heads, published.kv_heads)
    assert {weight.device.type for weight in [*model.parameters(), *model.buffers()]} == {"meta"}


def test_frequencies_stay_exact_and_heads_tied(module):
    models = module("models")
    model = models.build(models.SHAPES["tiny"], torch.device("cpu"))
    models.cast(model, torch.bfloat16)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert {buffer.dtype for buffer in model.buffers()} == {torch.float32}
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_the_library_has_its_own_attention_and_forward(module, monkeypatch):
    models = module("models")
    model = models.build(models.SHAPES["tiny"], torch.device("cpu"))
    configs = [model.model.language_model.config, model.model.visual.config]
    ours, forward = [config._attn_implementation for config in configs], model.forward
    assert "sdpa" not in ours
    with models.as_published(model):
        assert [config._attn_implementation for config in configs] == ["sdpa", "sdpa"]
        assert model.forward.__func__ is type(model).forward
    assert [config._attn_implementation for config in configs] == ours and model.forward is forward


def test_attention_scores_reach_the_hundreds(module, monkeypatch):
    largest = []

    def see(query, key, value, levels, layer, scale, plain=tree_mask.branch_attention):
        keys = levels[0].keys[0].repeat_interleave(query.shape[1] // key.shape[1], 1)
        largest.append(float((query @ keys.transpose(2, 3) * scale).detach().abs().max()))
        return plain(query, key, value, levels, layer, scale)

    monkeypatch.setattr(tree_mask, "branch_attention", see)
    bench = module("bench").Bench(torch.device("cpu"), False, math.inf, module("inputs").Size((2, 8, 12), 8, 6))
    with torch.no_grad():
        bench.model("tiny")(tree=module("grpo").batch_of(bench, "tiny", 1, "blocks"))
    assert len(largest) == 3 and 100 < min(largest) and max(largest) < 3000


@pytest.fixture
def attempt(module):
    """Tries work as a part of its own, with some seconds left."""
    main, bench = module("__main__"), module("bench")

    def tried(work, left=60.0, needs=0.0):
        size = module("inputs").Size((2, 8, 12), 8, 6)
        made = bench.Bench(torch.device("cpu"), False, time.monotonic() + left, size)
        return main.attempt(main.Part("x", needs, work), made)

    return tried


def test_what_goes_wrong_is_noted(attempt):
    def broken(bench, out):
        out["first"] = 1
        raise ValueError("no such kernel")

    def large(bench, out):
        out |= bench.measure(lambda: torch.empty(2**60), most=1, seconds=0)

    def larger(bench, out):
        raise torch.OutOfMemoryError

    found = attempt(broken)
    assert found["first"] == 1 and found["error"].startswith("Traceback") and "ValueError: no such kernel" in found["error"]
    assert attempt(large)["out_of_memory"] is True and attempt(larger)["out_of_memory"] is True


def test_the_minutes_are_kept(attempt):
    def slow(bench, out):
        out["begun"] = True
        while math.isfinite(bench.left):
            time.sleep(0.01)

    assert attempt(slow, left=5, needs=10)["skipped"] == "5 s were left of the minutes, about 10 are needed"
    began = time.monotonic()
    found = attempt(slow, left=0.3)
    assert found["begun"] and found["skipped"] == "the minutes were over midway" and time.monotonic() - began < 20


def test_other_parts_go_on_and_the_command_fails(module, monkeypatch, tmp_path):
    main = module("__main__")

    def broken(bench, out):
        raise ValueError("no such kernel")

    def works(bench, out):
        out["figure"] = 2

    monkeypatch.setattr(main, "parts", lambda tiny, half: [main.Part("a", 0, broken), main.Part("b", 0, works)])
    monkeypatch.setattr("sys.argv", ["bench.gpu", "--tiny", "--out", str(tmp_path)])
    threads = torch.get_num_threads()
    try:
        assert main.main() == 1
        monkeypatch.setattr("sys.argv", ["bench.gpu", "--tiny", "--out", str(tmp_path), "--only", "b"])
        assert main.main() == 0
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = True
    parts = json.loads((tmp_path / "gpu-cpu-tiny.json").read_text())["parts"]
    assert "error" in parts["a"] and parts["b"]["figure"] == 2
