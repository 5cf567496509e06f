"""The page that `trlt train` and `trlt eval` end with."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from commands.conftest import FAST
from typer.testing import CliRunner

from trlt.cli import app

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
SAID = [{"id": "AAAAA:0", "text": "<answer> 0.0 to 1.0 </answer>"}, {"id": "BBBBB:3", "text": "<answer> 1.0 to 3.0 </answer>"}]


@pytest.fixture
def scored(bench, write_jsonl, tmp_path):
    """The words of an evaluation of given outputs, whose videos aren't there, into the folder `e`."""
    (bench / "Charades_v1_480").rename(tmp_path / "videos")
    write_jsonl(tmp_path / "p.jsonl", SAID)
    return ["eval", "-b", "charades", "--annotations", "bench", "--predictions", "p.jsonl", "--out", "e"]


def index_of(page):
    return json.loads(re.search(r'<script type="application/json" id="index">(.*?)</script>', page.read_text(), re.S)[1])


def test_predictions_without_videos_get_a_page_without_frames(trlt, scored, tmp_path):
    shown = trlt(*scored)
    assert shown.splitlines()[-1] == "Page: e/report.html"
    page = tmp_path / "e/report.html"
    assert 'id="results"' in page.read_text() and 'id="frames-0"' not in page.read_text()
    assert index_of(page)["question"] == ["a cat sits", "a cat runs", "a dog sits", "a dog runs"]
    first = page.read_bytes()
    page.unlink()
    assert trlt(*scored, "--json")["page"] == "e/report.html" and page.read_bytes() == first
    trlt("report", "e", "--frames-mb", 2, "--out", "again.html")
    assert (tmp_path / "again.html").read_bytes() == first, "as the command writes it"


def test_without_a_page(trlt, scored, tmp_path):
    found = trlt(*scored, "--no-page", "--json")
    assert "page" not in found and not (tmp_path / "e/report.html").exists()


def test_a_page_that_cant_be_written_is_a_note_and_the_results_stay(scored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e/report.html").mkdir(parents=True)
    result = CliRunner().invoke(app, scored)
    assert result.exit_code == 0 and (tmp_path / "e/results.json").is_file()
    note = "Page: not written, the results are there all the same; `trlt report e` tries again: "
    assert note in result.stderr and "report.html" in result.stderr.partition(note)[2] and "Page:" not in result.stdout
    again = CliRunner().invoke(app, [*scored, "--json"])
    assert again.exit_code == 0 and json.loads(again.stdout)["page"] is None


def test_a_bug_in_the_page_is_a_note_with_its_place(scored, tmp_path, monkeypatch):
    def breaks(*args, **kwargs):
        raise KeyError("n")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("trlt.commands.report.find_runs", breaks)
    result = CliRunner().invoke(app, scored)
    assert result.exit_code == 0 and (tmp_path / "e/results.json").is_file()
    assert re.search(
        r"Page: not written, .*; this is a bug of trlt: KeyError: 'n' \(at trlt/commands/report.py:\d+\)", result.stderr
    )


def test_the_page_loads_no_model(scored, tmp_path):
    code = (
        "import sys; from typer.testing import CliRunner; from trlt.cli import app\n"
        f"assert CliRunner().invoke(app, {scored}).exit_code == 0\n"
        "print(*sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "" and (tmp_path / "e/report.html").is_file()


def test_an_evaluated_model_has_frames_and_the_same_page_again(trlt, bench, fast, tmp_path):
    words = ["eval", "-b", "charades", "--annotations", "bench", "--videos", "bench", *fast, "--set", "eval.max_new_tokens=4"]
    trlt(*words, "--out", "e")
    page = (tmp_path / "e/report.html").read_bytes()
    assert page.count(b'<script type="application/json" id="frames-') == 2, "a block for each of two videos"
    trlt(*words, "--out", "e")
    assert (tmp_path / "e/report.html").read_bytes() == page
    trlt(*words, "--out", "e", "--no-page", "--fresh")
    assert not (tmp_path / "e/report.html").exists(), "it showed rows that are gone"


def test_a_training_has_a_page_says_its_parity_and_refreshes_the_page(trlt, clips_and_samples, tiny_path, tmp_path):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(
        f"name: small\nmodel: {{path: {tiny_path}}}\nvideo: {{root: {clips_and_samples.videos}, max_tokens: 32}}\n"
        f"train: {{data: {clips_and_samples.samples}, prompts_per_step: 1, group_size: 2, max_new_tokens: 4, max_steps: 1, "
        "gradient_checkpointing: false}\n"
    )
    words = ["train", recipe, *FAST, "--out", "run"]
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 0, result.output
    page = tmp_path / "run/report.html"
    assert "\nPage: run/report.html\n" in result.stdout and 'id="training"' in page.read_text()
    parity = json.loads((tmp_path / "run/result.json").read_text())["parity"]
    line = (
        f"train: before the first step, parity of rollout, trainer and the library's forward: {parity['largest']:.1e} at most, "
        f"{parity['mean']:.1e} on average, over {parity['tokens']} tokens"
    )
    assert result.stderr.splitlines().count(line) == 1
    first = page.read_bytes()
    page.unlink()
    assert trlt(*words, "--json")["page"] == "run/report.html" and page.read_bytes() == first
