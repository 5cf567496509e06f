"""The report's files: what a reader sees, and that no text of a plan becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from reproduce_plans import small

from trlt.lab.reproduce import markdown
from trlt.lab.reproduce.claims_report import Report, write_report
from trlt.lab.reproduce.plots import curves, unit
from trlt.lab.reproduce.records import RunRecord
from trlt.lab.reproduce.verdicts import fill, judge

NASTY = "<script>alert(1)</script> & | * `x`"


def made(tmp_path, **changes):
    plan = small(tmp_path, **changes)
    counted = {}
    for arm, level in (("base", 0), ("sft", 5), ("tvg", 9)):
        for seed in plan.seeds:
            metrics = {"eval.charades.mIoU": 30.0 + level + seed * (arm == "tvg"), "eval.mvbench.acc": 50.0 + level}
            reward = [1 + 0.01 * step for step in range(20 + seed)] if arm == "tvg" else []
            parts = {"seconds": {"train": 12.0}, "places": {"train": f"arms/{arm}"}, "versions": {"trlt": "1", "torch": "2"}}
            counted[arm, seed] = RunRecord("small", arm, seed, "a" * 64, metrics, reward, **parts, when="2030-01-01")
    failed = RunRecord("small", "tvg", 0, "a" * 64, {}, [], {}, {}, {}, "2030-01-01", NASTY, origin=NASTY)
    metrics = {key: record.metrics for key, record in counted.items()}
    verdicts = [judge(plan, claim, metrics) for claim in plan.claims]
    tables = [fill(plan, name, metrics) for name in plan.tables]
    return Report(plan, plan.claims, verdicts, tables, counted, [failed, *counted.values()], 12)


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text, self.policy = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def files(tmp_path):
    changes = {"tables__5__title": NASTY, "claims__0__text": NASTY, "claims__0__paper": NASTY}
    return write_report(made(tmp_path, **changes), tmp_path / "out")


def test_the_page_stands_by_itself(files):
    text = files["page"].read_text()
    page = Page()
    page.feed(text)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL).group(1)
    known = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{known}'" in page.policy and page.policy.startswith("default-src 'none'")
    assert "script" not in page.policy and not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe")]
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert len(sources) == 2 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert base64.b64decode(sources[0].partition(",")[2]).startswith(b"\x89PNG")
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert links and all(link[0] == "#" and link[1:] in ids for link in links)


def test_the_page_shows_verdicts_tables_and_every_run(files):
    page = Page()
    page.feed(files["page"].read_text())
    said = " ".join(page.text)
    assert said.count(NASTY) >= 5, "a table's title (twice), a claim's words and paper, a run's error and origin"
    # mIoU: 39, 40, 41 against 35 in each seed.
    assert "✓ holds" in said and "+5.00" in said and "… incomplete" in said and "0 of 3" in said
    assert "10 runs were made; 9 of them count" in said and "failed" in said and "don't cover" in said


def test_markdown_keeps_its_tables(files):
    text = files["tables and verdicts"].read_text()
    assert "<script>" not in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block
    assert "| tvg | 40.0 (37.5 to 42.5) |" in text and "| base | 30.0 (asked once) |" in text


def test_verdicts_as_json(files):
    found = json.loads(files["verdicts"].read_text())
    assert found["plan"] == "small" and found["seeds"] == [0, 1, 2] and len(found["runs"]) == 9
    states = {one["id"]: one["state"] for one in found["claims"]}
    assert states == {"better": "holds", "shift": "incomplete", "gap": "open", "rise": "holds", "same": "refuted"}
    assert found["claims"][0]["by_seed"] == {"0": 4.0, "1": 5.0, "2": 6.0} and "seed" in found["intervals"]
    assert found["tables"]["5"]["arms"]["sft"]["both"]["mean"] == 45


def test_the_same_runs_give_the_same_files(tmp_path):
    first, second = (write_report(made(tmp_path), tmp_path / name) for name in ("a", "b"))
    assert {name: path.read_bytes() for name, path in first.items()} == {n: path.read_bytes() for n, path in second.items()}


def test_without_runs_there_is_a_report_and_no_picture(tmp_path):
    full = made(tmp_path)
    write_report(full, tmp_path)
    verdicts = [judge(full.plan, claim, {}) for claim in full.claims]
    tables = [fill(full.plan, name, {}) for name in full.plan.tables]
    files = write_report(Report(full.plan, full.claims, verdicts, tables, {}, [], 12), tmp_path)
    assert set(files) == {"verdicts", "tables and verdicts", "page"} and not list(tmp_path.glob("*.png"))
    assert "0 of 12 runs" in files["tables and verdicts"].read_text()


def test_curves_go_as_far_as_all_seeds(tmp_path):
    report = made(tmp_path)
    rewards = {key: record.reward for key, record in report.counted.items()}
    (curve,) = curves(report.plan, ["base", "sft", "tvg"], rewards)
    assert curve.arm == "tvg" and len(curve.steps) == 20
    # Half of 5% of 20 steps is 1: the fifth is the mean of 1.03, 1.04 and 1.05 in each seed.
    assert curve.steps[4].mean == pytest.approx(1.04) and curve.steps[4].high == pytest.approx(1.04)


def test_units_are_not_mixed(tmp_path):
    plan = small(tmp_path)
    found = {claim.id: unit(plan, claim) for claim in plan.claims}
    points = "percentage points"
    assert found == {"better": points, "gap": points, "same": points, "shift": "share", "rise": "slope"}


@pytest.mark.parametrize(("value", "said"), [(None, "–"), (0.0123, "0.012"), (-1.256, "-1.26"), (43.21, "43.2"), (0, "0.000")])
def test_numbers_have_the_digits_that_tell(value, said):
    assert markdown.number(value) == said
