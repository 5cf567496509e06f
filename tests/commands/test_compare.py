"""Two runs of `trlt eval`, paired."""

from __future__ import annotations

import json

import pytest

from trlt.commands._output import Output
from trlt.commands.compare import compare as compare_runs
from trlt.errors import DataError, UsageError
from trlt.evaluate.question_scores import read_items, write_items


def said(start, end):
    return f"<think> hm </think> <answer> {start} to {end} </answer>"


GOLD = {"AAAAA:0": said(0, 1), "AAAAA:1": said(1, 2), "BBBBB:2": said(0.5, 1.5), "BBBBB:3": said(1, 3)}


@pytest.fixture
def evaluated(trlt, bench, write_jsonl, tmp_path):
    """`evaluated("a", texts)` scores predictions into a folder, and gives that."""

    def go(name, texts, *more, name_of="charades", annotations=bench):
        path = write_jsonl(tmp_path / f"{name}.texts", [{"id": id, "text": text} for id, text in texts.items()])
        trlt("eval", "-b", name_of, "--annotations", annotations, "--predictions", path, "--out", name, *more)
        return tmp_path / name

    return go


def compare(*args, **more):
    return compare_runs(*args, **more, output=Output(json_mode=True))


def test_two_runs_are_compared_question_by_question(evaluated, tmp_path, capsys):
    a, b = evaluated("a", {"AAAAA:0": said(0, 1)}), evaluated("b", GOLD)
    result = compare(a, b, out=tmp_path / "c.json")
    assert result == json.loads((tmp_path / "c.json").read_text()) and result["a"]["run"] == str(a)
    entry = result["benchmarks"]["charades"]
    assert (entry["n"], entry["videos"], entry["only_a"], entry["only_b"], entry["warnings"]) == (4, 2, 0, 0, [])
    metric = entry["metrics"]["mIoU"]
    assert (metric["n"], metric["a"], metric["b"], metric["difference"]) == (4, 25, 100, 75)
    assert metric["ci95"] == [50, 100], "A is 1, 0 on one video and 0, 0 on the other"
    assert metric["better"] == "B" and metric["statement"] == "B better"
    assert compare(b, a)["benchmarks"]["charades"]["metrics"]["mIoU"]["statement"] == "A better"
    same = compare(a, a)["benchmarks"]["charades"]["metrics"]["R1@0.5"]
    assert same["ci95"] == [0, 0] and same["statement"] == "no significant difference"
    compare_runs(a, b, output=Output())
    shown = capsys.readouterr().out
    assert "B better" in shown and "+75.0" in shown and "+50.0 to +100.0" in shown


def test_a_run_whose_outputs_lack_the_tags_is_told_of_before_its_fall(evaluated, capsys):
    bare = {id: text.partition("<answer>")[2].partition("</answer>")[0] for id, text in GOLD.items()}
    a, b = evaluated("a", GOLD), evaluated("b", bare)
    entry = compare(a, b)["benchmarks"]["charades"]["unanswered"]
    assert {side: (found["count"], found["n"]) for side, found in entry.items()} == {"a": (0, 4), "b": (4, 4)}
    compare_runs(a, b, output=Output())
    assert (
        "On charades, all 4 outputs of B couldn't be read (they hold no answer in the tags that were asked for) and count as "
        "wrong; by the official rule: mIoU 100.0 to 100.0; read leniently: mIoU 100.0 to 100.0."
    ) in capsys.readouterr().out


def test_a_row_claims_no_more_than_the_verdict(evaluated, capsys, monkeypatch):
    bare = {id: text.partition("<answer>")[2].partition("</answer>")[0] for id, text in GOLD.items()}
    a, b = evaluated("a", bare), evaluated("b", GOLD)
    monkeypatch.setattr("trlt.evaluate.conclusive.FEW_VIDEOS", 1)
    metric = compare(a, b)["benchmarks"]["charades"]["metrics"]["mIoU"]
    assert (metric["better"], metric["statement"]) == ("B", "B better in form only")
    compare_runs(a, b, output=Output())
    rows = [line for line in capsys.readouterr().out.splitlines() if "+100.0" in line and "│" in line]
    assert rows and all("B better in form only" in line for line in rows)


def test_a_folder_may_be_named_like_a_file_of_rows(trlt, evaluated, tmp_path):
    a, b = evaluated("a", GOLD), evaluated("b.jsonl", GOLD)
    found = compare(a, b)
    assert found["benchmarks"]["charades"]["n"] == 4 and found["b"]["model"]["predictions"]
    assert (b / "rows/charades.jsonl").is_file() and (b / "manifest.json").is_file()
    (tmp_path / "c.jsonl").write_text("")
    given = ["--annotations", tmp_path / "bench", "--predictions", tmp_path / "a.texts", "--out", "c.jsonl"]
    assert "c.jsonl: is a file, and `trlt eval` writes a folder" in trlt("eval", "-b", "charades", *given, code=2)


def test_two_runs_are_compared_by_the_lenient_protocol(evaluated, capsys):
    bare = {id: text.partition("<answer>")[2].partition("</answer>")[0] for id, text in GOLD.items()}
    none = dict.fromkeys(GOLD, "I can't tell.")
    a, b, c = evaluated("a", GOLD), evaluated("b", bare), evaluated("c", none)
    found = compare(a, b, lenient=True)
    metric = found["benchmarks"]["charades"]["metrics"]["mIoU"]
    assert found["protocol"] == "lenient" and compare(a, b)["protocol"] == "paper"
    assert (metric["a"], metric["b"], metric["statement"]) == (100, 100, "no significant difference")
    assert compare(a, b)["benchmarks"]["charades"]["metrics"]["mIoU"]["b"] == 0
    compare_runs(b, c, lenient=True, output=Output())
    shown = " ".join(capsys.readouterr().out.split())
    assert "read leniently" in shown and "all 4 outputs of B couldn't be read (they state no answer, or several)" in shown


def test_a_run_of_an_older_trlt_has_no_lenient_values(evaluated):
    a = evaluated("a", GOLD)
    columns = read_items(a / "items/charades.parquet")
    write_items(a / "items/charades.parquet", {key: of for key, of in columns.items() if not key.startswith("lenient")})
    assert compare(a, a)["benchmarks"]["charades"]["metrics"]["mIoU"]["b"] == 100
    with pytest.raises(UsageError, match="--lenient: .*charades: was evaluated by a trlt without this protocol"):
        compare(a, a, lenient=True)


def test_questions_of_one_run_are_left_out_and_counted(evaluated):
    a, b = evaluated("a", GOLD), evaluated("b", GOLD)
    columns = read_items(b / "items/charades.parquet")
    write_items(b / "items/charades.parquet", {key: values[1:] for key, values in columns.items()})
    with pytest.raises(DataError, match=r"charades.parquet: holds 3 questions, .*results.json says 4"):
        compare(a, b)
    results = json.loads((b / "results.json").read_text())
    results["benchmarks"]["charades"]["n"] = 3
    (b / "results.json").write_text(json.dumps(results))
    entry = compare(a, b)["benchmarks"]["charades"]
    assert (entry["n"], entry["only_a"], entry["only_b"]) == (3, 1, 0)


def test_tasks_of_mvbench_count_alike_among_the_shared_questions(evaluated, tmp_path):
    folder = tmp_path / "mvbench"
    folder.mkdir()
    question = {"question": "?", "candidates": ["x", "y"], "answer": "y"}
    for task, count in (("action_count", 3), ("object_shuffle", 1)):
        records = [question | {"video": f"{task}{i}.mp4"} for i in range(count)]
        (folder / f"{task}.json").write_text(json.dumps(records))
    right, wrong = "<answer> B </answer>", "<answer> A </answer>"
    base = {f"action_count:{i}": wrong for i in range(3)} | {"object_shuffle:0": right}
    given = dict(name_of="mvbench", annotations=folder)
    a, b = evaluated("a", base, **given), evaluated("b", base | {"action_count:0": right}, **given)
    entry = compare(a, b)["benchmarks"]["mvbench"]
    metric = entry["metrics"]["acc"]
    # Of action_count 0 and 1/3, of object_shuffle 1: the means of the tasks.
    assert (metric["a"], metric["b"], metric["difference"]) == pytest.approx((50, 200 / 3, 50 / 3))


def test_protocols_that_differ_are_warned_of(evaluated, capsys):
    a, b = evaluated("a", GOLD), evaluated("b", GOLD, "--no-think", "--set", "eval.bootstrap=100")
    assert compare(a, b)["benchmarks"]["charades"]["warnings"] == ["decoding.think: true in A, false in B"]
    compare_runs(a, b, output=Output())
    assert "warning: charades: decoding.think: true in A, false in B" in capsys.readouterr().out


def test_other_annotation_is_refused(evaluated, bench):
    a = evaluated("a", GOLD)
    path = bench / "charades_sta_test.txt"
    path.write_text(path.read_text().replace("a cat sits", "a cat stands"))
    b = evaluated("b", GOLD)
    with pytest.raises(DataError, match=r"charades: .* different annotation files \(charades_sta_test.txt\).*--bench"):
        compare(a, b)


def test_what_cannot_be_compared_is_named(evaluated, tmp_path):
    a, b = evaluated("a", GOLD), evaluated("b", GOLD)
    with pytest.raises(UsageError, match="--bench mmvu: isn't in A, .*it holds: charades"):
        compare(a, b, benches=["mmvu"])
    with pytest.raises(DataError, match="nowhere/results.json: can't be read.*give folders of `trlt eval`"):
        compare(a, tmp_path / "nowhere")
    (b / "items/charades.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"charades.parquet: can't be read .*same `trlt eval` again"):
        compare(a, b)
    (b / "items/charades.parquet").unlink()
    with pytest.raises(DataError, match=r"charades.parquet: isn't there; run the same `trlt eval` again"):
        compare(a, b)
    results = json.loads((b / "results.json").read_text())
    for damaged, message in (
        ("{", "damaged"),
        ('{"benchmarks": [1]}', r"b/results.json: benchmarks: input should be a valid dictionary, got \[1\]; run the same"),
        ('{"benchmarks": {"charades": {"n": 4}}}', "charades: has no protocol"),
        (json.dumps({"benchmarks": {"other": results["benchmarks"]["charades"]}}), "no benchmark is in both"),
    ):
        (b / "results.json").write_text(damaged)
        with pytest.raises(DataError, match=message):
            compare(a, b)


def test_a_file_without_its_columns_is_named(evaluated):
    a, b = evaluated("a", GOLD), evaluated("b", GOLD)
    columns = read_items(b / "items/charades.parquet")
    write_items(b / "items/charades.parquet", {key: values for key, values in columns.items() if key != "group"})
    with pytest.raises(DataError, match="lacks the columns group"):
        compare(a, b)


def test_a_benchmark_of_one_run_is_named(evaluated, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    (other / "val_2.json").write_text('{"v_aaaaaaaaaaa": {"duration": 9, "timestamps": [[0, 2]], "sentences": ["a"]}}')
    texts = GOLD | {"v_aaaaaaaaaaa:0": said(0, 1)}
    a, b = evaluated("a", GOLD), evaluated("b", texts)
    evaluated("b", texts, name_of="activitynet", annotations=other)
    result = compare_runs(a, b, output=Output())
    assert result["only_b"] == ["activitynet"] and result["only_a"] == [] and list(result["benchmarks"]) == ["charades"]
    assert "only in B: activitynet" in capsys.readouterr().out
    alone = compare(b, b, benches=["activitynet"])["benchmarks"]["activitynet"]["metrics"]["mIoU"]
    assert alone["ci95"] is None and alone["statement"] == "no significant difference"


def test_items_with_other_values_are_refused(evaluated):
    import pyarrow as pa
    import pyarrow.parquet as pq

    a, b = evaluated("a", GOLD), evaluated("b", GOLD)
    path = b / "items/charades.parquet"
    table = pq.read_table(path)
    for column, values in (("id", pa.array([1] * len(table))), ("video", pa.array([None] * len(table), pa.string()))):
        pq.write_table(table.set_column(table.schema.get_field_index(column), column, values), path)
        with pytest.raises(DataError, match=f"holds other values than trlt writes in the columns {column}; run the same"):
            compare(a, b)
    pq.write_table(table, path)
    data = path.read_bytes().replace(b"paper.mIoU", b"paper.\xe7IoU")
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"charades.parquet: can't be read .*utf-8"):
        compare(a, b)


def test_missing_outputs_are_counted_apart_and_equal_runs_have_no_interval(evaluated, capsys):
    a, b = evaluated("a", {"AAAAA:0": "0 to 1", "AAAAA:1": said(1, 2)}), evaluated("b", GOLD)
    capsys.readouterr()
    compare_runs(a, b, output=Output())
    shown = " ".join(capsys.readouterr().out.split())
    assert "On charades, A has no output for 2 of 4 questions, which count as wrong. On charades, 1 of 2 outputs of A" in shown
    compare_runs(b, b, output=Output())
    shown = capsys.readouterr().out
    assert "+0.0 to +0.0" not in shown and "no significant difference" in shown
