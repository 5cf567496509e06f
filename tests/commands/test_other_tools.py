"""`trlt eval --predictions` with what lmms-eval and VLMEvalKit wrote: the questions are found, and the metrics are right."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import other_logs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import SHARED

from trlt.data.datasets import Item, load, names, read_source
from trlt.errors import DataError
from trlt.evaluate.lenient_items import lenient_items
from trlt.evaluate.other_tools import match, read_logs
from trlt.evaluate.other_tools.rows import logged_row, split
from trlt.evaluate.predictions import predictions_for
from trlt.files.sheet import read_sheet
from trlt.recipe import Recipe
from trlt.task.sample import Sample, Span

REAL = SHARED / "data" / "annotations"
REAL_BENCHES = {
    "charades": ("charades_sta", None),
    "mmvu": ("mmvu", None),
    "tempcompass": ("tempcompass", None),
    "nextgqa": ("nextgqa", "val"),
    "activitynet": ("activitynet", "val_1"),
}
HEADLINE = {"charades": "mIoU", "activitynet": "mIoU", "activitynet_rtl": "mIoU", "nextgqa": "mIoU"}


@pytest.fixture
def official(tmp_path):
    """The invented official files of a benchmark."""

    def go(bench):
        folder = tmp_path / bench
        folder.mkdir(exist_ok=True)
        for name, text in load(bench).EXAMPLE.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        return folder, read_source(bench, folder, None, purpose="bench").samples

    return go


def evaluate(trlt, bench, folder, path, *more):
    out = f"run-{random.random()}"
    found = trlt(
        "eval", "-b", bench, "--annotations", folder, "--predictions", path, "--out", out, "--no-page", "--json", *more
    )
    return found["benchmarks"][bench] | {"out": out}


@pytest.mark.parametrize("version", ["0.7", "0.3"])
@pytest.mark.parametrize("bench", names("bench"))
def test_lmms_evals_log_of_gold_answers_gives_100(trlt, tmp_path, official, bench, version):
    folder, samples = official(bench)
    log = other_logs.write_lmms(
        tmp_path / "results" / "org__model", samples, [other_logs.gold(one) for one in samples], version
    )
    entry = evaluate(trlt, bench, folder, log.parent)
    assert set(entry["lenient"].values()) == {100.0} and entry["lenient_unanswered"] == 0
    assert (entry["missing_predictions"], entry["extra_predictions"]) == (0, 0)
    assert sum(entry["matched_by"].values()) == len(samples) and set(entry["paper"].values()) == {0.0}


@pytest.mark.parametrize("suffix", [".xlsx", ".tsv", ".csv", ".json"])
@pytest.mark.parametrize("bench", names("bench"))
def test_vlmevalkits_table_of_gold_answers_gives_100(trlt, tmp_path, official, bench, suffix):
    folder, samples = official(bench)
    rows = other_logs.vlmeval_rows(samples, [other_logs.gold(one) for one in samples])
    entry = evaluate(trlt, bench, folder, other_logs.write_table(tmp_path / f"m_{bench}{suffix}", rows))
    assert set(entry["lenient"].values()) == {100.0} and entry["missing_predictions"] == 0


@pytest.mark.parametrize(
    "bench", [pytest.param(name, marks=[pytest.mark.slow] if name == "activitynet" else []) for name in REAL_BENCHES]
)
def test_logs_of_whole_real_benchmarks_are_matched_and_scored(trlt, tmp_path, bench):
    place, split_name = REAL_BENCHES[bench]
    if not (REAL / place).is_dir():
        pytest.skip("no real annotation beside the repository")
    samples = read_source(bench, REAL / place, split_name, purpose="bench").samples
    answers = [other_logs.gold(one) for one in samples]
    metric = HEADLINE.get(bench, "acc")
    more = ("--set", "eval.bootstrap=100", *(() if split_name is None else ("--split", split_name)))
    entry = evaluate(trlt, bench, REAL / place, other_logs.write_lmms(tmp_path / "log", samples, answers), *more)
    assert entry["lenient"][metric] == 100 and entry["n"] == len(samples) == sum(entry["matched_by"].values())
    assert (entry["missing_predictions"], entry["extra_predictions"]) == (0, 0)
    mixed = random.Random(0).sample(answers, len(answers))
    table = other_logs.write_table(tmp_path / "m.tsv", other_logs.vlmeval_rows(samples, mixed))
    found = predictions_for(table, samples).texts
    assert len(found) == len(samples)
    form = Recipe().form("eval")
    items = lenient_items([Item(one, found[one.id][0], form.read(one, found[one.id][0])) for one in samples])
    assert sum(load(bench).values(item)[metric] for item in items) < 0.6 * len(samples)


@pytest.mark.parametrize("bench", ["charades", "tempcompass", "nextgqa"])
def test_prompts_alone_find_real_questions_or_none(bench):
    """Without video, record and right answer, and in another order, what isn't told by its text is left out, not guessed."""
    place, split_name = REAL_BENCHES[bench]
    if not (REAL / place).is_dir():
        pytest.skip("no real annotation beside the repository")
    samples = read_source(bench, REAL / place, split_name, purpose="bench").samples
    rows = [
        logged_row(Path("f"), f"f:{i}", {"doc_id": i, "input": other_logs.prompt(one), "filtered_resps": f"said of {one.id}"})
        for i, one in enumerate(samples)
    ]
    found = match(rows, samples)
    assert found.texts == {one.id: f"said of {one.id}" for one in samples} and not found.left_out
    mixed = [replace(row, place=i) for i, row in enumerate(random.Random(0).sample(rows, len(rows)))]
    again = match(mixed, samples)
    apart = [id for id, how in again.how.items() if "alike" not in how]  # TempCompass holds one question twice
    assert all(again.texts[id] == f"said of {id}" for id in apart) and len(again.texts) - len(apart) <= 2
    assert "place in the file" not in again.how.values() and len(again.texts) + len(again.left_out) == len(samples)
    assert len(again.texts) > 0.6 * len(samples)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["A. x\nB. y", "['a', 'b']", "[{[]: 1}]", "[" * 99, "q"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["video", "question", "a>>>b>>>c", "A"]), inner)
    ),
    max_leaves=8,
)
KEYS = [
    "doc",
    "doc_id",
    "index",
    "input",
    "arguments",
    "target",
    "answer",
    "resps",
    "filtered_resps",
    "prediction",
    "video",
    "question",
]


@given(
    st.dictionaries(
        st.sampled_from([*KEYS, "options", "candidates", "choices", "A", "B", "a0", "a1", "qid", "task", "acc"]), JSON
    )
)
def test_no_record_makes_it_raise(record):
    row = logged_row(Path("f"), "f:1", record)
    sample = Sample(id="q", source="x", split="test", task="grounding", video="v.mp4", question="q", spans=(Span(1, 2),))
    found = match([row], [sample])
    assert len(found.texts) + len(found.left_out) == 1


def test_our_own_layout_of_lmms_eval_gives_the_same_metrics_again(trlt, tmp_path, official, write_jsonl):
    folder, samples = official("nextgqa")
    texts = ["<observe> 2.5 to 6.0 </observe> <answer> B </answer>"]
    path = write_jsonl(tmp_path / "p.jsonl", [{"id": one.id, "text": text} for one, text in zip(samples, texts, strict=True)])
    first = evaluate(trlt, "nextgqa", folder, path, "--lmms-eval")
    again = evaluate(trlt, "nextgqa", folder, tmp_path / first["out"] / "lmms_eval")
    assert again["matched_by"] == {"id": 1}
    for key in ("paper", "official", "lenient", "ci95", "by", "n", "unanswered", "lenient_unanswered", "secondary"):
        assert again[key] == first[key], key
    assert first["paper"] == {"mIoU": 100, "acc": 100}


@pytest.fixture
def made():
    """Questions of MVBench's kind: one text, three orders of options, two answers, and a video each."""

    def one(place, options, answer, video=None):
        return Sample(
            id=f"action_count:{place}",
            source="mvbench",
            split="test",
            task="multi_choice",
            video=f"perception/videos/{video or f'video_{place}'}.mp4",
            question="How many times did the person do it?",
            options=options,
            answer=options[answer],
            answer_index=answer,
            meta={"task": "action_count"},
        )

    orders = [("3", "2", "4"), ("2", "3", "4"), ("4", "2", "3")]
    return [one(place, orders[place % 3], place % 2) for place in range(12)]


def rows_of(samples, texts, tmp_path, version="0.7"):
    return read_logs(sorted(other_logs.write_lmms(tmp_path / "log", samples, texts, version).glob("*.jsonl")))


def test_questions_of_one_text_are_told_apart_by_place_only_if_the_whole_file_fits(tmp_path, made):
    texts = [f"({'ABC'[place % 3]})" for place in range(12)]
    rows = rows_of(made, texts, tmp_path)
    found = match(rows, made)
    assert [found.texts[one.id] for one in made] == texts and found.counts(found.texts) == {"place in the file": 12}
    turned = [replace(row, place=(row.place + 1) % 12) for row in rows]
    lost = match(turned, made)
    assert lost.texts == {} and len(lost.left_out) == 12 and "fits 2 questions" in lost.left_out[0]
    assert match([replace(row, place=None) for row in rows], made).texts == {}
    assert match(rows[:4], made).texts == {}, "four rows may agree by chance"


def test_a_video_tells_questions_of_one_text_apart(tmp_path, made):
    rows = rows_of(made, ["A"] * 12, tmp_path, "0.3")
    assert match(rows, made).counts(one.id for one in made) == {"video, question and options": 12}
    swapped = [replace(row, options=row.options[::-1]) for row in rows]
    assert all("other options, or in another order" in line for line in match(swapped, made).left_out)
    elsewhere = [replace(row, videos=("video_99",)) for row in rows]
    assert all("another video than 'video_99'" in line for line in match(elsewhere, made).left_out)


def test_the_example_in_a_prompt_is_no_question():
    asked = [
        Sample(
            id=f"{video}:{place}",
            source="charades",
            split="test",
            task="grounding",
            video=f"{video}.mp4",
            question=query,
            spans=(span,),
        )
        for place, (video, query, span) in enumerate(
            [
                ("AAAAA", "person turn a light on.", Span(24.3, 30.4)),
                ("BBBBB", "a person sits.", Span(1, 2)),
                ("BBBBB", "a person sits down on a chair.", Span(3, 4)),
            ]
        )
    ]
    rows = [
        logged_row(
            Path("x"),
            f"x:{place}",
            {"doc_id": place, "input": other_logs.prompt(one), "target": "?", "filtered_resps": str(place)},
        )
        for place, one in enumerate(asked)
    ]
    assert match(rows, asked).texts == {"AAAAA:0": "0", "BBBBB:1": "1", "BBBBB:2": "2"}


def test_the_same_query_of_one_video_is_told_apart_by_its_span_or_alike():
    def query(place, span):
        return Sample(
            id=f"AAAAA:{place}",
            source="charades",
            split="test",
            task="grounding",
            video="AAAAA.mp4",
            question="he sits",
            spans=(span,),
        )

    def row(place, target):
        return logged_row(
            Path("x"),
            f"x:{place}",
            {"input": "When: he sits?", "target": target, "resps": [[f"text {place}"]], "filtered_resps": ["?"]},
        )

    apart = [query(0, Span(1, 2)), query(1, Span(5, 8.5))]
    found = match([row(0, "[5.0, 8.5]"), row(1, "[1.0, 2.0]")], apart)
    assert found.texts == {"AAAAA:0": "text 1", "AAAAA:1": "text 0"}
    unclear = match([row(0, ""), row(1, "")], apart)
    assert unclear.texts == {} and "fits 2 questions: 'AAAAA:0', 'AAAAA:1'" in unclear.left_out[0]
    alike = match([row(0, ""), row(1, ""), row(2, "")], [query(0, Span(1, 2)), query(1, Span(1, 2))])
    assert alike.texts == {"AAAAA:0": "text 0", "AAAAA:1": "text 1"} and "one output more" in alike.left_out[0]


def test_two_outputs_for_a_question_are_refused_unless_they_are_the_same(tmp_path, made):
    rows = rows_of(made, ["A"] * 12, tmp_path, "0.3")
    assert len(match([*rows, *rows], made).texts) == 12
    with pytest.raises(DataError, match=r"samples_action_count.jsonl:1 and .*two outputs for the question 'action_count:0'"):
        match([*rows, replace(rows[0], text="B")], made)


def test_outputs_without_a_question_are_counted_and_listed(trlt, tmp_path, official, write_jsonl):
    folder, samples = official("charades")
    rows = list(other_logs.lmms_rows(samples, [other_logs.gold(one) for one in samples]))
    other = {
        "doc_id": 9,
        "input": "When does a zebra sing?",
        "target": "[1, 2]",
        "filtered_resps": "1 to 2",
        "resps": ["1 to 2", "3 to 4"],
    }
    path = write_jsonl(tmp_path / "x_samples_charades.jsonl", [rows[0], other, {**other, "filtered_resps": ["1", "2"]}])
    shown = trlt("eval", "-b", "charades", "--annotations", folder, "--predictions", path, "--out", "run", "--no-page")
    flat = " ".join(shown.split())
    assert "charades: outputs of 1 of 2 questions (1 by video and question)" in flat
    assert (
        "2 outputs belong to no question, and are left out" in flat and "asks none of the questions: 'When does a zebra" in flat
    )
    listed = Path("run/unmatched_predictions.txt").read_text().splitlines()
    assert len(listed) == 2 and f"{path}:3: it holds 2 outputs" in listed[1]
    entry = json.loads(Path("run/results.json").read_text())["benchmarks"]["charades"]
    assert (entry["missing_predictions"], entry["extra_predictions"]) == (1, 2)
    none = write_jsonl(tmp_path / "none.jsonl", [other])
    said = trlt("eval", "-b", "charades", "--annotations", folder, "--predictions", none, "--out", "none", code=3)
    assert "none of its 1 outputs belongs to a question of these benchmarks" in said and "zebra" in said


def test_pickles_are_never_opened(trlt, tmp_path, official):
    folder, _ = official("charades")
    path = tmp_path / "model_Charades.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    said = trlt("eval", "-b", "charades", "--annotations", folder, "--predictions", path, code=3)
    assert "a pickle can run code" in said and "PRED_FORMAT=tsv" in said and not Path("opened").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.xlsx", b"PK\x03\x04 no archive", "no readable Excel file"),
        ("m.xls", b"\xd0\xcf\x11\xe0", "save it as .xlsx"),
        ("m.json", b'[{"index": 0, "question": "he sits"}]', "it has no output: no `resps`, `filtered_resps` or `prediction`"),
        ("m.json", b"[]", "holds no outputs"),
        ("m.tsv", b"index\tprediction\n0\tA\tB\n", "3 fields where the header has 2"),
        ("m.jsonl", b'{"resps": [["A"]], "doc_id": 0}\n{"resps"\n', "m.jsonl:2: not JSON"),
        ("m.jsonl", b'{"question": "he sits"}\n', 'expected {"id": "'),
    ],
)
def test_files_that_hold_no_outputs_are_told_of(trlt, tmp_path, official, name, content, said):
    folder, _ = official("charades")
    (tmp_path / name).write_bytes(content)
    assert said in trlt("eval", "-b", "charades", "--annotations", folder, "--predictions", tmp_path / name, code=3)


def test_a_folder_without_logs_is_told_of(trlt, tmp_path, official):
    folder, samples = official("charades")
    (tmp_path / "empty").mkdir()
    said = trlt("eval", "-b", "charades", "--annotations", folder, "--predictions", tmp_path / "empty", code=3)
    assert "holds neither lmms-eval's logs" in said
    rows = other_logs.vlmeval_rows(samples, [other_logs.gold(one) for one in samples])
    other_logs.write_table(tmp_path / "empty/m_Charades.xlsx", rows)
    assert evaluate(trlt, "charades", folder, tmp_path / "empty")["lenient"]["mIoU"] == 100


def test_one_folder_serves_several_benchmarks(trlt, tmp_path, official):
    """The rows of each task are looked for among the questions of all."""
    (one, charades), (two, mmvu) = official("charades"), official("mmvu")
    log = other_logs.write_lmms(
        tmp_path / "log", [*charades, *mmvu], [other_logs.gold(sample) for sample in (*charades, *mmvu)]
    )
    Path("r.yaml").write_text(
        json.dumps({"eval": {"benchmarks": {"charades": {"annotations": str(one)}, "mmvu": {"annotations": str(two)}}}})
    )
    found = trlt("eval", "-b", "all", "-r", "r.yaml", "--predictions", log, "--out", "run", "--no-page", "--json")["benchmarks"]
    assert found["charades"]["lenient"]["mIoU"] == found["mmvu"]["lenient"]["acc"] == 100


def test_an_excel_file_is_read_cell_by_cell(tmp_path):
    rows = [["index", "prediction", "note"], [0, "A & <B>\n_x0041_", ""], [1, "", "last"], [2, "C", "x"]]
    for inline in (False, True):
        path = other_logs.write_sheet(tmp_path / "m.xlsx", rows, inline=inline)
        found = dict(read_sheet(path))
        assert found == {
            2: {"index": "0", "prediction": "A & <B>\nA"},
            3: {"index": "1", "note": "last"},
            4: {"index": "2", "prediction": "C", "note": "x"},
        }
    wide = other_logs.write_sheet(tmp_path / "wide.xlsx", [[f"c{i}" for i in range(30)], list(range(30))])
    assert dict(read_sheet(wide))[2]["c29"] == "29"


def test_an_excel_file_that_unfolds_is_refused(tmp_path):
    import zipfile

    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("xl/worksheets/sheet1.xml", '<!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet><sheetData/></worksheet>')
    with pytest.raises(DataError, match="has a document type"):
        list(read_sheet(path))
    for content in ('<worksheet><sheetData><row><c t="s"><v>7</v></c></row></sheetData></worksheet>', "<worksheet>"):
        with zipfile.ZipFile(path, "w") as out:
            out.writestr("xl/worksheets/sheet1.xml", content)
        with pytest.raises(DataError, match="bomb.xlsx: "):
            list(read_sheet(path))


@pytest.mark.parametrize(
    ("text", "question", "options"),
    [
        ("When?\nA. x\nB. y", "When?", ("x", "y")),
        ("When?\n(A) x\n(B) y\nOnly give the best option.", "When?", ("x", "y")),
        ("Which?\nOption 1: x\nOption 2: y", "Which?", ("x", "y")),
        ("Which?\nSentence A: x\nSentence B: y", "Which?", ("x", "y")),
        ("Q\nA: x\nB: y\nC: \nD: \n", "Q", ("x", "y")),
        ("A: why?\nA. x\nB. y", "A: why?", ("x", "y")),
        ("When?\nB. y", "When?\nB. y", ()),
        ("When?", "When?", ()),
    ],
)
def test_options_are_split_from_a_question(text, question, options):
    assert split(text) == (question, options)


def test_own_questions_are_read_leniently_and_matched_too(trlt, tmp_path, write_jsonl):
    asked = [
        {"id": "one", "video": "a.mp4", "question": "What does he do?", "options": ["sit", "wave"], "answer": "wave"},
        {"id": "two", "video": "b.mp4", "question": "What does he do?", "options": ["sit", "wave"], "answer": "sit"},
        {"id": "when", "video": "a.mp4", "question": "When does he wave?", "spans": [[3, 9]]},
    ]
    mine = write_jsonl(tmp_path / "mine.jsonl", asked)
    rows = [
        {"index": 0, "video": "b.mp4", "question": "What does he do?", "A": "sit", "B": "wave", "prediction": "**A**"},
        {
            "index": 1,
            "video": "a.mp4",
            "question": "what does he do",
            "A": "sit",
            "B": "wave",
            "prediction": "So the answer is B",
        },
        {"index": 2, "video": "a.mp4", "question": "When does he wave?", "prediction": '{"start": 3, "end": 9}'},
    ]
    table = other_logs.write_table(tmp_path / "m_mine.xlsx", rows)
    found = trlt("eval", "--data", mine, "--predictions", table, "--out", "run", "--no-page", "--json")["benchmarks"]["mine"]
    assert found["matched_by"] == {"video, question and options": 2, "video and question": 1}
    assert found["lenient"]["acc"] == found["lenient"]["mIoU"] == 100 and found["paper"]["acc"] == 0


CHOICES = {"A": "ripping", "B": "digging", "C": "blasting", "D": "", "E": ""}


def mmvu_record(place, choices=None, answer="blasting", question="Which excavation method is shown?"):
    """A record as MMVU's `validation.json` has it; without choices it is open-ended."""
    return {
        "id": f"validation_{place}",
        "video": "https://example.org/main/videos/Civil_Engineering/1.mp4",
        "youtube_url": "https://www.youtube.com/watch?v=aB3_dE-7hIj",
        "question_type": "multiple-choice" if choices else "open-ended",
        "metadata": {"subject": "Civil Engineering"},
        "question": question,
        "choices": choices or dict.fromkeys("ABCDE", ""),
        "answer": answer,
    }


def mmvu_folder(tmp_path):
    records = [mmvu_record(32), mmvu_record(125, CHOICES, "C"), mmvu_record(7, CHOICES, "A", "Which one isn't?")]
    folder = tmp_path / "mmvu"
    folder.mkdir()
    (folder / "validation.json").write_text(json.dumps(records))
    return folder, records


def test_an_open_ended_record_is_never_a_question_with_options(trlt, tmp_path, write_jsonl):
    """It asks what a question with options asks, of the same video, and the benchmark leaves it out."""
    folder, records = mmvu_folder(tmp_path)
    said = ["blasting", "C", "A"]
    rows = [
        {"doc_id": place, "doc": doc, "target": doc["answer"], "resps": [[text]]}
        for place, (doc, text) in enumerate(zip(records, said, strict=True))
    ]
    path = write_jsonl(tmp_path / "full_samples_mmvu_val.jsonl", rows)
    shown = trlt("eval", "-b", "mmvu", "--annotations", folder, "--predictions", path, "--out", "run", "--no-page")
    flat = " ".join(shown.split())
    assert "mmvu: outputs of 2 of 2 questions (2 by id)" in flat and "1 outputs belong to no question" in flat
    assert "1 have an id like a question's that is none's, the first 'validation_32': of records that the benchmark" in flat
    entry = json.loads(Path("run/results.json").read_text())["benchmarks"]["mmvu"]
    assert entry["lenient"]["acc"] == 100 and entry["missing_predictions"] == 0
    alone = write_jsonl(tmp_path / "one_samples_mmvu.jsonl", rows[:1])
    refused = trlt("eval", "-b", "mmvu", "--annotations", folder, "--predictions", alone, "--out", "one", code=3)
    assert "its id 'validation_32' is none of the questions'" in refused
    bare = write_jsonl(tmp_path / "bare_samples_mmvu.jsonl", [{"doc_id": 0, "doc": {"id": "x-32"}, "resps": [["a"]]}])
    refused = trlt("eval", "-b", "mmvu", "--annotations", folder, "--predictions", bare, "--out", "bare", code=3)
    assert "its id 'x-32' is none of the questions', and it quotes no question" in refused


@pytest.mark.parametrize("more", [(), ("video",), ("choices",), ("video", "choices"), ("letters",)])
def test_a_table_whose_index_is_no_id_tells_open_ended_records_by_their_choices_or_takes_neither(trlt, tmp_path, more):
    folder, records = mmvu_folder(tmp_path)
    rows = []
    for place, (record, text) in enumerate(zip(records, ["blasting", "C", "A"], strict=True)):
        given = {key: record[key] for key in more if key != "letters"} | (record["choices"] if "letters" in more else {})
        rows.append({"index": place, "question": record["question"], **given, "prediction": text})
    path = tmp_path / "m_MMVU.json"
    path.write_text(json.dumps(rows))
    entry = evaluate(trlt, "mmvu", folder, path)
    listed = (Path(entry["out"]) / "unmatched_predictions.txt").read_text()
    if "choices" in more or "letters" in more:
        assert entry["lenient"]["acc"] == 100
        assert "its question is one with options, and its record has none" in listed
    else:
        assert entry["missing_predictions"] == 1 and entry["lenient"]["acc"] == 50, "which of two is validation_125 isn't said"
        assert listed.count("another row of the file asks the same question") == 2


def test_yes_and_no_need_no_options_in_a_record():
    sample = Sample(
        id="yes_no:1:speed:0",
        source="tempcompass",
        split="test",
        task="multi_choice",
        video="1.mp4",
        question="Does it slow down?",
        options=("yes", "no"),
        answer="no",
        answer_index=1,
    )
    row = logged_row(Path("f"), "f:1", {"index": 0, "question": "Does it slow down?", "A": None, "B": None, "prediction": "no"})
    assert match([row], [sample]).texts == {"yes_no:1:speed:0": "no"}
