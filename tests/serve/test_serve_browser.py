"""The page of `trlt serve` in a real browser: load, drop, ask, watch, seek, keys, hostile texts, a phone, and leaving it.

The page of `trlt infer` is opened too.

Screenshots go to the tests' own folder, or stay in that of the variable TRLT_SCREENSHOTS.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from chromium import Chromium, find
from running import Running, Scripted, wait_for

from trlt.commands._answer_page import write_answer_page
from trlt.recipe import Recipe
from trlt.serve import uploads
from trlt.task.user_question import answer_values, question_sample

PROGRAM = find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
HOSTILE = "</p><script>window.ran = 'script'</script><img src=x onerror=\"window.ran='img'\"> {{7*7}} javascript:alert(1)"
SAID = ("<think> the circle <img src=x onerror=window.ran='think'> ", "starts late </think> <answer> ", "1.0 to 3.0 </answer>")
NOW = "document.getElementById('player').currentTime"
STATE = "document.getElementById('state').textContent"


class Keyed(Chromium):
    """With keys that are held, files, and pages from a server."""

    def go(self, url: str) -> None:
        self.call("Page.navigate", {"url": url})
        self.until(f"document.readyState === 'complete' && location.href.startsWith({url!r})")

    def key(self, name: str, code: int, *, ctrl: bool = False) -> None:
        params = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": 2 if ctrl else 0}
        text = {"text": "\r"} if name == "Enter" and not ctrl else {"text": " "} if name == " " else {}
        self.call("Input.dispatchKeyEvent", {"type": "keyDown", **params, **text})
        self.call("Input.dispatchKeyEvent", {"type": "keyUp", **params})

    def write(self, text: str) -> None:
        self.call("Input.insertText", {"text": text})

    def give(self, selector: str, path: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        self.call("DOM.setFileInputFiles", {"files": [str(path)], "nodeId": node})

    def focused(self) -> str:
        return str(self.js("document.activeElement.id || document.activeElement.getAttribute('aria-label') || ''"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert PROGRAM is not None
    with Keyed(PROGRAM, tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def pictures(tmp_path):
    return Path(os.environ.get("TRLT_SCREENSHOTS") or tmp_path)


@pytest.fixture
def server(run):
    return run(Scripted(*SAID))


def opened(browser: Keyed, server: Running) -> Keyed:
    browser.call("Page.navigate", {"url": "about:blank"})
    browser.until("location.href === 'about:blank'")
    browser.events.clear()
    browser.screen(1280, 860)
    browser.go(server.url)
    browser.until("document.getElementById('model').textContent === 'made-model'")
    return browser


def given(browser: Keyed, server: Running, video: Path) -> Keyed:
    """The page with its video."""
    opened(browser, server)
    browser.give("#file", video)
    browser.until("!document.getElementById('ask').disabled && !document.getElementById('timeline').hidden")
    return browser


def videos(folder: Path) -> list[Path]:
    return [path for path in folder.glob("trlt-serve-*/**/*") if path.is_file()]


def test_it_loads_from_this_server_alone(browser, server, pictures):
    page = opened(browser, server)
    assert page.text("h1") == "Ask about a video" and page.js("document.getElementById('ask').disabled")
    assert page.text("#limit").startswith("up to 2 MB") and "after 10 minutes" in page.text("#kept")
    assert all(url.startswith((server.url, "data:", "about:")) for url in page.requests()) and page.complaints() == []
    page.photograph(pictures / "serve-empty.png")
    page.js("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    assert page.js("typeof window.ran") == "undefined" and "Content Security Policy" in page.complaints()[0]


def test_a_question_streams_in_and_its_span_seeks(browser, run, video, pictures):
    server = run(Scripted(*SAID, held=True))
    page = given(browser, server, video)
    assert page.focused() == "question" and page.js("document.getElementById('player').duration") == pytest.approx(4, abs=0.1)
    page.write("the circle moves")
    page.click("#ask")
    page.until("document.getElementById('reasoning').textContent.startsWith('the circle')")
    assert page.text("#said") == "" and page.js("document.getElementById('ask').disabled") and "Answering" in page.js(STATE)
    page.photograph(pictures / "serve-streaming.png")
    server.answerer.go.set()
    page.until(f"{STATE} === 'Done.'")
    assert page.text("#said") == "1.0 to 3.0" and page.text("#asked") == "the circle moves"
    assert page.text("#reasoning").endswith("starts late")
    left, width = page.js(
        "(() => { const t = document.getElementById('track').getBoundingClientRect();"
        "const b = document.querySelector('#spans button').getBoundingClientRect();"
        "return [(b.x - t.x) / t.width, b.width / t.width]; })()"
    )
    assert left == pytest.approx(0.25, abs=0.01) and width == pytest.approx(0.5, abs=0.01)
    page.click("#spans button")
    page.until(f"{NOW} >= 1 && !document.getElementById('player').paused")
    assert page.js(NOW) < 3
    page.js("document.getElementById('player').pause()")
    page.click("#track", x=0.9)
    page.until(f"Math.abs({NOW} - 3.6) < 0.1")
    assert page.complaints() == []
    page.photograph(pictures / "serve-answer.png", whole=True)
    page.screen(1280, 860, dark=True)
    assert page.js("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    page.photograph(pictures / "serve-answer-dark.png", whole=True)


def test_everything_can_be_done_with_keys(browser, server, video):
    page = given(browser, server, video)
    page.write("the circle moves")
    page.key("Enter", 13, ctrl=True)
    page.until(f"{STATE} === 'Done.'")
    way = []
    page.js("document.getElementById('track').scrollIntoView(); document.getElementById('player').focus()")
    for _ in range(20):
        page.key("Tab", 9)
        way.append(page.focused())
        if way[-1].startswith("Play from"):
            break
    assert way[-1] == "Play from 1.0 s to 3.0 s", way
    page.key("Enter", 13)
    page.until(f"{NOW} >= 1 && !document.getElementById('player').paused")
    page.js("(() => { const p = document.getElementById('player'); p.pause(); p.currentTime = 0; })()")
    page.until(f"{NOW} === 0")
    page.js("document.getElementById('go').focus()")
    page.key(" ", 32)
    page.until(f"{NOW} >= 1")
    for _ in range(4):
        page.key("Tab", 9)
    page.js("document.getElementById('other').focus()")
    way = []
    for _ in range(6):
        page.key("Tab", 9)
        way.append(page.focused())
    assert way[:4] == ["task", "question", "think", "ask"], way


def test_hostile_texts_are_shown_and_do_not_run(browser, server, tmp_path, video):
    named = tmp_path / "<img src=x onerror=window.ran=1>.mp4"
    named.write_bytes(video.read_bytes())
    page = given(browser, server, named)
    assert "<img src=x onerror=window.ran=1>.mp4" in page.text("#file-state")
    page.write(HOSTILE)
    page.click("#ask")
    page.until(f"{STATE} === 'Done.'")
    assert page.text("#asked") == HOSTILE and "<img src=x onerror=window.ran='think'>" in page.text("#reasoning")
    assert page.js("document.querySelectorAll('#answer img, #answer script, #file-state img').length") == 0
    assert page.js("new Promise((done) => setTimeout(() => done(typeof window.ran), 100))") == "undefined"
    assert page.complaints() == [] and HOSTILE in server.answerer.asked[0][1].user
    page.screen(390, 844, phone=True)
    assert page.js("document.documentElement.scrollWidth") == 390


def test_options_name_the_answer(browser, run, video):
    server = run(Scripted("<answer> B </answer>"))
    page = given(browser, server, video)
    assert not page.js("document.getElementById('options').checkVisibility()")
    page.js(
        "(() => { const t = document.getElementById('task'); t.value = 'multi_choice'; "
        "t.dispatchEvent(new Event('change')); })()"
    )
    page.click("#question")
    page.write("which colour?")
    page.click("#ask")
    page.until(f"{STATE}.includes('at least two')")
    assert page.js("document.getElementById('state').className") == "bad"
    page.click("#options")
    page.write("red\n\n blue \n<b>green</b>")
    page.click("#ask")
    page.until(f"{STATE} === 'Done.'")
    assert page.text("#said") == "B. blue" and "A. red\nB. blue\nC. <b>green</b>" in server.answerer.asked[0][1].user
    assert page.js("document.querySelectorAll('#spans button').length") == 0 and not page.js(
        "document.getElementById('go').checkVisibility()"
    )


@pytest.mark.parametrize(
    "pieces", [("<think>\nIt is", " red.\n</think>\n\nA <b>dog</b>."), ("A <b>dog</b>.",)], ids=["", "plain"]
)
def test_a_free_answer_is_shown_without_the_reasoning_that_it_begins_with(browser, run, video, pieces):
    page = given(browser, run(Scripted(*pieces)), video)
    page.js("(() => { const t = document.getElementById('task'); t.value = 'free'; t.dispatchEvent(new Event('change')); })()")
    page.click("#question")
    page.write("What is this?")
    page.click("#ask")
    page.until(f"{STATE} === 'Done.'")
    assert page.text("#said") == "A <b>dog</b>."
    assert page.js("document.getElementById('reasoning').checkVisibility()") == (len(pieces) == 2)
    assert page.text("#reasoning") == ("It is red." if len(pieces) == 2 else "")


def test_a_video_is_dropped_and_one_that_is_too_large_is_told(browser, server, video):
    page = opened(browser, server)
    data = base64.b64encode(video.read_bytes()).decode()
    drop = (
        "(async (data, more) => { const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));"
        "const files = new DataTransfer();"
        "files.items.add(new File([bytes, new Uint8Array(more)], 'a.mp4', {type: 'video/mp4'}));"
        "document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer: files, bubbles: true})); })"
    )
    page.js(f"{drop}('{data}', 2000000)")
    assert "a.mp4 has 2 MB; this server takes up to 2 MB" in page.text("#file-state")
    page.js(f"{drop}('{data}', 0)")
    page.until("!document.getElementById('ask').disabled && document.getElementById('player').duration > 3.9")
    assert page.js("document.getElementById('player').src").startswith("blob:")


def test_stopping_and_leaving_delete_and_cancel(browser, run, video, folder):
    server = run(Scripted(*SAID, held=True))
    page = given(browser, server, video)
    page.write("the circle moves")
    page.click("#ask")
    page.until("!document.getElementById('reasoning-part').hidden")
    page.click("#stop")
    page.until(f"{STATE} === 'Stopped.'")
    wait_for(lambda: server.answerer.cancelled == 1, "the stop")
    assert len(videos(folder)) == 1
    page.give("#file", video)
    page.until("!document.getElementById('ask').disabled")
    wait_for(lambda: len(videos(folder)) == 1, "the first one's end")
    page.call("Page.navigate", {"url": "about:blank"})
    wait_for(lambda: not videos(folder), "the end of the page")


def test_a_file_that_is_no_video_says_so(browser, server, tmp_path):
    (tmp_path / "torn.mp4").write_bytes(b"nothing")
    page = opened(browser, server)
    page.give("#file", tmp_path / "torn.mp4")
    said = "document.getElementById('file-state').textContent"
    page.until(f"{said}.startsWith('torn.mp4: not a video')")
    page.until("document.getElementById('player').error")  # which comes sooner or later, and says less
    page.write("the circle moves")
    assert str(tmp_path) not in page.js(said) and page.js("document.getElementById('ask').disabled")
    assert page.js(said).startswith("torn.mp4: not a video")


def test_a_phone_shows_one_column_and_nothing_too_wide(browser, server, video, pictures):
    page = given(browser, server, video)
    page.screen(390, 844, phone=True)
    page.write("the circle moves across the whole of the picture and then stops for a long while")
    page.click("#ask")
    page.until(f"{STATE} === 'Done.'")
    assert page.js("document.documentElement.scrollWidth") == 390
    see, talk = page.js(
        "['see', 'talk'].map((id) => { const b = document.getElementById(id).getBoundingClientRect(); return [b.x, b.y]; })"
    )
    assert see[0] == talk[0] and talk[1] > see[1] + 100
    heights = page.js(
        "[...document.querySelectorAll('button')]"
        ".filter((b) => b.checkVisibility() && !b.closest('#spans')).map((b) => b.offsetHeight)"
    )
    assert min(heights) >= 44, "fingers find them"
    page.photograph(pictures / "serve-phone.png", whole=True)


def test_the_page_of_one_answer_opens_from_disk(browser, noise_clip, tmp_path, pictures):
    text = f"<think> {HOSTILE} </think> <answer> 1.0 to 2.5 </answer>"
    sample = question_sample("clip.mp4", HOSTILE, None, ())
    values = answer_values(Recipe().form("eval").read(sample, text), text, finished=True)
    write_answer_page(tmp_path / "a.html", sample, values, noise_clip(frames=8, side=112), "made-model")
    browser.events.clear()
    browser.screen(1280, 860)
    browser.open(tmp_path / "a.html")
    assert browser.text("h1") == HOSTILE and HOSTILE in browser.text(".thought") and browser.text(".said") == "1.0 to 2.5"
    assert browser.js("[...document.querySelectorAll('img')].every((one) => one.complete && one.naturalWidth === 112)")
    assert browser.js("document.querySelectorAll('figure.in').length") == 4
    assert browser.js("typeof window.ran") == "undefined" and browser.complaints() == []
    assert all(url.startswith(("file:", "data:image/jpeg")) for url in browser.requests())
    browser.photograph(pictures / "infer.png", whole=True)
    browser.screen(390, 844, phone=True, dark=True)
    assert browser.js("document.documentElement.scrollWidth") == 390
    browser.photograph(pictures / "infer-phone-dark.png", whole=True)
