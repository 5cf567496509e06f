"""Looking at probes: one sample with its answers, and two probes against each other."""

from __future__ import annotations

import json

import pytest
from made_clips import choice, event

from trlt.commands import _probed
from trlt.commands._output import Output
from trlt.commands.probe_compare import compare
from trlt.commands.probe_show import show
from trlt.errors import DataError, UsageError
from trlt.files import file_digest
from trlt.recipe import Probe, Recipe, Select, Video, save_recipe
from trlt.rollout import RunFiles, to_row
from trlt.rollout.row import Generated, error_row
from trlt.task.sample import write_samples

SETTINGS = Probe(answer_format="letter", n=4)
SAMPLES = [
    choice("c0", "a.mp4", video_key="made:a"),
    choice("c1", "b.mp4", video_key="made:b"),
    event("e0", "a.mp4", video_key="made:a"),
    event("e1", "b.mp4"),
    choice("gone", "c.mp4"),
]


def rows(right, spans):
    """Four answers each: the first `right` of choices are right, and all spans are those given."""
    for place, sample in enumerate(SAMPLES):
        if sample.id == "gone":
            yield error_row(sample, 4, "no such file")
            continue
        texts = [f"<answer> {'B' if k < right[place % 2] else 'A'} </answer>" for k in range(4)]
        if sample.task == "grounding":
            texts = [f"<answer> {start} to {end} </answer>" for start, end in spans]
        said = [Generated(text, 5, True) for text in texts]
        yield to_row(sample, said, grader=Recipe(probe=SETTINGS).grader("probe"), video_tokens=9)


@pytest.fixture
def probed(tmp_path):
    """Makes the folder of a probe: `probed("a", rows)`."""
    data = tmp_path / "pool.jsonl"
    write_samples(data, SAMPLES)

    def make(name, rows, recipe=True, manifest=True, **select):
        run = RunFiles(tmp_path / name)
        path = run.rows("probe")
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        if recipe:
            save_recipe(run.recipe, Recipe(probe=SETTINGS, video=Video(), select=Select(**{"hard": 0, "easy": 4} | select)))
        if manifest:
            noted = {"path": str(data), "sha256": file_digest(data)}
            run.write_manifest({"kind": "probe", "protocol": {"n": 4, "seed": 0}, "inputs": {"data": noted}})
        return run.out

    return make


BASE = ((1, 3), [(0, 1), (1, 2), (1, 3), (5, 4)])
TUNED = ((4, 3), [(1, 2)] * 4)


def test_a_sample_with_its_answers(probed, capsys):
    folder = probed("a", rows(*BASE))
    found = show("e0", probe=folder, output=Output())
    # Spans 0-1, 1-2, 1-3 and none against 1-2: IoUs 0, 1, 0.5 and 0.
    assert [one["tiou"] for one in found["answers"]] == [0, 1, 0.5, 0]
    assert found["answers"][3]["span"] is None and found["answers"][2]["reward"] == 1.5
    assert (found["mean_iou"], found["delta_iou"], found["reward_range"], found["class"]) == (0.375, 0.625, 2.0, "varied")
    # Rewards 1, 2, 1.5 and 0, mean 1.125: the squared distances add up to 2.1875, a quarter of that is 0.546875.
    assert found["deviation"] == pytest.approx(0.546875**0.5)
    assert found["spans"] == [[1.0, 2.0]] and found["question"] == "a green triangle is shown"
    out = capsys.readouterr().out
    assert "gold ───" in out and "no span" in out and str(folder / "recipe.yaml") in out
    assert show("c1", probe=folder / "rows/probe.jsonl", output=Output(True))["class"] == "medium"
    assert capsys.readouterr().out == ""
    right = [one["right"] for one in show("c0", probe=folder, output=Output())["answers"]]
    assert right == [True, False, False, False] and "> B. blue square  (gold)" in capsys.readouterr().out


def test_thresholds_are_those_beside_the_rows(probed, capsys):
    assert show("c0", probe=probed("a", rows(*BASE), hard=1), output=Output(True))["class"] == "hard"
    plain = show("c1", probe=probed("b", rows(*BASE), recipe=False), output=Output())
    assert plain["class"] == "medium" and "the defaults" in plain["select"]["origin"] and "defaults" in capsys.readouterr().out


def test_a_sample_that_could_not_be_asked(probed, capsys):
    found = show("gone", probe=probed("a", rows(*BASE)), output=Output())
    assert found["error"] == "no such file" and found["answers"] == [] and found["class"] is None
    assert "not probed: no such file" in capsys.readouterr().out


def test_reasoning_is_read_whatever_was_asked_for(probed):
    changed = [row if row["id"] != "c0" else row | {"texts": ["<think> why </think> x"] * 4} for row in rows(*BASE)]
    assert show("c0", probe=probed("a", changed), output=Output(True))["answers"][0]["reasoning"] == "why"


def test_an_unknown_id_names_the_nearest(probed, tmp_path):
    folder = probed("a", rows(*BASE))
    with pytest.raises(DataError, match=r"rows/probe.jsonl: holds no 'c'; did you mean 'c0'\? Also near: 'c1'"):
        show("c", probe=folder, output=Output(True))
    with pytest.raises(DataError, match="ids look like 'c0'"):
        show("zzzz", probe=folder, output=Output(True))
    write_samples(tmp_path / "other.jsonl", SAMPLES[1:])
    with pytest.raises(DataError, match="other.jsonl: holds no 'c0'; ids look like 'c1'"):
        show("c0", probe=folder, data=tmp_path / "other.jsonl", output=Output(True))


def test_the_nearest_of_many_ids():
    ids = [f"set:train:{n}" for n in range(30_000)]
    assert _probed.nearest("set:train:12x45", ids).startswith("did you mean 'set:train:1245'?")
    assert _probed.nearest("sett:train:777", ids).startswith("did you mean 'set:train:777'?")
    assert _probed.nearest("x", []) == "there is nothing in it"


def test_reading_stops_at_the_row(probed, tmp_path):
    folder = probed("a", rows(*BASE))
    path = folder / "rows/probe.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + "no json\n")
    assert show("c1", probe=folder, output=Output(True))["id"] == "c1"
    with pytest.raises(DataError, match="probe.jsonl:3: not JSON"):
        show("e0", probe=folder, output=Output(True))
    path.write_text("[1]\n")
    with pytest.raises(DataError, match="probe.jsonl:1: expected an object with an id"):
        show("e0", probe=folder, output=Output(True))
    path.write_text(lines[0] + lines[2][:50])  # of a probe that is still running
    assert show("c0", probe=folder, output=Output(True))["id"] == "c0"
    with pytest.raises(DataError, match="holds no 'e0'"):
        show("e0", probe=folder, output=Output(True))


def test_ids_are_found_however_the_line_is_written(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('\n{"n": 1, "id": "a"}\n{"id": "\\u00e4\\"b", "n": 2}\n{ "id" :"c", "other": {"id": "d"}, "n": 3}\n')
    found = {id: _probed.find_line([path], id, path) for id in ("a", 'ä"b', "c")}
    assert {id: (where, value["n"]) for id, (where, value) in found.items()} == {
        "a": (f"{path}:2", 1),
        'ä"b': (f"{path}:3", 2),
        "c": (f"{path}:4", 3),
    }
    with pytest.raises(DataError, match="holds no 'd'"):
        _probed.find_line([path], "d", path)
    with pytest.raises(DataError, match="absent.jsonl: can't be read"):
        _probed.find_line([tmp_path / "absent.jsonl"], "d", path)


def test_what_does_not_belong_together_is_named(probed, tmp_path):
    folder = probed("a", rows(*BASE))
    with pytest.raises(DataError, match="isn't there; give the folder that `trlt probe` wrote"):
        show("c0", probe=tmp_path / "nowhere", output=Output(True))
    write_samples(tmp_path / "other.jsonl", [event("c0", "a.mp4")])
    with pytest.raises(DataError, match="is 'multi_choice', the sample 'grounding'"):
        show("c0", probe=folder, data=tmp_path / "other.jsonl", output=Output(True))
    write_samples(tmp_path / "fewer.jsonl", [choice("c0", "a.mp4", options=("x", "y"), answer="y")])
    row = next(rows(*BASE))
    broken = probed("b", [row | {"texts": ["x"]}])
    with pytest.raises(DataError, match="must be lists of n = 4 entries"):
        show("c0", probe=broken, output=Output(True))
    answers = [answer | {"option": 2} for answer in row["answers"]]
    with pytest.raises(DataError, match="option 2 isn't one of the sample's"):
        show("c0", probe=probed("c", [row | {"answers": answers}]), data=tmp_path / "fewer.jsonl", output=Output(True))
    with pytest.raises(UsageError, match="names no samples; give those that were probed with --data"):
        show("c0", probe=probed("d", rows(*BASE), manifest=False), output=Output(True))
    (tmp_path / "pool.jsonl").write_text("changed\n")
    with pytest.raises(DataError, match="has changed since it was probed"):
        show("c0", probe=folder, output=Output(True))


def test_base_against_tuned(probed, tmp_path, capsys):
    a, b = probed("base", rows(*BASE)), probed("tuned", [row for row in rows(*TUNED) if row["id"] != "e1"])
    found = compare(a, b, png=tmp_path / "shift.png", output=Output())
    assert (found["samples"], found["errors"], found["only_a"], found["only_b"]) == (3, 1, 1, 0)
    task = found["tasks"]["multi_choice"]
    # Right 1 and 3 of 4, then 4 and 3: from 0.5 to 0.875.
    assert (task["n"], task["videos"]) == (2, 2)
    assert task["measures"]["right"]["difference"] == 0.375 and task["measures"]["right"]["ci95"] == (0.0, 0.75)
    assert task["transitions"]["medium"] == {"easy": 1, "medium": 1, "hard": 0}
    assert found["tasks"]["grounding"]["transitions"]["varied"] == {"varied": 0, "flat": 1}
    assert found["histograms"]["b"]["tasks"]["grounding"]["mean_iou"] == [0] * 9 + [1]
    assert any("as if chosen by A's answers: multi_choice (medium)" in line for line in found["warnings"])
    assert (tmp_path / "shift.png").read_bytes()[:4] == b"\x89PNG"
    out = capsys.readouterr().out
    assert f"A: {a}" in out and "only in A: 1 sample," in out and "1 sample of both with an error" in out
    json.dumps(found)


def test_what_differs_between_probes_is_said(probed, tmp_path):
    a, b = probed("a", rows(*BASE)), probed("b", rows(*TUNED), delta_iou=0.9)
    manifest = json.loads((b / "manifest.json").read_text())
    (b / "manifest.json").write_text(json.dumps(manifest | {"protocol": {"n": 8, "seed": 0}}))
    found = compare(a, b, output=Output(True))
    assert found["warnings"] == ["n: 4 in A, 8 in B", "select.delta_iou: 0.3 in A, 0.9 in B; both are classed by A's"]
    assert found["png"] is None


def test_without_samples_there_are_no_intervals(probed, tmp_path):
    a, b = (probed(name, rows(*BASE), manifest=False) for name in "ab")
    found = compare(a, b, output=Output(True))
    assert found["tasks"]["multi_choice"]["measures"]["reward"]["ci95"] is None
    assert "no intervals, since the samples' videos aren't known" in found["warnings"][0] and "--data" in found["warnings"][0]
    given = compare(a, b, data=tmp_path / "pool.jsonl", output=Output(True))
    assert given["tasks"]["multi_choice"]["measures"]["reward"]["ci95"] == (0.0, 0.0) and given["warnings"] == []
    assert given["tasks"]["grounding"]["videos"] == 2, "by video_key, or by the path where there is none"
    write_samples(tmp_path / "some.jsonl", SAMPLES[:1])
    with pytest.raises(DataError, match=r"lacks 3 of the samples that both probes hold \(the first: 'c1'\)"):
        compare(a, b, data=tmp_path / "some.jsonl", output=Output(True))


def test_what_cannot_be_compared_is_named(probed, tmp_path):
    a = probed("a", rows(*BASE))
    other = [row | {"id": f"other-{row['id']}"} for row in rows(*BASE)]
    with pytest.raises(DataError, match="no sample is in both; compare probes of the same samples"):
        compare(a, probed("b", other), output=Output(True))
    with pytest.raises(DataError, match=r"no sample is in both \(1 are in both, but hold an error\)"):
        compare(a, probed("c", [row for row in rows(*BASE) if row["error"]]), output=Output(True))
    with pytest.raises(UsageError, match="a name that ends in .png"):
        compare(a, a, png=tmp_path / "x.pdf", output=Output(True))
    with pytest.raises(DataError, match="isn't there"):
        compare(a, tmp_path / "nowhere", output=Output(True))


def test_parts_that_the_recipe_adds_are_shown_with_each_answer(probed, capsys):
    paid = [row | ({"parts": {"near": [0.25, None, 1.0, -2.0]}} if row["error"] is None else {}) for row in rows(*BASE)]
    folder = probed("a", paid)
    found = show("e0", probe=folder, output=Output())
    assert [one["parts"] for one in found["answers"]] == [{"near": value} for value in (0.25, None, 1.0, -2.0)]
    lines = capsys.readouterr().out.splitlines()
    [head] = [line for line in lines if "near" in line]
    assert head.split()[-4:] == ["near", "reward", "tokens", "text"]
    [second] = [line for line in lines if line.strip().startswith("2") and "<answer>" in line]
    assert second.partition("<answer>")[0].split()[-4:] == ["1", "-", "2.00", "5"]
    torn = probed("b", [row | {"parts": {"near": [1.0]}} for row in rows(*BASE)])
    with pytest.raises(DataError, match="parts must be lists of n = 4 entries"):
        show("e0", probe=torn, output=Output())
