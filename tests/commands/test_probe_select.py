"""From samples to a selection, as a user types it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_clips import pool
from typer.testing import CliRunner

from trlt.cli import app
from trlt.commands._row_errors import told
from trlt.errors import ModelError
from trlt.rollout import read_rows
from trlt.task.sample import Sample, Span, read_samples, write_samples

SHORT = ["--set", "probe.max_new_tokens=4", "-n", "2", "--set", "select.easy=2", "--set", "select.hard=0"]


def test_reasons_of_rows_that_hold_an_error_are_grouped():
    samples = [
        Sample(str(i), "x", "train", "grounding", f"v/{name}.mp4", "?", spans=(Span(0, 1),)) for i, name in enumerate("abcdefg")
    ]
    names = [Path(sample.video).stem for sample in samples]
    texts = [f"{name}.mp4: not in v: looked for {name}.{{mp4,mkv}}" for name in names[:3]]
    texts += [f"v/{name}.mp4: at {at} s: torn" for name, at in (("d", 1.5), ("e", 2))]
    rows = [{"id": str(i), "error": text} for i, text in enumerate([*texts, "x.mp4: too long", None])]
    assert told(rows, samples).splitlines() == [
        "6 samples hold an error (`error` in the row says which); --retry-errors asks them again",
        "  3 x not in v: looked for ….{mp4,mkv}, for example v/a.mp4",
        "  2 x at N s: torn, for example v/d.mp4",
        "  1 x x.mp4: too long, for example v/f.mp4",
    ]
    rows[4] |= {"error": "bent"}
    assert told(rows, samples).splitlines()[4] == "  1 for other reasons"
    assert told(rows[:1], samples).startswith(
        "1 sample holds an error (`error` in the row says which); --retry-errors asks it again"
    )
    assert told(rows[-1:], samples) == ""


@pytest.fixture
def data(tmp_path):
    """Six samples with their videos beside the file, and two whose videos can't be read."""
    samples = pool(tmp_path, clips=2)
    samples = [sample for sample in samples if sample.id != "bounded"]
    write_samples(tmp_path / "pool.jsonl", samples)
    return tmp_path / "pool.jsonl"


def test_probe_then_select(trlt, fast, data, tmp_path):
    result = trlt("probe", "--data", data, *fast, *SHORT, "--json")
    folder = tmp_path / "runs/trlt/probe-pool"
    assert result["rows"] == "runs/trlt/probe-pool/rows/probe.jsonl" and result["summary"]["errors"] == 2
    assert {path.name for path in folder.iterdir()} == {"rows", "recipe.yaml", "manifest.json", "difficulty.png"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["prompt"] and manifest["versions"]["torch"] and manifest["inputs"]["data"]["samples"] == 6
    assert manifest["protocol"]["temperature"] == 1.0 and manifest["protocol"]["video"]["max_tokens"] == 2048
    before = (folder / "rows/probe.jsonl").read_bytes()
    again = trlt("probe", "--data", data, *fast, *SHORT)
    assert (folder / "rows/probe.jsonl").read_bytes() == before
    assert "Difficulty: 6 samples" in again and "2 samples hold an error" in again
    reasons = [line for line in again.splitlines() if line.startswith("  1 x ")]
    assert len(reasons) == 2 and reasons[0].startswith("  1 x not a video that can be opened (")
    assert [line.rpartition(", for example ")[2] for line in reasons] == ["broken.mp4", "absent_clip.mp4"]
    told = """
`trlt select` would take none of these samples:
  multi_choice: 2 hard; only medium are taken (select.hard=0, select.easy=2, select.ratio=0:10:0)
  grounding: 2 flat; only varied are taken (select.delta_iou=0.3)
Probe other samples or another model, or give `trlt select` other thresholds: --set, as named here.
"""
    assert told in again and "Next: " not in again
    message = trlt("probe", "--data", data, *fast, *SHORT, "--set", "probe.seed=1", code=7)
    assert "probe.seed: 0 -> 1" in message and "--fresh" in message

    keep = ["--set", "select.delta_iou=0", "--set", "select.ratio=1:1:1", "--set", "select.sizes.multi_choice=30"]
    chosen = trlt("select", "--probe", folder, *SHORT[4:], "--set", "probe.n=2", *keep, "--out", "train.jsonl", "--json")
    kept = [sample.id for sample in read_samples(tmp_path / "train.jsonl")]
    assert kept == ["c0", "e0", "c1", "e1"] and chosen["taken"] == 4
    assert json.loads((tmp_path / "train.report.json").read_text()) == chosen["selection"]
    assert json.loads((tmp_path / "train.manifest.json").read_text())["videos"] == str(tmp_path)
    shown = trlt("select", "--probe", folder / "rows/probe.jsonl", *SHORT[4:], "--set", "probe.n=2", *keep)
    assert "Selection" in shown and "2 rows with an error left out" in shown

    none = ["--set", "select.sizes.multi_choice=0", "--set", "select.sizes.grounding=0", "--out", "none.jsonl"]
    message = trlt("select", "--probe", folder, *none, code=3)
    assert (
        "nothing was selected" in message and "multi_choice: 2 hard; none are wanted (select.sizes.multi_choice=0)" in message
    )
    assert "thresholds for so few: --set select.easy=2 --set select.hard=0" in message
    assert not (tmp_path / "none.jsonl").exists() and (tmp_path / "none.report.json").is_file()

    data.write_text(data.read_text() + "\n")
    assert "has changed since it was probed" in trlt("select", "--probe", folder, code=3)
    assert "would overwrite its own input" in trlt("select", "--probe", folder, "--data", data, "--out", data, code=2)


def test_a_gold_span_outside_its_video_is_a_warning_of_its_row(fast, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    samples = [sample for sample in read_samples(data) if sample.spans]
    far = [replace(samples[0], id=id, spans=(Span(*span),)) for id, span in (("in", (0.0, 0.5)), ("far", (1000.0, 2000.0)))]
    write_samples(data, far)
    result = CliRunner().invoke(app, [*map(str, ["probe", "--data", data, *fast, *SHORT, "--out", "p"])])
    assert result.exit_code == 0, result.output
    told = " ".join(result.stderr.split())
    assert "probe: 1 row with a `warning`" in told
    assert "the first: 'far': its gold span [1000, 2000] begins behind the end of its video (2.0 s)" in told
    rows = {row["id"]: row for row in read_rows(Path("p/rows/probe.jsonl"))}
    assert "warning" not in rows["in"] and rows["far"]["warning"].startswith("its gold span [1000, 2000]")
    assert rows["far"]["error"] is None


def test_a_row_file_can_be_named(trlt, fast, data, tmp_path):
    trlt("probe", "--data", data, *fast, *SHORT, "--out", "p.jsonl", "--json")
    assert len(list(read_rows(tmp_path / "p.jsonl"))) == 6
    assert (tmp_path / "p.manifest.json").is_file() and (tmp_path / "p.recipe.yaml").is_file()


def test_the_line_that_people_type_fails_before_any_work_without_its_model(trlt, data, tmp_path, monkeypatch):
    def unreachable(name):
        raise ModelError(f"model.path: {name} is not in the local cache; try `--model miniature`")

    monkeypatch.setattr("trlt.commands._answerer.locate", unreachable)
    message = trlt("probe", "--data", "pool.jsonl", "-n", "8", code=5)
    assert "Qwen/Qwen2.5-VL-7B-Instruct" in message and "--model miniature" in message
    assert not (tmp_path / "runs").exists()


def test_what_cannot_be_used_is_named(trlt, fast, data, tmp_path):
    assert "nowhere.jsonl: can't be read" in trlt("probe", "--data", "nowhere.jsonl", code=3)
    assert "absent: no such folder" in trlt("probe", "--data", data, "--videos", "absent", code=4)
    assert "did you mean probe" in trlt("probe", "--data", data, "--set", "prob.n=3", code=2)
    assert "neither a folder nor a hub id" in trlt("probe", "--data", data, "--model", "nonsense", code=5)
    (tmp_path / "empty").mkdir()
    message = trlt("probe", "--data", data, "--videos", "empty", *fast, *SHORT, code=4)
    assert "not one sample could be asked" in message and "--videos" in message
    (tmp_path / "bare.jsonl").write_text("")
    assert "names no samples; give those that were probed with --data" in trlt("select", "--probe", "bare.jsonl", code=2)
