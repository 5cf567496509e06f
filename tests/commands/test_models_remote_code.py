"""Python that lies in a model's folder is never run, by no command; and no load leaves that to a library's default."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_clips import write_clip

import trlt as package

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

ROOT = Path(package.__file__).parent
FAST = ["--set", "model.dtype=float32", "--set", "model.device=cpu", "--set", "video.workers=0", "--set", "video.max_tokens=32"]
PLAIN = {"PeftModel", "LoraConfig", "GenerationConfig", "PeftConfig"}
"""Classes whose `from_pretrained` reads JSON and safetensors, and has no way to run code."""
AUTO = ("AutoConfig", "AutoModel", "AutoProcessor", "AutoTokenizer", "AutoImageProcessor", "AutoVideoProcessor")


def calls() -> list[tuple[str, ast.Call]]:
    """Everything in the sources that loads something by a library: where, and how."""
    found = []
    for path in sorted([*ROOT.rglob("*.py"), *(ROOT.parent / "bench").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                if node.func.attr in ("from_pretrained", "from_config", "pipeline", "LLM") and owner not in PLAIN:
                    found.append((f"{path.relative_to(ROOT.parent)}:{node.lineno}", node))
    return found


def test_every_load_says_that_no_code_is_run():
    found = calls()
    assert len(found) >= 7, "the walk finds loads at all"
    for where, call in found:
        said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert said.get("trust_remote_code") == "False", f"{where}: {ast.unparse(call)}"


@pytest.fixture
def planted(tiny_path: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A model with code beside it that every file asks for, and the file that the code would write."""
    folder, marker = tmp_path / "planted", tmp_path / "marker"
    shutil.copytree(tiny_path, folder)
    code = "\n".join(f"class Planted{name}: pass" for name in AUTO)
    (folder / "planted.py").write_text(f"open({str(marker)!r}, 'w')\n{code}\n")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate/generate.py").write_text(f"open({str(marker)!r}, 'w')\ndef generate(*a, **k): pass\n")
    for path in folder.glob("*config.json"):
        told = json.loads(path.read_text())
        told["auto_map"] = {name: f"planted.Planted{name}" for name in AUTO} | {
            "AutoTokenizer": ["planted.PlantedAutoTokenizer", "planted.PlantedAutoTokenizer"]
        }
        path.write_text(json.dumps(told))
    return folder, marker


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Questions that a library asks on the way, which all get a yes."""
    questions: list[str] = []

    def answer(text: str = "") -> str:
        questions.append(text)
        return "y"

    monkeypatch.setattr("builtins.input", answer)
    return questions


def test_commands_load_such_a_folder_and_run_nothing(trlt, planted, asked, tmp_path, bench, clips_and_samples):
    folder, marker = planted
    write_clip(tmp_path / "clip.mp4", 2, 0)
    flags = [*FAST, "--model", folder]
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(clips_and_samples.samples.read_text().splitlines(keepends=True)[:2]))
    videos = ["--videos", clips_and_samples.videos]
    trlt("infer", "clip.mp4", "a cat sits", *flags)
    trlt("probe", "--data", samples, *videos, "-n", 2, "--set", "probe.max_new_tokens=4", *flags, "--out", "probe")
    trlt(
        "eval",
        "--bench",
        "charades",
        "--annotations",
        bench,
        "--videos",
        bench / "Charades_v1_480",
        "--set",
        "eval.max_new_tokens=4",
        *flags,
        "--out",
        "eval",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.Server.run", lambda self, sockets: None)  # it is loaded, proven, and ends
        assert "Serving planted at" in trlt("serve", "--port", 0, *flags)
    recipe = tmp_path / "r.yaml"
    recipe.write_text("train: {method: sft, max_steps: 1, sft: {batch: 2}, lora: {rank: 2}}\n")
    more = ["--data", samples, "--set", f"video.root={clips_and_samples.videos}"]
    trlt("train", recipe, *more, "--dry-run", *flags)
    trlt("train", recipe, *more, *flags, "--out", "run")
    trlt("train", "merge", "run/adapter", "--out", "merged")
    assert not marker.exists() and not asked
    assert (tmp_path / "merged/model.safetensors").is_file() and not (tmp_path / "merged/planted.py").exists()


def test_classes_that_only_such_code_has_are_not_looked_for(trlt, planted, asked, tmp_path):
    folder, marker = planted
    write_clip(tmp_path / "clip.mp4", 2, 0)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": "PlantedAutoTokenizer"}))
    result: Any = trlt("infer", "clip.mp4", "a cat sits", *FAST, "--model", folder, "--json")
    assert result["text"] is not None and not marker.exists() and not asked
