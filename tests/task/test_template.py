"""Templates of prompts: what is a fault, what is made of a sample, and what can't take long or much."""

import sys
import time

import pytest

from trlt.errors import DataError
from trlt.task.template import MOST, rendered, template_fault

FIELDS = ("question", "options", "meta", "task")
SAMPLE = {"question": "Why?", "options": ["a ball", "a <cat>"], "meta": {"kind": "x"}, "task": "multi_choice"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{{ question }}", None),
        ("{% for a in options %}{{ loop.index }}{% endfor %}{{ question | trim }}{% set x = range(2) %}{{ x }}", None),
        (
            "hello\n{{ question }}\n{{ qestion }}",
            "line 3: 'qestion' is no field; did you mean question? There are question, opt",
        ),
        ("{{ question }}\n{% if task == 'x' %}{{ zzz }}{% endif %}", "line 2: 'zzz' is no field; There are question, options"),
        ("{{ question }}\n\n{% if task %}", "line 3: Unexpected end of template"),
        ("{{ question }\n", "line 1: unexpected '}'"),
        ("{{ question }}\n{% include 'x' %}", "line 2: include: a template is one text"),
        ("{% macro m() %}{% endmacro %}{{ question }}", "line 1: macro: a template is one text"),
        ("{% for a in options recursive %}{% endfor %}{{ question }}", "line 1: a recursive loop"),
        ("{{ question | center(9) }}", "line 1: No filter named 'center'"),
        ("{{ question }}{{ lipsum() }}", "line 1: 'lipsum' is no field"),
        ("What moves?", "never shows the question; write {{ question }}"),
        ("{{ question }}" + " " * 20_000, "20,014 characters; a template has 20,000 at most"),
    ],
)
def test_faults_are_told_with_their_line(text, fault):
    found = template_fault(text, FIELDS)
    assert found is None if fault is None else found is not None and found.startswith(fault)


def test_lines_of_tags_leave_nothing_and_texts_are_not_escaped():
    loop = "{% for one in options %}\n- {{ one }}\n  {% if loop.last %}\nend\n  {% endif %}\n{% endfor %}\n\n"
    text = f"\n{{# said #}}\n{{{{ question }}}}\n{loop}"
    assert rendered(text, SAMPLE) == "Why?\n- a ball\n- a <cat>\nend"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ question }}\n{{ meta.foo }}", "line 2: 'dict object' has no attribute 'foo'"),
        ("\n\n{{ options[7] }}", "line 3: list object has no element 7"),
        ("{{ 1 / 0 }}", "line 1: division by zero"),
        ("{{ question + 1 }}", "line 1: can only concatenate str"),
        ("{{ range(1001) }}", "line 1: a range of 1,001; at most 1,000"),
        ("{{ 'a' * 10000000000 }}", r"line 1: \* is for numbers"),
        ("{{ [1] * 10000000000 }}", r"line 1: \* is for numbers"),
        ("{{ 10 ** 10000000000 }}", r"line 1: \*\* is for numbers"),
        ("{{ '%10000000000d' % 1 }}", "line 1: % is for numbers"),
        ("{{ '{:10000000000}'.format(1) }}", "line 1: access to attribute 'format'"),
        ("{{ question['format'](1) }}", "line 1: access to attribute 'format'"),
        ("{{ question.ljust(10000000000) }}", "line 1: access to attribute 'ljust'"),
        ("{{ (1).to_bytes(10000000000) }}", "line 1: access to attribute 'to_bytes'"),
        ("{{ question.__class__ }}", "line 1: access to attribute '__class__'"),
        ("{{ options.append('x') }}", "line 1: access to attribute 'append'"),
    ],
)
def test_what_fails_for_a_sample_names_its_line(text, said):
    with pytest.raises(DataError, match=said):
        rendered(text, SAMPLE)


LOOP = "{% for a in range(1000) %}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{LOOP * 4}{'{% endfor %}' * 4}", "executes more than 100,000 lines"),
        ("{% set few = range(9) %}" + "{% for a in few %}" * 9 + "{% endfor %}" * 9, "executes more than 100,000 lines"),
        (f"{LOOP}{LOOP}{{{{ a }}}}{'{% endfor %}' * 2}", "executes more than|makes more than"),
        (f"{LOOP}{'x' * 1000}{{% endfor %}}", "makes more than 100,000 characters"),
        ("{% set t = question %}\n" + "{% set t = t ~ t %}\n" * 60 + "{{ t }}", "makes more than 100,000 characters"),
        ("{% set t = options %}\n" + "{% set t = t + t %}\n" * 60 + "{{ t }}", "makes more than 100,000 characters"),
    ],
)
def test_no_template_takes_long_or_much(text, said):
    begun, before = time.perf_counter(), sys.gettrace()
    with pytest.raises(DataError, match=said):
        rendered(text, SAMPLE)
    assert time.perf_counter() - begun < 20 and sys.gettrace() is before


def test_a_long_text_below_the_limit_is_made():
    assert (
        len(rendered("{{ question }}" + "{% for a in range(900) %}" + "x" * 100 + "{% endfor %}", SAMPLE)) == 4 + 90_000 < MOST
    )
