"""Cells of a user's own table: times, spans, options, answers, paths of videos."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.data.own.answers import Undecided, counting, place, untagged
from trlt.data.own.chat import read_chat
from trlt.data.own.convert import video_key
from trlt.data.own.values import Unusable, options, seconds, spans, start_and_end, stated_span, text, video


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (3, 3.0),
        (12.5, 12.5),
        ("12.5", 12.5),
        (" 12.5 s", 12.5),
        ("12.5s", 12.5),
        ("7 seconds", 7.0),
        ("900 ms", 0.9),
        ("12,5", 12.5),
        ("1:02", 62.0),
        ("0:01.5", 1.5),
        ("75:30", 4530.0),
        ("1:02:03", 3723.0),
        ("00:01:02.250", 62.25),
        ("00:01:02,250", 62.25),
    ],
)
def test_times(written, found):
    assert seconds(written) == pytest.approx(found)


@pytest.mark.parametrize("written", ["1:99", "1:61:00", "1,250", "soon", "", True, None, [1], "1:2:3:4", "0:1:60"])
def test_what_is_no_time_is_refused(written):
    with pytest.raises(Unusable, match="is no time; write seconds"):
        seconds(written)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ([1, 3], [(1, 3)]),
        ([[1, 3], [5, 7.5]], [(1, 3), (5, 7.5)]),
        (["0:01", "0:03"], [(1, 3)]),
        ({"start": "1s", "end": "3s"}, [(1, 3)]),
        ([{"start_time": 1, "end_time": 3}], [(1, 3)]),
        ({"start": [1, 5], "end": [3, 7]}, [(1, 3), (5, 7)]),
        ("[1.0, 3.5]", [(1, 3.5)]),
        ("[[1, 3], [5, 7]]", [(1, 3), (5, 7)]),
        ("(1, 3)", [(1, 3)]),
        ("1-3", [(1, 3)]),
        ("1.5 to 3", [(1.5, 3)]),
        ("0:01 - 0:03; 0:05-0:07", [(1, 3), (5, 7)]),
        ("1-3 | 5-7", [(1, 3), (5, 7)]),
        ("12.5,20", [(12.5, 20)]),
        ("12.5s – 20s", [(12.5, 20)]),
        (["1-3", "5-7"], [(1, 3), (5, 7)]),
    ],
)
def test_spans(written, found):
    assert spans(written) == found


@pytest.mark.parametrize(
    "written", [[1], [1, 2, 3], "1", "from start", {"start": 1}, 5, [[1, 2], 3], "1-2-3", {"start": [1], "end": []}]
)
def test_what_is_no_span_is_refused(written):
    with pytest.raises(Unusable):
        spans(written)


def test_columns_of_several_starts_and_ends():
    assert start_and_end("[1, 5]", [2, 6]) == [(1, 2), (5, 6)]
    assert start_and_end("0:01", 2) == [(1, 2)]
    with pytest.raises(Unusable, match="2 starts and 1 ends"):
        start_and_end([1, 5], 2)


@pytest.mark.parametrize(
    ("answer", "span"),
    [
        ("13.4-28.1", (13.4, 28.1)),
        ("The given query happens in 24.3 - 30.4 seconds.", (24.3, 30.4)),
        ("from 1.0 to 2.5 seconds", (1.0, 2.5)),
        ([1, 2.5], (1.0, 2.5)),
        ("He runs for 3 seconds", None),
        ("a cat", None),
        ("1,200", None),
        ("-12,345.5", None),
        ("3,5", None),
        ("[3,5]", (3.0, 5.0)),
        ("3.0, 5.0", (3.0, 5.0)),
        (3, None),
    ],
)
def test_answers_that_state_a_span(answer, span):
    assert stated_span(answer) == ([span] if span else None)


@pytest.mark.parametrize(
    "written",
    [
        ["a cat", "a dog"],
        ["A. a cat", "B. a dog"],
        ["(A) a cat", "(B) a dog"],
        ["a) a cat", "b) a dog"],
        {"A": "a cat", "B": "a dog"},
        {"B": "a dog", "A": "a cat"},
        {"1": "a cat", "2": "a dog"},
        '["a cat", "a dog"]',
        "['a cat', 'a dog']",
        "a cat | a dog",
        "a cat\na dog",
        "A. a cat B. a dog",
        "A. a cat\nB. a dog",
        ["a cat", "a dog", None, ""],
    ],
)
def test_options(written):
    assert options(written) == ("a cat", "a dog")


def test_options_that_only_look_lettered_stay():
    assert options(["A. Lincoln", "G. Bush"]) == ("A. Lincoln", "G. Bush")
    assert options([1, 2.0, 2.5]) == ("1", "2", "2.5")


@pytest.mark.parametrize("written", ["a cat, a dog", ["a", "", "b"], {"A": "x", "C": "y"}, 3, [["x"]]])
def test_what_is_no_list_of_options_is_refused(written):
    with pytest.raises(Unusable):
        options(written)


OPTIONS = ("a cat", "a dog", "a cow")


@pytest.mark.parametrize(
    "said", ["B", "b", "(B)", "B.", "B. a dog", "B) a dog", "a dog", "A dog.", "Answer: B", "The answer is B."]
)
def test_answers_by_letter_or_text(said):
    assert place(untagged(said), OPTIONS, "texts") == 1
    assert place(untagged(f"<think>hm, <answer>A</answer></think><answer>{said}</answer>"), OPTIONS, 0) == 1
    assert place(untagged([said]), OPTIONS, 1) == 1


@pytest.mark.parametrize(
    ("said", "among", "message"),
    [
        ("D", OPTIONS, "'D' is no letter of 3 options"),
        ("B. a cat", OPTIONS, "its letter names another option than its text"),
        ("a horse", OPTIONS, "names none of the options 'a cat', 'a dog', 'a cow'; write the letter"),
        ("A", ("C", "B", "A"), "is the letter of option A and the text of option C; write letter and text"),
        (["A", "B"], OPTIONS, "one right option is needed"),
        (7, OPTIONS, "7 is no place of 3 options, which count from 0 to 2 in this table"),
        (-1, OPTIONS, "is no place"),
    ],
)
def test_answers_that_name_no_option_are_refused(said, among, message):
    with pytest.raises(Unusable, match=message):
        place(said, among, 0)


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([1, 0, 2], 0),
        ([1, 3, 2], 1),
        (["1", "3.0"], 1),
        ([0, 3], 0),
        ([], "texts"),
        (["A", "a dog"], "texts"),
    ],
)
def test_what_numbers_count_from(answers, found):
    assert counting([(f"x:{n}", said, OPTIONS) for n, said in enumerate(answers)]) == found


def test_numbers_that_may_count_from_0_or_1_are_undecided():
    assert counting([("x:1", "B", OPTIONS), ("x:2", 2, OPTIONS), ("x:3", 1, OPTIONS)]) == Undecided(2, "x:2", 2)


def test_numbers_that_are_options_are_texts():
    numbers = ("1", "2", "3", "4")
    assert counting([("x:1", 2, numbers)]) == "texts" and place(2, numbers, "texts") == 1
    # One that is none tells that all of them are places.
    assert counting([("x:1", 2, numbers), ("x:2", 0, OPTIONS)]) == 0 and place(2, numbers, 0) == 2


def test_true_and_false():
    assert place(True, ("false", "True"), "texts") == 1 and place("False", ("false", "True"), "texts") == 0
    with pytest.raises(Unusable, match="names none of the options 'yes', 'no'"):
        place(True, ("yes", "no"), "texts")


@given(st.lists(st.sampled_from(["red", "green", "blue", "one", "two"]), min_size=2, max_size=5, unique=True), st.data())
def test_every_way_to_name_an_option_finds_it(among, data):
    right = data.draw(st.integers(0, len(among) - 1))
    letter = "ABCDE"[right]
    for said in (letter, letter.lower(), f"({letter})", f"{letter}. {among[right]}", among[right].upper()):
        assert place(said, among, "texts") == right
    assert place(right, among, 0) == place(right + 1, among, 1) == right


def test_videos_stay_in_their_folder(tmp_path):
    root = tmp_path / "v"
    (root / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to(root)
    assert video("in/a b.mp4", root) == video("./in//a b.mp4", root) == video("in\\a b.mp4", root) == "in/a b.mp4"
    assert video(str(root / "in" / "ä.mp4"), root) == video(str(tmp_path / "link" / "in" / "ä.mp4"), root) == "in/ä.mp4"
    assert video(f"file://{root}/in/a%20b.mp4", root) == "in/a b.mp4"
    assert video(["a.mp4"], None) == video({"path": "a.mp4", "bytes": None}, None) == video('["a.mp4"]', None) == "a.mp4"
    assert video(4010069381, None) == "4010069381"
    assert video("https://example.org/a.mp4", root) == "https://example.org/a.mp4"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../a.mp4", "must be a path inside the video root"),
        ("in/../../a.mp4", "must be a path inside the video root"),
        ("/etc/passwd", "lies outside of the folder of videos"),
        ("{root}/../a.mp4", "lies outside of the folder of videos"),
        ("{root}x/a.mp4", "lies outside of the folder of videos"),
        ("C:\\videos\\a.mp4", "write it relative to the folder of videos, with /"),
        ("file:///etc/passwd", "lies outside"),
        ("a.jpg", "is a picture"),
        (["a.mp4", "b.mp4"], "are 2 videos"),
        ({"bytes": b"", "path": None}, "holds the video itself"),
        (True, "is no text"),
    ],
)
def test_paths_that_lead_out_or_name_no_video_are_refused(path, message, tmp_path):
    root = tmp_path / "v"
    root.mkdir()
    written = path.replace("{root}", str(root)) if isinstance(path, str) else path
    with pytest.raises(Unusable, match=message):
        video(written, root)


def test_an_absolute_path_needs_a_folder():
    with pytest.raises(Unusable, match="--videos"):
        video(str(Path("/a/b.mp4")), None)


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "user", "content": "<video>why?"}, {"role": "assistant", "content": "so"}],
        [{"from": "human", "value": "<video>why?"}, {"from": "gpt", "value": "so"}],
        [{"from": "system", "value": "x"}, {"from": "human", "value": "<video>why?"}, {"from": "gpt", "value": "so"}],
        [{"q": "<video>why?", "a": "so"}],
        '[{"role": "user", "content": "<video>why?"}, {"role": "assistant", "content": "so"}]',
    ],
)
def test_chats(turns):
    assert read_chat(turns).turns == [("<video>why?", "so")]


def test_parts_of_a_chat():
    parts = [{"type": "video", "video": "a.mp4"}, {"type": "text", "text": "why?"}]
    chat = read_chat([{"role": "user", "content": parts}])
    assert chat.turns == [("why?", None)] and chat.videos == ["a.mp4"]


@pytest.mark.parametrize(
    "turns", ["hello", [], [1], [{"role": "assistant", "content": "x"}], [{"role": "judge", "content": "x"}], [{"a": 1}]]
)
def test_what_is_no_chat_is_refused(turns):
    with pytest.raises(Unusable):
        read_chat(turns)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a/ytb_aB3_dE-7hIj.mp4", "youtube:aB3_dE-7hIj"),
        ("NUsG9BgSes0_210.0_360.0", "youtube:NUsG9BgSes0"),
        ("v_aB3_dE-7hIj.mp4", "youtube:aB3_dE-7hIj"),
        ("movie101_66.mp4", ""),
        ("holiday-001.mp4", ""),
        ("AO8RW.mp4", "charades:AO8RW"),
        ("12345678@N00_5293999114_5d405ab12e.mp4", "flickr:5293999114"),
        ("guitar.mp4", ""),
    ],
)
def test_footage_by_the_name_of_a_file(name, key):
    assert video_key(name) == key


def test_numbers_as_texts():
    assert [text(value) for value in (3, 3.0, 2.5, " a ")] == ["3", "3", "2.5", "a"]
    for value in (True, None, [1], float("nan")):
        with pytest.raises(Unusable, match="is no text"):
            text(value)
