"""The page of `trlt report`, without a browser: what stands in it, and that no text of the data can become markup."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_clips import write_clip
from made_runs import HOSTILE, QUIET, evals, everything, probe, samples
from PIL import Image
from rich.console import Console

from trlt.commands._report_runs import find_runs
from trlt.commands.compare import compare
from trlt.commands.probe_compare import compare as compare_probes
from trlt.commands.report import report
from trlt.errors import DataError, UsageError
from trlt.report import comparison_table, gain_table
from trlt.report.page.charts import Bars, StepCurve, histogram, interval_chart, line_chart, running_mean, thinned, ticks
from trlt.report.page.charts import IntervalMark as Marked
from trlt.report.page.markup import Markup, data_block, element, escape, table
from trlt.report.page.questions import MOST, RowIndex, RunRows, chosen
from trlt.report.page.results import EvalRun, results_section
from trlt.report.page.training import Training, training_section
from trlt.task.sample import Span, write_samples


class Read(HTMLParser):
    """Tags, and the texts of blocks of JSON by id."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.blocks, self.texts, self._id = [], {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._id = dict(attrs).get("id") if tag == "script" else None

    def handle_data(self, data):
        if self._id:
            self.blocks[self._id] = json.loads(data)
        else:
            self.texts.append(data)

    def handle_endtag(self, tag):
        self._id = None


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return everything(tmp_path_factory.mktemp("everything"))


@pytest.fixture(scope="module")
def written(runs):
    result = report([runs], output=QUIET)
    return result, Read((runs / "report.html").read_text())


def test_every_kind_of_run_has_its_section(written, runs):
    result, page = written
    assert result["page"] == str(runs / "report.html") and result["notes"] == []
    assert list(result["runs"].items()) == [
        *[("probe-a", "probe"), ("probe-b", "probe"), ("train.jsonl", "select"), ("train", "train")],
        *[("eval-base", "eval"), ("eval-tuned", "eval")],
    ]
    ids = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert ids == ["results", "training", "difficulty", "selection", "samples", "protocol"]
    text = "".join(page.texts)
    for said in (
        "eval-tuned - eval-base",
        "+75.0",
        "57.0",
        "grpo, 6 steps; reward 1.100 over",
        "probe-a → probe-b: 11 samples",
    ):
        assert said in text, said
    assert "of 12 probed samples" in text and "1 sample holds an error in one of the probes: left out" in text
    assert "eval.benchmarks" not in text and "benchmarks:" in text, "the recipe as YAML"


def test_the_policy_names_the_hashes_of_style_and_script_and_nothing_else_applies(written, runs):
    text = (runs / "report.html").read_text()
    policy = next(attrs["content"] for tag, attrs in written[1].tags if attrs.get("http-equiv") == "Content-Security-Policy")
    style, script = re.findall(r"<style>(.*?)</style>", text, re.S), re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(style) == len(script) == 1
    for kind, [inner] in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy
    for tag, attrs in written[1].tags:
        assert not any(key == "style" or key.startswith("on") for key in attrs), (tag, attrs)
        assert not {"src", "data", "action"} & attrs.keys(), (tag, attrs)
        assert attrs.get("href", "#").startswith("#")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script[0])


def test_blocks_hold_each_sample_with_the_answers_of_both_runs(written):
    result, page = written
    index = page.blocks["index"]
    assert [run["name"] for run in index["runs"]] == ["probe-a", "probe-b", "eval-base", "eval-tuned"]
    assert result["samples"] == result["of"] == len(index["id"]) == 16
    place = index["id"].index("event:0")
    assert index["question"][place] == "event number 0" and index["tasks"][index["task"][place]] == "grounding"
    a, b, *evaluated = index["by"]
    assert (a["right"][place], a["n"][place], a["delta"][place]) == (0, 4, 0) and (b["right"][place], b["delta"][place]) == (
        2,
        0.5,
    )
    assert index["classes"][a["class"][place]] == "flat" and index["classes"][b["class"][place]] == "varied"
    assert [one["n"][place] for one in evaluated] == [None, None]
    options, gold, answer, spans, duration, clip, video, texts, entries = page.blocks["samples-0"][place]
    assert (options, gold, answer, spans, duration, clip, video) == (None, None, None, [[1, 2]], 3, None, "v0.mp4")
    assert entries[1][0] == [
        texts.index("<think> try 0 </think> <answer> 1.0 to 2.0 </answer>"),
        None,
        None,
        [1, 2],
        1,
        1,
        1,
        2,
        9,
        1,
    ]
    assert entries[1][3][3:8] == [[0, 0.5], 0, 0, 1, 1] and entries[2:] == [None, None]
    broken = index["id"].index("grounded:11")
    assert page.blocks["samples-0"][broken][8][0] == "v.mp4: can't be <b>decoded</b>" and a["n"][broken] == 0
    charades = index["id"].index("BBBBB:3") if "BBBBB:3" in index["id"] else index["question"].index("a dog runs")
    assert index["by"][3]["right"][charades] == 1 and index["by"][3]["class"][charades] is None


def test_frames_are_pictures_at_their_seconds_and_end_at_the_limit(written, runs):
    result, page = written
    assert result["clips"] == {"embedded": 4, "found": 4, "broken": 0}
    index = page.blocks["index"]
    events, evaluated = index["frames"][:12], index["frames"][12:]
    assert set(events) == {0, 1, 2, 3} and set(evaluated) == {-1}
    frames = page.blocks[f"frames-{index['frames'][0]}"]
    assert len(frames) == 8 and frames[0][0] == 0 and 2.5 < frames[-1][0] < 3
    picture = Image.open(io.BytesIO(base64.b64decode(frames[0][1])))
    assert picture.format == "JPEG" and picture.size[0] == picture.size[1] >= 56
    size = len(data_block("frames-0", frames))
    few = report([runs / "probe-a"], out=runs / "few.html", frames_mb=2.2 * size / 1e6, output=QUIET)
    assert few["clips"]["embedded"] == 2
    assert any("frames of 2 of 4 clips fit" in note for note in Read((runs / "few.html").read_text()).blocks["index"]["notes"])
    none = report([runs / "probe-a"], out=runs / "none.html", frames_mb=0, output=QUIET)
    assert none["clips"] == {"embedded": 0, "found": 0, "broken": 0}


def test_times_of_frames_count_from_the_start_of_the_clip(tmp_path):
    clip = samples(1)[0]
    bounds = {"whole": None, "part": Span(1.0, 3.0)}
    made = [replace(clip, id=id, clip=span, duration=2.0) for id, span in bounds.items()]
    write_clip(tmp_path / "v0.mp4")
    write_samples(tmp_path / "samples.jsonl", made)
    probe(tmp_path / "probe", tmp_path / "samples.jsonl", tmp_path, made, lambda i: 1)
    report([tmp_path / "probe"], output=QUIET)
    page = Read((tmp_path / "probe/report.html").read_text())
    blocks = page.blocks["index"]["frames"]
    assert blocks[0] != blocks[1], "other seconds of one file"
    assert page.blocks[f"frames-{blocks[1]}"][0][0] == 0 and page.blocks[f"frames-{blocks[1]}"][-1][0] < 2


def test_no_text_becomes_markup(tmp_path):
    first, *others = samples(3)
    hostile = [replace(first, question=HOSTILE, source=HOSTILE[:100]), *others]
    runs = everything(tmp_path, hostile)
    rows = runs / "probe-a/rows/probe.jsonl"
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    lines[0]["texts"][0] = HOSTILE
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    everything(tmp_path / "calm", samples(3))
    report([runs], output=QUIET)
    report([tmp_path / "calm/runs"], output=QUIET)
    calm = Read((tmp_path / "calm/runs/report.html").read_text())
    page = Read((runs / "report.html").read_text())
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in calm.tags], "the same elements as of harmless texts"
    index = page.blocks["index"]
    assert index["question"][0] == HOSTILE and HOSTILE[:100] in index["sources"]
    assert page.blocks["samples-0"][0][7][0] == HOSTILE


@given(st.text(st.characters(), max_size=60))
def test_any_text_survives_a_block_and_stays_a_text(text):
    block = data_block("b", [text])
    assert json.loads(re.fullmatch(r'<script type="application/json" id="b">(.*)</script>\n', block, re.S)[1]) == [text]
    assert "<" not in block[len('<script type="application/json" id="b">') : -len("</script>\n")]
    block.encode()
    read = Read(element("p", text, title=text))
    assert [tag for tag, _ in read.tags] == ["p"] and set(read.tags[0][1]) == {"title"}
    escape(text).encode()


def test_markup_is_what_was_made_as_markup():
    assert (
        element("p", "a < b", element("b", "x"), class_="k", hidden=True, title=None)
        == '<p class="k" hidden>a &lt; b<b>x</b></p>'
    )
    assert element("meta", name_="a", content='"') == '<meta name="a" content="&quot;">'
    assert isinstance(table(["a", "b"], [["<", "1"]]), Markup) and '<th scope="row">&lt;</th>' in table(
        ["a", "b"], [["<", "1"]]
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        data_block("b", float("nan"))


def test_charts_draw_what_they_are_given():
    assert ticks(0, 100) == [0, 25, 50, 75, 100] and ticks(0.31, 0.62)[0] == pytest.approx(0.4) and ticks(2, 2) == [2]
    assert running_mean([1, 2, 6], 1) == [1.5, 3, 4] and thinned([1, 3, 5, 7], 2) == [2, 6]
    chart = line_chart("Reward", [StepCurve("a<b", "run-0", [1, 2], [0.5, 0.5]), StepCurve("empty", "run-1", [], [])])
    assert chart.count("<polyline") == 2 and "a&lt;b: from 0.5 to 0.5" in chart and "NaN" not in chart
    bars = histogram("IoU", ["0", "0.5", "1"], [Bars("x", "a", [3, 0])], x_name="IoU", stacked=True, unit="samples")
    assert bars.count("<rect") == 1 and "0 to 0.5: 3 samples, x" in bars
    stack = histogram("n", ["0"], [Bars("x", "a", [3]), Bars("y", "b", [1])], x_name="n", stacked=True, unit="samples")
    tops = [float(y) for y in re.findall(r'<rect x="[\d.]+" y="([\d.]+)"', stack)]
    assert tops[1] < tops[0], "the second stands on the first"
    line = interval_chart([Marked("a", "run-0", 40, 30, 50), Marked("paper", "paper-base", 60)], 0, 100)
    assert 'aria-label="a 40.0 (30.0 to 50.0); paper 60.0"' in line and line.count("whisker") == 1


def test_the_paper_stands_beside_real_benchmarks_only(runs, tmp_path):
    values = json.loads((runs / "eval-base/results.json").read_text())
    beside, without = (results_section([EvalRun("a", values)], [], paper=paper) for paper in (True, False))
    assert (
        "57.0" in beside
        and "paper: tuned" in beside
        and "57.0" not in without
        and "paper" not in re.sub(r"<details.*", "", without)
    )


def test_synthetic_benchmarks_do_not_stand_beside_the_papers_metrics(tmp_path):
    base, _ = evals(tmp_path)
    report([base], output=QUIET)
    assert "paper: tuned" in (base / "report.html").read_text()
    recipe = base / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("Qwen/Qwen2.5-VL-7B-Instruct", "miniature"))
    report([base], output=QUIET)
    assert "paper: tuned" not in (base / "report.html").read_text()


def test_of_too_many_samples_those_in_several_runs_come_first(runs):
    with RowIndex([runs / "probe-a/rows/probe.jsonl"]) as a, RowIndex([runs / "eval-base/rows/charades.jsonl"]) as b:
        both = [RunRows("a", "probe", a, None), RunRows("again", "probe", a, None), RunRows("b", "eval", b, None)]
        assert len(chosen(both, MOST)) == 16
        assert chosen(both, 12) == set(a.ids) and len(chosen(both, 5)) == 5 and chosen(both, 5) == chosen(both[:2], 5)


def test_what_is_gone_is_told_and_rows_are_shown_all_the_same(tmp_path):
    runs = everything(tmp_path)
    (tmp_path / "samples.jsonl").unlink()
    (runs / "bench/charades_sta_test.txt").write_text("AAAAA 0.0 1.0##another text\n")
    result = report([runs], output=QUIET)
    told = "\n".join(result["notes"])
    assert "samples.jsonl: has changed" in told and "other annotation files than those that were evaluated" in told
    index = Read((runs / "report.html").read_text()).blocks["index"]
    assert index["question"][0] is None and index["question"][12:] == ["a cat sits", "a cat runs", "a dog sits", "a dog runs"]


def test_faults_name_place_and_remedy(runs, tmp_path):
    with pytest.raises(DataError, match="holds no run; give folders"):
        report([tmp_path], output=QUIET)
    with pytest.raises(UsageError, match=r"--out page.txt: a name that ends in .html"):
        report([runs], out=Path("page.txt"), output=QUIET)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "x", "task": "grounding", "source": "s", "n": 2, "texts": ["a"], "error": null}\n{"id": "torn')
    with RowIndex([rows]) as index, pytest.raises(DataError, match=r"rows.jsonl: row 'x': texts, .* must be lists of n = 2"):
        assert index.ids == ["x"]
        index.row("x")
    rows.write_text("[]\n")
    with pytest.raises(DataError, match=r"rows.jsonl:1: no row"):
        RowIndex([rows])


def test_runs_are_found_by_what_they_left(runs, tmp_path):
    assert [one.kind for one in find_runs([runs / "train.jsonl"])] == ["select"]
    assert [one.name for one in find_runs([runs / "probe-b/rows/probe.jsonl", runs / "probe-b"])] == ["probe-b"]
    assert len(find_runs([runs / "eval-tuned", runs])) == 6
    # Inside of the training, as in the command that is named after one.
    copied = shutil.copytree(runs, tmp_path / "copied")
    (copied / "eval-tuned").rename(copied / "train/eval")
    assert [one.name for one in find_runs([copied])].count("eval") == 1 and len(find_runs([copied])) == 6


@pytest.mark.parametrize(
    ("first", "second", "metric", "reward"), [("base", "tuned", "+75.0", "+0.250"), ("tuned", "base", "-75.0", "-0.250")]
)
def test_every_difference_is_the_second_run_minus_the_first(runs, tmp_path, first, second, metric, reward):
    """mIoU of 25 and 100. Of 16 answers about events 8 and 12 are right: rewards of 1 + 8/16 and 1 + 12/16."""
    a, b = runs / f"eval-{first}", runs / f"eval-{second}"
    compared = compare(a, b, output=QUIET)
    change = compared["benchmarks"]["charades"]["metrics"]["mIoU"]
    assert f"{change['difference']:+.1f}" == metric and change["better"] == ("B" if metric == "+75.0" else "A")
    results = [json.loads((one / "results.json").read_text()) for one in (a, b)]
    for view in (comparison_table(compared), gain_table(*results)):
        console = Console(width=160)
        with console.capture() as captured:
            console.print(view)
        assert metric in next(line for line in captured.get().splitlines() if "mIoU" in line)
    probes = [runs / f"probe-{dict(base='a', tuned='b')[one]}" for one in (first, second)]
    report([a, b, *probes], out=tmp_path / "page.html", frames_mb=0, output=QUIET)
    page = "".join(Read((tmp_path / "page.html").read_text()).texts)
    assert f"eval-{second} - eval-{first}" in page and metric in page
    assert (
        f"Temporal groundingreward1.{'500' if first == 'base' else '750'}1.{'750' if first == 'base' else '500'}{reward}"
        in page
    )
    found = compare_probes(*probes, output=QUIET)["tasks"]["grounding"]["measures"]["reward"]
    assert f"{found['difference']:+.3f}" == reward


def test_parts_that_a_recipe_adds_have_a_curve():
    """Each once, by name; the length penalty stays where it is."""
    log = [{"step": step, "reward": 1.0, "reward/near<": step / 4, "reward/overlong": -0.5} for step in (1, 2)]
    text = str(training_section([Training("a", log, None)]))
    assert text.count("near&lt;, part of the reward") == text.count("Penalty for length, part of the reward") >= 1
    assert "near<" not in text and "overlong, part" not in text
