"""The lenient protocol: spellings that it reads, texts that it must not read, and that no text is too odd or too long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.task.answer import parse
from trlt.task.lenient import read_leniently
from trlt.task.sample import Sample, Span

OPTIONS = ("he sits", "he waves", "he runs", "he sings")


def asked(task, options=OPTIONS):
    gold = None if options is None else options[0]
    one = {"options": options, "answer": gold or "a red kite", "answer_index": None if options is None else 0}
    place = {} if task == "multi_choice" else {"spans": (Span(3, 9),)}
    return Sample(
        id="q",
        source="x",
        split="test",
        task=task,
        video="v.mp4",
        question="?",
        **place,
        **({} if task == "grounding" else one),
    )


def read(text, task, options=OPTIONS, **more):
    sample = asked(task, options)
    strict = parse(text, task=task, think=False, options=sample.options, answer_format="letter")
    return read_leniently(sample, text, strict, **more)


def letter(text, options=OPTIONS, **more):
    option = read(text, "multi_choice", options, **more).option
    return None if option is None else "ABCDEFGHIJ"[option]


def span(text):
    found = read(text, "grounding").span
    return None if found is None else tuple(found)


B = r"""
<answer> B </answer>
**B**
__B__
`B`
\boxed{B}
$\boxed{\text{B}}$
\[ \boxed{\mathrm{B}} \]
\text{B}
Option B
option (B)
B。
Ｂ
（Ｂ）
B．
"B"
'B'
[B]
(B).
b
b)
B.
B)
B:
B,
{"answer": "B"}
{'answer': 'B'}
{"answer": "(B)"}
{"answer": ["B"]}
{"reason": "the man waves", "answer": "B"}
{"option": "B", "confidence": 0.9}
{"answer": {"option": "B"}}
{"final_answer": "B"}
{"answer": "he waves"}
{"answer": "he waves", "why": "he sits down later"}
```json\n{"answer": "B"}\n```
```\nB\n```
The answer is (B)
The answer is B.
The answer is B
The answer is: B
the answer is **B**.
The correct answer is **(B) he waves**.
The best option is B.
The correct choice is option B
The answer is option B.
The answer should be B, because he waves.
The answer is B because A shows something else.
The answer is B, since he waves.
The answer is B, not A.
Answer: B
Answer: (B)
**Answer:** B
**Answer: B**
### Answer\nB
Answer: B. he waves
Answer: B. The man lifts his arm at the end.
Final answer: B
Final Answer: **B**
Answer - B
Answer → B
My answer is B.
Answer is B
<answer>B</answer
<answer>B
<answer> (B) he waves
<answer>Option B</answer>
<answer>The answer is B.</answer>
<Answer>B</Answer>
B</answer>
<ans>B</ans>
B<|im_end|>
B</s>
<|begin_of_box|>B<|end_of_box|>
B) he waves
(B) he waves
B. he waves
B he waves
B: he waves
B - he waves
B. He lifts his arm.
B, since he lifts his arm
(B) because he lifts his arm
B because he lifts his arm
he waves
He waves.
"he waves"
The answer is "he waves".
The answer is he waves.
The answer is he waves, as seen at the end.
答案：B
答案是B。
答案为 B
正确答案是（B）
选B
我选择B
应该选 B。
选项B
故选B，因为他挥手
B是正确的
I choose B
I would choose option B.
I'd go with B.
B is correct.
Option B is the correct answer.
(B) is the best answer, as he waves.
So the answer is B
He sits first. Then he lifts an arm. So the answer is B
He sits first.\nThen he lifts an arm.\n\nB
He sits first.\n\nTherefore, B.
A man sits and waves. Thus, it is B.
First A: no. Then C: no. The answer is B.
B\n\nThe man lifts his arm.
B. he waves\n\nExplanation: the man lifts his arm.
A. he sits\nB. he waves\nC. he runs\nAnswer: B
Between A and B, the answer is B.
I think the answer is B
It's not A. The answer is B.
he lifts an arm, so he must wave</think>B
he lifts an arm, maybe A</think>\n\nThe answer is B.
<think>A or B? He lifts an arm.</think>\n**B**
<think>The answer is A? No.</think> B
<think>hm</think><answer>B
◁think▷A?◁/think▷ B
<reasoning>A, C</reasoning> B
"""
NEITHER = r"""

A or B
A and B
A/B
A, B
A, B, C, D
A & B
B or C.
either A or B
Either A or B.
The answer is A or B.
The answer is either A or B.
The answer is B or possibly C
The answer is B and C.
Answer: A, B
Answer: B / C
答案：A或B
The answer is A. The answer is B.
The answer is A. Wait, the answer is B.
Answer: A\n\nAnswer: B
\boxed{A} \boxed{B}
Answer: A\n\boxed{B}
A\n\nB
The answer is A.\n\nB
A is correct. B is correct.
A or B is correct.
not B
Not B.
The answer is not B.
B is not the correct answer.
It isn't B.
I would not choose B.
I don't choose B
不选B
如果选B
答案不是B
选项B错误
if the answer is B
If B is correct, he waves.
A man waves.
A cat
A man waves and sits.
The answer is a man.
The answer is A man.
I
I think so.
I can't tell.
The answer is I think unclear.
so I guess
So A man waves.
A, the man, waves
He waves at B
Plan B failed
Option B shows a man.
Options: A. he sits B. he waves C. he runs
A. he sits\nB. he waves\nC. he runs\nD. he sings
B. he sits
Answer: B. he sits
The answer is B, he runs.
he sits, he waves
E
The answer is E.
Answer: None of the above
unclear
He sits, then he waves and runs.
<think>The answer is B
<think>The answer is B. \boxed{B}
The answer is A</think>
<answer></answer>
<answer>A or B</answer>
<answer>A</answer> no <answer>unclear</answer>
{"answer": "A or B"}
{"answer": null}
Grade: B+
B-roll of a man
vitamin B12
A's
b is for bear
"""
SPAN = r"""
3 to 9
[[3, 9]]
[3, 9]
[[3.0, 9.0]]
[3.0s, 9.0s]
(3, 9)
["3", "9"]
3 ~ 9
3～9
3 – 9
3—9
3-9
3s-9s
3s - 9s
3 s to 9 s
3 sec to 9 sec
3 secs - 9 secs.
3.0 seconds to 9.0 seconds
3 to 9 seconds
3 -> 9
3 → 9
00:03-00:09
00:03 - 00:09
0:03 to 0:09
[00:03, 00:09]
00:00:03.000 --> 00:00:09.000
00:00:03,000 --> 00:00:09,000
{"start": 3, "end": 9}
{"start": 3.0, "end": 9.0}
{"start":3,"end":9}
{'start': '3', 'end': '9'}
{"start_time": "3.0", "end_time": "9.0"}
{"start_time": "3.0s", "end_time": "9.0s"}
{"end": 9, "start": 3}
{"from": 3, "to": 9}
{"begin": 3, "end": 9}
{"start": "00:03", "end": "00:09"}
{"answer": [3, 9]}
{"answer": "3 to 9"}
{"event": "he waves", "start": 3, "end": 9}
```json\n{"start": 3, "end": 9}\n```
```json\n[[3.0, 9.0]]\n```
start: 3, end: 9
Start time: 3 s\nEnd time: 9 s
**Start:** 3\n**End:** 9
Start (s): 3, End (s): 9
It starts at 3 seconds and ends at 9 seconds.
The event begins at 3.0s. It ends at 9.0s.
It starts at 0:03 and finishes at 0:09
from 3 seconds to nine seconds
from three to nine seconds
from three seconds until nine seconds
from 3 until 9 seconds
between 3 and 9 seconds
between 3 and 9.
Between three and nine seconds, he waves.
from the 3 second mark to the 9 second mark
from about 3 to about 9 seconds
The event happens in the 3.0 - 9.0 seconds.
The event 'he waves' happens in the 3 - 9 seonds.
He waves from 3.0 to 9.0 seconds.
He waves from 3 to 9.
<answer>3 to 9
<answer>3.0 to 9.0</answer
<answer>from 3 seconds to 9 seconds</answer>
<answer>[3, 9]</answer>
<observe>3 ~ 9</observe>
\boxed{3 - 9}
$\boxed{[3, 9]}$
\boxed{3\text{ to }9}
**3 to 9**
`3-9`
3秒到9秒
从3秒到9秒
答案：3到9
３～９秒
3.0 to 9.0<|im_end|>
He sits from 0 to 2 seconds. So the answer is 3 to 9.
He sits from 0 to 2 seconds.\n\n3 to 9
He sits from 0 to 2 seconds. Therefore, he waves from 3 to 9 seconds.
<think>from 0 to 2?</think> 3 ~ 9
from 0 to 2?</think>3 ~ 9
He waves from 3 to 9 seconds, that is from 0:03 to 0:09.
The answer is not from 0 to 2 s but from 3 to 9 s.
"""
OTHER_SPANS = {
    "from 3 seconds to twelve and a half seconds": (3, 12.5),
    "twelve and a half seconds to twenty-five seconds": (12.5, 25),
    "from twelve point five seconds to twenty seconds": (12.5, 20),
    "from 12 and a half to 20 seconds": (12.5, 20),
    "[12.0s, 20.5s]": (12, 20.5),
    "00:12-00:20": (12, 20),
    "1:02:03 to 1:02:10": (3723, 3730),
    "from 1 to 2 minutes": (60, 120),
    "1.5 minutes - 2 minutes": (90, 120),
    "from 1 minute 20 seconds to 1 minute 35 seconds": (80, 95),
    "1m20s - 1m35s": (80, 95),
    "1分20秒到1分35秒": (80, 95),
    "from 50 seconds to 2 minutes": (50, 120),
    "a hundred and five seconds to two hundred seconds": (105, 200),
    "from ninety-nine seconds to one hundred ten seconds": (99, 110),
    "24.299999237060547 ~ 30.4": (24.299999237060547, 30.4),
    "0 - 0": (0, 0),
}
NO_SPAN = r"""

3
at 3 seconds
3 9
from 3 to 9 people
between three and nine people
3 to 9 times
3 to 9%
3-9 percent
frames 3-9
from frame 3 to frame 9
he scored 3-9 points
9 to 3
9 s - 3 s
{"start": 9, "end": 3}
-3 to 9
from -3 to 9 s
3 to -9 s
3 to 9 or 10 to 12
from 3 to 9 seconds or from 10 to 12 seconds
[[3, 9], [10, 12]]
[3, 9], [10, 12]
[{"start": 3, "end": 9}, {"start": 10, "end": 12}]
3 - 9 - 12
[3, 9, 12]
0:03 to 0:75
0:60 to 1:20
not from 3 to 9 seconds
He doesn't wave from 3 to 9 seconds.
The answer is 3 to 9. The answer is 10 to 12.
The answer is 3 to 9, or 10 to 12.
He sits from 0 to 2 seconds and waves from 3 to 9 seconds.
1 min to 2
1 s to 9 s to 12 s
<think>from 3 to 9 seconds
<answer>none</answer> from 3 to 9 seconds
from one to two
one and two
v1-2
2020-01-02
"""


def cases(block):
    return [line.replace(r"\n", "\n") for line in block[1:-1].split("\n")]


@pytest.mark.parametrize("text", cases(B))
def test_spellings_of_a_letter_are_read(text):
    assert letter(text) == "B"


@pytest.mark.parametrize("text", cases(NEITHER))
def test_texts_that_state_no_option_or_several_are_not_read(text):
    assert letter(text) is None


@pytest.mark.parametrize("text", cases(SPAN))
def test_spellings_of_a_span_are_read(text):
    assert span(text) == (3, 9)


@pytest.mark.parametrize(("text", "wanted"), OTHER_SPANS.items())
def test_units_and_words_of_times_are_computed(text, wanted):
    assert span(text) == pytest.approx(wanted)


@pytest.mark.parametrize("text", cases(NO_SPAN))
def test_texts_that_state_no_span_or_several_are_not_read(text):
    assert span(text) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Yes", "A"),
        ("Yes, he slows down.", "A"),
        ("No.", "B"),
        ("no", "B"),
        ("The answer is yes.", "A"),
        ("Answer: No, he doesn't.", "B"),
        ("Yes and no", None),
        ("No, wait, yes", None),
        ("yes or no", None),
        ("Not really", None),
        ("There is no cat.", None),
        ("B", "B"),
        ("A. yes", "A"),
        ("A. no", None),
    ],
)
def test_yes_and_no_are_read_where_they_are_options(text, wanted):
    assert letter(text, ("yes", "no")) == wanted


def test_an_option_that_begins_like_another_is_the_longer_one():
    options = ("sit", "sit, then wave", "B or C", "run")
    assert letter("The answer is sit, then wave.", options) == "B"
    assert letter('{"answer": "sit, then wave", "why": "run"}', options) == "B"
    assert letter("sit, then wave", options) == "B"
    assert letter("The answer is sit, as seen", options) == "A"
    assert letter("B or C", options) == "C"


def test_letters_name_nothing_where_the_prompt_showed_none():
    assert letter("The answer is B", letters=False) is None
    assert letter("The answer is he waves", letters=False) == "B"


def test_an_option_that_stands_twice_is_one_answer():
    assert letter("The answer is C. Answer: A", ("he sits", "he runs", "he sits")) == "A"


def test_what_the_strict_parser_read_is_kept():
    assert letter("<answer> A </answer> The answer is B") == "A"
    assert span("The answer is 1 to 2. <answer> 3 to 9 </answer>") == (3, 9)


def test_both_parts_of_grounded_qa_are_read_apart():
    both = read("From 0:03 to 0:09, so B", "grounded_qa")
    assert (both.option, both.span) == (1, Span(3, 9))
    both = read("<observe>[3, 9]</observe> Answer: B", "grounded_qa")
    assert (both.option, both.span) == (1, Span(3, 9))
    both = read("<observe> 3 to 9 <answer> **B**", "grounded_qa")
    assert (both.option, both.span) == (1, Span(3, 9))
    both = read('{"answer": "B", "start": 3, "end": 9}', "grounded_qa")
    assert (both.option, both.span) == (1, Span(3, 9))
    assert read("He waves.", "grounded_qa") == read("he waves", "grounded_qa")


def test_words_answer_a_question_without_options():
    assert read("The answer is a red kite.", "grounded_qa", None).payload == "a red kite"
    assert read("a red kite", "grounded_qa", None).payload == "a red kite"
    assert read("<answer>a red kite", "grounded_qa", None).payload == "a red kite"
    assert read("Answer: a red kite\nAnswer: a cat", "grounded_qa", None).payload is None


ALPHABET = st.sampled_from(
    [*"ABCIabi 01239.,:;-~()[]{}<>\"'*`$\\/\n", "answer", "The answer is ", "<answer>", "</answer>", "<think>", "</think>"]
    + [
        "\\boxed{",
        "\\text{",
        "```json",
        "start",
        "end",
        " to ",
        " and ",
        " or ",
        "seconds",
        "minutes",
        "nine",
        "hundred",
        "选",
        "答案",
    ]
    + [
        "Ｂ",
        "。",
        "\ud800",
        "\u200b",
        "\ufdfa",
        "he waves",
        "not ",
        "between ",
        "0:03",
        "half",
        "option ",
        "◁/think▷",
        "\x00",
        "1e9",
    ]
)


@given(st.lists(ALPHABET, max_size=40).map("".join))
def test_no_text_makes_it_raise_or_contradict_the_strict_parser(text):
    for task in ("multi_choice", "grounding", "grounded_qa"):
        strict = parse(text, task=task, think=False, options=asked(task).options, answer_format="letter")
        answer = read(text, task)
        assert strict.option in (None, answer.option) and strict.span in (None, answer.span)
        assert answer.option is None or 0 <= answer.option < 4
        assert answer.span is None or 0 <= answer.span.start <= answer.span.end


@given(st.text(max_size=80))
def test_any_text_can_be_read(text):
    read(text, "grounded_qa")
    read(text, "grounded_qa", None)


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        " ",
        "1",
        "1 to 2 s ",
        "A",
        "A. x\n",
        "The answer is ",
        "The answer is B ",
        "\\boxed{",
        "\\boxed{B}",
        "<answer>",
        "<think>",
    ]
    + [
        "</think>",
        "{",
        "[[1, ",
        "start: 1 ",
        "nine hundred and ",
        "twenty-",
        "**",
        "```",
        "not ",
        "B, ",
        "answer: he waves, ",
        "\ufdfa",
    ]
    + ["so ", "<|", "-", "\"'", "1:", "0:01-", "half ", "选", "\n", "<observe>", "</", "__", "# ", "is the ", "B is ", "1,2,"],
)
def test_the_time_grows_with_the_length_of_a_text(piece):
    # Ten times the text takes ten times as long; a pattern that backtracks would take a hundred times.
    assert seconds(piece, 200_000) < 30 * max(seconds(piece, 20_000), 0.005)


@pytest.mark.parametrize("piece", ["The answer is B, since he waves from 3 to 9 s. ", "a", "[[1, "])
def test_a_text_of_a_megabyte_is_read(piece):
    assert seconds(piece, 1_000_000) < 20


def seconds(piece, length):
    start = time.process_time()
    read(piece * (length // len(piece)), "grounded_qa")
    return time.process_time() - start
