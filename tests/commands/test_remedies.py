"""What a message advises works: the same command goes on, or the message says that it makes another run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
import typer
from made_clips import write_clip
from paths import ROOT
from test_cli_options import commands
from test_next import SETS

from trlt.cli import app
from trlt.recipe import advice
from trlt.recipe._advice import makes_another_run, named

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

SAYS_SO = re.compile(r"another run|new run|another --out")
NO_RUN = {
    "recipe/sections.py": "checks of a recipe, which has no run before it passes them",
    "recipe/selection.py": "checks of a recipe, which has no run before it passes them",
    "recipe/training.py": "checks of a recipe, which has no run before it passes them",
    "recipe/prompts.py": "the same",
    "recipe/rewards.py": "the same",
    "recipe/online.py": "the same",
    "recipe/_texts.py": "the same",
    "recipe/reward_rules.py": "the same",
    "recipe/update.py": "the same",
    "recipe/algorithms.py": "the same",
    "recipe/stages.py": "the same",
    "train/answer_lines.py": "checks of a file before a run's first step",
    "train/offline_answers.py": "the same",
    "commands/_train_reward.py": "told before a run begins, or when it has ended",
    "commands/_train_stages.py": "told before a stage's run begins",
    "recipe/load.py": "an example of --set",
    "commands/_table.py": "help texts",
    "serve/_frames.py": "a server has no run",
    "commands/infer.py": "a single question has no run",
    "commands/probe_estimate.py": "an estimate has no run",
    "commands/reward_try.py": "a trial has no run",
}
"""Files whose messages concern nothing that goes on."""
TOLD = {
    "train.lora.quantize: FSDP can't cut weights in 4 bits": "advises another launcher",
    "train.lora.quantize: bitsandbytes isn't installed": "begins with the key at fault; the advice follows",
    "train.lora.quantize: {} holds linear layers": "the same",
    "train.lora.dropout: adapters of the experts": "the same",
    "train.rollouts: vllm: ": "begins with the key at fault; the advice follows",
    "meta.reasoning: train.sft.targets is": "told before the first step, where nothing is lost",
    "train.sft.targets is {}": "names what asks; the advice follows",
    "train.sft.targets: reasoning": "told before there is a run",
    "reward.judge.prompt: {}": "begins with the key at fault, before there is a run",
    "prompt.template: {}": "begins with the key at fault, before there is a run",
    "prompt.template: asks sample": "told before there is a run",
    "prompt.template: makes": "begins with the key at fault, before there is a run",
    "prompt.format: {}": "the same",
    "prompt.format begins otherwise": "names what asks; the advice follows",
    "prompt.format: its mark": "begins with the key at fault, before there is a run",
    "prompt.format: <think>": "told before there is a run",
    "has no stages (train.stages)": "names the key that would have them",
    "has no subtitles; leave": "begins with the key at fault, before there is a run",
    "with lines left out": "names the limit that was reached",
    "is never reached; ": "names the key that isn't reached; the advice follows",
}
"""Messages that name such a key without advising to change it."""


def messages(tree: ast.AST) -> Iterator[str]:
    """Texts of more than a word, with {} for what is put in: no docstrings, no help, nothing that `advice` is given."""
    silent = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            silent |= {id(child.value) for child in ast.iter_child_nodes(node) if isinstance(child, ast.Expr)}
            silent |= {id(child.value) for child in node.body if isinstance(child, ast.Expr)}
        is_call = isinstance(node, ast.Call) and ast.unparse(node.func) in ("advice", "typer.Option", "typer.Argument")
        if is_call or isinstance(node, ast.JoinedStr):
            silent |= {id(inner) for inner in ast.walk(node) if inner is not node}
    for node in ast.walk(tree):
        if id(node) in silent:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def given_to_advice(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "advice":
            yield "".join(part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))


FILES = {str(path.relative_to(ROOT / "trlt")): ast.parse(path.read_text()) for path in sorted((ROOT / "trlt").rglob("*.py"))}


def test_advice_says_what_follows_from_its_keys():
    new = "in a new run (another --out, or --fresh)"
    assert advice("lower train.learning_rate or raise train.beta") == f"lower train.learning_rate or raise train.beta {new}"
    assert advice("lower video.max_tokens") == f"lower video.max_tokens {new}"
    for text in ("raise video.memory_gb", "take other train.launch.processes", "raise train.max_broken", "lower select.easy"):
        assert advice(text) == text
    with pytest.raises(AssertionError, match="names no key"):
        advice("lower video.max_tokenz")


def test_messages_that_name_a_key_of_the_outcome_say_that_it_makes_another_run():
    used = set()
    for name, tree in FILES.items():
        if name in NO_RUN:
            continue
        for text in messages(tree):
            if not any(makes_another_run(key) for key in named(text)) or SAYS_SO.search(text):
                continue
            reasons = [part for part in TOLD if part in text]
            assert reasons, f"{name}: {text!r}: following it makes another run: pass the advice through `trlt.recipe.advice`"
            used.update(reasons)
    assert used == set(TOLD), "no reason for a message that is gone"
    assert set(NO_RUN) <= set(FILES)


OTHERS = (
    *("force-reinstall", "only-binary", "shm-size"),
    *("media-io-kwargs", "reasoning-parser", "tool-call-parser", "mm-process-config", "model-path", "max-logprobs"),
    *("chat-template", "include", "local-dir", "repo-type"),
)
"""Options of pip and of containers, of vLLM and SGLang, and of the hub's own program."""


def test_flags_that_messages_name_are_options():
    options = {
        flag for _, one in commands(typer.main.get_command(app)) for p in one.params for flag in (*p.opts, *p.secondary_opts)
    }
    known = {*options, "--version", *(f"--{name}" for name in OTHERS)}
    for name, tree in FILES.items():
        for text in messages(tree) if name != "commands/_answer_page.py" else ():  # a style sheet
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known, (name, text)


VALUES = {
    "model.dtype": "bfloat16",
    "train.answer_format": "open",
    "train.beta": "0.5",
    "train.epochs": "3",
    "train.launch.strategy": "ddp",
    "train.learning_rate": "1e-4",
    "train.lora": "{rank: 2, alpha: 4}",
    "train.max_broken": "0.5",
    "train.max_new_tokens": "5",
    "train.max_steps": "2",
    "train.method": "sft",
    "train.min_reward_range": "0.1",
    "train.rollouts": "vllm",
    "train.sft.targets": "mixed",
    "train.vllm.python": "other",
    "train.warmup_steps": "1",
    "video.downloads": "elsewhere",
    "video.links": ".",
    "video.max_tokens": "16",
    "video.memory_gb": "9",
    "video.store": "frames",
    "video.store_gb": "9",
    "video.timeout_s": "9",
    "video.workers": "1",
}
"""Another value than that of the run below, for each key that messages name."""
NOT_FOLLOWED = {
    "model.device": "another device than the CPU isn't at hand",
    "model.path": "the same model at another place; `test_train` takes other models",
    "train.algorithm": "of a recipe's checks",
    "train.group_size": "of a recipe's checks",
    "train.offline": "of a recipe's checks",
    "train.offline.per_group": "of a recipe's checks",
    "train.offline.weights": "of a recipe's checks",
    "train.online": "of a recipe's checks",
    "train.online.curriculum": "of a recipe's checks",
    "train.online.curriculum.difficulty": "of a recipe's checks",
    "train.online.near": "of a recipe's checks",
    "train.online.probe": "of a recipe's checks",
    "train.online.replay": "of a recipe's checks",
    "train.online.replay.most": "of a recipe's checks",
    "train.online.skip": "of a recipe's checks",
    "train.temporal_contrast": "of a recipe's checks",
    "train.temporal_contrast.tasks": "of the checks of samples, before a run",
    "train.stages": "`test_train_stages` has them",
    "train.attention": "of a recipe's checks",
    "train.data": "the same samples at another place",
    "train.features": "of a recipe's checks",
    "train.freeze_vision": "of a recipe's checks",
    "train.kl": "of a recipe's checks",
    "train.loss": "of a recipe's checks",
    "train.epsilon_high": "of a recipe's checks",
    "train.ratio_level": "of a recipe's checks",
    "train.overlong_tokens": "of a recipe's checks",
    "train.shared_prefix": "of a recipe's checks",
    "train.tokens_per_pass": "of a recipe's checks",
    "train.prompts_per_pass": "sums in another order; `test_train` goes on with it",
    "train.prompts_per_step": "`test_train` is refused with it",
    "train.launch.processes": "several processes; `test_train_launch` has them",
    "train.launch.gpu_gb": "of the plan",
    "train.lora.quantize": "has no other value without a GPU",
    "train.lora.dropout": "of models with experts",
    "train.lora.targets": "of models with experts",
    "train.report_to": "needs a tracker",
    "train.vllm.memory": "needs vLLM",
    "video.root": "the same videos at another place",
    "video.max_frames": "of a recipe's checks",
    "video.min_frames": "of a recipe's checks",
}


def test_what_is_advised_goes_on_or_is_refused_as_another_run(trlt, tiny_path, clips_and_samples, tmp_path):
    texts = [text for tree in FILES.values() for text in (*messages(tree), *given_to_advice(tree))]
    keys = {key for text in texts for key in named(text) if key.partition(".")[0] in ("model", "video", "train")}
    assert keys <= VALUES.keys() | NOT_FOLLOWED.keys(), "a message names a key that isn't tried here"
    assert NOT_FOLLOWED.keys() <= keys, "a key that no message names"
    (tmp_path / "r.yaml").write_text("name: small\n")
    sets = [*SETS, f"model.path={tiny_path}", f"video.root={clips_and_samples.videos}"]
    command = ["train", "r.yaml", "--data", clips_and_samples.samples, "--out", "run"]
    command += [word for one in sets for word in ("--set", one)]
    trlt(*command)
    for key, value in VALUES.items():
        if makes_another_run(key):
            assert key in trlt(*command, "--set", f"{key}={value}", code=7)
            assert advice(f"change {key}").endswith("in a new run (another --out, or --fresh)")
        else:
            trlt(*command, "--set", f"{key}={value}")
            assert advice(f"change {key}") == f"change {key}"


TOO_SHORT = ["--set", "video.timeout_s=0.0001", "--set", "video.workers=1"]


def test_a_clip_that_took_too_long_is_looked_at_anew_with_more_time(trlt, tmp_path):
    """The check's rows and the cache of verdicts held what a limit had refused, whatever the limit was later."""
    for seed, name in enumerate(("AA", "BB")):
        write_clip(tmp_path / f"videos/{name}.mp4", 2, seed)
    check = ["video", "check", "videos", "--out", "check.jsonl"]
    assert trlt(*check, *TOO_SHORT, "--json")["broken"] == 2
    assert trlt(*check, "--json")["broken"] == 0

    (tmp_path / "charades_sta_train.txt").write_text("AA 0.0 1.0##a cat sits\nBB 1.0 2.0##a dog sits\n")
    (tmp_path / "Charades_v1_train.csv").write_text("id,length\nAA,2.0\nBB,2.0\n")
    prepare = ["prepare", "charades", "--annotations", ".", "--videos", "videos", "--out", "s.jsonl"]
    assert "no sample is left of 2 records" in trlt(*prepare, *TOO_SHORT, code=3)
    assert "raise video.timeout_s" in (tmp_path / "s.missing_videos.txt").read_text()
    assert trlt(*prepare, "--json")["count"] == 2


def test_rows_with_an_error_are_asked_again_with_more_time(trlt, fast, clips_and_samples, tmp_path):
    probe = ["probe", "--data", clips_and_samples.samples, "--videos", clips_and_samples.videos, "-n", "2", *fast]
    probe += ["--set", "probe.max_new_tokens=4", "--set", "video.max_tokens=32", "--set", "video.workers=1", "--out", "run"]
    assert "then --retry-errors" in trlt(*probe, *TOO_SHORT, code=4)
    found = trlt(*probe, "--retry-errors", "--json")["summary"]
    assert found["errors"] == 0 and found["resumed"] == 0
