"""`trlt eval` says which records of official files are no questions."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from trlt.cli import app


def test_records_that_are_left_out_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = {"video": "a.mp4", "duration": 60, "question": "Who?", "candidates": ["he", "she"], "answer": "she"}
    for task in ("1_plotQA", "2_needle", "3_ego", "4_count", "5_order", "6_anomaly_reco", "7_topic_reasoning"):
        (tmp_path / f"{task}.json").write_text(json.dumps([record]))
    (tmp_path / "9_summary.json").write_text("[{}, {}]")
    result = CliRunner().invoke(app, ["eval", "--bench", "mlvu", "--annotations", ".", "--samples", "--out", "q"])
    assert result.exit_code == 0 and "mlvu: 7 questions" in result.stdout
    assert "mlvu: 2 records left out: generation_task 2 (as 9_summary.json[0])" in result.stderr
    assert "mlvu: the generation tasks need a judge model" in result.stderr
