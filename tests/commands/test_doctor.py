"""`trlt doctor`: what each check says of made facts, what a broken installation comes out as, and a real run."""

from __future__ import annotations

import json
import re
import shutil
import sys
from types import SimpleNamespace

import pytest
from paths import ROOT

from trlt.commands import doctor as command
from trlt.commands import doctor_checks as checks
from trlt.commands._output import Output
from trlt.commands.doctor_checks import GB, Card
from trlt.commands.doctor_checks.trial import STAGES, read_trial
from trlt.engine.families import FAMILIES
from trlt.errors import TrltError
from trlt.lab.miniature.tiny import CHAT_TEMPLATE


def run(capsys, **flags):
    """The JSON object of a run, whether it found faults or not."""
    try:
        result = command.doctor(output=Output(True), **flags)
    except TrltError as error:
        assert type(error) is TrltError and error.exit_code == 1
        result = json.loads(capsys.readouterr().out)
        assert not result["ok"] and str(error).startswith(f"doctor: {result['faults']} fault")
    return result


def states(result):
    return {check["name"]: check["state"] for check in result["checks"]}


def test_a_check_that_fails_itself_is_a_fault():
    def broken():
        raise ImportError("libx.so.1:\n  no such file")

    [found] = checks.attempt("decoders", broken, "install it again")
    assert found == checks.Check("decoders", "fault", "ImportError: libx.so.1: no such file", "install it again")


@pytest.mark.parametrize(
    ("version", "platform", "state"),
    [
        ("3.11.0", "linux", "ok"),
        ("3.14.2", "linux", "ok"),
        ("3.10.9", "linux", "fault"),
        ("3.12.1", "darwin", "warning"),
        ("3.12.1", "win32", "fault"),
    ],
)
def test_python(version, platform, state):
    assert checks.python_check(version, ">=3.11", platform).state == state


REQUIRED = ["torch<2.16,>=2.15", "trl<1.17,>=1.16", "av<19,>=18.1", "types_PyYAML", 'ray[data]<3,>=2.60; extra == "ray"']


def test_libraries_that_fit_are_one_line_with_their_versions():
    installed = {"torch": "2.15.0+cu132", "trl": "1.16.0", "av": "18.1.0", "types-pyyaml": "6.0"}
    [found] = checks.library_checks(REQUIRED, installed)
    assert (found.state, found.found) == ("ok", "all 4 fit together: torch 2.15.0+cu132, trl 1.16.0, av 18.1.0")


def test_every_library_that_does_not_fit_is_told_with_the_command_that_mends_it():
    found = checks.library_checks(REQUIRED, {"torch": "2.16.1", "av": "18.1.0", "types-pyyaml": "6", "ray": "2.1"})
    assert [(check.name, check.state, check.found) for check in found] == [
        ("torch", "fault", "2.16.1; trlt needs <2.16,>=2.15"),
        ("trl", "fault", "isn't installed"),
        ("ray", "warning", "2.1; trlt needs <3,>=2.60 (optional)"),
    ]
    assert [check.remedy for check in found] == [
        "pip install -U 'torch<2.16,>=2.15'",
        "pip install -U 'trl<1.17,>=1.16'",
        "pip install -U 'ray[data]<3,>=2.60'",
    ]


def test_versions_that_were_not_tried_are_told():
    versions = checks.tried()[0]["versions"]
    assert checks.tried_checks(versions) == [] and checks.tried_checks({"torch": f"{versions['torch']}+cu132"}) == []
    [found] = checks.tried_checks({**versions, "transformers": "5.99.1"})
    assert (found.name, found.state) == ("transformers", "warning")
    assert found.found.startswith("5.99.1; trlt was tried with ")
    assert f"'transformers=={checks.newest_tried('transformers')}'" in found.remedy


def test_another_trl_is_told_with_the_one_that_was_tried():
    assert checks.trl_check([], [], 5).state == "ok"
    lost = checks.trl_check(["_gone isn't there"], ["kl_sign"], 5)
    assert (lost.state, lost.found) == ("fault", "_gone isn't there")
    assert lost.remedy == f"pip install 'trl=={checks.newest_tried('trl')}', with which trlt was tried"
    new = checks.trl_check([], ["kl_sign"], 5)
    assert (new.state, new.found) == ("warning", "settings that trlt doesn't know: kl_sign")


def test_decoders_that_a_build_lacks():
    def codec(name, mode):
        if name in ("h264", "vp9"):
            raise ValueError(name)
        return SimpleNamespace(is_decoder=True)

    av = SimpleNamespace(
        __version__="18.1.0",
        ffmpeg_version_info="8.1",
        library_versions={"libavcodec": (62, 28, 102), "libavformat": (62, 12, 102)},
        codecs_available={"av1", "hevc"},
        codec=SimpleNamespace(Codec=codec),
        error=SimpleNamespace(FFmpegError=OSError),
    )
    found = {check.name: check for check in checks.decoder_checks(av)}
    assert "FFmpeg 8.1 (libavcodec 62.28.102" in found["decoders"].found and found["decoders"].found.endswith(": hevc, mpeg4")
    assert {name: check.state for name, check in found.items() if name != "decoders"} == {
        "decoder h264": "fault",
        "decoder vp9": "warning",
        "decoder av1": "warning",
    }, "FFmpeg's own av1 decodes nothing without hardware"


@pytest.mark.parametrize(
    ("built", "driver", "available", "state", "said"),
    [
        ("12.8", "13.0", True, "ok", "torch 2.15 for CUDA 12.8, driver for CUDA 13.0"),
        ("12.8", None, False, "warning", "no GPU driver"),
        (None, None, False, "warning", "for CPU"),
        (None, "12.4", False, "fault", "torch can't use the GPU"),
        ("13.2", "12.4", False, "fault", "too old"),
        ("12.8", "12.4", False, "fault", "sees no GPU"),
    ],
)
def test_torch_and_the_driver(built, driver, available, state, said):
    found = checks.cuda_check("2.15", built, driver, available=available)
    assert found.state == state and said in found.found and bool(found.remedy) == (state != "ok")


def test_gpus():
    assert checks.card_check(0, Card("A100", 85 * GB, (8, 0))) == checks.Check("GPU 0", "ok", "A100, 85.0 GB, BF16")
    old = checks.card_check(1, Card("V100", 34 * GB, (7, 0)))
    assert old.state == "warning" and "no BF16" in old.found and "float32" in old.remedy


def test_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=30 * GB, total=100 * GB))
    place = str(tmp_path / "not" / "yet")
    assert checks.disk_check(place, 20).state == "ok"
    full = checks.disk_check(place, 50, held=5 * GB)
    assert full.state == "fault" and "45 more" in full.found and full.remedy.endswith("video.store_gb=31")
    assert checks.disk_check(place, 50, held=25 * GB).state == "ok", "what it holds needs no room"
    assert checks.disk_check(None, 50).state == "warning" and checks.disk_check(None, 20).state == "ok"
    monkeypatch.setattr("os.access", lambda place, mode: False)
    assert "can't be written" in checks.disk_check(place, 20).found


def test_memory_files_and_shared_memory():
    assert checks.memory_check(64 * GB).state == "ok"
    assert checks.memory_check(4 * GB).state == "warning"
    assert checks.memory_check(64 * GB, needed=265 * GB).state == "fault"
    assert [checks.files_check(n).state for n in (256, 1024, -1)] == ["warning", "ok", "ok"]
    assert checks.shared_memory_check(64 * 10**6, gpus=8).state == "warning"
    assert checks.shared_memory_check(64 * 10**6, gpus=1).state == "ok"
    assert checks.shared_memory_check(None, gpus=2).state == "warning"
    assert checks.total_memory() > GB / 10


def test_a_tiny_run_that_breaks_off_names_its_stage():
    first = json.dumps({"stage": STAGES[0], "seconds": 0.4, "found": "10 s"})
    crashed = read_trial(f"a library's words\n{first}\n", "", -11)
    assert [(check.name, check.state) for check in crashed.checks] == [(STAGES[0], "ok"), (STAGES[1], "fault")]
    assert "SIGSEGV" in crashed.checks[1].found and crashed.seconds == {STAGES[0]: 0.4}
    raised = read_trial("", "Traceback\n  ...\nImportError: no libx\n\n", 1).checks
    assert raised[0].found == "ImportError: no libx" and raised[0].remedy


def test_quick_on_this_machine(capsys):
    result = run(capsys, quick=True)
    found = states(result)
    assert {"Python", "libraries", "TRL's trainer", "decoders", "CUDA", "disk", "memory", "open files"} <= set(found)
    assert found["TRL's trainer"] == found["decoders"] == "ok" and not result["seconds"]
    assert all(check["remedy"] or check["state"] == "ok" for check in result["checks"])


def test_a_recipe_is_planned(capsys, tmp_path, monkeypatch):
    sets = [f"video.store={tmp_path}", "video.store_gb=0.001", "train.launch.gpu_gb=24"]
    result = run(capsys, recipe_path=ROOT / "recipes/32k.yaml", sets=sets, quick=True)
    [plan] = [check for check in result["checks"] if check["name"] == "plan"]
    assert plan["state"] == "fault" and "of 24 GB (train.launch.gpu_gb) for 8 processes" in plan["found"]
    # Of the machine's memory, loading takes a whole weight: 1.2 GB.
    monkeypatch.setattr(checks, "total_memory", lambda: GB)
    alone = run(capsys, recipe_path=ROOT / "recipes/3b-lora-24gb.yaml", sets=sets[:2], quick=True)
    [plan] = [check for check in alone["checks"] if check["name"] == "plan"]
    assert plan["state"] == "ok" and plan["found"].endswith("of 24 GB (train.launch.gpu_gb) for 1 process")
    assert states(alone)["memory"] == "fault" and states(run(capsys, quick=True))["memory"] == "warning"
    monkeypatch.undo()
    fits = run(capsys, recipe_path=ROOT / "recipes/32k.yaml", sets=[*sets, "train.launch.gpu_gb=80"], quick=True)
    assert states(fits)["plan"] == "ok" and states(fits)["disk"] == "ok" and states(fits)["recipe"] == "ok"


def test_faults_of_a_recipe_and_of_the_installation_end_nothing(capsys, tmp_path, monkeypatch):
    path = tmp_path / "r.yaml"
    path.write_text("train: {betta: 1}\n")
    monkeypatch.setitem(sys.modules, "av", None)  # an import of it fails
    found = {check["name"]: check for check in run(capsys, recipe_path=path, quick=True)["checks"]}
    assert found["recipe"]["state"] == "fault" and "did you mean beta?" in found["recipe"]["found"]
    assert found["decoders"]["state"] == "fault" and found["decoders"]["found"].startswith("ModuleNotFoundError")
    assert "memory" in found


def test_without_any_library_there_is_still_a_report(capsys, monkeypatch):
    for name in (
        "torch",
        "pydantic",
        "packaging",
        "packaging.requirements",
        "packaging.specifiers",
        "trlt.recipe",
        "trlt.train.grpo",
    ):
        monkeypatch.setitem(sys.modules, name, None)
    found = states(run(capsys, quick=True))
    for name in ("Python", "libraries", "TRL's trainer", "recipe", "CUDA", "disk"):
        assert found[name] == "fault", name
    assert found["memory"] in ("ok", "warning")


@pytest.mark.slow
def test_the_tiny_run(monkeypatch):
    from trlt.commands.doctor_checks.trial import trial

    monkeypatch.setenv("RANK", "3")  # of a launcher that isn't meant
    monkeypatch.setenv("WORLD_SIZE", "8")
    tried = trial()
    assert [(check.name, check.state) for check in tried.checks] == [(stage, "ok") for stage in STAGES], tried
    assert "agree within" in tried.checks[-1].found and list(tried.seconds) == list(STAGES)


def test_a_table_for_people(capsys, monkeypatch):
    monkeypatch.setattr(
        checks, "decoder_checks", lambda _: [checks.Check("decoder av1", "warning", "none: [b]x[/b]", "install")]
    )
    result = command.doctor(quick=True, output=Output(False))
    shown = capsys.readouterr().out
    assert "decoder av1" in shown and "[b]x[/b]" in shown and f"No fault, {result['warnings']} warning" in shown


def test_the_recipes_model_is_looked_at_with_how_it_begins_answers(capsys, tmp_path, tiny_path):
    folder, path = tmp_path / "thinker", tmp_path / "small.yaml"
    shutil.copytree(tiny_path, folder)
    path.write_text(f"name: small\nmodel: {{path: {folder}}}\ntrain: {{method: sft}}\n")
    found = run(capsys, recipe_path=path, quick=True)["checks"]
    assert [check["found"] for check in found if check["name"] == "model"] == [f"Qwen2.5-VL in {folder}"]
    assert not [check for check in found if "reasoning" in check["name"]]
    opens = CHAT_TEMPLATE.replace("assistant\n' }}", "assistant\n<think>\n' }}")
    (folder / "chat_template.jinja").write_text(opens)
    found = run(capsys, recipe_path=path, quick=True)["checks"]
    said = {check["name"]: check for check in found}
    assert said["model"]["found"] == f"Qwen2.5-VL in {folder}; its template begins reasoning with <think>"
    # By the recipe, the benchmarks are answered with reasoning; a probe and the targets aren't.
    asked = {name: (one["state"], one["remedy"].partition(",")[0]) for name, one in said.items() if "reasoning" in name}
    assert asked == {
        "probe without reasoning": ("warning", "set probe.think: true"),
        "train without reasoning": ("warning", "set train.sft.targets: reasoning"),
    }
    (folder / "chat_template.jinja").unlink()
    found = run(capsys, recipe_path=path, quick=True)["checks"]
    [fault] = [check for check in found if check["name"] == "model"]
    assert fault["state"] == "fault" and "holds no chat template" in fault["found"]


@pytest.mark.slow
def test_the_tiny_run_tries_the_recipes_family():
    from trlt.commands.doctor_checks.trial import FAMILY, trial

    family = FAMILIES[2]
    tried = trial(family.model_types[0])
    assert [(check.name, check.state) for check in tried.checks] == [(stage, "ok") for stage in (*STAGES, FAMILY)], tried
    assert re.fullmatch(rf".* s: {re.escape(family.name)}: within \S+ of the library's own forward", tried.checks[-1].found)
