"""Footage that training sets share with benchmarks, by the functions and by the command."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from trlt.cli import app
from trlt.data.datasets import load
from trlt.data.preparation import overlaps, readable_leaks, training_places
from trlt.errors import UsageError


@pytest.fixture
def data(tmp_path):
    """Charades' train and test splits, of which one video is in both; ActivityNet's test split; MMVU damaged."""
    for name, files in {
        "charades": {
            "charades_sta_train.txt": "AAAAA 1.0 4.0##a person sits\nAAAAA 5.0 9.0##she stands\nBBBBB 2.0 6.0##a dog runs\n",
            "charades_sta_test.txt": "AAAAA 2.0 5.0##a person waves\nCCCCC 2.0 5.0##a door opens\n",
            **{f"Charades_v1_{split}.csv": "id,length\nAAAAA,30.0\nBBBBB,30.0\nCCCCC,30.0\n" for split in ("train", "test")},
        },
        "activitynet/annotations": load("activitynet").EXAMPLE.files,
        "mmvu": {"validation.json": "{}"},
    }.items():
        (tmp_path / name).mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    return tmp_path


def test_what_is_shared_is_counted(data):
    assert training_places([str(data)]) == {"charades": data / "charades"}
    leaks, unread = readable_leaks({name: data / name for name in ("charades", "mmvu")})
    assert leaks.videos == {"charades": 2} and "validation.json" in unread["mmvu"]
    [found], others = overlaps(training_places([str(data)]), leaks)
    assert (found.name, found.samples, found.videos, others) == ("charades", 3, 2, {})
    assert found.shared_samples == {"charades": 2} and found.shared_videos == {"charades": 1}
    with pytest.raises(UsageError, match="'chardes' is no data set; choose one of: activitynet"):
        training_places(["chardes=x"])


def test_the_command_shows_and_writes_a_table(data):
    result = CliRunner().invoke(app, ["dataset", "overlap", str(data), "--out", str(data / "o.md")])
    assert result.exit_code == 0, result.output
    table = (data / "o.md").read_text()
    assert "| charades | 3 | 2 | 2 (1 video) |" in table and "of them: activitynet." in table
    assert "benchmark mmvu: left out: " in result.stderr
    found = json.loads(CliRunner().invoke(app, ["dataset", "overlap", str(data), "--json"]).stdout)
    assert found["training"]["charades"]["shared"] == {"charades": {"samples": 2, "videos": 1}}
    result = CliRunner().invoke(app, ["dataset", "overlap", f"activitynet={data}"])
    assert result.exit_code == 2 and "holds no annotation of a training set" in result.stderr


def test_the_list_has_all_data_sets():
    found = json.loads(CliRunner().invoke(app, ["dataset", "list", "--json"]).stdout)["datasets"]
    assert found["charades"]["roles"] == ["train", "bench"] and found["charades"]["test_questions"] == 3720
    assert found["timer1"]["test_questions"] is None and found["vsibench"]["license"] == load("vsibench").LICENSE
