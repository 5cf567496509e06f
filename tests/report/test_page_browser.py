"""The page of `trlt report` in a real browser: from disk, filters, times, comparing, keys, hostile texts, and 5,000 rows.

Screenshots go to the tests' own folder, or stay in that of the variable TRLT_SCREENSHOTS.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import Chromium, find
from made_clips import event
from made_runs import HOSTILE, QUIET, evals, everything, probe, samples

from trlt.commands.report import report
from trlt.recipe import Recipe, save_recipe
from trlt.task.sample import write_samples

PROGRAM = find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
SELECTED = ".item[aria-selected=true]"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Runs of every kind; the first question, its source and one completion are hostile."""
    root = tmp_path_factory.mktemp("page")
    first, *others = samples()
    runs = everything(root, [replace(first, question=HOSTILE), *others])
    rows = runs / "probe-a/rows/probe.jsonl"
    line = rows.read_bytes().split(b"\n")
    line[0] = line[0].replace(b"<think> try 0 </think>", b"<think> <img src=x onerror=window.ran='text'> </think>")
    rows.write_bytes(b"\n".join(line))
    report([runs], output=QUIET)
    return runs / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert PROGRAM is not None
    with Chromium(PROGRAM, tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def opened(browser, page):
    browser.call("Page.navigate", {"url": "about:blank"})
    browser.until("location.href === 'about:blank'")
    browser.events.clear()
    browser.screen(1360, 900)
    browser.open(page)
    browser.until("document.querySelector('.item')")
    return browser


@pytest.fixture(scope="module")
def pair_of_evals(tmp_path_factory):
    root = tmp_path_factory.mktemp("evals")
    report(evals(root, wrong="<think> hm </think> <answer> 90.0 to 91.0 </answer>"), out=root / "evals.html", output=QUIET)
    return root / "evals.html"


@pytest.fixture
def pictures(tmp_path):
    return Path(os.environ.get("TRLT_SCREENSHOTS") or tmp_path)


def status(browser):
    return browser.text(".status [role=status]")


def test_it_opens_from_disk_without_a_network_or_a_complaint(opened):
    assert status(opened) == "16 of 16 samples"
    titles = "[...document.querySelectorAll('h2')].map((one) => one.textContent)"
    assert opened.js(titles) == ["Results", "Training", "Difficulty", "Selection", "Samples", "Protocol"]
    assert opened.js("document.querySelectorAll('#training polyline').length") == 6
    assert opened.js("getComputedStyle(document.querySelector('.whisker')).stroke") == "rgb(184, 110, 0)"
    assert all(url.startswith(("file:", "data:image/jpeg")) for url in opened.requests())
    assert opened.complaints() == []


def test_a_hostile_text_is_shown_and_does_not_run(opened):
    opened.until("document.querySelector('.film img').complete")
    shown = opened.text("#question")
    for part in ("</script><script>window.ran", "<img src=x onerror=", "<svg onload=", "<style>body{display:none}", "{{7*7}}"):
        assert part in shown
    assert "<img src=x onerror=window.ran='text'>" in opened.text(".answer .text")
    assert opened.js("typeof window.ran") == "undefined" and opened.js("getComputedStyle(document.body).display") == "block"
    inside = "document.querySelectorAll('#question *, .answer .text img, .item img, .item script').length"
    assert opened.js(inside) == 0 and opened.complaints() == []
    opened.js(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}));"
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.ran=2>');"
    )
    ran = opened.js("new Promise((done) => setTimeout(() => done(typeof window.ran), 100))")
    assert ran == "undefined", "the policy stops what isn't our own script"
    assert any("Content Security Policy" in line for line in opened.complaints())


def test_filters_orders_and_search(opened):
    opened.choose("task", "multiple choice")
    assert status(opened) == "4 of 16 samples"
    high = "document.querySelector('.list').getBoundingClientRect().height"
    assert opened.js(high) == 4 * 58 + 2, "as high as its rows, and no empty box below them"
    opened.choose("source", "alpha")
    assert status(opened) == "0 of 16 samples" and opened.text(".none") == "No sample fits these filters."
    opened.choose("source", "all")
    opened.choose("task", "all")
    opened.choose("run", "probe-a")
    assert status(opened) == "12 of 16 samples"
    counts = {}
    for name in ("all right", "some right", "none right", "errors"):
        opened.choose("outcome", name)
        counts[name] = status(opened).split()[0]
    assert counts == {"all right": "2", "some right": "6", "none right": "3", "errors": "1"}
    opened.choose("outcome", "all")
    opened.choose("klass", "varied")
    assert opened.js("[...document.querySelectorAll('.item .meta')].every((one) => one.textContent.includes('grounding'))")
    opened.choose("klass", "all")
    opened.choose("sort", "Δ (max - mean IoU)")
    deltas = opened.js("[...document.querySelectorAll('.item .meta')].map((one) => one.textContent.match(/Δ ([0-9.]+)/)?.[1])")
    known = [float(delta) for delta in deltas if delta]
    assert known == sorted(known, reverse=True) and known[0] > known[-1]
    opened.press("/")
    assert opened.js("document.activeElement.type") == "search"
    opened.press(*"number 7")
    opened.until("document.querySelector('.status [role=status]').textContent.startsWith('1 of')")
    assert opened.text("#question") == "question number 7"
    opened.press("Escape")
    assert status(opened) == "12 of 16 samples" and opened.js("document.activeElement.className") == "list"


def test_two_runs_stand_side_by_side_on_a_sample(opened):
    opened.choose("run", "probe-a")
    opened.choose("against", "probe-b")
    opened.choose("sort", "gained most")
    assert status(opened) == "11 of 16 samples", "the error is no pair"
    assert opened.text(SELECTED + " .meta").startswith("+0.50")
    names = opened.js("[...document.querySelectorAll('.run h4')].map((one) => one.textContent)")
    assert names == ["A: probe-a", "B: probe-b"]
    left, right = opened.js("[...document.querySelectorAll('.run')].map((one) => one.getBoundingClientRect().x)")
    assert right > left + 200
    right_of = "(run) => run.querySelectorAll('.read .right').length"
    before, after = opened.js(f"[...document.querySelectorAll('.run')].map({right_of})")
    assert after - before == 2
    opened.choose("sort", "lost most")
    assert opened.text(SELECTED + " .meta").startswith("+0.00")
    opened.choose("against", "none")
    assert opened.js("document.querySelector('select[data-key=sort]').value") == "order"


def test_time_is_sought_by_pointer_and_keys(opened):
    opened.press("j", "j")
    assert opened.text("#question") == "grounded number 2"
    names = opened.js("[...document.querySelectorAll('.line .name')].map((one) => one.textContent)")
    assert names == ["frames", "gold", *(f"{run} {k}" for run in "AB" for k in (1, 2, 3, 4)), "time"]
    gold = opened.js("(() => { const b = document.querySelector('.track.gold i').style; return [b.left, b.width]; })()")
    assert [round(float(one.rstrip("%"))) for one in gold] == [17, 67]
    now = "Number(document.querySelector('.cursor').getAttribute('aria-valuenow'))"
    assert opened.js(now) == 0.5
    opened.click(".track.gold", x=0.9)
    assert opened.js(now) == pytest.approx(2.7, abs=0.06)
    pressed = "[...document.querySelectorAll('.film button')].findIndex((one) => one.getAttribute('aria-pressed') === 'true')"
    assert opened.js(pressed) == 7
    opened.click(".film button:nth-child(2)")
    assert opened.js(pressed) == 1 and opened.text(".stage .at").startswith("at 0.4 s")
    assert opened.js("document.querySelector('.stage img').src === document.querySelectorAll('.film img')[1].src")
    opened.js("document.querySelector('.cursor').focus()")
    opened.press("End")
    assert opened.js(now) == 3
    opened.press("ArrowLeft")
    assert opened.js(now) == pytest.approx(2.9) and opened.text("#question") == "grounded number 2"


def test_keys_move_open_and_go_back(opened):
    opened.js("document.querySelector('.list').focus()")
    opened.press("ArrowDown", "j", "j", "k")
    assert opened.text("#question") == "grounded number 2"
    active = "document.querySelector('.list').getAttribute('aria-activedescendant')"
    assert opened.js(active) == opened.js(f"document.querySelector('{SELECTED}').id")
    opened.press("End")
    assert opened.text("#question") == "a dog runs"
    opened.press("Enter")
    assert opened.js("document.activeElement.className") == "detail"
    opened.press("Escape")
    assert opened.js("document.activeElement.className") == "list"
    opened.press("Home")
    assert opened.js(SELECTED_PLACE) == 1
    assert opened.js("decodeURIComponent(location.hash)") == "#sample=event:0"


@pytest.mark.parametrize(("run", "against"), [("eval-base", "eval-tuned"), ("eval-tuned", "eval-base")])
def test_a_difference_is_the_later_run_minus_the_earlier_whichever_box_names_it(opened, pair_of_evals, run, against):
    """Of four queries the base model is right about the first (reward 1 for the format, 1 for the IoU), the tuned about all."""
    opened.open(pair_of_evals)
    opened.until("document.querySelector('.item')")
    opened.choose("run", run)
    opened.choose("against", against)
    assert opened.text(".difference") == "Differences: reward of eval-tuned - eval-base"
    metas = "[...document.querySelectorAll('.item')].map((one) => one.innerText.split('\\n'))"
    told = {question: meta.split(" · ") for question, meta in opened.js(metas)}
    assert told["a cat sits"][0] == "+0.00" and told["a cat sits"][-1] == "right → right"
    assert told["a dog runs"][0] == "+1.00" and told["a dog runs"][-1] == "wrong → right"
    opened.choose("sort", "gained most")
    assert opened.text(SELECTED + " .meta").startswith("+1.00")
    opened.choose("sort", "lost most")
    assert opened.text(SELECTED + " .meta").startswith("+0.00")
    opened.choose("against", "none")
    assert opened.text(".difference") == "" and " → " not in opened.text(SELECTED)


SELECTED_PLACE = f"Number(document.querySelector('{SELECTED}').getAttribute('aria-posinset'))"


def test_a_link_opens_its_sample(opened, page):
    opened.call("Page.navigate", {"url": "about:blank"})
    opened.until("location.href === 'about:blank'")
    opened.open(page, "#sample=choice%3A4")
    opened.until("document.querySelector('#question')")
    assert opened.text("#question") == "question number 4"


def test_light_dark_and_the_button(opened, pictures):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = opened.js(paper)
    opened.photograph(pictures / "light.png")
    opened.js("document.getElementById('samples').scrollIntoView({behavior: 'instant'})")
    opened.photograph(pictures / "light-samples.png")
    opened.screen(1360, 900, dark=True)
    dark = opened.js(paper)
    assert light == "rgb(251, 251, 250)" and dark == "rgb(20, 23, 26)"
    opened.photograph(pictures / "dark-samples.png")
    opened.click("#theme")
    assert opened.text("#theme") == "Theme: light" and opened.js(paper) == light
    opened.click("#theme")
    opened.screen(1360, 900)
    assert opened.text("#theme") == "Theme: dark" and opened.js(paper) == dark
    opened.click("#theme")
    assert opened.text("#theme") == "Theme: auto" and opened.js(paper) == light


def test_a_phone_shows_one_column_and_nothing_too_wide(opened, pictures):
    opened.screen(390, 844, phone=True)
    assert opened.js("document.documentElement.scrollWidth") == 390
    assert opened.js("document.querySelectorAll('.scroll').length > 0 && document.querySelector('.scroll').scrollWidth > 390")
    corner = "(s) => { const box = document.querySelector(s).getBoundingClientRect(); return [box.x, box.y]; }"
    list_, detail = opened.js(f"['.list', '.detail'].map({corner})")
    assert list_[0] == detail[0] and detail[1] > list_[1] + 200
    tall = opened.js(
        "[...document.querySelectorAll('.detail button:not(.film button)')].every((one) => one.offsetHeight >= 40)"
    )
    assert tall, "fingers find them"
    opened.photograph(pictures / "phone.png")
    opened.js("document.querySelector('.detail').scrollIntoView({behavior: 'instant'})")
    opened.photograph(pictures / "phone-sample.png")
    opened.click(".back")
    assert opened.js("document.activeElement.className") == "list"


def test_a_phone_shows_each_change_without_scrolling(opened, pair_of_evals, pictures):
    opened.screen(390, 844, phone=True)
    opened.open(pair_of_evals)
    right = "document.querySelector('#results tbody td:nth-child(4)').getBoundingClientRect().right"
    assert opened.js(right) <= 390
    verdict = (
        "(() => { const b = document.getElementById('verdict').getBoundingClientRect(); return [b.top, b.bottom, b.right]; })()"
    )
    top, bottom, side = opened.js(verdict)
    assert 0 < top < bottom < 844 and side <= 390, "the first thing that is read"
    assert opened.text("#verdict strong") == (
        "Whether eval-tuned is better than eval-base can't be said: fewer than 20 videos are too few."
    )
    opened.photograph(pictures / "phone-results.png")


def test_panels_say_what_their_axes_count(opened):
    titles = opened.js(
        "[...document.querySelector('#difficulty .panels').querySelectorAll('figcaption')].map((one) => one.textContent)"
    )
    assert len(set(titles)) == len(titles) == 6 and "Temporal grounding: IoU, max - mean" in titles
    counted = opened.js(
        "[...document.querySelectorAll('#difficulty figure')].every((one) => one.textContent.includes('samples'))"
    )
    assert counted
    overlap = """[...document.querySelectorAll('figure')].some((one) => {
      const marks = [...one.querySelectorAll('text.end')].map((mark) => mark.getBoundingClientRect());
      return marks.some((a, i) => marks.some((b, k) => k > i && a.top + 2 < b.bottom && b.top + 2 < a.bottom));
    })"""
    assert not opened.js(overlap), "of marks on the y axis and what it counts"


def test_a_tapped_sample_opens_in_view_on_a_phone_and_stays_beside_the_list_on_a_desk(opened, page, pictures):
    top = "document.querySelector('.detail').getBoundingClientRect().top"
    opened.click(".item:nth-child(3)")
    assert opened.text("#question") == "grounded number 2" and opened.js("document.activeElement.className") == "list"
    opened.screen(390, 844, phone=True)
    opened.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")  # laid out anew
    opened.click(".item:nth-child(4)")
    assert opened.js(f"Math.abs({top}) < 2")
    assert opened.text("#question") == "event number 3"
    title = opened.js(
        "(() => { const b = document.querySelector('#question').getBoundingClientRect(); return [b.top, b.bottom]; })()"
    )
    assert 0 < title[0] < title[1] < 300
    opened.photograph(pictures / "phone-tapped.png")
    opened.click(".back")
    box = opened.js(
        "(() => { const b = document.querySelector('.list').getBoundingClientRect(); return [b.top, b.bottom]; })()"
    )
    assert 0 <= box[0] < box[1] <= 844
    opened.call("Page.navigate", {"url": "about:blank"})
    opened.until("location.href === 'about:blank'")
    opened.open(page, "#sample=choice%3A4")
    opened.until(f"Math.abs({top}) < 2")


def test_five_thousand_rows_of_eight_answers(browser, tmp_path, pictures):
    """No time is measured: what makes it fast is that few rows are drawn, and few samples read."""
    made = [event(f"event:{i}", "v.mp4", question=f"an event number {i}") for i in range(5000)]
    write_samples(tmp_path / "samples.jsonl", made)
    folder = probe(tmp_path / "probe", tmp_path / "samples.jsonl", tmp_path, made, lambda i: i % 9, n=8)
    result = report([folder], out=tmp_path / "large.html", frames_mb=0, output=QUIET)
    assert result["samples"] == 5000
    browser.screen(1360, 900)
    browser.events.clear()
    browser.open(tmp_path / "large.html")
    browser.until("document.querySelector('.item')")
    assert status(browser) == "5,000 of 5,000 samples"
    items = "document.querySelectorAll('.item').length"
    assert browser.js(items) < 40
    browser.js("document.querySelector('.list').scrollTop = 1e9")
    browser.until("[...document.querySelectorAll('.item')].some((one) => one.id === 'item-4999')")
    assert browser.js(items) < 40
    browser.js("document.querySelector('.list').focus()")
    browser.press("End")
    assert (
        browser.text("#question") == "an event number 4999" and browser.js("document.querySelectorAll('.answer').length") == 8
    )
    browser.choose("sort", "highest reward")
    assert browser.text("#question") == "an event number 8" and browser.complaints() == []
    browser.photograph(pictures / "large.png")


def test_marks_of_own_formats_are_set_off(browser, tmp_path):
    made = samples(3)
    write_samples(tmp_path / "samples.jsonl", made)
    folder = probe(tmp_path / "probe", tmp_path / "samples.jsonl", tmp_path, made, lambda i: 1)
    own = Recipe.model_validate({"prompt": {"format": r"[WHY?]{reasoning}[/WHY?] [TIME]{span}[/TIME] \boxed{{answer}}"}})
    save_recipe(folder / "recipe.yaml", own)
    rows = (folder / "rows/probe.jsonl").read_text()
    for tag, mark in (("<think>", "[WHY?]"), ("</think>", "[/WHY?]"), ("<answer>", r"\\boxed{"), ("</answer>", "}")):
        rows = rows.replace(tag, mark)
    (folder / "rows/probe.jsonl").write_text(rows)
    report([folder], output=QUIET)
    browser.open(folder / "report.html")
    browser.until("document.querySelector('.item')")
    browser.choose("task", "multiple choice")
    shown = "[...document.querySelectorAll('.answer .text')][0].querySelectorAll"
    assert browser.js(f"[...{shown}('.tag')].map((one) => one.textContent)") == ["[WHY?]", "[/WHY?]", "\\boxed{"]
    assert browser.js(f"[...{shown}('.think')].map((one) => one.textContent)") == [" try 0 "]
